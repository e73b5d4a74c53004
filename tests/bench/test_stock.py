"""The stock PyTorch baselines compute the same functions as our networks."""

import numpy as np
import pytest
import torch

from alexnet.bench import stock
from alexnet.bench.pictures import noise_store
from alexnet.data.preprocess import Preprocessing
from alexnet.networks import create, list_networks
from alexnet.networks.layers import Network
from alexnet.ops import native


def network_and_images(name: str) -> tuple[Network, torch.Tensor]:
    torch.manual_seed(0)
    network = create(name, 5, 63).eval()
    return network, torch.randn(2, 3, 63, 63, generator=torch.Generator().manual_seed(1)) * 50


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("name", list_networks())
def test_stock_logits_equal_ours(name: str, written: bool) -> None:
    network, images = network_and_images(name)
    with torch.inference_mode(), native.using("off"):
        torch.testing.assert_close(stock.plain(network.stages(), written)(images), network(images))


def test_stock_network_uses_torchs_lrn() -> None:
    kinds = [type(module) for module in stock.plain(create("bvlc", 5).stages()).modules()]
    assert kinds.count(torch.nn.LocalResponseNorm) == 2
    assert not [kind for kind in kinds if kind.__module__ == "alexnet.ops.lrn"]


@pytest.mark.parametrize("configuration", [stock.EAGER, stock.HALF])
def test_every_configuration_returns_float32_logits_close_to_ours(configuration: str) -> None:
    network, images = network_and_images("bvlc")
    logits = stock.prepared(network, **stock.CONFIGURATIONS[configuration], device="cpu")(images)
    assert logits.dtype == torch.float32
    with native.using("off"):
        torch.testing.assert_close(logits, network(images), rtol=0.02, atol=0.02)


def test_training_step_counts_the_images_of_its_batch() -> None:
    work = stock.train_step("modern", 3, 2, "float32", False, 0.0, "cpu", "adam")
    assert work() == 2


def test_centre_crop_equals_our_preprocessing() -> None:
    network = create("one_weird_trick", 2)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8))
    ours = Preprocessing(network.input_size, network.resize, network.mean, network.std).views(images)
    torch.testing.assert_close(stock.centre(network, images), ours)
    assert stock.shrunk(np.zeros((375, 500, 3), np.uint8), 256).shape == (1, 256, 341, 3)


def test_evaluation_counts_every_image_of_the_store(tmp_path_factory: pytest.TempPathFactory) -> None:
    store = noise_store(tmp_path_factory.mktemp("noise"), 6, 3)
    assert stock.evaluate("modern", store, 4, "float32", False, 0.0, "cpu")() == 6


@pytest.mark.parametrize("photo", [None, [375, 500]])
def test_prediction_counts_one_image(photo: list[int] | None) -> None:
    assert stock.predict("modern", "float32", False, 0.0, "cpu", photo)() == 1
