"""What a person sees: messages, progress bars and tables.

The library logs to the loggers `alexnet.*` and never prints; a program that calls it sees nothing unless it configures
logging. The command line asks for more: `show_log` writes messages to standard error, and `show_progress` allows bars,
which are drawn on standard error where that is a terminal. Standard output belongs to the result. rich is imported
when the first bar or table is drawn, because importing it takes long.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn
    from rich.table import Table

logger = logging.getLogger("alexnet")
logger.addHandler(logging.NullHandler())  # without it Python prints warnings where logging is not configured

MINUTE = 60  # seconds
_allowed = False  # whether bars may be drawn
_live: list["Progress"] = []  # the bars on the screen, the latest last


@contextmanager
def show_log() -> Iterator[None]:
    """Write what is logged to `alexnet.*` at INFO and above to standard error, a plain line each, above a live bar."""
    if any(isinstance(each, _Lines) for each in logger.handlers):  # shown already
        yield
        return
    handler, level = _Lines(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextmanager
def show_progress() -> Iterator[None]:
    """Allow progress bars."""
    global _allowed
    before, _allowed = _allowed, True
    try:
        yield
    finally:
        _allowed = before


@contextmanager
def bar(title: str, in_bytes: bool = False) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar, where bars are allowed; gives the function that moves it: (done, total).

    in_bytes: show sizes and speed instead of counts. total: None where it is unknown. The bar appears when it is first
    moved and is removed at the end.
    """
    if not _has_terminal():
        yield lambda done, total: None
        return
    shown = _progress(_byte_columns() if in_bytes else _count_columns(), transient=True)
    task = shown.add_task(title, total=None)

    def move(done: int, total: int | None) -> None:
        if shown not in _live:
            _start(shown)
        shown.update(task, completed=done, total=total)

    try:
        yield move
    finally:
        _stop(shown)


class TrainingBar:
    """Shows a training of so much `work`, of which `done` is behind it: a bar where allowed, a line an evaluation.

    Lines tell the time that is left where there is no bar, first after a minute. The unit of work is the caller's, such
    as a pixel: steps on larger images take longer.
    """

    def __init__(self, work: int, done: int = 0) -> None:
        self.work, self.done = work, done
        self.bar: Progress | None = None
        self._began, self._first, self._told = time.monotonic(), done, False

    def __enter__(self) -> Self:
        if _has_terminal():
            self.bar = _progress(_training_columns())
            self.task = self.bar.add_task(
                "train", total=self.work, completed=self.done, epoch="", speed=0.0, loss=float("nan"), score=""
            )
            _start(self.bar)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar:
            _stop(self.bar)

    def step(
        self, epoch: str, speed: float, loss: float, share: float, counted: str = "accuracy", work: int = 1
    ) -> None:
        """Move on by one step. speed: images/s; loss, share: the epoch's mean so far; counted: what the share is of."""
        self.done += work
        if self.bar:
            score = f"{counted} {share:.1%}"
            self.bar.update(self.task, completed=self.done, epoch=epoch, speed=speed, loss=loss, score=score)
        elif not self._told and time.monotonic() - self._began > MINUTE:
            self._told = True
            if left := self._left():
                logger.info(f"epoch {epoch} begun; about {left} left")

    def evaluated(self, row: dict[str, Any]) -> None:
        """Log a line for an epoch that was evaluated; row: its line of metrics.csv."""
        score = "".join(
            f"  {key} {row[key]:.2%}" for key in row if key.endswith(("top1", "macro_f1")) and key != "train_top1"
        )
        score += "".join(f"  {key} {row[key]:.4f}" for key in row if key.endswith("error"))
        layer = f"  {row['layer']}" if "layer" in row else ""
        speed = f"{row['images_per_second']:.0f} images/s"
        left = "" if self.bar else self._left()
        more = f"  about {left} left" if left else ""
        logger.info(f"epoch {row['epoch']}{layer}  loss {row['train_loss']:.3f}{score}  {speed}{more}")

    def _left(self) -> str:
        """The time that the rest takes at the mean speed so far, in words; "" for less than a minute."""
        taken = time.monotonic() - self._began
        minutes = round(taken * (self.work - self.done) / max(self.done - self._first, 1e-9) / MINUTE)
        hours = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
        return hours if minutes >= 1 else ""


def table(label: str, *numbers: str) -> "Table":
    """A table of one column of text, which is wrapped, and columns of numbers."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False)
    made.add_column(label, overflow="fold")
    for name in numbers:
        made.add_column(name, justify="right", no_wrap=True)
    return made


def print_lines(*lines: "str | Table") -> None:
    """Print text and tables to standard output; without a terminal, 120 columns wide."""
    for line in lines:
        if isinstance(line, str):
            print(line)
        else:
            _answers().print(line)


def _answers() -> "Console":
    from rich.console import Console

    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 120)


class _Lines(logging.Handler):
    """Writes each record as one line to the current standard error, warnings marked as such."""

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split("\n"))
        if record.levelno >= logging.WARNING:
            text = f"alexnet: warning: {text}"
        if _live:
            _live[-1].console.print(text, highlight=False, markup=False, emoji=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)


def _has_terminal() -> bool:
    return _allowed and sys.stderr.isatty()


def _progress(columns: "list[ProgressColumn]", transient: bool = False) -> "Progress":
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns, console=Console(stderr=True), transient=transient)


def _start(shown: "Progress") -> None:
    shown.start()
    _live.append(shown)


def _stop(shown: "Progress") -> None:
    if shown in _live:
        _live.remove(shown)
        shown.stop()


def _count_columns() -> "list[ProgressColumn]":
    from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    title = TextColumn("[progress.description]{task.description}")
    return [title, BarColumn(), TaskProgressColumn(), MofNCompleteColumn(), TimeRemainingColumn()]


def _byte_columns() -> "list[ProgressColumn]":
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    title = TextColumn("{task.description}")
    return [title, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()]


def _training_columns() -> "list[ProgressColumn]":
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    figures = "{task.fields[speed]:.0f} images/s  loss {task.fields[loss]:.3f}  {task.fields[score]}"
    epoch = TextColumn("epoch {task.fields[epoch]}")
    return [epoch, BarColumn(), TextColumn(figures), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()]
