"""Training by several processes, applied from outside: the network, the loop and the task are those of one process.

`divide` replaces, in the state of a run, the loader by one that takes this process's images, and the working weights
by `ParallelWeights`, which compute with a replica of the network whose layers exchange what they must, and share the
optimizer's work (`alexnet.training.shares`).

    data    every process has the whole network and a part of the batch. Gradients are summed into shares, each process
            updates its own, and the weights are gathered.
    owt     one weird trick (Krizhevsky 2014): convolutions as in `data`; of each dense layer a process has some of the
            units, of all images. Instead of the dense layers' weights, activations are sent.

Batch, samples, mixing partners and dropout masks are those of one process.
"""

import dataclasses

from alexnet.errors import UsageError
from alexnet.networks.layers import Network
from alexnet.processes.together import Together
from alexnet.training.replica import ParallelWeights
from alexnet.training.settings import Recipe
from alexnet.training.splitting import split_layers
from alexnet.training.task import State


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
        raise UsageError("--parallel owt splits matrices that muon needs whole; take --parallel data, or sgd")
    if not split_layers(network, ranks):
        raise UsageError(
            f"--parallel owt: no dense layer of {recipe.network} divides its units among {ranks} processes; "
            "take --parallel data"
        )
