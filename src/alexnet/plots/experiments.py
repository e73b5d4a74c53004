"""Figures of an experiment: the result of every arm with its seeds, and the learning curves.

A study is one row: at the left the curves, if there are few arms; at the right the results, a marker for each seed and
a bar for the mean. Colours are from Okabe and Ito's palette; lines differ in their dashes as well.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from alexnet.plots import canvas
from alexnet.plots.canvas import BLUE, GRAY, GREEN, ORANGE, PURPLE, SKY, VERMILION, WIDTH, new_figure

COLORS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, "#000000", GRAY)
DASHES = ("-", "--", ":", "-.")
MARKERS = "os^Dv"  # one for each seed: runs of one seed are compared in pairs
CURVES_UP_TO = 5  # arms; curves of more would be illegible
LEAST_SPAN = 4.0  # percentage points on the axis of results, so that small differences do not look large


Across = tuple[str, Sequence[float]]  # a quantity's name, and its value in each study


def figure(studies: Sequence[Mapping[str, Any]], across: Across | None = None) -> Figure:
    """The figure of an experiment.

    studies: each with "title"; "measure", "error" (0..1) or "epochs"; "target", a training error, or None; and "arms",
    each with "name", "label" (its result as text) and "runs", each with "measured" (None if missing) and "curves":
    lists "epoch", "train_error", "held_out_error", None for gaps. across: the quantity in which the studies differ;
    they are then drawn as one plot.
    """
    if across is not None:
        drawn = new_figure(WIDTH, 5.0)
        _draw_across(drawn.subplots(), studies, *across)
        return drawn
    heights = [max(3.0, 1.1 + 0.36 * len(study["arms"])) for study in studies]
    drawn = new_figure(WIDTH, sum(heights))
    rows = drawn.subfigures(len(studies), 1, height_ratios=heights, squeeze=False)[:, 0]
    for row, study in zip(rows, studies, strict=True):
        if len(study["arms"]) > CURVES_UP_TO:
            _draw_results(row.subplots(), study, colored=False)
            continue
        left, right = row.subplots(1, 2, width_ratios=(3, 2))
        _draw_curves(left, study)
        _draw_results(right, study, colored=True)
    return drawn


def save(studies: Sequence[Mapping[str, Any]], path: str | Path, across: Across | None = None) -> None:
    """`figure`, as PNG."""
    canvas.save(figure(studies, across), path)


def _draw_across(axes: Axes, studies: Sequence[Mapping[str, Any]], quantity: str, values: Sequence[float]) -> None:
    """Test error by the quantity in which studies differ, a line for each arm; bars are standard deviations over seeds.

    Values are equidistant; arms are shifted horizontally so that bars do not overlap.
    """
    names = list(dict.fromkeys(arm["name"] for study in studies for arm in study["arms"]))
    for index, name in enumerate(names):
        shift = 0.03 * (index - (len(names) - 1) / 2)
        positions, means, deviations = [], [], []
        for place, study in enumerate(studies):
            runs = [run for arm in study["arms"] if arm["name"] == name for run in arm["runs"]]
            errors = [100 * run["measured"] for run in runs if run["measured"] is not None]
            if errors and len(errors) == len(runs):
                positions.append(place + shift)
                means.append(fmean(errors))
                deviations.append(stdev(errors) if len(errors) > 1 else 0.0)
        axes.errorbar(
            positions,
            means,
            deviations,
            color=COLORS[index % len(COLORS)],
            linestyle=DASHES[index % len(DASHES)],
            marker="o",
            markersize=5,
            linewidth=1.5,
            capsize=3,
            label=name,
        )
    axes.set_xticks(range(len(values)), [f"{value:g}" for value in values])
    axes.set(xlabel=quantity, ylabel="test error, % (bars: standard deviation)")
    axes.legend(frameon=False, fontsize=9)
    _plain(axes)


def _draw_curves(axes: Axes, study: Mapping[str, Any]) -> None:
    """Errors by epoch, a line for each seed; the training error alone for "epochs", as in the paper's figure 1."""
    measures_epochs = study["measure"] == "epochs"
    for index, arm in enumerate(study["arms"]):
        for number, run in enumerate(arm["runs"]):
            label = arm["name"] if number == 0 else None
            if measures_epochs:
                _line(axes, run["curves"], "train_error", index, label)
            else:
                _line(axes, run["curves"], "held_out_error", index, label)
                _line(axes, run["curves"], "train_error", index, None, alpha=0.35)
    if study["target"] is not None:
        axes.axhline(study["target"], color="#8a8a8a", linewidth=1)
        axes.annotate(
            f"{study['target']:.0%}",
            (1, study["target"]),
            (3, 0),
            ("axes fraction", "data"),
            "offset points",
            va="center",
        )
    kind = "training error" if measures_epochs else "held-out error (faint: training error)"
    axes.set(title=study["title"], xlabel="epochs", ylabel=kind, ylim=(0, None))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if axes.get_lines():
        axes.legend(frameon=False, fontsize=9)
    _plain(axes)


def _line(
    axes: Axes,
    curves: Mapping[str, Sequence[float | None]],
    part: str,
    index: int,
    label: str | None,
    alpha: float = 1.0,
) -> None:
    """One run's errors; nothing where there are none."""
    pairs = zip(curves.get("epoch", []), curves.get(part, []), strict=True)
    points = [(epoch, error) for epoch, error in pairs if error is not None]
    if not points:
        return
    marker = "o" if len(points) <= 3 else None
    axes.plot(
        *zip(*points, strict=True),
        color=COLORS[index % len(COLORS)],
        linestyle=DASHES[index % len(DASHES)],
        marker=marker,
        markersize=4,
        linewidth=1.5,
        alpha=alpha,
        label=label,
    )


def _draw_results(axes: Axes, study: Mapping[str, Any], colored: bool) -> None:
    """One row for each arm: a marker for each seed, a bar for the mean, the result as text."""
    scale = 1.0 if study["measure"] == "epochs" else 100.0
    names = [arm["name"] for arm in study["arms"]]
    for index, arm in enumerate(study["arms"]):
        values = [scale * run["measured"] for run in arm["runs"] if run["measured"] is not None]
        color = COLORS[index % len(COLORS)] if colored else COLORS[0]
        _row(axes, len(names) - 1 - index, values, arm["label"], color)
    axes.set_yticks(range(len(names) - 1, -1, -1), names, parse_math=False)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.tick_params(axis="y", length=0)
    label = f"epochs to {study['target']:.0%} training error" if study["measure"] == "epochs" else "test error, %"
    several = max(len(arm["runs"]) for arm in study["arms"]) > 1
    axes.set(xlabel=f"{label} (one marker per seed, bar: mean)" if several else label)
    if study["measure"] == "epochs":
        axes.set_xlim(left=0)
    else:
        low, high = axes.get_xlim()
        widened = max(0.0, LEAST_SPAN - (high - low)) / 2
        axes.set_xlim(low - widened, high + widened)
    if colored is False:
        axes.set_title(study["title"])
    _plain(axes)


def _row(axes: Axes, height: int, values: Sequence[float], label: str, color: str) -> None:
    """One arm: its runs, their mean, and `label` at the right."""
    for value, marker in zip(values, cycle(MARKERS)):
        axes.plot(value, height, marker, color=color, markersize=6, alpha=0.6, clip_on=False)
    if values:
        mean = fmean(values)
        axes.plot([mean, mean], [height - 0.28, height + 0.28], color=color, linewidth=2.5)
    place = ("axes fraction", "data")
    axes.annotate(label, (1.02, height), xycoords=place, va="center", fontsize=9, annotation_clip=False)


def _plain(axes: Axes) -> None:
    axes.grid(color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
