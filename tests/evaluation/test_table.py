"""The table has one row for each prediction, in order, and can be read back."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet.evaluation.table import write_predictions

NAMES = ['iris/a, "b".jpg', "krokus/ü.jpg"]
PROBABILITIES = torch.tensor([[0.25, 0.75], [0.125, 0.875]])


def test_each_image_has_its_row_in_order(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.csv", NAMES, np.array([0, 1]), PROBABILITIES, ["iris", "krokus"])
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == NAMES
    assert rows[0] == {
        "path": NAMES[0],
        "label": "iris",
        "prediction": "krokus",
        "confidence": "0.750000",
        "label_probability": "0.250000",
        "correct": "0",
    }
    assert rows[1]["correct"] == "1"


def test_a_table_with_fewer_labels_than_images_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shorter"):
        write_predictions(tmp_path / "p.csv", NAMES, [0], PROBABILITIES, ["iris", "krokus"])
    assert not list(tmp_path.iterdir())


def test_an_undecodable_file_name_keeps_its_bytes(tmp_path: Path) -> None:
    name = b"iris/\xff.jpg".decode("utf-8", "surrogateescape")  # as Python reads such a name from a folder
    write_predictions(tmp_path / "p.csv", [name, "b"], [0, 1], PROBABILITIES, ["iris", "krokus"])
    assert b"iris/\xff.jpg,iris," in (tmp_path / "p.csv").read_bytes()
