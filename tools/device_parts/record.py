"""What a part found, written anew after each row, so that a part that is ended leaves what it had."""

import datetime
import gc
import subprocess
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from alexnet.bench.table import Row, row
from alexnet.bench.worker import Work
from alexnet.files import write_json

Figures = dict[str, list[float]]
"""By name of a contender the seconds a unit of work took it in each round."""


class Record:
    """The result of one part, a JSON file: part, state, reason, machine, rows."""

    def __init__(self, part: str, path: Path) -> None:
        self.part, self.path = part, path
        self.rows: list[Row] = []
        self.state, self.reason = "running", ""
        self.machine: dict[str, Any] = {}

    @property
    def device(self) -> str:
        """ "cuda" or "cpu"."""
        return str(self.machine["device"])

    @property
    def small(self) -> bool:
        """Whether there is no GPU, so that this is only to see that it runs."""
        return self.device == "cpu"

    def begin(self, machine: dict[str, Any]) -> None:
        """Note where this is."""
        self.machine = machine
        self._write()

    def end(self, state: str = "", reason: str = "") -> None:
        """Note how it ended; "done" unless something else was noted before."""
        self.state = state or ("done" if self.state == "running" else self.state)
        self.reason = reason or self.reason
        self._write()

    def pass_over(self, reason: str) -> None:
        """Note that there is nothing to measure here, and why."""
        self.state, self.reason = "passed over", reason

    def add(self, what: str, unit: str, *figures: float, **marks: Any) -> None:
        """A row of repeats: their median and spread. marks: at_least or at_most, note."""
        one = Row(self.part, what, unit, figures[0], repeats=1, **marks)
        self.rows.append(one if len(figures) == 1 else row(self.part, what, unit, figures, **marks))
        self._write()

    def missing(self, what: str, unit: str, reason: str) -> None:
        """A row without a figure."""
        self.rows.append(Row(self.part, what, unit, note=reason))
        self._write()

    def _write(self) -> None:
        facts = {name: getattr(self, name) for name in ("part", "state", "reason", "machine")}
        write_json(self.path, {**facts, "rows": [each.to_json() for each in self.rows]})


def machine() -> dict[str, Any]:
    """The hardware, the versions, the commit and the day."""
    import torch

    from alexnet.ops import native
    from alexnet.runs.environment import environment

    cuda = torch.cuda.is_available()
    found = environment(torch.device("cuda" if cuda else "cpu"), torch.bfloat16)
    facts = {
        "device": "cuda" if cuda else "cpu",
        "card": found["device"] if cuda else None,
        "driver": driver() if cuda else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "triton": installed("triton"),
        "native": native.instruction_set(),
        "date": datetime.date.today().isoformat(),
    }
    return facts | {name: found[name] for name in ("commit", "python", "processor", "cores")}


def driver() -> str | None:
    """The driver's version, which torch does not tell."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    return output[0] if output else None


def installed(package: str) -> str | None:
    """The version of a package; None where there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def in_rounds(works: Mapping[str, Work], rounds: int) -> Figures:
    """One repeat of each in turn, so that all see the same machine."""
    found: Figures = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            began = time.perf_counter()
            units = work()
            found[name].append((time.perf_counter() - began) / units)
    return found


def with_memory(build: Callable[[], Work], device: str) -> tuple[Work, float | None]:
    """The work that `build` makes and warms up, and the gigabytes of the GPU that it took at most."""
    if device != "cuda":
        return build(), None
    import torch

    forget()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work = build()
    return work, (torch.cuda.max_memory_allocated() - before) / 1e9


def replayed(function: Callable[[], object]) -> Callable[[], None]:
    """The GPU's work of a function, recorded as a CUDA graph: what asks for it takes no time of the processor's."""
    import torch

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):  # libraries choose their algorithms, kernels are compiled
            function()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()

    kept = graph, function  # with the function lives the memory that the graph works on

    def replay() -> None:
        kept[0].replay()

    return replay


def forget() -> None:
    """Give memory of the GPU back that nothing holds any more."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()
