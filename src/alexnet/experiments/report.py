"""What an experiment leaves: results.json, results.csv, table.md, picture.png and report.html, which stands alone."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alexnet.experiments.experiment import Experiment, Study, slug
from alexnet.experiments.results import Outcome, Summary, best_rate, percent, plus_minus, summarize, to_json, unmeasured
from alexnet.files import read_json, whole_file, write_csv, write_json
from alexnet.plots import experiments as pictures
from alexnet.plots.page import Picture, Table
from alexnet.plots.page import page as html_page

Outcomes = Mapping[tuple[str, str], Sequence[Outcome]]
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


def write(
    experiment: Experiment,
    outcomes: Outcomes,
    tried: Mapping[tuple[str, str], Mapping[float, Outcome]],
    out: Path,
    command: str,
    quick: bool,
) -> dict[str, Any]:
    """Write all of it into `out`; what results.json holds."""
    summaries = [summarize(study, outcomes) for study in experiment.studies]
    everything = _every_run(experiment, outcomes, tried)
    pretrained = _pretrained(out)
    results = {
        "experiment": experiment.name,
        "question": experiment.question,
        "published": experiment.published,
        "quick": quick,
        "command": command,
        "hours": _hours(everything, pretrained),
        "hardware": _hardware(everything),
        "studies": [
            {
                **to_json(study, found, outcomes),
                "images": _images(study, outcomes),
                "rates": _rates(study, tried),
            }
            for study, found in zip(experiment.studies, summaries, strict=True)
        ],
        "pretrained": pretrained,
    }
    write_json(out / "results.json", results)
    write_csv(
        out / "results.csv", [*RUN_COLUMNS, "seconds"], ([*_cells(run), f"{run.seconds:.1f}"] for run in everything)
    )
    tables = [table(study, found) for study, found in zip(experiment.studies, summaries, strict=True)]
    drawn = [_drawn(study, found, outcomes) for study, found in zip(experiment.studies, summaries, strict=True)]
    pictures.save(drawn, out / "picture.png", experiment.across)
    with whole_file(out / "table.md") as file:
        file.write(markdown(results, tables))
    with whole_file(out / "report.html") as file:
        file.write(page(results, tables, (out / "picture.png").read_bytes()))
    return results


def table(study: Study, summaries: Sequence[Summary]) -> list[list[str]]:
    """A heading and a line an arm, in words."""
    epochs = study.measure == "epochs"
    measured = f"epochs to {study.target:.0%} training error" if epochs else "test error"
    compared = f"times {summaries[0].name}" if epochs else f"points from {summaries[0].name}"
    lines = [["arm", "differs by", measured, compared, "training error", "published", "runs", "minutes"]]
    for arm in summaries:
        scale = 1 if epochs else 100
        lines.append(
            [
                arm.name,
                differences(arm),
                _value(study, arm),
                "" if arm is summaries[0] else _number(arm.difference, arm.difference_spread, scale) or "–",
                percent(arm.train_error, None),
                arm.published or "",
                str(arm.seeds),
                f"{arm.seconds / 60:.1f}",
            ]
        )
    return lines


def _value(study: Study, arm: Summary) -> str:
    """What the study measures of an arm, in words."""
    if arm.mean is None:
        return unmeasured(arm)
    return percent(arm.mean, arm.spread) if study.measure == "error" else plus_minus(arm.mean, arm.spread)


def differences(arm: Summary) -> str:
    """ "dropout 0.5, rate 0.01"."""
    told = [f"{name} {value if value != '' else 'none'}" for name, value in arm.settings.items()]
    return ", ".join([*told, *([] if arm.rate is None else [f"rate {arm.rate:g}"])])


def markdown(results: Mapping[str, Any], tables: Sequence[list[list[str]]]) -> str:
    """The tables with the sentences above them."""
    parts = [f"# {results['experiment']}\n", f"{results['question']}\n"]
    for study, lines in zip(results["studies"], tables, strict=True):
        parts += [
            f"{study['sentence']}\n",
            f"{study['images']}. {study['rates']}".rstrip() + "\n",
            *(_markdown_line(line) for line in lines[:1]),
        ]
        parts += ["|" + "---|" * len(lines[0]), *(_markdown_line(line) for line in lines[1:]), ""]
    parts += [f"{told}\n" for told in _pretraining_told(results)]
    parts += [f"Published: {results['published']}\n", f"{_provenance(results)}\n"]
    return "\n".join(parts)


def page(results: Mapping[str, Any], tables: Sequence[list[list[str]]], picture: bytes) -> str:
    """One self-contained HTML page."""
    sections: list[Picture | Table] = [Picture("picture", "Every arm and its curves", "", picture)]
    for study, (heading, *rows) in zip(results["studies"], tables, strict=True):
        notes = [f"{study['images']}.", *([study["rates"]] if study["rates"] else [])]
        sections.append(Table(slug(study["title"]), study["title"], heading, rows, notes))
    return html_page(
        results["experiment"],
        sections,
        lead=[results["question"], f"Published: {results['published']}"],
        findings=[study["sentence"] for study in results["studies"]],
        notes=[*_pretraining_told(results), _provenance(results)],
    )


def _provenance(results: Mapping[str, Any]) -> str:
    hardware = results["hardware"]
    quick = "; --quick: smaller and shorter than the whole experiment" if results["quick"] else ""
    versions = hardware["versions"] if isinstance(hardware["versions"], list) else [hardware["versions"]]
    return (
        f"{results['command']}; {results['hours']:.2f} hours of training on {_told(hardware['device'])}, "
        f"{_told(hardware['processor'])}, threads: {_told(hardware['threads'])}, {_told(hardware['precision'])}, "
        f"torch {_told(sorted({each['torch'] for each in versions}))}{quick}"
    )


def _told(values: Any) -> str:
    """A value, or several joined by "and"."""
    return " and ".join(map(str, values)) if isinstance(values, list) else str(values)


def _pretrained(out: Path) -> list[dict[str, Any]]:
    """What the pre-trainings of an experiment came to, as their metrics.json say."""
    files = sorted(out.glob("pretrained/*/metrics.json"))
    return [{"name": file.parent.name, **read_json(file)} for file in files]


def _pretraining_told(results: Mapping[str, Any]) -> list[str]:
    """A line for each pre-training: what it saw, and its error beside a constant's."""
    lines = []
    for run in results["pretrained"]:
        shares = ", ".join(f"{layer} {found['share']:.1%}" for layer, found in run["layers"].items())
        lines.append(
            f"Pre-training {run['name']}: {run['images']:,} images without labels, {run['seconds'] / 60:.1f} minutes; "
            f"error on {run['measured_on']} images as a share of a constant prediction's: {shares}."
        )
    return lines


def _every_run(
    experiment: Experiment, outcomes: Outcomes, tried: Mapping[tuple[str, str], Mapping[float, Outcome]]
) -> list[Outcome]:
    """Each evaluation of a run once, those at the rates that were not taken among them."""
    found: dict[tuple[str, int], Outcome] = {}
    for study in experiment.studies:
        for arm in study.arms:
            for outcome in (*tried.get((study.title, arm.name), {}).values(), *outcomes[study.title, arm.name]):
                found.setdefault((outcome.folder, outcome.views), outcome)
    return list(found.values())


def _hours(runs: Sequence[Outcome], pretrained: Sequence[Mapping[str, Any]]) -> float:
    """Of training, each run once however often it was evaluated."""
    seconds = {run.folder: run.seconds for run in runs}
    return float(sum(seconds.values()) + sum(each["seconds"] for each in pretrained)) / 3600


def _hardware(runs: Sequence[Outcome]) -> dict[str, Any]:
    """What computed: each fact as all runs have it, or, where they differ, as a list."""
    files = [Path(run.folder) / "config.json" for run in runs]
    configs = [read_json(file) for file in files if file.is_file()]
    found: dict[str, Any] = {}
    for name in HARDWARE:
        values = [config.get(name) for config in configs]
        different = [value for place, value in enumerate(values) if value not in values[:place]]
        found[name] = different[0] if len(different) == 1 else different
    return found


def _images(study: Study, outcomes: Outcomes) -> str:
    """What was trained and tested on, and whether the images were JPEG files."""
    run = outcomes[study.title, study.arms[0].name][0]
    with (Path(run.folder) / "split.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    counts = {part: sum(row["split"] == part for row in rows) for part in ("train", "val", "test")}
    told = ", ".join(f"{count:,} {part}" for part, count in counts.items() if count)
    jpeg = bool(rows) and rows[0]["path"].lower().endswith((".jpg", ".jpeg"))
    kind = "JPEG files"
    if study.data == "cifar10":
        kind = "the JPEG copy, which has lost a little" if jpeg else "the publisher's own pixels"
    elif not jpeg:
        kind = "not JPEG"
    return f"{study.data}: {told} images; {kind}"


def _rates(study: Study, tried: Mapping[tuple[str, str], Mapping[float, Outcome]]) -> str:
    """ "Rates tried with seed 0: ReLU 0.001 (8.2 epochs), 0.003 (5.1 epochs)"; says where a wider grid is needed."""
    told = []
    for arm in study.arms:
        rates = tried.get((study.title, arm.name), {})
        if rates:
            figures = ", ".join(f"{rate:g} ({_reached(study, outcome)})" for rate, outcome in rates.items())
            at_edge = len(rates) > 1 and best_rate(rates, study.measure) in (min(rates), max(rates))
            told.append(f"{arm.name} {figures}" + (", the best at the edge of those tried" if at_edge else ""))
    return f"Rates tried with seed {study.tuning_seed}: {'; '.join(told)}." if told else ""


def _reached(study: Study, outcome: Outcome) -> str:
    if outcome.diverged:
        return "diverged"
    if study.measure == "error":
        return percent(outcome.error, None)
    if outcome.epochs_to_target is not None:
        return f"{outcome.epochs_to_target:.1f} epochs"
    return f"{percent(outcome.train_error, None)} after {outcome.epochs} epochs"


def _drawn(study: Study, summaries: Sequence[Summary], outcomes: Outcomes) -> dict[str, Any]:
    """A study as the picture takes it."""
    return {
        "title": study.title,
        "measure": study.measure,
        "target": study.target,
        "arms": [
            {
                "name": arm.name,
                "told": _value(study, arm),
                "runs": [
                    {"measured": run.measured(study.measure), "curves": run.curves}
                    for run in outcomes[study.title, arm.name]
                ],
            }
            for arm in summaries
        ],
    }


def _cells(run: Outcome) -> list[Any]:
    return ["" if (value := getattr(run, name)) is None else value for name in RUN_COLUMNS]


def _number(mean: float | None, spread: float | None, scale: float = 1) -> str:
    """ "3.1 ± 0.2"; empty for None."""
    return "" if mean is None else plus_minus(scale * mean, None if spread is None else scale * spread)


def _markdown_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
