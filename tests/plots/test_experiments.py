"""The figure of an experiment has a row for each study, a line for each run and a result for each arm."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from alexnet.plots.experiments import COLORS, figure, save


def arm(name: str, *measured: float | None) -> dict[str, Any]:
    curves = {"epoch": [1.0, 2.0, 3.0], "train_error": [0.6, 0.4, 0.2], "held_out_error": [0.7, None, 0.5]}
    return {
        "name": name,
        "label": f"label of {name}",
        "runs": [{"measured": value, "curves": curves} for value in measured],
    }


def study(*arms: dict[str, Any], measure: str = "error") -> dict[str, Any]:
    return {"title": "Digits", "measure": measure, "target": 0.25 if measure == "epochs" else None, "arms": arms}


def test_a_study_of_epochs_shows_training_errors_by_run_and_the_target() -> None:
    drawn = figure([study(arm("ReLU", 4.0, 5.0), arm("$tanh$", 20.0, 30.0), measure="epochs")])
    curves, figures = drawn.subfigs[0].axes
    lines = [line for line in curves.get_lines() if len(line.get_xdata()) == 3]
    assert len(lines) == 4
    assert all(list(line.get_ydata()) == [0.6, 0.4, 0.2] for line in lines)
    assert [text.get_text() for text in curves.get_legend().get_texts()] == ["ReLU", "$tanh$"]
    assert len({line.get_linestyle() for line in lines}) == 2
    assert (curves.get_xlabel(), curves.get_ylabel()) == ("epochs", "training error")
    assert figures.get_xlabel() == "epochs to 25% training error (one marker per seed, bar: mean)"
    assert [text.get_text() for text in figures.texts] == ["label of ReLU", "label of $tanh$"]


def test_a_study_of_errors_shows_percent_and_held_out_and_training_curves() -> None:
    curves, figures = figure([study(arm("none", 0.3), arm("all", 0.2))]).subfigs[0].axes
    assert sorted(len(line.get_xdata()) for line in curves.get_lines()) == [2, 2, 3, 3]  # gaps are left out
    assert [text.get_text() for text in figures.texts] == ["label of none", "label of all"]
    assert [label.get_text() for label in figures.get_yticklabels()] == ["none", "all"]
    assert figures.get_xlim()[0] < 20 < 30 < figures.get_xlim()[1]


def test_a_small_difference_does_not_fill_the_axis() -> None:
    figures = figure([study(arm("none", 0.3), arm("all", 0.301))]).subfigs[0].axes[1]
    low, high = figures.get_xlim()
    assert (high - low, (low + high) / 2) == (pytest.approx(4.0), pytest.approx(30.05))


def test_many_arms_are_shown_without_curves_and_a_missing_result_has_its_label() -> None:
    many = [arm(f"arm {n}", 0.1 * n) for n in range(1, 7)]
    drawn = figure([study(*many, arm("lost", None)), study(arm("a", 0.5))])
    assert [len(row.axes) for row in drawn.subfigs] == [1, 2]
    assert drawn.subfigs[0].axes[0].texts[-1].get_text() == "label of lost"


def test_studies_that_differ_in_one_quantity_are_one_plot_with_standard_deviations() -> None:
    few, many = study(arm("random", 0.6, 0.4), arm("coded", 0.3, 0.3)), study(arm("random", 0.2, 0.2))
    (axes,) = figure([few, many], ("labels", (5, 60))).axes
    assert (axes.get_xlabel(), [label.get_text() for label in axes.get_xticklabels()]) == ("labels", ["5", "60"])
    assert axes.get_ylabel().startswith("test error, %")
    random, coded = axes.containers
    assert list(random[0].get_ydata()) == pytest.approx([50.0, 20.0])
    assert list(coded[0].get_ydata()) == pytest.approx([30.0])
    bars = [segment[:, 1] for segment in random[2][0].get_segments()]
    assert bars[0][1] - bars[0][0] == pytest.approx(2 * 200**0.5)  # a deviation up and one down
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["random", "coded"]


def test_the_file_is_a_png_with_the_colours_of_its_arms(tmp_path: Path) -> None:
    save([study(arm("ReLU", 4.0), arm("tanh", 20.0), measure="epochs")], tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert 1200 < pixels.shape[1] < 1700
    for color in COLORS[:2]:
        assert (np.abs(pixels - np.array(to_rgb(color)) * 255).max(2) < 4).any()
    assert not (np.abs(pixels - np.array(to_rgb(COLORS[2])) * 255).max(2) < 4).any()


@pytest.mark.parametrize("measured", [(0.0, 0.0), (1.0,)])
def test_errors_of_zero_and_one_can_be_drawn(measured: tuple[float, ...], tmp_path: Path) -> None:
    save([study(arm("a", *measured))], tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000
