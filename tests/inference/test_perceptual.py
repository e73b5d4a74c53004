"""Perceptual distance: equal to the package lpips, with its own channel weights, as a value, a map and a gradient."""

import copy
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import alexnet
from alexnet.errors import Diverged, UsageError, WeightsError
from alexnet.inference.perceptual import PerceptualDistance, map_layers, perceptual_distance


@pytest.fixture(scope="module")
def theirs() -> Any:
    """lpips itself on a random backbone, with the channel weights that it ships."""
    lpips = pytest.importorskip("lpips")
    torch.manual_seed(0)
    with warnings.catch_warnings():  # lpips calls torchvision in a way that is deprecated
        warnings.simplefilter("ignore")
        return lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)


@pytest.fixture(scope="module")
def alex() -> Path:
    """lpips' own file of channel weights."""
    spec = find_spec("lpips")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("lpips is not installed")
    return Path(spec.submodule_search_locations[0], "weights", "v0.1", "alex.pth")


@pytest.fixture(scope="module")
def network(theirs: Any) -> torch.nn.Module:
    """Our network with the backbone of lpips."""
    own = alexnet.create("one_weird_trick", 2)
    slices = [theirs.net.slice1, theirs.net.slice2, theirs.net.slice3, theirs.net.slice4, theirs.net.slice5]
    for part in slices:
        for place, layer in part.named_children():
            if isinstance(layer, torch.nn.Conv2d):
                own.features[int(place)].load_state_dict(layer.state_dict())
    return own


@pytest.fixture(scope="module")
def ours(network: torch.nn.Module, alex: Path) -> PerceptualDistance:
    return PerceptualDistance(network, alex)


def pair(count: int, height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random images in 0..1 and the same with noise."""
    draw = torch.Generator().manual_seed(seed)
    one = torch.rand(count, 3, height, width, generator=draw)
    return one, (one + 0.2 * torch.randn(one.shape, generator=draw)).clamp(0, 1)


@pytest.mark.parametrize(
    ("count", "height", "width"), [(1, 64, 64), (3, 64, 96), (2, 75, 131), (1, 33, 39), (1, 224, 181)]
)
def test_it_equals_lpips_on_any_size(ours: Any, theirs: Any, count: int, height: int, width: int) -> None:
    one, other = pair(count, height, width)
    with torch.no_grad():
        wanted = theirs(one, other, normalize=True).flatten()
    assert wanted.min() > 0.01
    torch.testing.assert_close(ours(one, other), wanted, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(ours(2 * one - 1, 2 * other - 1, (-1, 1)), wanted, atol=1e-6, rtol=1e-5)


def test_maps_equal_those_of_lpips(ours: Any, theirs: Any) -> None:
    one, other = pair(2, 75, 131)
    theirs.spatial = True
    try:
        with torch.no_grad():
            wanted = theirs(one, other, normalize=True)[:, 0]
    finally:
        theirs.spatial = False
    torch.testing.assert_close(ours.maps(one, other), wanted, atol=1e-5, rtol=1e-4)


def test_gradients_equal_those_of_lpips_in_both_images(ours: Any, theirs: Any) -> None:
    found = []
    for distance in (lambda a, b: ours(a, b), lambda a, b: theirs(a, b, normalize=True)):
        one, other = (each.requires_grad_() for each in pair(2, 66, 71))
        distance(one, other).sum().backward()
        found.append((one.grad, other.grad))
    for mine, wanted in zip(*found, strict=True):
        assert wanted.abs().max() > 0
        torch.testing.assert_close(mine, wanted, atol=1e-5 * wanted.abs().max().item(), rtol=1e-3)


def test_the_network_gets_no_gradient_and_is_a_copy(network: Any) -> None:
    distance = PerceptualDistance(network)
    one, other = pair(1, 64, 64)
    before = distance(one, other)
    distance(one.requires_grad_(), other).sum().backward()
    assert all(parameter.grad is None for parameter in [*network.parameters(), *distance.parameters()])
    assert distance.train().training is False
    with torch.no_grad():
        network.features[0].weight.mul_(3)
        after = distance(one, other)
        network.features[0].weight.div_(3)
    assert torch.equal(before, after)


def test_copies_moved_weights_and_calls_with_gradients_agree(network: Any) -> None:
    distance = PerceptualDistance(network)
    one, other = pair(1, 70, 64)
    before = distance(one, other)
    twin = copy.deepcopy(distance)
    assert torch.equal(twin(one, other), before)
    torch.testing.assert_close(distance(one.clone().requires_grad_(), other).detach(), before, atol=1e-6, rtol=1e-5)
    with torch.no_grad():
        twin._stages[0].weight.mul_(-1)
    changed = twin(one, other)
    assert not torch.allclose(changed, before)
    torch.testing.assert_close(twin(one.clone().requires_grad_(), other).detach(), changed, atol=1e-6, rtol=1e-5)
    assert torch.equal(distance(one, other), before)


def test_a_place_without_activation_has_a_finite_gradient() -> None:
    net = alexnet.create("one_weird_trick", 2)
    with torch.no_grad():
        net.features[0].bias.fill_(-100)  # every place of the first map is dead
    one, other = pair(1, 64, 64)
    perceptual_distance(one.requires_grad_(), other, net).sum().backward()
    assert one.grad is not None
    assert one.grad.isfinite().all()


@pytest.mark.parametrize("name", alexnet.list_networks())
def test_every_network_gives_a_distance_by_the_formula(name: str) -> None:
    torch.manual_seed(0)
    net = alexnet.create(name, 2).eval()
    side = 32 if name.startswith("cifar") else 64
    one, other = pair(2, side, side)
    assert len(map_layers(net)) == {"cifar-13pct": 4, "cifar-11pct": 4}.get(name, 3 if side == 32 else 5)
    found = perceptual_distance(one, other, net)
    mean, std = (torch.tensor(each).view(3, 1, 1) / 255 for each in (net.mean, net.std))
    with torch.no_grad():
        maps = [net((each - mean) / std, return_maps=True)[1] for each in (one, other)]
    wanted = torch.zeros(2)
    for layer in map_layers(net):
        units = [each[layer] / (each[layer].square().sum(1, keepdim=True).sqrt() + 1e-10) for each in maps]
        wanted += (units[0] - units[1]).square().sum(1).mean((1, 2))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    assert torch.equal(perceptual_distance(one, one, net), torch.zeros(2))


def test_arrays_bytes_and_floats_agree(ours: Any) -> None:
    pixels = [np.random.default_rng(seed).integers(0, 256, (64, 70, 3), np.uint8) for seed in (0, 1)]
    tensors = [torch.from_numpy(each).permute(2, 0, 1) for each in pixels]
    wanted = perceptual_distance(*tensors, ours)
    assert wanted.shape == (1,)
    assert torch.equal(perceptual_distance(*pixels, ours), wanted)
    assert torch.equal(perceptual_distance(*[each / 255 for each in tensors], ours), wanted)
    assert perceptual_distance([pixels[0]] * 2, pixels, ours).tolist() == [0, wanted.item()]
    assert torch.equal(ours(*[torch.stack([each] * 2) for each in tensors])[1:], wanted)


def test_a_batch_gives_what_its_pairs_give(ours: Any) -> None:
    one, other = pair(3, 64, 64)
    alone = torch.cat([ours(one[place : place + 1], other[place : place + 1]) for place in range(3)])
    torch.testing.assert_close(ours(one, other), alone, atol=1e-6, rtol=1e-5)
    assert torch.equal(ours(one, other), ours(one, other))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[..., :60], "give two of the same size"),
        (lambda a: a * 255, "values 0.* not 0 to 1; scale it, or give value_range"),
        (lambda a: a * float("nan"), "values nan to nan, which are not finite"),
        (lambda a: a[:, :1], "shape \\(1, 1, 64, 64\\)"),
        (lambda a: a.long(), "of torch.int64"),
        (lambda a: a.numpy(), "a is of type ndarray"),
    ],
)
def test_wrong_images_are_refused_in_a_line(ours: Any, change: Any, message: str) -> None:
    one, other = pair(1, 64, 64)
    with pytest.raises(UsageError, match=message):
        ours(change(one), other)


def test_too_small_images_wrong_ranges_and_counts_are_refused(ours: Any) -> None:
    with pytest.raises(UsageError, match="too small for one_weird_trick"):
        ours(*pair(1, 12, 12))
    with pytest.raises(UsageError, match="black's below white's"):
        ours(*pair(1, 64, 64), (1, -1))
    gray = np.zeros((64, 64), np.uint8)
    with pytest.raises(UsageError, match="a has 2 images, b 1"):
        perceptual_distance([gray, gray], [gray], ours)
    with pytest.raises(UsageError, match="model is of type int"):
        perceptual_distance(gray, gray, 3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="linear is given beside"):
        perceptual_distance(gray, gray, ours, linear="alex.pth")


def test_weights_of_other_channels_are_refused(alex: Path) -> None:
    with pytest.raises(WeightsError, match="64, 192, 384, 256, 256 channels, bvlc has 96, 256, 384, 384, 256"):
        PerceptualDistance(alexnet.create("bvlc", 2), alex)


@pytest.mark.parametrize("value", [float("nan"), 1e30, 1e19])
def test_a_network_that_diverged_is_said(value: float) -> None:
    net = alexnet.create("one_weird_trick", 2)
    with torch.no_grad():
        net.features[3].weight.fill_(value)
    with pytest.raises(Diverged, match="not finite"):
        perceptual_distance(*pair(1, 64, 64), net)


def test_what_is_not_lpips_is_said(caplog: pytest.LogCaptureFixture) -> None:
    PerceptualDistance(alexnet.create("cifar-19pct", 2))
    assert "has 3 maps after activations, not five: neuron1, neuron2, neuron3" in caplog.text
    assert "every channel counts 1" in caplog.text
