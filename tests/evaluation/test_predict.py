"""Probabilities depend on the images, the weights and the views only."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from alexnet.data.preprocess import Preprocessing
from alexnet.data.sources import open_source
from alexnet.data.store import Store, pack
from alexnet.errors import AlexNetError, DataError, UsageError
from alexnet.evaluation.predict import probabilities
from alexnet.networks import create
from alexnet.networks.layers import Network, evaluating

PREPROCESSING = Preprocessing(64, 73, (120.0, 115, 100), (60.0, 58, 57), store_size=80)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Eleven crops of the two photographs of scikit-learn."""
    folder = tmp_path_factory.mktemp("photos")
    for name, photo in zip(("china", "flower"), load_sample_images().images, strict=True):
        (folder / "data" / name).mkdir(parents=True)
        for piece in range(5 if name == "china" else 6):
            crop = photo[40 * piece : 40 * piece + 200, 60 * piece : 60 * piece + 250]
            Image.fromarray(crop).save(folder / "data" / name / f"{piece}.png")
    return pack(open_source(str(folder / "data")), folder / "store", size=80, workers=1)


@pytest.fixture(scope="module")
def network(store: Store) -> Network:
    """A small network with BatchNorm statistics of these photographs."""
    torch.manual_seed(0)
    network = create("modern", 3, 64, width=0.25)
    network(PREPROCESSING.views(torch.from_numpy(store.images(slice(0, 11)))))
    return network


def predict(network: Network, store: Store, indices: object = range(11), **settings: object) -> torch.Tensor:
    return probabilities(network, PREPROCESSING, store, indices, precision="float32", **settings)


def test_each_row_is_a_distribution_in_float32(network: Network, store: Store) -> None:
    found = predict(network, store)
    assert found.shape == (11, 3)
    assert found.dtype == torch.float32
    assert torch.allclose(found.sum(1), torch.ones(11))
    assert found.std(0).min() > 1e-5  # the images differ


@pytest.mark.parametrize("views", [1, 10])
def test_batch_size_does_not_change_the_result(views: int, network: Network, store: Store) -> None:
    whole = predict(network, store, views=views, batch_size=1000)
    for batch_size in (1, 4, 30):
        assert torch.allclose(predict(network, store, views=views, batch_size=batch_size), whole, rtol=0, atol=1e-6)


def test_rows_are_in_the_order_of_the_indices(network: Network, store: Store) -> None:
    order = np.array([7, 0, 10, 7])
    assert torch.allclose(predict(network, store, order), predict(network, store)[order], rtol=0, atol=1e-6)


def test_ten_views_average_softmax_over_corners_centre_and_reflections(network: Network, store: Store) -> None:
    # Independent implementation of the paper: normalised 64 px views of a 73 px square.
    images = torch.from_numpy(store.images(np.arange(11))).permute(0, 3, 1, 2).float()
    square = torch.nn.functional.interpolate(images, size=(73, 73), mode="bilinear", antialias=True)
    views = [square[:, :, y : y + 64, x : x + 64] for y, x in ((0, 0), (0, 9), (9, 0), (9, 9), (4, 4))]
    views += [view.flip(3) for view in views]
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (PREPROCESSING.mean, PREPROCESSING.std))
    with evaluating(network), torch.no_grad():
        wanted = sum(network((view - mean) / std).softmax(1) for view in views) / 10
    assert torch.allclose(predict(network, store, views=10), wanted, atol=1e-5)
    assert not torch.allclose(predict(network, store, views=1), wanted, atol=1e-5)


def test_every_layer_keeps_its_training_or_evaluation_mode(network: Network, store: Store) -> None:
    network.train()
    network.bn3.eval()  # a frozen layer
    before = [module.training for module in network.modules()]
    statistics = network.bn1.running_mean.clone()
    predict(network, store)
    assert [module.training for module in network.modules()] == before
    assert torch.equal(network.bn1.running_mean, statistics)
    network.train()


def test_the_mode_is_restored_after_an_error(network: Network, store: Store) -> None:
    network.train()
    with pytest.raises(IndexError):
        predict(network, store, [99])
    assert network.training


def test_weights_keep_their_memory_format(network: Network, store: Store) -> None:
    strides = [p.stride() for p in network.parameters()]
    predict(network, store)
    assert [p.stride() for p in network.parameters()] == strides


def test_bfloat16_is_close_to_float32(network: Network, store: Store) -> None:
    found = probabilities(network, PREPROCESSING, store, range(11), precision="bfloat16")
    assert found.dtype == torch.float32
    assert (found - predict(network, store)).abs().max() < 0.05


def test_progress_counts_images_up_to_the_total(network: Network, store: Store) -> None:
    seen: list[tuple[int, int]] = []
    predict(network, store, batch_size=40, views=10, progress=lambda *counts: seen.append(counts))
    assert seen == [(4, 11), (8, 11), (11, 11)]


def test_no_images_is_a_data_error(network: Network, store: Store) -> None:
    with pytest.raises(DataError, match="no images"):
        predict(network, store, [])


def test_a_diverged_network_is_named(store: Store) -> None:
    broken = create("modern", 3, 64, width=0.25)
    torch.nn.init.constant_(broken.fc8.bias, float("nan"))
    with pytest.raises(AlexNetError, match=r"'modern'.*not finite"):
        predict(broken, store)


@pytest.mark.parametrize("views", [0, 2, -1])
def test_an_unsupported_number_of_views_is_refused(views: int, network: Network, store: Store) -> None:
    with pytest.raises(UsageError, match=f"views is {views}; take 1 .*, 10 .* or 9"):
        predict(network, store, views=views)


def test_parts_that_threads_prepare_come_in_order_and_an_early_end_leaves_none_waiting() -> None:
    from alexnet.evaluation.predict import _ahead, _brought

    parts = [np.array([number]) for number in range(7)]
    assert [int(each) for each in _ahead(lambda part: part[0] * 2, parts)] == [0, 2, 4, 6, 8, 10, 12]
    begun = _ahead(lambda part: part[0], parts)
    assert next(begun) == 0
    begun.close()  # type: ignore[attr-defined]
    answers = [torch.full((2, 3), float(number)) for number in range(5)]
    assert all(torch.equal(one, other) for one, other in zip(_brought(answers), answers, strict=True))
