"""Steps that are recorded and repeated: with their own inputs, and as they are where recording fails.

What a GPU replays is compared by `tools/device.py`, what the kernels of a repeated step compute by `tests/ops/triton`.
"""

import logging
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from alexnet.training.launched import Launched
from alexnet.training.recorded import USUAL, Recorded, records

WEIGHT = torch.nn.Parameter(torch.ones(3))


class Noting(Launched):
    """An optimiser that notes what is asked of it."""

    def __init__(self) -> None:
        super().__init__([WEIGHT], {})
        self.notes: list[str] = []

    def settle(self) -> None:
        self.notes.append("settle")

    def replayed(self) -> None:
        self.notes.append("replayed")

    def unrecorded(self) -> None:
        self.notes.append("unrecorded")


class Played:
    """Does again what was recorded."""

    def __init__(self, function: Callable[[], Tensor], result: Tensor) -> None:
        self._function, self._result = function, result

    def replay(self) -> None:
        self._result.copy_(self._function())


def record(function: Callable[[], Tensor]) -> tuple[Played, Tensor]:
    result = torch.empty(2)
    return Played(function, result), result


def work(images: Tensor, targets: Tensor) -> Tensor:
    return torch.stack([images.sum(), targets.sum()])


def inputs(number: int, size: int = 4) -> tuple[Tensor, Tensor]:
    return torch.full((2, 3, size, size), float(number)), torch.full((2, 5), float(number))


def test_every_step_gets_its_own_inputs_and_keeps_its_own_result() -> None:
    optimizer = Noting()
    recorded = Recorded(work, optimizer, lambda: optimizer.notes.append("forget"), record)
    found = [recorded(*inputs(number)) for number in range(USUAL + 3)]
    assert all(torch.equal(each, work(*inputs(number))) for number, each in enumerate(found))
    assert optimizer.notes == ["forget", "settle", *["replayed"] * 3]


def test_another_size_and_other_tensors_of_the_optimiser_are_recorded_anew() -> None:
    optimizer = Noting()
    recorded = Recorded(work, optimizer, lambda: None, record)
    for size, generation in ((4, 1), (8, 1), (8, 2)):
        optimizer.generation = generation
        for number in range(USUAL + 1):
            assert torch.equal(recorded(*inputs(number, size)), work(*inputs(number, size)))
    assert optimizer.notes == ["settle", "replayed"] * 3


def test_what_cannot_be_recorded_is_computed_as_it_is_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    def fails(function: Callable[[], Tensor]) -> tuple[Played, Tensor]:
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    optimizer = Noting()
    recorded = Recorded(work, optimizer, lambda: None, fails)
    with caplog.at_level(logging.WARNING):
        for number in range(USUAL + 3):
            assert torch.equal(recorded(*inputs(number)), work(*inputs(number)))
    (line,) = caplog.messages
    assert line.endswith("operation not permitted when stream is capturing")
    assert optimizer.notes == ["unrecorded"]


def test_a_processor_an_optimiser_of_torch_and_several_processes_record_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda, ours = torch.device("cuda"), Noting()
    assert records(cuda, ours, 1)
    assert not records(torch.device("cpu"), ours, 1)
    assert not records(cuda, torch.optim.SGD([WEIGHT]), 1)
    assert not records(cuda, ours, 2)
    monkeypatch.setenv("ALEXNET_GRAPHS", "off")
    assert not records(cuda, ours, 1)
