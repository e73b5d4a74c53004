"""Batches that are prepared in the processor's memory, carried to a GPU one ahead of the step that takes them.

While the GPU computes step n, its copy engine fetches the batch of step n + 1, in a stream of its own.
"""

from collections import deque
from collections.abc import Generator
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from alexnet.ops.gpu_views import over_tensors

B = TypeVar("B")
"""What is carried: a record of tensors, and of records of them."""
AHEAD = 2  # batches under way before the processor waits for the GPU, so that neither runs far ahead of the other


class Carrier(Protocol):
    """What brings a batch to a device."""

    def send(self, batch: B) -> B:
        """Begin to copy; the batch on the device, which nothing may read before it is received."""

    def receive(self) -> None:
        """Let the device's further work wait for the oldest batch that was sent and not received."""


class GpuCarrier:
    """Copies into memory of the stream that computes, in a second stream.

    The copy waits for what was asked of the first stream before: the new memory may have been a tensor of that work.
    The first stream waits for the copy before it goes on to what it is asked after `receive`, and so to any later use
    of the memory. A batch's pinned memory is torch's, which gives it to nothing else before the copy is over.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._sent: deque[torch.cuda.Event] = deque()
        self._under_way: deque[torch.cuda.Event] = deque()

    def send(self, batch: B) -> B:
        """Begin to copy; waits for an earlier copy where more than AHEAD are under way."""
        if len(self._under_way) > AHEAD:
            self._under_way.popleft().synchronize()
        device = self._stream.device
        copies: list[tuple[Tensor, Tensor]] = []

        def placed(tensor: Tensor) -> Tensor:
            copies.append((torch.empty_like(tensor, device=device), tensor))
            return copies[-1][0]

        there = over_tensors(batch, placed)
        self._stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(self._stream):
            for copy, tensor in copies:
                copy.copy_(tensor, non_blocking=True)
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        done.record(self._stream)
        self._sent.append(done)
        self._under_way.append(done)
        return there

    def receive(self) -> None:
        """Let the stream that computes wait for the oldest copy that it has not waited for."""
        torch.cuda.current_stream(self._stream.device).wait_event(self._sent.popleft())


def carried(batches: Generator[B], carrier: Carrier) -> Generator[B]:
    """The batches, on the carrier's device, each sent while the one before is computed with, the first at once.

    Every batch that was sent is received, even where nobody takes it, for its memory is used again.
    """
    sent: deque[B] = deque()
    first = True
    try:
        for batch in batches:
            sent.append(carrier.send(batch))
            if len(sent) > 1 or first:
                first = False
                carrier.receive()
                yield sent.popleft()
        while sent:
            carrier.receive()
            yield sent.popleft()
    finally:
        for _ in sent:
            carrier.receive()
        batches.close()
