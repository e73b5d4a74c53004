"""tools/traffic.py: what a training step on a GPU launches and moves, counted on shapes alone."""

import pytest
import torch
from torch import Tensor

from traffic import Counting, Traffic, bytes_of, counted, held, table


def of(function: object, *tensors: Tensor) -> Traffic:
    traffic = Traffic()
    with Counting(traffic):
        function(*tensors)  # type: ignore[operator]
    return traffic


def test_an_operator_counts_its_tensors_once_and_views_nothing() -> None:
    x = torch.empty(8, 4, device="meta")
    assert of(lambda a: a + a, x).to_json() == {"operations": 1, "bytes": 2 * 128}
    assert of(lambda a: a.t().view(2, 2, 8), x).to_json() == {"operations": 0, "bytes": 0}
    assert of(lambda a: torch.empty_like(a), x).to_json() == {"operations": 0, "bytes": 0}
    assert of(lambda a: a.mul_(2), x).to_json() == {"operations": 1, "bytes": 2 * 128}
    assert of(lambda a: a.copy_(torch.empty(8, 4, device="meta")), x).to_json()["bytes"] == 2 * 128


def test_what_is_expanded_counts_as_it_lies_in_memory() -> None:
    assert held(torch.empty(1, 4, device="meta").expand(8, 4)) == 16
    assert bytes_of([torch.empty(3, device="meta"), {"other": torch.empty(2, dtype=torch.uint8)}]) == 14


def test_kernels_move_a_fraction_of_what_plain_torch_moves() -> None:
    with_kernels, plain = (counted("bvlc", 2, kernels) for kernels in (True, False))
    stages = [key for key in with_kernels.moved if key[1].startswith(("lrn_pool", "pool_lrn"))]
    assert {phase for phase, _ in stages} == {"forward", "backward"}
    assert not any(key[1].startswith(("lrn_pool", "pool_lrn")) for key in plain.moved)
    assert with_kernels.to_json()["operations"] < plain.to_json()["operations"]


def test_a_step_of_bvlc_stays_within_its_mark_but_for_conversions_and_the_optimizer() -> None:
    found = counted("bvlc", 128)
    assert list(table(found))[-1].startswith("a step")
    own = [key for key in found.moved if key[0] != "optimizer" and key[1] != "_to_copy"]
    assert sum(found.moved[key] for key in own) <= 3.5e9 - 1.22e9  # what an optimizer in one launch moves
    assert sum(found.operations[key] for key in own) <= 69


def test_a_whole_step_of_bvlc_stays_within_its_mark() -> None:
    pytest.importorskip("triton")
    found = counted("bvlc", 128).to_json()
    assert found["bytes"] <= 3.5e9
    assert found["operations"] <= 70
