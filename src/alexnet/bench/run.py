"""The subjects by name, and a whole benchmark: ceilings, rows, and what they were measured on."""

from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from alexnet.bench import data, evaluate, ops, predict, train
from alexnet.bench.ceilings import ceilings
from alexnet.bench.measure import Options
from alexnet.bench.table import Row
from alexnet.device import pick_device, pick_precision
from alexnet.errors import UsageError, unknown_name
from alexnet.ops import native
from alexnet.runs.environment import environment

SUBJECTS = {each.__name__.rpartition(".")[2]: each.measure for each in (ops, train, data, evaluate, predict)}


def benchmark(subject: str, options: Options) -> list[Row]:
    """The ceilings and the rows of one subject, or of "all". Marks are for processors: elsewhere there are none."""
    if subject != "all" and subject not in SUBJECTS:
        raise unknown_name("subject", subject, ["all", *SUBJECTS])
    for name in ("batch_size", "repeats"):
        if getattr(options, name) < 1:
            raise UsageError(f"{name} is {getattr(options, name)}; it takes 1 or more")
    options = replace(options, device=str(pick_device(options.device)))
    rows = ceilings(options)
    for name, measure in SUBJECTS.items():
        if subject in ("all", name):
            rows += measure(options)
    if options.device == "cpu":
        return rows
    return [row if row.subject == "data" else replace(row, at_least=None, at_most=None) for row in rows]


def to_json(rows: list[Row], options: Options) -> dict[str, Any]:
    """{"ceilings": [...], "rows": [...], "environment": {...}}."""
    device = pick_device(options.device)
    found = environment(device, pick_precision("auto", device))
    found["versions"] |= {name: _version(name) for name in ("keras", "tensorflow")}
    found |= {"native": native.instruction_set(), "batch_size": options.batch_size, "repeats": options.repeats}
    parts: dict[str, Any] = {"ceilings": [], "rows": []}
    for row in rows:
        parts["ceilings" if row.subject == "ceilings" else "rows"].append(row.to_json())
    return {**parts, "environment": found}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
