"""The state of an optimizer that several processes share, made whole for a checkpoint and taken apart after one.

A checkpoint holds whole tensors, as one process writes them, so that a run goes on with any number of processes.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from alexnet.processes.together import Together
from alexnet.training.shares import Shares, flat


def gather_optimizer(
    whole: torch.optim.Optimizer, local: torch.optim.Optimizer, shares: Sequence[Shares], together: Together
) -> None:
    """Fill the first process's `whole`, of all parameters, from the state that each `local` has of its pieces."""
    for each in shares:
        known = _known(each, local, together)
        for key in sorted({key for keys in known.values() for key, value in keys.items() if value is None}):
            memory = _gathered(each, local, key)
            for index, keys in known.items():
                if key in keys and together.first:
                    whole.state[each.tensors[index]][key] = each.view(memory, index).clone()
        for index, keys in known.items() if together.first else ():
            numbers = {key: torch.tensor(value) for key, value in keys.items() if value is not None}
            whole.state[each.tensors[index]] |= numbers


def _known(shares: Shares, local: torch.optim.Optimizer, together: Together) -> dict[int, dict[str, Any]]:
    """Tensor -> the names of its state, with the value of what is one number for all of it, None for the rest."""
    mine = {
        piece.index: {
            key: None if value.numel() == piece.values.numel() and value.ndim else value.item()
            for key, value in local.state.get(piece.values, {}).items()
            if isinstance(value, Tensor)
        }
        for piece in shares.pieces
    }
    found: dict[int, dict[str, Any]] = {}
    for told in together.told(mine):
        found |= {int(index): keys for index, keys in told.items()}
    return found


def _gathered(shares: Shares, local: torch.optim.Optimizer, key: str) -> Tensor:
    """Memory laid out like the master with the state of this name of all processes."""
    memory = torch.zeros_like(shares.master)
    for piece in shares.pieces:
        if (value := local.state.get(piece.values, {}).get(key)) is not None:
            memory[piece.place] = flat(value)
    shares.gather(memory, "state")
    return memory


def scatter_optimizer(whole: torch.optim.Optimizer, local: torch.optim.Optimizer, shares: Sequence[Shares]) -> None:
    """Give `local` its pieces of the state in `whole`; nothing where that has none."""
    for each in shares:
        for piece in each.pieces:
            tensor = each.tensors[piece.index]
            if tensor in whole.state:
                local.state[piece.values] = {
                    key: (piece.of(value) if value.shape == tensor.shape else value).clone()
                    for key, value in whole.state[tensor].items()
                }
