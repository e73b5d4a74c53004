"""What the GPU computes is what the processor computes; and the comparisons themselves find what is wrong."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from alexnet.networks import list_networks
from alexnet.ops import LocalResponseNorm, native
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
@pytest.mark.parametrize("name", comparisons.SHORT_RUNS)
def test_training_on_the_gpu_has_the_losses_of_the_processor(packed: str, name: str) -> None:
    run = comparisons.SHORT_RUNS[name]
    found, right = (comparisons.losses(packed, device, run) for device in ("cuda", "cpu"))
    assert comparisons.largest_difference(found, right) <= run.limit


@pytest.mark.cuda
@pytest.mark.parametrize("network", ["modern", "bvlc"])
def test_a_resumed_run_on_the_gpu_is_the_unbroken_one_to_the_bit(packed: str, network: str, tmp_path: Path) -> None:
    differing, _ = comparisons.resumed_otherwise(packed, "cuda", network, tmp_path)
    assert differing == []


@pytest.mark.cuda
@pytest.mark.parametrize("network", ["modern", "bvlc"])
def test_a_step_does_not_wait_for_the_gpu(packed: str, network: str) -> None:
    run = comparisons.short_run(packed, "cuda", network, precision="bfloat16")
    assert comparisons.synchronisations(run) == []


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


def test_losses_tell_a_wrong_rate_from_another_way_of_computing(packed: str) -> None:
    run = replace(comparisons.SHORT_RUNS["bvlc, nesterov"], network="cifar-80sec")  # a smaller one without BatchNorm
    right = comparisons.losses(packed, "cpu", run)
    with native.using("off"):
        assert comparisons.largest_difference(comparisons.losses(packed, "cpu", run), right) <= run.limit
    wrong = comparisons.losses(packed, "cpu", replace(run, rate=1.1 * run.rate))
    assert comparisons.largest_difference(wrong, right) > run.limit


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
    for maps, gradients, _ in errors(LAYERS[name], "cpu").values():
        assert max(maps, gradients) <= LIMIT
