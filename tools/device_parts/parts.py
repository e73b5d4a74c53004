"""The parts in the order of their worth: what is first is measured where time is short."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

OWN = (sys.executable, "-m", "device_parts")  # takes a part's name and the file of its result


@dataclass(frozen=True)
class Part:
    """Something to be checked or measured in a process of its own."""

    name: str
    limit: float  # seconds until it is ended
    about: str
    command: Sequence[str] = OWN


PARTS = (
    Part("operators", 120, "the native operators, compiled where they are missing"),
    Part("machine", 40, "what the machine is; rates of matrix products and of copies"),
    Part("correctness", 110, "networks, LRN, training and resuming beside the processor's; a step's synchronisations"),
    Part("kernels", 100, "the Triton kernels beside float64 and beside copies; steps with and without them"),
    Part("steps", 140, "training steps: ours and stock eager"),
    Part("launches", 120, "the optimiser's launches, views, CUDA graphs, images kept on the GPU"),
    Part("loop", 70, "training from the packed store, batches alone, evaluation, prediction"),
    Part("flowers17", 120, "the recipe modern, whole; needs a folder written by --prepare flowers17"),
    Part("tests", 90, "the tests that need CUDA"),
    Part("convolutions", 50, "forms of the first, second, fourth and fifth convolution of bvlc"),
    Part("compile", 120, "training steps of stock networks under torch.compile"),
)
