"""Recorded activations are those of the network, whatever the batch size and mode."""

import numpy as np
import pytest
import torch

from alexnet.data.images import Pixels
from alexnet.data.preprocess import Preprocessing
from alexnet.errors import AlexNetError, UsageError
from alexnet.explain import activations
from alexnet.explain.activations import (
    centre_views,
    compute_activations,
    last_hidden,
    last_map_layer,
    stage_outputs,
    view_pixels,
)
from alexnet.networks import create
from alexnet.networks.layers import Network


@pytest.fixture
def images() -> list[Pixels]:
    return list(np.random.default_rng(0).integers(0, 256, (5, 72, 72, 3), np.uint8))


def test_probabilities_and_inputs_of_the_last_layer_are_the_networks(
    tiny: Network, preprocessing: Preprocessing, images: list[Pixels]
) -> None:
    found = compute_activations(tiny, preprocessing, images)
    tiny.eval()
    logits = tiny(preprocessing.views(images)).detach()
    assert torch.allclose(found.probabilities, logits.softmax(1), atol=1e-6)
    assert torch.allclose(tiny.fc4(found.vectors), logits, atol=1e-5)


def test_a_peak_is_the_maximum_of_its_map_at_its_position(
    tiny: Network, preprocessing: Preprocessing, images: list[Pixels]
) -> None:
    found = compute_activations(tiny, preprocessing, images, ["conv2", "fc3"])
    _, maps = stage_outputs(tiny, centre_views(tiny, preprocessing, images))
    assert torch.equal(found.peaks["conv2"], maps["conv2"].amax((2, 3)))
    assert torch.equal(found.peaks["fc3"], maps["fc3"])
    for image in range(5):
        for unit in range(12):
            row, column = found.peak_positions["conv2"][image, unit].tolist()
            assert maps["conv2"][image, unit, row, column] == found.peaks["conv2"][image, unit]


def test_batch_size_does_not_change_the_result_and_progress_ends_at_the_total(
    tiny: Network, preprocessing: Preprocessing, images: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = compute_activations(tiny, preprocessing, images, ["relu1"])
    monkeypatch.setattr(activations, "BATCH", 2)
    steps: list[tuple[int, int]] = []
    parts = compute_activations(tiny, preprocessing, images, ["relu1"], lambda done, total: steps.append((done, total)))
    assert steps == [(2, 5), (4, 5), (5, 5)]
    assert torch.allclose(whole.vectors, parts.vectors, atol=1e-6)
    assert torch.equal(whole.peak_positions["relu1"], parts.peak_positions["relu1"])


def test_a_network_in_training_mode_is_evaluated_and_stays_in_training_mode(
    tiny: Network, preprocessing: Preprocessing, images: list[Pixels]
) -> None:
    tiny.train()
    first, second = (compute_activations(tiny, preprocessing, images).probabilities for _ in range(2))
    assert torch.equal(first, second)  # dropout would differ
    assert tiny.training


def test_view_pixels_undo_normalisation(preprocessing: Preprocessing) -> None:
    image = np.full((72, 72, 3), (10, 200, 90), np.uint8)
    assert (view_pixels(preprocessing, [image]) == (10, 200, 90)).all()


def test_an_unknown_layer_is_refused_with_the_nearest_name(tiny: Network, preprocessing: Preprocessing) -> None:
    with pytest.raises(UsageError, match=r"unknown layer of tiny 'conv22': did you mean 'conv2'\?"):
        compute_activations(tiny, preprocessing, [np.zeros((72, 72, 3), np.uint8)], ["conv22"])


def test_outputs_that_are_not_finite_are_refused(
    tiny: Network, preprocessing: Preprocessing, images: list[Pixels]
) -> None:
    with torch.no_grad():
        tiny.fc4.bias[0] = torch.nan
    with pytest.raises(AlexNetError, match="not finite; its weights may have diverged"):
        compute_activations(tiny, preprocessing, images)


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
def test_the_last_map_layer_and_hidden_vector_of_every_network(name: str, maps: str, stage: str, known_as: str) -> None:
    with torch.device("meta"):
        network = create(name)
    assert last_map_layer(network) == maps
    assert last_hidden(network) == (stage, known_as)
