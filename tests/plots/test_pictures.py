"""The figures of a run show the data they are given, for two classes and for a thousand."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet.errors import AlexNetError
from alexnet.plots.pictures import TITLE, confusion, confusion_figure, curves, curves_figure, samples, shares_title

ROWS = [
    {"epoch": e, "train_loss": 3 / e, "train_top1": 1 - 1 / e, "val_loss": 4 / e, "val_top1": 0.9 - 0.8 / e}
    for e in range(1, 6)
]


def pixels(path: Path) -> np.ndarray:
    """uint8 (H, W, 3); fails for a file that is not a valid PNG."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def has_color(image: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool((np.abs(image.astype(int) - color).max(2) <= 3).any())


BLUE, ORANGE = (0x1F, 0x6F, 0xB4), (0xC8, 0x50, 0x1E)  # validation, test


def test_learning_curves_show_only_the_parts_with_data(tmp_path: Path) -> None:
    curves(ROWS, tmp_path / "curves.png")
    image = pixels(tmp_path / "curves.png")
    assert has_color(image, BLUE)
    assert not has_color(image, ORANGE)
    curves([row | {"test_top1": 0.5} for row in ROWS], tmp_path / "curves.png")
    assert has_color(pixels(tmp_path / "curves.png"), ORANGE)


def test_the_legend_names_the_parts() -> None:
    for axes in curves_figure(ROWS).axes:
        named = {
            text.get_text(): line for text, line in zip(axes.get_legend().get_texts(), axes.get_lines(), strict=True)
        }
        assert list(named) == ["training (while it learns)", "validation"]
        key = "train_loss" if axes.get_title() == "Loss" else "train_top1"
        assert list(named["training (while it learns)"].get_ydata()) == [row[key] for row in ROWS]


def test_learning_curves_take_numbers_and_text_alike(tmp_path: Path) -> None:
    curves(ROWS, tmp_path / "numbers.png")
    curves([{key: str(value) for key, value in row.items()} for row in ROWS], tmp_path / "text.png")
    assert np.array_equal(pixels(tmp_path / "numbers.png"), pixels(tmp_path / "text.png"))


def test_an_epoch_without_evaluation_is_a_gap(tmp_path: Path) -> None:
    gaps = [row | ({"val_loss": "", "val_top1": None} if row["epoch"] % 2 else {}) for row in ROWS]
    curves(gaps, tmp_path / "curves.png")
    assert has_color(pixels(tmp_path / "curves.png"), BLUE)


@pytest.mark.parametrize("rows", [[], ROWS[:1]])
def test_learning_curves_of_zero_or_one_epoch_are_drawn(rows: list, tmp_path: Path) -> None:
    curves(rows, tmp_path / "curves.png")
    assert pixels(tmp_path / "curves.png").shape[1] > 1000


@pytest.mark.parametrize("classes", [2, 20, 21, 30, 31, 1000])
def test_a_confusion_matrix_is_drawn_for_any_number_of_classes(classes: int, tmp_path: Path) -> None:
    matrix = np.eye(classes, dtype=int) * 9
    matrix[0, 1] = 1
    confusion(matrix.tolist(), [f"class {i}" for i in range(classes)], tmp_path / "c.png")
    height, width, _ = pixels(tmp_path / "c.png").shape
    assert 500 < height < 2200
    assert 500 < width < 2400


def test_colours_are_fractions_of_the_true_class(tmp_path: Path) -> None:
    # Twenty-one classes: no counts are written, so only the colours can differ.
    names = [str(i) for i in range(21)]
    matrix = np.eye(21, dtype=int) * 4 + 1
    scaled = matrix * np.arange(1, 22)[:, None]
    confusion(matrix, names, tmp_path / "one.png")
    confusion(scaled, names, tmp_path / "other.png")
    one, other = pixels(tmp_path / "one.png"), pixels(tmp_path / "other.png")
    title = 60  # pixels above the matrix, where the counts stand
    assert np.array_equal(one[title:], other[title:])
    assert not np.array_equal(one, other)


def test_lines_separate_the_cells() -> None:
    axes = confusion_figure(np.eye(3), ["x"] * 3).axes[0]
    for axis in (axes.xaxis, axes.yaxis):
        assert axis.get_minorticklocs().tolist() == [0.5, 1.5]
        assert all(tick.gridline.get_visible() for tick in axis.get_minor_ticks())


def test_of_many_classes_those_most_often_confused_are_drawn_with_their_names_and_the_title_says_so() -> None:
    matrix = np.eye(101, dtype=int) * 10
    matrix[7, 90], matrix[90, 7], matrix[55, 3] = 6, 2, 5
    axes = confusion_figure(matrix, [f"class {i}" for i in range(101)]).axes[0]
    assert axes.get_title() == "1,010 of 1,023 correct (98.7%)\nthe 20 of 101 classes most often confused"
    named = [label.get_text() for label in axes.get_yticklabels()]
    assert len(named) == 20
    assert {"class 3", "class 7", "class 55", "class 90"} <= set(named)
    (image,) = axes.get_images()
    row, column = named.index("class 7"), named.index("class 90")
    assert image.get_array()[row, column] == 6 / 16
    assert "6" in {text.get_text() for text in axes.texts}
    whole = confusion_figure(np.eye(30, dtype=int), ["x"] * 30).axes[0]
    assert len(whole.get_yticklabels()) == 30
    assert "most often" not in whole.get_title()


def test_a_class_without_images_has_an_empty_row() -> None:
    figure = confusion_figure([[0, 0, 0], [2, 6, 0], [1, 0, 1]], ["a", "b", "c"])
    (image,) = figure.axes[0].get_images()
    assert image.get_array().tolist() == [[0, 0, 0], [0.25, 0.75, 0], [0.5, 0, 0.5]]


@pytest.mark.parametrize("name", ["a$b$c", "$\\frac$", "百合", "", "\udcff"])
def test_class_names_are_never_parsed_as_formulas(name: str, tmp_path: Path) -> None:
    shown = name.encode("utf-8", "replace").decode()
    axes = confusion_figure([[1, 0], [0, 1]], [name, "b"]).axes[0]
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [(label.get_text(), label.get_parse_math()) for label in labels] == [(shown, False), ("b", False)]
    samples(torch.zeros(1, 3, 8, 8), (0, 0, 0), (1, 1, 1), [name], tmp_path / "s.png")  # raises for an invalid formula


def test_long_class_names_do_not_widen_the_figure(tmp_path: Path) -> None:
    for name in ("short", "x" * 200):
        confusion([[1, 0], [0, 1]], [name, "b"], tmp_path / f"{len(name)}.png")
    assert pixels(tmp_path / "200.png").shape[1] < 1.5 * pixels(tmp_path / "5.png").shape[1]


def test_samples_undo_normalisation(tmp_path: Path) -> None:
    mean, std = (120.0, 110.0, 100.0), (60.0, 55.0, 50.0)
    colors = torch.tensor([[200.0, 30, 40], [10, 180, 90], [33, 66, 222]])
    batch = ((colors - torch.tensor(mean)) / torch.tensor(std))[:, :, None, None].expand(-1, -1, 64, 64)
    samples(batch, mean, std, None, tmp_path / "s.png")
    image = pixels(tmp_path / "s.png")
    for color in colors.int().tolist():
        assert (image == color).all(2).mean() > 0.2


def test_the_title_of_a_mixed_image_has_each_class_with_its_share() -> None:
    names = ["Crocus", "Iris", "Tulip"]
    assert shares_title([0.38, 0, 0.62], names) == "Tulip 62%,\nCrocus 38%"
    assert shares_title([0, 1, 0], names) == "Iris"
    assert shares_title([0.998, 0.002, 0], names) == "Crocus"  # not "Iris 0%"


def test_long_class_names_are_shortened_before_their_shares() -> None:
    one, other = shares_title([0.25, 0.75], ["x" * 40, "y" * 40]).split("\n")
    assert one.endswith("y… 75%,")
    assert other.endswith("x… 25%")
    assert max(len(one), len(other)) <= TITLE


def test_values_beyond_white_and_black_are_clipped(tmp_path: Path) -> None:
    samples(torch.full((1, 3, 16, 16), 300.0), (0, 0, 0), (1, 1, 1), None, tmp_path / "white.png")
    samples(torch.full((1, 3, 16, 16), -300.0), (0, 0, 0), (1, 1, 1), None, tmp_path / "black.png")
    assert pixels(tmp_path / "white.png").min() == 255
    assert np.median(pixels(tmp_path / "black.png")) == 0


def test_samples_take_bfloat16_and_channels_last(tmp_path: Path) -> None:
    batch = torch.rand(9, 3, 32, 32).bfloat16().contiguous(memory_format=torch.channels_last)
    samples(batch, (0, 0, 0), (255, 255, 255), [str(i) for i in range(9)], tmp_path / "s.png")
    assert pixels(tmp_path / "s.png").shape[0] > 400  # two rows


def test_a_picture_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AlexNetError, match="cannot write"):
        curves(ROWS, tmp_path / "file" / "curves.png")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
