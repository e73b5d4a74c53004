"""Training by several processes, applied from outside: the network, the loop and the task are those of one process.

`divide` replaces, in the state of a run, the loader by one that takes this process's images, and the working weights
by `ParallelWeights`, which compute with a replica of the network whose layers exchange what they must, and share the optimizer's work (`alexnet.training.shares`).

    data    every process has the whole network and a part of the batch. Gradients are summed into shares, each process
            updates its own, and the weights are gathered.
    owt     one weird trick (Krizhevsky 2014): convolutions as in `data`; of each dense layer a process has some of the
            units, of all images. Instead of the dense layers' weights, activations are sent.

Batch, samples, mixing partners and dropout masks are those of one process.
"""

import dataclasses

from torch import nn

from alexnet.errors import UsageError
from alexnet.networks.layers import Network
from alexnet.training.replica import ParallelWeights
from alexnet.training.settings import Recipe
from alexnet.training.task import State
from alexnet.training.together import Together

ELEMENTWISE = (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Identity, nn.Dropout, nn.BatchNorm1d)
"""Layers that compute each unit by itself, so that they may stand between two dense layers that are split."""


def divide(state: State, together: Together) -> None:
    """Let several processes take the steps of a run that was built for one; nothing for one process.

    UsageError for a batch that they cannot share and for `owt` where it divides nothing.
    """
    if together.ranks == 1:
        return
    state.together = together
    state.loader = dataclasses.replace(state.loader, rank=together.rank, ranks=together.ranks)
    check_division(state.network, state.recipe, together.ranks)
    split = split_layers(state.network, together.ranks) if state.recipe.parallel == "owt" else {}
    state.working = ParallelWeights(state, together, split)


def check_division(network: Network, recipe: Recipe, ranks: int) -> None:
    """UsageError for one weird trick where it divides nothing, or with a rule that needs whole matrices."""
    if ranks == 1 or recipe.parallel != "owt":
        return
    if recipe.optimizer == "muon":
        raise UsageError("--parallel owt splits matrices that muon needs whole; take --parallel data or --optimizer sgd")
    if not split_layers(network, ranks):
        raise UsageError(
            f"--parallel owt: no dense layer of {recipe.network} divides its units among {ranks} processes; "
            "take --parallel data"
        )


def split_layers(network: Network, ranks: int) -> dict[str, str]:
    """The layers that one weird trick splits among the processes, by path in the network: dense layers "rows" or
    "columns" as their input lies, all others "columns".

    A dense layer is split where its units divide; its output stays in columns where only layers follow that compute
    each unit by itself, up to another one that is split.
    """
    stages = [stage for _, stage in network.stages()]
    dense = [place for place, stage in enumerate(stages) if isinstance(stage, nn.Linear)]
    found: dict[int, str] = {}
    columns = False
    for place, after in zip(dense, [*dense[1:], None], strict=True):
        split = _splits(stages[place], ranks)
        if split:
            found[id(stages[place])] = "columns" if columns else "rows"
        between = stages[place + 1 : after]
        columns = split and after is not None and _splits(stages[after], ranks) and _by_unit(between)
        if columns:
            found |= {id(stage): "columns" for stage in between}
    return {path: found[id(module)] for path, module in network.named_modules() if id(module) in found}


def _by_unit(stages: list[nn.Module]) -> bool:
    trained = all(each.requires_grad for stage in stages for each in stage.parameters())
    return trained and all(isinstance(stage, ELEMENTWISE) for stage in stages)


def _splits(stage: nn.Module, ranks: int) -> bool:
    trained = all(each.requires_grad for each in stage.parameters())
    return isinstance(stage, nn.Linear) and stage.out_features % ranks == 0 and trained
