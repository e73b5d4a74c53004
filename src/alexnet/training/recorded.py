"""A step's work on a GPU, recorded as a CUDA graph and asked for by one call.

A step of a network of a few layers is some hundred operations, which Python hands to the GPU more slowly than the GPU
computes them. The first steps of each image size are taken as they are; then one is recorded, and repeated with the
images of each later step. What changes from step to step lies in the GPU's memory: images, targets, the optimiser's
numbers (`alexnet.training.launched`) and the seed of dropout, which torch sends before each replay. ALEXNET_GRAPHS=off
turns it off.
"""

import logging
import os
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from alexnet.training.launched import Launched

VARIABLE = "ALEXNET_GRAPHS"
USUAL = 2  # steps of an image size before one is recorded: libraries choose their algorithms, kernels are compiled
Work = Callable[[Tensor, Tensor], Tensor]

logger = logging.getLogger(__name__)


class Graph(Protocol):
    """Recorded work."""

    def replay(self) -> None:
        """Do it again, from and to the same memory."""


Record = Callable[[Callable[[], Tensor]], tuple[Graph, Tensor]]
"""Record what a function does on the GPU, without doing it: the graph, and the tensor that a replay fills."""


def record(function: Callable[[], Tensor]) -> tuple[Graph, Tensor]:
    """Record a function's work on the current CUDA device.

    Other threads go on preparing batches meanwhile: only what this one does, and the backward pass, is recorded.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = function()
    return graph, result


def records(device: torch.device, optimizer: torch.optim.Optimizer, ranks: int) -> bool:
    """Whether steps can be recorded: on one GPU, by an optimiser whose numbers lie there."""
    return (
        device.type == "cuda" and ranks == 1 and isinstance(optimizer, Launched) and os.environ.get(VARIABLE) != "off"
    )


class Recorded:
    """Work that is repeated from a recording where one fits; a function of images and targets.

    work: the GPU's part of a step. optimizer: already prepared for the step when this is called. forget: called once
    recording is over, to drop what points into the graph's memory, such as gradients. Of one image size at a time a
    recording is kept: training sizes only grow.
    """

    def __init__(self, work: Work, optimizer: Launched, forget: Callable[[], None], record: Record = record) -> None:
        self._work, self._optimizer, self._forget, self._record = work, optimizer, forget, record
        self._key: Any = None
        self._usual = 0  # steps taken as they are with this key
        self._failed = False
        self._inputs: tuple[Tensor, Tensor] | None = None
        self._graph: tuple[Graph, Tensor] | None = None

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        """images (N, 3, H, W), targets (N, K) -> what `work` gives of them, not waited for."""
        self._follow(images, targets)
        if self._failed or self._usual < USUAL or not self._recorded(images, targets):
            self._usual += 1
            return self._work(images, targets)
        assert self._inputs is not None
        assert self._graph is not None
        for here, given in zip(self._inputs, (images, targets), strict=True):
            here.copy_(given)
        self._graph[0].replay()
        self._optimizer.replayed()
        return self._graph[1].clone()  # the next replay writes there again

    def _follow(self, images: Tensor, targets: Tensor) -> None:
        """Begin anew where the images are of another size or the optimiser's tensors are others."""
        key = (images.shape, images.stride(), images.dtype, targets.shape, self._optimizer.generation)
        if key != self._key:
            self._key, self._usual, self._graph, self._inputs = key, 0, None, None

    def _recorded(self, images: Tensor, targets: Tensor) -> bool:
        """Whether there is a recording, made now where there is none."""
        if self._graph is None:
            self._inputs = (images.clone(), targets.clone())
            work, inputs = self._work, self._inputs
            try:
                self._graph = self._record(lambda: work(*inputs))
            except RuntimeError as error:
                reason = " ".join(str(error).split())[:200]
                logger.warning("steps are not recorded as a CUDA graph, which makes small batches slower: %s", reason)
                self._failed, self._inputs = True, None
                self._optimizer.unrecorded()
            self._forget()
            if self._graph is not None:
                self._optimizer.settle()
        return self._graph is not None
