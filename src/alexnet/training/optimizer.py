"""Optimisers, groups of parameters, the learning rate over time, and the moving average of weights."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from alexnet.training.recipes import Recipe


class Velocity(torch.optim.Optimizer):
    """Stochastic gradient descent with momentum as in 2012: the learning rate is inside the velocity.

        v <- momentum * v - lr * (gradient + weight_decay * w)
        w <- w + v

    Source: Krizhevsky et al. 2012, section 5, and cuda-convnet's weights.cu. torch.optim.SGD has the rate outside, so
    that after a drop of the rate it forgets the larger steps at once; here they fade over 1 / (1 - momentum) steps.
    """

    def __init__(self, params: Any, lr: float, momentum: float = 0.9, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step from the gradients that are there."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights: list[Tensor] = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            gradients: list[Tensor] = [weight.grad for weight in weights if weight.grad is not None]
            velocities = [self._velocity(weight) for weight in weights]
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, gradients, alpha=-group["lr"])
            torch._foreach_add_(velocities, weights, alpha=-group["lr"] * group["weight_decay"])
            torch._foreach_add_(weights, velocities)
        return loss

    def _velocity(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(weight)
        velocity: Tensor = state["velocity"]
        return velocity


def build_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over the network's parameters, in groups of their own rate and decay."""
    groups = parameter_groups(network, recipe)
    if recipe.optimizer == "velocity":
        return Velocity(groups, recipe.lr, recipe.momentum)
    if recipe.optimizer in ("sgd", "nesterov"):
        nesterov = recipe.optimizer == "nesterov"
        return torch.optim.SGD(groups, recipe.lr, recipe.momentum, nesterov=nesterov, fused=_can_fuse(network))
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, recipe.lr, betas=(recipe.momentum, 0.999), fused=_can_fuse(network))


def parameter_groups(network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Weights; the biases of convolutions and dense layers; the scales and shifts of normalisations.

    Each group has `factor`, its learning rate as a multiple of the schedule's, and its weight decay. A layer's bias is
    told from a normalisation's by the module that owns it.
    """
    weights: list[Tensor] = []
    biases: list[Tensor] = []
    scales: list[Tensor] = []
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            layer = isinstance(module, nn.Conv2d | nn.Linear)
            (weights if layer and name == "weight" else biases if layer else scales).append(parameter)
    light = recipe.weight_decay if recipe.decay_biases else 0.0
    groups = [
        {"params": weights, "weight_decay": recipe.weight_decay, "factor": 1.0},
        {"params": biases, "weight_decay": light, "factor": recipe.bias_lr_factor},
        {"params": scales, "weight_decay": light, "factor": 1.0},
    ]
    return [group for group in groups if group["params"]]


def _can_fuse(network: nn.Module) -> bool:
    return next(network.parameters()).device.type in ("cpu", "cuda")


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """The learning rate after `epoch` epochs, a fraction within an epoch included."""
    if epoch < recipe.warmup_epochs:
        return recipe.lr * (epoch + 1e-3) / recipe.warmup_epochs
    if recipe.schedule == "cosine":
        done = (epoch - recipe.warmup_epochs) / max(recipe.epochs - recipe.warmup_epochs, 1e-9)
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    if recipe.schedule == "steps":
        return recipe.lr * recipe.lr_drop_factor ** sum(epoch >= drop for drop in recipe.lr_drops)
    return recipe.lr


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its multiple of the rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move `average` towards `network`: a <- a + (1 - d) (w - a), d = min(decay, (1 + step) / (10 + step)).

    The smaller decay of the first steps keeps the random initial weights out of the average. Buffers are copied.
    """
    decay = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(_list(average.parameters()), _list(network.parameters()), 1 - decay)
    for mine, theirs in zip(average.buffers(), network.buffers(), strict=True):
        mine.copy_(theirs)


def _list(tensors: Iterable[Tensor]) -> list[Tensor]:
    return list(tensors)
