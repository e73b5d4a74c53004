"""Optimisers whose step is a launch: taken on GPUs where they work, and never elsewhere.

What they compute: `tests/ops/triton`, in Triton's interpreter.
"""

import pytest
import torch

from alexnet.networks import create
from alexnet.ops.gpu_views import renders
from alexnet.training.launched import Launched, trusted
from alexnet.training.optimizer import build_optimizer
from alexnet.training.recipes import recipe
from device_parts.comparisons import relative
from device_parts.launches import RULES, stepped

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_processors_and_machines_without_a_gpu_do_without() -> None:
    assert not trusted(CPU)
    assert not renders(CPU, torch.float32)
    assert torch.cuda.is_available() or not (trusted(CUDA) or renders(CUDA, torch.float32))
    assert not isinstance(build_optimizer(create("modern", 3, 64), recipe("modern")), Launched)


@pytest.mark.cuda
@pytest.mark.parametrize("rule", RULES)
def test_a_gpu_takes_the_processors_steps(rule: str) -> None:
    assert trusted(CUDA)
    weights = []
    for place in (CPU, CUDA):
        torch.manual_seed(0)
        network = create("modern", 10, 64).to(device=place, memory_format=torch.channels_last)
        weights.append(stepped(network, recipe("modern", optimizer=rule, device=place.type)))
    right, found = (torch.cat([each.cpu().flatten() for each in every]) for every in weights)
    assert relative(found, right) <= (1e-3 if rule == "muon" else 1e-6)
