"""A receptive field contains every pixel that a unit depends on, and no others."""

import pytest
import torch

from alexnet.explain.activations import stage_outputs
from alexnet.explain.field import receptive_field
from alexnet.networks import create
from alexnet.networks.layers import Network


@pytest.mark.parametrize(
    ("layer", "size", "step"),
    # Dumoulin and Visin's arithmetic; 195 pixels in steps of 32 is AlexNet's figure in Araujo, Norris and Sim,
    # Computing Receptive Fields of Convolutional Neural Networks, Distill 2019.
    [("conv1", 11, 4), ("pool1", 19, 8), ("conv2", 51, 8), ("conv3", 99, 16), ("conv5", 163, 16), ("pool5", 195, 32)],
)
def test_receptive_fields_of_alexnet_equal_the_published_sizes(layer: str, size: int, step: int) -> None:
    with torch.device("meta"):
        network = create("bvlc")
    field = receptive_field(network, layer)
    assert (field.size, field.step) == (size, step)


def test_normalisation_within_a_channel_enlarges_the_field() -> None:
    with torch.device("meta"):
        network = create("krizhevsky2012")
    assert receptive_field(network, "norm2").size == 51
    assert receptive_field(network, "mapnorm2").size == 51 + 4 * 8


def test_layers_inside_a_stage_count_one_by_one() -> None:
    with torch.device("meta"):
        both, within = create("cifar-18pct", norm="both"), create("cifar-18pct")
    for layer in ("norm1", "conv2", "pool3"):
        assert receptive_field(both, layer) == receptive_field(within, layer)


@pytest.mark.parametrize("layer", ["conv1", "pool1", "conv2"])
@pytest.mark.parametrize("place", [(0, 0), (2, 5), (6, 6)])
def test_a_unit_depends_on_its_field_only(tiny: Network, layer: str, place: tuple[int, int]) -> None:
    box = receptive_field(tiny, layer).box(*place)
    top, left, bottom, right = map(int, box)
    torch.manual_seed(0)
    image, other = torch.randn(2, 1, 3, 64, 64)
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[top:bottom, left:right] = True
    one, same, changed = (
        stage_outputs(tiny, each)[1][layer][0, :, place[0], place[1]]
        for each in (image, torch.where(inside, image, other), torch.where(inside, other, image))
    )
    assert torch.allclose(one, same, atol=1e-6)
    assert not torch.allclose(one, changed, atol=1e-3)
    # The field is minimal, except at the edge, where a pool that rounds up has a partial window.
    for row in (top, bottom - 1) if max(place) < 6 else ():
        touched = image.clone()
        touched[..., row, left:right] += 50
        assert not torch.allclose(one, stage_outputs(tiny, touched)[1][layer][0, :, place[0], place[1]], atol=1e-4)


def test_the_field_after_a_dense_layer_is_the_whole_image(tiny: Network) -> None:
    for layer in ("flatten", "fc3", "fc4"):
        assert receptive_field(tiny, layer).box(0, 0) == (0, 0, 64, 64)


def test_a_field_is_clipped_to_the_image(tiny: Network) -> None:
    top, left, bottom, right = receptive_field(tiny, "conv2").box(0, 6)
    assert (top, right) == (0, 64)
    assert bottom < 64
    assert left > 0


def test_an_enlarged_image_has_smaller_fields() -> None:
    with torch.device("meta"):
        network = create("article", 17, 112)
    field = receptive_field(network, "conv1")
    assert field.step == 2  # four pixels of 224 are two of 112
    assert 5.5 <= field.size <= 7
