"""Concatenation of stores."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.data.sources import open_images
from alexnet.data.store import Store, pack
from alexnet.data.store.joined import join, without_twins
from alexnet.errors import DataError


def store(folder: Path, colors: list[int], size: int = 8) -> Store:
    folder.mkdir()
    for color in colors:
        Image.new("RGB", (8, 8), (color, color, color)).save(folder / f"{color:03}.png")
    return pack(open_images(str(folder)), folder.with_suffix(".store"), size)


def test_join_concatenates_rows(tmp_path: Path) -> None:
    joined = join([store(tmp_path / "a", [10, 20, 30]), store(tmp_path / "b", [40, 50])])
    rows = np.array([4, 0, 3, 2, -1])
    assert joined.images(rows)[:, 0, 0, 0].tolist() == [50, 10, 40, 30, 50]
    assert [image[0, 0, 0] for image in joined.mapped(rows)] == [50, 10, 40, 30, 50]
    assert joined.images(slice(0, 0)).shape == (0, 8, 8, 3)
    assert (len(joined), joined.name, joined.class_names) == (5, "a + b", ["image"])
    assert joined.paths == ["010.png", "020.png", "030.png", "040.png", "050.png"]
    with pytest.raises(IndexError):
        joined.images(np.array([5]))


def test_join_refuses_stores_of_different_sizes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"b has images of 9 px a side, a of 8; give --store-size"):
        join([store(tmp_path / "a", [1]), store(tmp_path / "b", [2], size=9)])


def test_without_twins_drops_rows_equal_to_kept_images(tmp_path: Path) -> None:
    joined = join([store(tmp_path / "a", [10, 20, 30]), store(tmp_path / "b", [30, 20, 50])])
    assert joined.paths[3:] == ["020.png", "030.png", "050.png"]
    rows, kept, none = np.array([3, 4, 5]), np.array([1]), np.array([], np.int64)
    assert without_twins(joined, rows, kept).tolist() == [4, 5]
    assert without_twins(joined, rows, none).tolist() == [3, 4, 5]
    assert without_twins(joined, none, kept).tolist() == []
