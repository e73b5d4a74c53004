"""The optimisers on a GPU: a step is one launch a rule, whatever the number of tensors.

`prepare` is the processor's part of a step: the counters, and the numbers of the rules, sent to the GPU. `launch` is
the GPU's part, which a CUDA graph records once and repeats, as it reads the numbers from the GPU's memory. `step` does
both, or `launch` alone where `prepare` went before. The state is that of the same optimiser on a processor, by the same
names, so that a run goes on on either.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from alexnet.device import has_bfloat16, kind_of
from alexnet.ops import triton
from alexnet.ops.update import momentum_step
from alexnet.training.optimizer import (
    Adam,
    Momentum,
    Muon,
    as_matrices,
    evaluated,
    from_matrices,
    orthogonalize_alike,
    stretch,
)

if TYPE_CHECKING:
    from alexnet.ops.triton.update import Launch, Numbers, Tensors

logger = logging.getLogger(__name__)


class Job(NamedTuple):
    """One weight of a launch."""

    weight: Tensor
    tensors: "Tensors"
    numbers: "Numbers"


Plan = dict[str, list[Job]]  # by rule


class Launched(torch.optim.Optimizer):
    """What the three have in common; `_plan` tells them apart."""

    copies: Mapping[Tensor, Tensor] = MappingProxyType({})
    averages: Mapping[Tensor, Tensor] = MappingProxyType({})
    """Weight -> its moving average, which each step moves by the share `follow` towards the new weight."""
    follow = 0.0
    generation = 0
    """Counts how often the tensors of the launches became others: what was recorded before must not be repeated."""
    _launches: Mapping[str, "Launch"] = MappingProxyType({})
    _weights: Mapping[str, list[Tensor]] = MappingProxyType({})
    _ready = False

    def _plan(self) -> Plan:
        """Every weight under its rule, with the numbers of the next step; counts the step."""
        raise NotImplementedError

    @torch.no_grad()
    def prepare(self) -> None:
        """Count the step and send its numbers, such as each group's "lr" at this moment; waits for nothing."""
        plan = {rule: jobs for rule, jobs in self._plan().items() if jobs}
        self._lay_out(plan)
        for rule, jobs in plan.items():
            self._launches[rule].set([job.numbers for job in jobs])
        self._ready = True

    def _lay_out(self, plan: Plan) -> None:
        """Make the launches, anew where a tensor lies elsewhere than in the step before."""
        from alexnet.ops.triton.update import Launch, places_of

        given = {rule: [job.tensors for job in jobs] for rule, jobs in plan.items()}
        if {rule: launch.places for rule, launch in self._launches.items()} == {
            rule: places_of(tensors) for rule, tensors in given.items()
        }:
            return
        self._launches = {rule: Launch(rule, tensors) for rule, tensors in given.items()}
        self._weights = {rule: [job.weight for job in jobs] for rule, jobs in plan.items()}
        self.generation += 1

    @torch.no_grad()
    def launch(self) -> None:
        """Update each weight that has a gradient."""
        for rule in self._launches:
            self._launch(rule)

    def _launch(self, rule: str) -> None:
        self._launches[rule]([weight.grad for weight in self._weights[rule]])

    def settle(self) -> None:
        """After a CUDA graph recorded `launch`, before it is replayed."""
        for launch in self._launches.values():
            launch.settle()

    def unrecorded(self) -> None:
        """After a CUDA graph could not record `launch`: what was prepared is still to be launched."""
        self._ready = True

    def replayed(self) -> None:
        """After a CUDA graph took the place of `launch`."""
        self._ready = False

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step from the gradients that are there."""
        loss = evaluated(closure)
        if not self._ready:
            self.prepare()
        self.launch()
        self._ready = False
        return loss

    def _followed(self, weight: Tensor, **tensors: Tensor) -> "Tensors":
        """A weight that gets a new value, with its copy and its average."""
        from alexnet.ops.triton.update import Tensors

        return Tensors(weight, copy=self.copies.get(weight), average=self.averages.get(weight), **tensors)


class LaunchedMomentum(Launched, Momentum):
    """`Momentum`."""

    def _plan(self) -> Plan:
        from alexnet.ops.triton.update import Numbers

        jobs = []
        for weight, group in _each(self):
            state = self.state[weight]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(weight)
            numbers = Numbers(group["lr"], group["momentum"], decay=group["weight_decay"], follow=self.follow)
            jobs.append(Job(weight, self._followed(weight, m=state["momentum_buffer"]), numbers))
        return {self.rule: jobs}


class LaunchedAdam(Launched, Adam):
    """`Adam`, decoupled or not."""

    def _plan(self) -> Plan:
        jobs = [self._job(weight, group) for weight, group in _each(self)]
        return {"adam": jobs}

    def _job(self, weight: Tensor, group: dict[str, Any]) -> Job:
        state = self.state[weight]
        if not state:
            state |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(weight)}
            state["exp_avg_sq"] = torch.zeros_like(weight)
        numbers = adam_numbers(state, group, self.decoupled, self.follow)
        return Job(weight, self._followed(weight, m=state["exp_avg"], s=state["exp_avg_sq"]), numbers)


class LaunchedMuon(Launched, Muon):
    """`Muon`: mean gradients of all hidden weights, the others' AdamW, the directions, the moves."""

    _ahead: Mapping[Tensor, Tensor] = MappingProxyType({})  # hidden weight -> its momentum, looking ahead

    def _plan(self) -> Plan:
        hidden = [(weight, group) for weight, group in _each(self) if group["hidden"]]
        others = [(weight, group) for weight, group in _each(self) if not group["hidden"]]
        if {id(weight) for weight, _ in hidden} != {id(weight) for weight in self._ahead}:
            self._ahead = {weight: _multiplied(weight) for weight, _ in hidden}
        return {
            "ahead": [self._mean(weight, group) for weight, group in hidden],
            "adam": [self._adamw(weight, group) for weight, group in others],
            "move": [self._moved(weight, group) for weight, group in hidden],
        }

    def _mean(self, weight: Tensor, group: dict[str, Any]) -> Job:
        from alexnet.ops.triton.update import Numbers, Tensors

        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        return Job(weight, Tensors(state["momentum"], copy=self._ahead[weight]), Numbers(momentum=group["momentum"]))

    def _adamw(self, weight: Tensor, group: dict[str, Any]) -> Job:
        state = self.state[weight]
        if not state:
            state |= {"step": torch.zeros(()), "mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}
        numbers = adam_numbers(state, group, True, self.follow)
        return Job(weight, self._followed(weight, m=state["mean"], s=state["square"]), numbers)

    def _moved(self, weight: Tensor, group: dict[str, Any]) -> Job:
        from alexnet.ops.triton.update import Numbers

        rate = group["lr"] * stretch(as_matrices(weight, self.towers.get(weight, 1)))
        shrink = 1 - group["lr"] * group["weight_decay"]
        return Job(weight, self._followed(weight), Numbers(rate, shrink=shrink, follow=self.follow))

    @torch.no_grad()
    def launch(self) -> None:
        """Update each weight; every hidden one must have a gradient."""
        for rule in ("ahead", "adam"):
            if rule in self._launches:
                self._launch(rule)
        if "move" in self._launches:
            weights = self._weights["move"]
            matrices = [as_matrices(self._ahead[weight], self.towers.get(weight, 1)) for weight in weights]
            found = zip(orthogonalize_alike(matrices), weights, strict=True)
            self._launches["move"]([from_matrices(each, weight) for each, weight in found])


def adam_numbers(state: dict[str, Any], group: dict[str, Any], decoupled: bool, follow: float) -> "Numbers":
    """Count a step of Adam, and give its numbers: see `alexnet.ops.update.adam_step`."""
    from alexnet.ops.triton.update import Numbers

    state["step"] += 1
    step, rate, decay, (beta1, beta2) = int(state["step"]), group["lr"], group["weight_decay"], group["betas"]
    within, shrink = (0.0, 1 - rate * decay) if decoupled else (decay, 1.0)
    unbias = (1 / (1 - beta1**step), 1 / (1 - beta2**step))
    return Numbers(rate, beta1, beta2, group["eps"], within, shrink, *unbias, follow)


def _each(optimizer: torch.optim.Optimizer) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    for group in optimizer.param_groups:
        for weight in group["params"]:
            yield weight, group


def _multiplied(weight: Tensor) -> Tensor:
    """Room for a weight's direction, in the type in which the device multiplies matrices."""
    return torch.empty_like(weight, dtype=torch.bfloat16 if has_bfloat16(weight.device) else torch.float32)


def trusted(device: torch.device) -> bool:
    """Whether steps on this device are launches: it has Triton, and one step there equals the formula.

    What does not hold is said once; then torch's own optimisers take the steps. The meta device may stand for a GPU.
    """
    if device.type == "meta":
        stands = kind_of(torch.empty(0, device=device)) == "cuda"
        return stands and triton.usable(device) and find_spec("triton") is not None
    return device.type == "cuda" and _trusted(device)


@cache
def _trusted(device: torch.device) -> bool:
    if not (torch.cuda.is_available() and triton.usable(device)):
        return False
    try:
        error = _error(device)
    except Exception as failure:  # a compiler that is missing, a driver that is too old
        reason = f"{type(failure).__name__}: {' '.join(str(failure).split())[:200]}"
    else:
        if error <= 1e-6:
            return True
        reason = f"its result differs from the formula by {error:.2g}"
    logger.warning("the optimiser's kernel for %s is not used: %s; torch's optimisers are", device, reason)
    return False


def _error(device: torch.device) -> float:
    """The largest difference that one step of 5,000 weights makes to the formula's, which are about 1."""
    w = torch.linspace(-1, 1, 5000)
    g = w.roll(1000)
    there = torch.nn.Parameter(w.to(device, copy=True))
    there.grad = g.to(device)
    LaunchedMomentum([there], 0.1, 0.9, 0.01, rule="nesterov").step()
    momentum_step(w, torch.zeros_like(w), g, None, "nesterov", 0.1, 0.9, 0.01)
    return float((there.detach().cpu() - w).abs().max())
