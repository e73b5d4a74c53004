"""What the GPU computes is what the processor computes; and the comparisons themselves find what is wrong."""

from pathlib import Path

import pytest
import torch

from alexnet.networks import list_networks
from alexnet.ops import LocalResponseNorm
from device_parts import comparisons
from device_parts.convolutions import LAYERS, LIMIT, errors

TYPES = tuple(comparisons.LIMITS)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> str:
    return comparisons.store(tmp_path_factory.mktemp("data"))


@pytest.mark.cuda
@pytest.mark.parametrize("name", list_networks())
def test_a_network_on_the_gpu_is_the_one_on_the_processor(name: str) -> None:
    for dtype, found in comparisons.network_errors(name, "cuda").items():
        assert comparisons.within(found, comparisons.network_limits(name, dtype))


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", comparisons.NORMS)
def test_normalisation_on_the_gpu_is_the_formula(name: str, dtype: torch.dtype) -> None:
    assert max(comparisons.norm_errors(comparisons.NORMS[name], "cuda", dtype)) <= comparisons.NORM_LIMITS[dtype]


@pytest.mark.cuda
@pytest.mark.parametrize("optimizer", comparisons.LOSS_LIMITS)
def test_training_on_the_gpu_has_the_losses_of_the_processor(packed: str, optimizer: str) -> None:
    found, right = (comparisons.losses(packed, device, optimizer) for device in ("cuda", "cpu"))
    assert comparisons.largest_difference(found, right) <= comparisons.LOSS_LIMITS[optimizer]


@pytest.mark.cuda
@pytest.mark.parametrize("network", ["modern", "bvlc"])
def test_a_resumed_run_on_the_gpu_is_the_unbroken_one_to_the_bit(packed: str, network: str, tmp_path: Path) -> None:
    differing, _ = comparisons.resumed_otherwise(packed, "cuda", network, tmp_path)
    assert differing == []


@pytest.mark.cuda
def test_the_synchronisations_of_a_step_are_counted(packed: str) -> None:
    run = comparisons.short_run(packed, "cuda")
    places = comparisons.synchronisations(run)
    assert all(place.rpartition(":")[2].isdigit() for place in places)


def test_float32_on_the_processor_is_within_the_limits() -> None:
    found = comparisons.network_errors("cifar-80sec", "cpu")
    for dtype, each in found.items():
        assert comparisons.within(each, comparisons.network_limits("cifar-80sec", dtype))
    assert not comparisons.within((0.0, 1.0), comparisons.network_limits("cifar-80sec", torch.bfloat16))
    assert max(found[torch.float32]) < min(found[torch.bfloat16])  # the errors tell the types apart


def test_a_normalisation_with_a_wrong_constant_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    norm = comparisons.NORMS["Caffe, between channels"]
    right = norm.forward
    wrong = LocalResponseNorm(norm.size, norm.alpha, norm.beta, k=1.1)
    assert max(comparisons.norm_errors(norm, "cpu", torch.float32)) <= comparisons.NORM_LIMITS[torch.float32]
    monkeypatch.setattr(norm, "forward", lambda x: right(x) if x.dtype == torch.float64 else wrong(x))
    assert max(comparisons.norm_errors(norm, "cpu", torch.float32)) > comparisons.NORM_LIMITS[torch.bfloat16]


def test_a_resume_that_forgets_the_optimiser_is_found(
    packed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert comparisons.resumed_otherwise(packed, "cpu", "cifar-19pct", tmp_path / "right") == ([], [])
    load = comparisons.load_checkpoint
    monkeypatch.setattr(
        comparisons,
        "load_checkpoint",
        lambda folder, network, average, _: load(
            folder, network, average, comparisons.short_run(packed, "cpu", "cifar-19pct").state.optimizer
        ),
    )
    assert comparisons.resumed_otherwise(packed, "cpu", "cifar-19pct", tmp_path / "wrong")[0] != []


@pytest.mark.parametrize("name", LAYERS)
def test_the_forms_of_a_convolution_give_the_same_maps_and_gradients(name: str) -> None:
    assert max(errors(LAYERS[name], "cpu").values()) <= LIMIT
