"""What a person sees while a run trains: a progress bar on a terminal, a line an evaluation elsewhere.

Everything goes to standard error; standard output belongs to the result.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:  # rich draws, and is imported, on a terminal only
    from rich.progress import Progress


def say(text: str) -> None:
    """One line on standard error."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar where standard error is a terminal; gives the function that moves it: (done, total)."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress(
        *Progress.get_default_columns()[:-1],
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as shown:
        task = shown.add_task(title, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


class Report:
    """Shows a run of `steps` steps, of which `done` are behind it."""

    def __init__(self, steps: int, done: int = 0) -> None:
        self.bar = _steps(steps, done) if sys.stderr.isatty() else None

    def __enter__(self) -> Self:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def step(self, epoch: str, speed: float, loss: float, share: float, counted: str = "accuracy") -> None:
        """One step more; loss and the share of what is counted are the epoch's mean so far."""
        if self.bar is not None:
            told: dict[str, Any] = {"epoch": epoch, "speed": speed, "loss": loss, "score": f"{counted} {share:.1%}"}
            self.bar.update(self.bar.task_ids[0], advance=1, **told)

    def evaluated(self, row: dict[str, Any]) -> None:
        """A line for an epoch that was evaluated."""
        score = "".join(
            f"  {key} {row[key]:.2%}" for key in row if key.endswith(("top1", "macro_f1")) and key != "train_top1"
        )
        score += "".join(f"  {key} {row[key]:.4f}" for key in row if key.endswith("error"))
        layer = f"  {row['layer']}" if "layer" in row else ""
        speed = f"{row['images_per_second']:.0f} images/s"
        line = f"epoch {row['epoch']}{layer}  loss {row['train_loss']:.3f}{score}  {speed}"
        if self.bar is None:
            say(line)
        else:
            self.bar.console.print(line, highlight=False)


def _steps(steps: int, done: int) -> "Progress":
    """A bar with one task, of so many steps."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    shown = Progress(
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        TextColumn("{task.fields[speed]:.0f} images/s  loss {task.fields[loss]:.3f}  {task.fields[score]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    shown.add_task("train", total=steps, completed=done, epoch="", speed=0.0, loss=float("nan"), score="")
    return shown
