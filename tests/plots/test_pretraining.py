from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch

from alexnet.plots import pretraining


def test_each_epoch_has_a_row_of_filters(tmp_path: Path):
    few, many = tmp_path / "few.png", tmp_path / "many.png"
    grown = {epoch: torch.randn(24, 3, 7, 7) for epoch in (0, 1, 2, 4)}
    pretraining.filters({0: grown[0]}, "conv1", few)
    pretraining.filters(grown, "conv1", many)
    assert matplotlib.image.imread(many).shape[0] > matplotlib.image.imread(few).shape[0]


def test_whitened_filters_explain_their_flat_borders():
    grown = {0: torch.randn(4, 3, 7, 7)}
    plain, whitened = (pretraining.filters_figure(grown, "conv1", whiten).get_supxlabel() for whiten in (False, True))
    assert "borders are flat" not in plain
    assert whitened.startswith(plain + "\n")
    assert "convolved with the whitening of the images" in whitened


def test_reconstructions_undo_normalisation(tmp_path: Path):
    red = torch.zeros(2, 3, 8, 8)
    red[:, 0] = 2.0
    pretraining.rebuilt({"original": red, "rebuilt": red}, (55.0, 0.0, 0.0), (100.0, 1.0, 1.0), tmp_path / "r.png")
    seen = matplotlib.image.imread(tmp_path / "r.png")[..., :3]
    assert (np.abs(seen - [1.0, 0, 0]).max(-1) < 0.02).mean() > 0.3


@pytest.mark.parametrize("layers", [0, 1, 5])
def test_errors_are_drawn_for_any_number_of_layers(tmp_path: Path, layers):
    rows = [
        {
            "layer": f"conv{n}",
            "layer_epoch": epoch,
            "train_loss": 1 / epoch,
            "error": 0.9 / epoch,
            "constant_error": 1.0,
        }
        for n in range(layers)
        for epoch in (1, 2, 3)
    ]
    pretraining.errors(rows, tmp_path / "e.png")
    assert (tmp_path / "e.png").exists() == bool(layers)
