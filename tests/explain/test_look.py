"""What is said of a network is what the network computes, whatever the batch."""

import numpy as np
import pytest
import torch

from alexnet.data.images import Pixels
from alexnet.data.preprocess import Preprocessing
from alexnet.errors import AlexNetError, UsageError
from alexnet.explain import look as room
from alexnet.explain.look import hidden, last_maps, look, maps_of, shown, view
from alexnet.networks import create
from alexnet.networks.layers import Network


@pytest.fixture
def images() -> list[Pixels]:
    return list(np.random.default_rng(0).integers(0, 256, (5, 72, 72, 3), np.uint8))


def test_the_answers_are_the_networks_and_the_vectors_are_what_its_last_layer_takes(
    tiny: Network, preprocessing: Preprocessing, images: list[Pixels]
) -> None:
    found = look(tiny, preprocessing, images)
    tiny.eval()
    logits = tiny(preprocessing.views(images)).detach()
    assert torch.allclose(found.probabilities, logits.softmax(1), atol=1e-6)
    assert torch.allclose(tiny.fc4(found.vectors), logits, atol=1e-5)


def test_a_peak_is_the_largest_value_of_its_map_and_stands_at_its_place(
    tiny: Network, preprocessing: Preprocessing, images: list[Pixels]
) -> None:
    found = look(tiny, preprocessing, images, ["conv2", "fc3"])
    _, maps = maps_of(tiny, view(tiny, preprocessing, images))
    assert torch.equal(found.peaks["conv2"], maps["conv2"].amax((2, 3)))
    assert torch.equal(found.peaks["fc3"], maps["fc3"])
    for image in range(5):
        for unit in range(12):
            row, column = found.places["conv2"][image, unit].tolist()
            assert maps["conv2"][image, unit, row, column] == found.peaks["conv2"][image, unit]


def test_the_batch_makes_no_difference_and_progress_ends_with_all(
    tiny: Network, preprocessing: Preprocessing, images: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = look(tiny, preprocessing, images, ["relu1"])
    monkeypatch.setattr(room, "BATCH", 2)
    steps: list[tuple[int, int]] = []
    parts = look(tiny, preprocessing, images, ["relu1"], lambda done, total: steps.append((done, total)))
    assert steps == [(2, 5), (4, 5), (5, 5)]
    assert torch.allclose(whole.vectors, parts.vectors, atol=1e-6)
    assert torch.equal(whole.places["relu1"], parts.places["relu1"])


def test_a_network_in_training_is_looked_at_in_evaluation_and_left_in_training(
    tiny: Network, preprocessing: Preprocessing, images: list[Pixels]
) -> None:
    tiny.train()
    first, second = (look(tiny, preprocessing, images).probabilities for _ in range(2))
    assert torch.equal(first, second)  # dropout would differ
    assert tiny.training


def test_a_person_sees_the_pixels_that_the_network_sees(preprocessing: Preprocessing) -> None:
    image = np.full((72, 72, 3), (10, 200, 90), np.uint8)
    assert (shown(preprocessing, [image]) == (10, 200, 90)).all()


def test_an_unknown_layer_is_refused_with_the_nearest_name(tiny: Network, preprocessing: Preprocessing) -> None:
    with pytest.raises(UsageError, match=r"unknown layer of tiny 'conv22': did you mean 'conv2'\?"):
        look(tiny, preprocessing, [np.zeros((72, 72, 3), np.uint8)], ["conv22"])


def test_a_network_that_diverged_is_refused(tiny: Network, preprocessing: Preprocessing, images: list[Pixels]) -> None:
    with torch.no_grad():
        tiny.fc4.bias[0] = torch.nan
    with pytest.raises(AlexNetError, match="not finite; its weights may have diverged"):
        look(tiny, preprocessing, images)


@pytest.mark.parametrize(
    ("name", "maps", "stage", "known_as"),
    [
        ("krizhevsky2012", "conv5", "drop7", "fc7"),  # its ReLU follows the pool
        ("paper", "relu5", "drop7", "fc7"),
        ("bvlc", "relu5", "drop7", "fc7"),
        ("caffenet", "relu5", "drop7", "fc7"),
        ("one_weird_trick", "relu5", "relu7", "fc7"),
        ("article", "relu5", "bn8", "fc8"),  # which has a hidden layer more
        ("modern", "relu5", "drop7", "fc7"),
    ],
)
def test_every_networks_last_maps_and_last_hidden_values_are_found(
    name: str, maps: str, stage: str, known_as: str
) -> None:
    with torch.device("meta"):
        network = create(name)
    assert last_maps(network) == maps
    assert hidden(network) == (stage, known_as)
