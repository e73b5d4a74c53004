"""A whole benchmark: the ceilings, then the rows of one subject or of all."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from alexnet.bench import compare, data, evaluate, ops, predict, train
from alexnet.bench.ceilings import ceilings
from alexnet.bench.measure import Options
from alexnet.bench.table import Row
from alexnet.device import pick_device, pick_precision
from alexnet.errors import UsageError, unknown_name
from alexnet.ops import native
from alexnet.runs.environment import environment, installed_version
from alexnet.weights.named import check_model

SUBJECTS = {each.__name__.rpartition(".")[2]: each.measure for each in (ops, train, data, evaluate, predict, compare)}


def benchmark(subject: str, options: Options) -> Iterator[Row]:
    """Yield each row as soon as it is measured: the ceilings, then the rows of `subject`, or of every one for "all".

    Marks are set for CPUs; on other devices only the subject data, which runs on the CPU, keeps its own.

    Raises: UsageError at once for an unknown subject or device, WeightsError for what is no model; KeyboardInterrupt
    when the process is told to stop, after the rows of the race's complete rounds.
    """
    if subject != "all" and subject not in SUBJECTS:
        raise unknown_name("subject", subject, ["all", *SUBJECTS])
    if options.models and subject != "predict":
        raise UsageError(f"--model goes with the subject predict, not {subject}")
    for model in options.models:
        check_model(model)  # before anything is measured
    return _rows(subject, replace(options, device=str(pick_device(options.device))))


def _rows(subject: str, options: Options) -> Iterator[Row]:
    yield from ceilings(options)
    for name, measure in SUBJECTS.items():
        if subject in ("all", name):
            has_marks = options.device == "cpu" or name == "data"
            for row in measure(options):
                yield row if has_marks else replace(row, at_least=None, at_most=None)


def to_json(rows: Iterable[Row], options: Options, complete: bool = True) -> dict[str, Any]:
    """{"complete": ..., "ceilings": [...], "rows": [...], "environment": {...}}; complete: False if it was stopped."""
    device = pick_device(options.device)
    found = environment(device, pick_precision("auto", device))
    found["versions"] |= {
        name: installed_version(name) for name in ("keras", "tensorflow", "lpips", "openvino", "onnxruntime")
    }
    found |= {"native": native.instruction_set(), "batch_size": options.batch_size, "repeats": options.repeats}
    parts: dict[str, list[dict[str, Any]]] = {"ceilings": [], "rows": []}
    for row in rows:
        parts["ceilings" if row.subject == "ceilings" else "rows"].append(row.to_json())
    return {"complete": complete, **parts, "environment": found}
