"""Networks split at their convolutions."""

import pytest
import torch

from alexnet.errors import UsageError
from alexnet.networks import create, list_networks
from alexnet.networks.layers import Network
from alexnet.pretraining.cut import chosen, cut, without_dense


def network(name: str) -> Network:
    with torch.device("meta"):
        return create(name)


@pytest.mark.parametrize("name", list_networks())
def test_every_stage_before_the_dense_layers_is_in_one_layer_in_order(name):
    made = network(name)
    stages = [stage for _, stage in made.stages()]
    layers = cut(made)
    assert layers
    seen = list(layers[0].below)
    for layer in layers:
        assert [id(stage) for stage in layer.below] == [id(stage) for stage in seen]
        seen += [layer.conv, *layer.after]
    assert [id(stage) for stage in seen] == [id(stage) for stage in stages[: len(seen)]]


def test_stages_between_convolutions_are_the_networks():
    first = cut(network("caffenet"))[0]
    assert [type(stage).__name__ for stage in first.after] == ["ReLU", "MaxPool2d", "LocalResponseNorm"]
    assert cut(network("modern"))[0].stored == ["conv1", "bn1"]
    assert cut(network("krizhevsky2012"))[0].below[0]._get_name() == "ZeroPad2d"


def test_inputs_equal_the_networks_outputs_before_the_convolution():
    torch.manual_seed(0)
    made = create("modern", 2, 64).eval()
    images = torch.randn(2, 3, 64, 64)
    _, maps = made(images, return_maps=True)
    assert torch.allclose(cut(made)[2].inputs(images), maps["pool2"], atol=1e-5)


def test_without_dense_keeps_the_convolutions():
    made = without_dense(network("bvlc"))
    assert [layer.name for layer in cut(made)] == ["conv1", "conv2", "conv3", "conv4", "conv5"]
    assert sum(weight.numel() for weight in made.parameters()) < 4e6


@pytest.mark.parametrize(
    ("asked", "names"),
    [("", "conv1 conv2 conv3 conv4 conv5"), ("2", "conv1 conv2"), ("conv3, conv1", "conv1 conv3")],
)
def test_layers_are_selected_by_number_or_name(asked, names):
    assert [layer.name for layer in chosen(cut(network("modern")), asked)] == names.split()


@pytest.mark.parametrize(
    ("asked", "said"), [("conv6", "unknown convolution 'conv6'"), ("0", "5 convolutions"), ("6", "5 convolutions")]
)
def test_unknown_layers_are_refused(asked, said):
    with pytest.raises(UsageError, match=said):
        chosen(cut(network("modern")), asked)
