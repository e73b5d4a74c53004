"""What the steps of an epoch came to, read from the device now and then.

Reading a number from a GPU waits until all that was asked of it before is computed, and then it has nothing to do. So
the numbers of several steps are read at once there; on the processor, which has nothing to wait for, each at once.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

EVERY = 32  # steps between two readings of a GPU: some tenths of a second, by which the progress bar lags


def interval(device: torch.device) -> int:
    """Steps whose numbers are read together from this device."""
    return 1 if device.type == "cpu" else EVERY


class Readings:
    """The numbers of steps, in their order.

    told: makes a step's loss and score of its numbers, its epoch and its number, or raises Diverged (`Task.told`).
    every: steps that are read together.
    """

    def __init__(self, told: Callable[[Sequence[float], int, int], tuple[float, float]], every: int) -> None:
        self._told, self._every = told, every
        self._waiting: list[tuple[Tensor, int, int]] = []

    def add(self, numbers: Tensor, epoch: int, step: int) -> list[tuple[float, float]]:
        """Take a step's numbers, (n,) on any device. Returns what was read: pairs of loss and score, maybe none."""
        self._waiting.append((numbers, epoch, step))
        return self.read() if len(self._waiting) >= self._every else []

    def read(self) -> list[tuple[float, float]]:
        """Everything that was not read before; Diverged for the first step that is not finite."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return []
        rows = torch.stack([numbers for numbers, _, _ in waiting]).tolist()
        return [self._told(row, epoch, step) for row, (_, epoch, step) in zip(rows, waiting, strict=True)]
