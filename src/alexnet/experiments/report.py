"""Write an experiment's report: results.json, results.csv, table.md, picture.png and a self-contained report.html."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alexnet.experiments.experiment import Experiment, Study, slug
from alexnet.experiments.folders import environment_of, pretraining_metrics
from alexnet.experiments.results import (
    ArmStatistics,
    Outcome,
    best_rate,
    missing_reason,
    percent,
    plus_minus,
    study_statistics,
    to_json,
)
from alexnet.files import whole_file, write_csv, write_json
from alexnet.plots import experiments as plot
from alexnet.plots.page import Picture, Table
from alexnet.plots.page import page as html_page
from alexnet.runs.folder import RunFolder

Outcomes = Mapping[tuple[str, str], Sequence[Outcome]]  # by titles of study and arm
Tried = Mapping[tuple[str, str], Mapping[float, Outcome]]  # the same, by learning rate
RUN_COLUMNS = (
    "study",
    "arm",
    "seed",
    "rate",
    "diverged",
    "split",
    "views",
    "error",
    "train_error",
    "epochs",
    "epochs_to_target",
)
HARDWARE = ("processor", "cores", "threads", "device", "precision", "versions", "alexnet", "commit")
PICTURE = "Learning curves where there are few arms; results with a marker for each seed and a bar for the mean."
SIGNIFICANCE = (
    "± is one standard deviation over seeds. Significant: the 95 % interval of the difference, paired by seed, excludes"
    " zero, or that of the ratio excludes one."
)


def write(
    experiment: Experiment, outcomes: Outcomes, tried: Tried, out: Path, command: str, quick: bool
) -> dict[str, Any]:
    """Write the report into `out` and return the contents of results.json."""
    statistics = [study_statistics(study, outcomes) for study in experiment.studies]
    studies = list(zip(experiment.studies, statistics, strict=True))
    runs = _every_run(experiment, outcomes, tried)
    pretrained = pretraining_metrics(out)
    results = {
        "experiment": experiment.name,
        "question": experiment.question,
        "published": experiment.published,
        "quick": quick,
        "command": command,
        "hours": _hours(runs, pretrained),
        "hardware": environment_of((Path(run.folder) for run in runs), HARDWARE),
        "studies": [
            {
                **to_json(study, arms, outcomes),
                "images": _image_counts(study, outcomes),
                "rates": _tried_rates(study, tried),
            }
            for study, arms in studies
        ],
        "pretrained": pretrained,
    }
    write_json(out / "results.json", results)
    write_csv(out / "results.csv", [*RUN_COLUMNS, "seconds"], ([*_cells(run), f"{run.seconds:.1f}"] for run in runs))
    plot.save([_to_plot(study, arms, outcomes) for study, arms in studies], out / "picture.png", experiment.across)
    tables = [table(study, arms) for study, arms in studies]
    with whole_file(out / "table.md") as file:
        file.write(markdown(results, tables))
    with whole_file(out / "report.html") as file:
        file.write(page(results, tables, (out / "picture.png").read_bytes()))
    return results


def table(study: Study, arms: Sequence[ArmStatistics]) -> list[list[str]]:
    """A heading and a row for each arm."""
    epochs = study.measure == "epochs"
    measured = f"epochs to {study.target:.0%} training error" if epochs else "test error"
    compared = f"ratio to {arms[0].name}" if epochs else f"points from {arms[0].name}"
    rows = [["arm", "settings", measured, compared, "significant", "training error", "published", "runs", "minutes"]]
    for arm in arms:
        reference = arm is arms[0]
        rows.append(
            [
                arm.name,
                settings_text(arm),
                _measured_text(study, arm),
                "" if reference else _scaled(arm.difference, arm.difference_std, 1 if epochs else 100),
                "" if reference or arm.difference_std is None else "yes" if arm.significant else "no",
                percent(arm.train_error, None),
                arm.published,
                str(arm.seeds),
                f"{arm.seconds / 60:.1f}",
            ]
        )
    return rows


def _measured_text(study: Study, arm: ArmStatistics) -> str:
    """The arm's mean ± standard deviation, or why it has none."""
    if arm.mean is None:
        return missing_reason(arm)
    return percent(arm.mean, arm.std) if study.measure == "error" else plus_minus(arm.mean, arm.std)


def settings_text(arm: ArmStatistics) -> str:
    """ "dropout 0.5, rate 0.01"."""
    parts = [f"{name} {value if value != '' else 'none'}" for name, value in arm.settings.items()]
    return ", ".join([*parts, *([] if arm.rate is None else [f"rate {arm.rate:g}"])])


def markdown(results: Mapping[str, Any], tables: Sequence[list[list[str]]]) -> str:
    """The results as Markdown: for each study its sentence and its table."""
    parts = [f"# {results['experiment']}\n", f"{results['question']}\n"]
    for study, (heading, *rows) in zip(results["studies"], tables, strict=True):
        parts += [
            f"{study['sentence']}\n",
            f"{study['images']}. {study['rates']}".rstrip() + "\n",
            _markdown_row(heading),
            "|" + "---|" * len(heading),
            *map(_markdown_row, rows),
            f"\n{SIGNIFICANCE}\n",
        ]
    parts += [f"{line}\n" for line in _pretraining_lines(results)]
    parts += [f"Published: {results['published']}\n", f"{_provenance(results)}\n"]
    return "\n".join(parts)


def page(results: Mapping[str, Any], tables: Sequence[list[list[str]]], picture: bytes) -> str:
    """The results as one self-contained HTML page."""
    sections: list[Picture | Table] = [Picture("picture", "Arms and learning curves", PICTURE, picture)]
    for study, (heading, *rows) in zip(results["studies"], tables, strict=True):
        notes = [SIGNIFICANCE, f"{study['images']}.", *([study["rates"]] if study["rates"] else [])]
        sections.append(Table(slug(study["title"]), study["title"], heading, rows, notes))
    return html_page(
        results["experiment"],
        sections,
        lead=[results["question"], f"Published: {results['published']}"],
        findings=[study["sentence"] for study in results["studies"]],
        notes=[*_pretraining_lines(results), _provenance(results)],
    )


def _provenance(results: Mapping[str, Any]) -> str:
    """Command, training time, hardware and versions in one line."""
    hardware = results["hardware"]
    quick = "; --quick: smaller and shorter than the whole experiment" if results["quick"] else ""
    versions = hardware["versions"] if isinstance(hardware["versions"], list) else [hardware["versions"]]
    return (
        f"{results['command']}; {results['hours']:.2f} hours of training on {_joined(hardware['device'])}, "
        f"{_joined(hardware['processor'])}, threads: {_joined(hardware['threads'])}, {_joined(hardware['precision'])}, "
        f"torch {_joined(sorted({each['torch'] for each in versions}))}{quick}"
    )


def _joined(values: Any) -> str:
    """A value, or several joined by "and"."""
    return " and ".join(map(str, values)) if isinstance(values, list) else str(values)


def _pretraining_lines(results: Mapping[str, Any]) -> list[str]:
    """For each pre-training run its images, its time and its errors relative to a constant prediction's."""
    lines = []
    for run in results["pretrained"]:
        shares = ", ".join(f"{layer} {found['share']:.1%}" for layer, found in run["layers"].items())
        lines.append(
            f"Pre-training {run['name']}: {run['images']:,} images without labels, {run['seconds'] / 60:.1f} minutes; "
            f"error on {run['measured_on']} images relative to a constant prediction's: {shares}."
        )
    return lines


def _every_run(experiment: Experiment, outcomes: Outcomes, tried: Tried) -> list[Outcome]:
    """Each evaluation of each run once, including runs at rates that were not selected."""
    found: dict[tuple[str, int], Outcome] = {}
    for study in experiment.studies:
        for arm in study.arms:
            for outcome in (*tried.get((study.title, arm.name), {}).values(), *outcomes[study.title, arm.name]):
                found.setdefault((outcome.folder, outcome.views), outcome)
    return list(found.values())


def _hours(runs: Sequence[Outcome], pretrained: Sequence[Mapping[str, Any]]) -> float:
    """Hours of training; a run that was evaluated twice counts once."""
    seconds = {run.folder: run.seconds for run in runs}
    return float(sum(seconds.values()) + sum(each["seconds"] for each in pretrained)) / 3600


def _image_counts(study: Study, outcomes: Outcomes) -> str:
    """Images of each part, and whether they were decoded from JPEG files."""
    run = outcomes[study.title, study.arms[0].name][0]
    rows = RunFolder(Path(run.folder)).read_split()
    counts = {part: sum(row.split == part for row in rows) for part in ("train", "val", "test")}
    parts = ", ".join(f"{count:,} {part}" for part, count in counts.items() if count)
    jpeg = bool(rows) and rows[0].path.lower().endswith((".jpg", ".jpeg"))
    kind = "JPEG files" if jpeg else "not JPEG"
    if study.data == "cifar10":
        kind = "from a JPEG copy, which is lossy" if jpeg else "the publisher's own pixels"
    return f"{study.data}: {parts} images; {kind}"


def _tried_rates(study: Study, tried: Tried) -> str:
    """ "Rates tried with seed 0: ReLU 0.001 (8.2 epochs)."; flags a best rate at the grid's edge."""
    parts = []
    for arm in study.arms:
        rates = tried.get((study.title, arm.name), {})
        if rates:
            found = ", ".join(f"{rate:g} ({_rate_result(study, outcome)})" for rate, outcome in rates.items())
            at_edge = len(rates) > 1 and best_rate(rates, study.measure) in (min(rates), max(rates))
            parts.append(f"{arm.name} {found}" + (", the best at the edge of those tried" if at_edge else ""))
    return f"Rates tried with seed {study.tuning_seed}: {'; '.join(parts)}." if parts else ""


def _rate_result(study: Study, outcome: Outcome) -> str:
    if outcome.diverged:
        return "diverged"
    if study.measure == "error":
        return percent(outcome.error, None)
    if outcome.epochs_to_target is not None:
        return f"{outcome.epochs_to_target:.1f} epochs"
    return f"{percent(outcome.train_error, None)} after {outcome.epochs} epochs"


def _to_plot(study: Study, arms: Sequence[ArmStatistics], outcomes: Outcomes) -> dict[str, Any]:
    """A study as `alexnet.plots.experiments.figure` takes it."""
    return {
        "title": study.title,
        "measure": study.measure,
        "target": study.target,
        "arms": [
            {
                "name": arm.name,
                "label": _measured_text(study, arm),
                "runs": [
                    {"measured": run.measured(study.measure), "curves": run.curves}
                    for run in outcomes[study.title, arm.name]
                ],
            }
            for arm in arms
        ],
    }


def _cells(run: Outcome) -> list[Any]:
    return ["" if (value := getattr(run, name)) is None else value for name in RUN_COLUMNS]


def _scaled(mean: float | None, std: float | None, scale: float) -> str:
    """ "3.1 ± 0.2" after multiplication by `scale`; "–" for None."""
    return "–" if mean is None else plus_minus(scale * mean, None if std is None else scale * std)


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
