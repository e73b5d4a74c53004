"""Optimisers, parameter groups, learning-rate schedules, and the moving average of weights."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from alexnet.device import has_bfloat16
from alexnet.errors import unknown_name
from alexnet.networks.layers import LocallyConnected2d
from alexnet.ops.orthogonal import orthogonalize
from alexnet.ops.update import RULES, adam_step, average_step, momentum_step, move_step
from alexnet.training.settings import Recipe


class Momentum(torch.optim.Optimizer):
    """Stochastic gradient descent with momentum; the rules are those of `alexnet.ops.update.momentum_step`.

    "velocity" has the learning rate inside the momentum buffer, as in 2012 (Krizhevsky et al. 2012, section 5, and
    cuda-convnet's weights.cu). torch.optim.SGD multiplies by it outside, so a drop of the rate shrinks the next step at
    once; with "velocity" the larger steps fade over 1 / (1 - momentum) steps.
    """

    copies: Mapping[Tensor, Tensor] = {}
    """Weight -> its copy in another number format, which each step updates with it."""

    def __init__(self, params: Any, lr: float, momentum: float = 0.9, weight_decay: float = 0.0, rule: str = "sgd"):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.rule = rule

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update each weight that has a gradient."""
        loss = evaluated(closure)
        for weight, gradient, group in _with_gradients(self):
            state = self.state[weight]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(weight)
            momentum_step(
                weight,
                state["momentum_buffer"],
                gradient,
                self.copies.get(weight),
                rule=self.rule,
                rate=group["lr"],
                momentum=group["momentum"],
                decay=group["weight_decay"],
            )
        return loss


class Adam(torch.optim.Optimizer):
    """Adam, or, decoupled, AdamW: `alexnet.ops.update.adam_step`."""

    copies: Mapping[Tensor, Tensor] = {}
    """Weight -> its copy in another number format, which each step updates with it."""

    def __init__(self, params: Any, lr: float, betas: tuple[float, float], decoupled: bool, eps: float = 1e-8) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})
        self.decoupled = decoupled

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update each weight that has a gradient."""
        loss = evaluated(closure)
        for weight, gradient, group in _with_gradients(self):
            state = self.state[weight]
            if not state:
                state |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(weight)}
                state["exp_avg_sq"] = torch.zeros_like(weight)
            state["step"] += 1
            adam_step(
                weight,
                state["exp_avg"],
                state["exp_avg_sq"],
                gradient,
                self.copies.get(weight),
                step=int(state["step"]),
                rate=group["lr"],
                betas=group["betas"],
                eps=group["eps"],
                decay=group["weight_decay"],
                decoupled=self.decoupled,
            )
        return loss


def _with_gradients(optimizer: torch.optim.Optimizer) -> Iterator[tuple[Tensor, Tensor, dict[str, Any]]]:
    """Each weight that has a gradient, that gradient, and the weight's group."""
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if weight.grad is not None:
                yield weight, weight.grad, group


class Muon(torch.optim.Optimizer):
    """Momentum whose step has all directions of a weight matrix equally long; AdamW for all that is not such a matrix.

    For a hidden weight W, flattened to a matrix of `rows` outputs x `columns` inputs, with gradient G:

        m <- momentum * m + (1 - momentum) * G
        O  = orthogonalize(momentum * m + (1 - momentum) * G)
        W <- (1 - lr * weight_decay) * W - lr * sqrt(max(1, rows / columns)) * O

    A convolution in groups has one matrix for each group, for their inputs are others, and a locally connected layer
    one for each position; each of them takes a step of its own. towers: weight -> its groups, where there are several.

    Source: K. Jordan, "Muon: An optimizer for hidden layers in neural networks", 2024; orthogonalize has other
    coefficients. Groups of parameters whose "hidden" is False take AdamW's step (Loshchilov and Hutter 2017) with
    `betas` and `eps`.
    """

    copies: Mapping[Tensor, Tensor] = {}
    """Weight -> its copy in another number format, which each step updates with it."""

    def __init__(
        self, params: Any, lr: float, momentum: float = 0.95, towers: Mapping[Tensor, int] = MappingProxyType({})
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.0}
        super().__init__(params, {**defaults, "hidden": False})
        self.towers = towers

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step from the gradients that are there."""
        loss = evaluated(closure)
        hidden = []
        for weight, gradient, group in _with_gradients(self):
            if group["hidden"]:
                hidden.append((weight, self._update(weight, gradient, group["momentum"]), group))
            else:
                self._adamw_step(weight, gradient, group)
        directions = orthogonalize_alike([update for _, update, _ in hidden])
        for (weight, _, group), matrices in zip(hidden, directions, strict=True):
            self._move(weight, matrices, group["lr"], group["weight_decay"])
        return loss

    def _update(self, weight: Tensor, gradient: Tensor, momentum: float) -> Tensor:
        """The matrices of the averaged gradient, in the type that they are multiplied in."""
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        ahead = average_step(state["momentum"], gradient, momentum)
        dtype = torch.bfloat16 if has_bfloat16(weight.device) else torch.float32
        return as_matrices(ahead.to(dtype), self.towers.get(weight, 1))

    def _move(self, weight: Tensor, matrices: Tensor, rate: float, decay: float) -> None:
        direction = from_matrices(matrices, weight)
        move_step(weight, direction, self.copies.get(weight), rate * stretch(matrices), shrink=1 - rate * decay)

    def _adamw_step(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state |= {"step": torch.zeros(()), "mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}
        state["step"] += 1
        adam_step(
            weight,
            state["mean"],
            state["square"],
            gradient,
            self.copies.get(weight),
            step=int(state["step"]),
            rate=group["lr"],
            betas=group["betas"],
            eps=group["eps"],
            decay=group["weight_decay"],
            decoupled=True,
        )


def evaluated(closure: Callable[[], float] | None) -> float | None:
    """The closure's loss, computed with gradients, as at the start of every torch optimiser's step."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def stretch(matrices: Tensor) -> float:
    """The factor on Muon's step of matrices (count, rows, columns) that have more rows than columns."""
    rows, columns = matrices.shape[-2:]
    return float(max(1.0, rows / columns) ** 0.5)


def as_matrices(weight: Tensor, towers: int = 1) -> Tensor:
    """The matrices (count, rows, columns) of a tensor in the shape of a weight; `rows` outputs, `columns` inputs.

    weight: (O, I) of a dense layer, (O, I, k, k) of a convolution in `towers` groups, (positions, I * k * k, O) of a
    LocallyConnected2d. Columns are in the order of memory, so that weights that lie channels-last are not copied.
    """
    if weight.ndim == 3:
        return weight.mT
    ordered = weight.permute(0, 2, 3, 1) if _channels_last(weight) else weight
    return ordered.reshape(towers, weight.shape[0] // towers, -1)


def from_matrices(matrices: Tensor, like: Tensor) -> Tensor:
    """The inverse of `as_matrices`, for the weight `like`."""
    if like.ndim == 3:
        return matrices.mT
    if not _channels_last(like):
        return matrices.reshape(like.shape)
    outputs, inputs, height, width = like.shape
    return matrices.reshape(outputs, height, width, inputs).permute(0, 3, 1, 2)


def _channels_last(weight: Tensor) -> bool:
    return weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last)


def orthogonalize_alike(updates: Sequence[Tensor]) -> list[Tensor]:
    """Each (count, rows, columns) orthogonalized; on a GPU those of equal shape in one call, for fewer launches."""
    alike: dict[Any, list[int]] = {}
    for index, update in enumerate(updates):
        alike.setdefault(index if update.device.type == "cpu" else update.shape[1:], []).append(index)
    found: dict[int, Tensor] = {}
    for members in alike.values():
        counts = [len(updates[index]) for index in members]
        together = updates[members[0]] if len(members) == 1 else torch.cat([updates[index] for index in members])
        found.update(zip(members, torch.split(orthogonalize(together), counts), strict=True))
    return [found[index] for index in range(len(updates))]


def build_optimizer(network: nn.Module, recipe: Recipe, slow: Collection[Tensor] = ()) -> torch.optim.Optimizer:
    """The recipe's optimiser over the network's parameters, grouped by learning rate and weight decay.

    slow: parameters trained at `init_lr_factor` times the learning rate. Frozen parameters (requires_grad is False) are
    left out.
    """
    groups = parameter_groups(network, recipe)
    if recipe.optimizer == "muon":
        groups = hidden_first(network, groups, recipe.adam_lr_factor)
    groups = slowed(groups, slow, recipe.init_lr_factor)
    device = next(network.parameters()).device
    momentum_kind, adam_kind, muon_kind = kinds(device)
    if recipe.optimizer == "muon":
        return muon_kind(groups, recipe.lr, recipe.momentum, towers_of(network))
    own = device.type == "cpu" or momentum_kind is not Momentum
    if recipe.optimizer == "velocity" or (own and recipe.optimizer in RULES):
        return momentum_kind(groups, recipe.lr, recipe.momentum, rule=recipe.optimizer)
    betas = (recipe.momentum, 0.999)
    if own:
        return adam_kind(groups, recipe.lr, betas, decoupled=recipe.optimizer == "adamw")
    fused = device.type == "cuda"
    if recipe.optimizer in RULES:
        return torch.optim.SGD(groups, recipe.lr, recipe.momentum, nesterov=recipe.optimizer == "nesterov", fused=fused)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, recipe.lr, betas=betas, fused=fused)


def kinds(device: torch.device) -> tuple[type[Momentum], type[Adam], type[Muon]]:
    """The optimisers of ours for weights on this device: on a GPU those whose step is a few launches, if they work."""
    if device.type in ("cuda", "meta"):
        from alexnet.training import launched  # which is made of what stands here

        if launched.trusted(device):
            return launched.LaunchedMomentum, launched.LaunchedAdam, launched.LaunchedMuon
    return Momentum, Adam, Muon


def towers_of(network: nn.Module) -> dict[Tensor, int]:
    """Weight -> groups, for the convolutions in several groups."""
    convolutions = (module for module in network.modules() if isinstance(module, nn.Conv2d))
    return {module.weight: module.groups for module in convolutions if module.groups > 1}


def parameter_groups(network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameter groups: weights by their weight decay, biases of layers, scales and shifts of normalisations.

    Each group has `factor`, the multiple of the schedule's learning rate, and `weight_decay`. The module that owns a
    bias tells a layer's from a normalisation's. UsageError for a weight decay of an unknown layer.
    """
    decays = recipe.layer_decays
    weights: dict[float, list[Tensor]] = {recipe.weight_decay: []}
    biases: list[Tensor] = []
    scales: list[Tensor] = []
    layers = []
    for path, module in network.named_modules():
        is_layer = isinstance(module, nn.Conv2d | nn.Linear | LocallyConnected2d)
        layers += [path] if is_layer else []
        of_decay = weights.setdefault(decays.get(path, recipe.weight_decay), [])
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            (of_decay if is_layer and name == "weight" else biases if is_layer else scales).append(parameter)
    for path in decays:
        if path not in layers:
            raise unknown_name("layer in layer_decay", path, layers)
    light = recipe.weight_decay if recipe.decay_biases else 0.0
    groups = [
        *({"params": members, "weight_decay": decay, "factor": 1.0} for decay, members in weights.items()),
        {"params": biases, "weight_decay": light, "factor": recipe.bias_lr_factor},
        {"params": scales, "weight_decay": light, "factor": 1.0},
    ]
    return [group for group in groups if group["params"]]


def hidden_first(network: nn.Module, groups: list[dict[str, Any]], factor: float) -> list[dict[str, Any]]:
    """The groups for Muon: the hidden weights, then the rest with `factor` times the learning rate.

    Hidden are the weights of all layers but the last, whose outputs are the classes.
    """
    weights, *rest = groups
    hidden, last = weights["params"][:-1], weights["params"][-1:]
    others = [{**group, "factor": group["factor"] * factor} for group in ({**weights, "params": last}, *rest)]
    return [{**weights, "params": hidden, "hidden": True}, *others]


def slowed(groups: list[dict[str, Any]], slow: Collection[Tensor], factor: float) -> list[dict[str, Any]]:
    """Split each group in two: parameters in `slow` get `factor` times the learning rate, the others keep theirs."""
    chosen = {id(parameter) for parameter in slow} if factor != 1 else set()
    divided = []
    for group in groups:
        for is_slow, multiple in ((False, 1.0), (True, factor)):
            members = [parameter for parameter in group["params"] if (id(parameter) in chosen) == is_slow]
            if members:
                divided.append({**group, "params": members, "factor": group["factor"] * multiple})
    return divided


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """The scheduled learning rate after `epoch` epochs; fractions are places within an epoch."""
    if epoch < recipe.warmup_epochs:
        return recipe.lr * (epoch + 1e-3) / recipe.warmup_epochs
    if recipe.schedule == "cosine":
        done = (epoch - recipe.warmup_epochs) / max(recipe.epochs - recipe.warmup_epochs, 1e-9)
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    if recipe.schedule == "steps":
        return recipe.lr * recipe.lr_drop_factor ** sum(epoch >= drop for drop in recipe.lr_drops)
    return recipe.lr


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set every group's learning rate to `rate` times the group's factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Update the exponential moving average: a <- a + (1 - d) (w - a), d = average_decay(decay, step).

    Buffers are copied.
    """
    weight = 1 - average_decay(decay, step)
    torch._foreach_lerp_(_list(average.parameters()), _list(network.parameters()), weight)
    copy_buffers(average, network)


def average_decay(decay: float, step: int) -> float:
    """min(decay, (1 + step) / (10 + step)), which keeps the random initial weights out of the average."""
    return min(decay, (1 + step) / (10 + step))


def copy_buffers(average: nn.Module, network: nn.Module) -> None:
    """Give the average the network's running statistics."""
    for mine, theirs in zip(average.buffers(), network.buffers(), strict=True):
        mine.copy_(theirs)


def _list(tensors: Iterable[Tensor]) -> list[Tensor]:
    return list(tensors)
