"""Time several contenders against each other.

Each contender runs in its own process. A round times one repeat of each contender, one after the other, so that slow
drifts of the machine (temperature, other load) reach all contenders alike.
"""

import logging
import multiprocessing
import signal
import statistics
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self, TypeVar

from alexnet.bench.worker import GO, serve
from alexnet.errors import AlexNetError, UsageError

RowT = TypeVar("RowT")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Settings shared by all subjects. UsageError if batch_size or repeats is below 1."""

    batch_size: int = 128
    repeats: int = 5
    device: str = "cpu"
    seconds: float = 1.0  # target duration of one repeat
    images: int = 2048  # in the store of noise
    side: int = 4096  # of the square matrices that measure peak FLOP/s
    models: tuple[str, ...] = ()  # to measure in place of the subject's own, as `alexnet.load` takes them

    def __post_init__(self) -> None:
        for name in ("batch_size", "repeats"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it takes 1 or more")

    @property
    def classes(self) -> int:
        """Classes of the store: ImageNet's 1,000, or fewer so that each has two images."""
        return min(1000, self.images // 2)

    @classmethod
    def quick(cls, device: str) -> Self:
        """The smallest sizes: a smoke test whose figures mean nothing."""
        return cls(batch_size=4, repeats=1, device=device, seconds=0.0, images=32, side=256)

    def settings(self, **more: Any) -> dict[str, Any]:
        """Arguments of a builder: seconds, device, and `more`."""
        return {"seconds": self.seconds, "device": self.device, **more}


@dataclass(frozen=True)
class Contender:
    """One thing to time."""

    name: str
    build: str  # "module:function", called in the contender's process; see `alexnet.bench.worker.serve`
    settings: dict[str, Any]  # keyword arguments of that function
    ours: bool = True  # False: a failure is reported in the row instead of ending the benchmark
    environment: dict[str, str] = field(default_factory=dict)  # set before anything is imported


@dataclass(frozen=True)
class Series:
    """The measurements of one contender."""

    name: str
    seconds: tuple[float, ...] = ()  # per unit of work, one value per round
    peak_bytes: int = 0  # peak memory of the process, without pages of a memory-mapped store
    missing: str = ""  # the reason, if the contender could not run

    @property
    def median(self) -> float:
        """Median seconds per unit of work."""
        return statistics.median(self.seconds)


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM ended a race. `found`: the series of its complete rounds; empty before the first."""

    def __init__(self, found: dict[str, Series]) -> None:
        super().__init__()
        self.found = found


def measured(
    title: str, contenders: Sequence[Contender], repeats: int, rows: Callable[[dict[str, Series]], Iterable[RowT]]
) -> Iterator[RowT]:
    """Run a race and yield `rows(series by name)`. If interrupted, yield the rows of its complete rounds, then raise.

    Raises: as `race`.
    """
    try:
        found = race(title, contenders, repeats)
    except Interrupted as stopped:
        if stopped.found:
            yield from rows(stopped.found)
        raise
    yield from rows(found)


def race(title: str, contenders: Sequence[Contender], repeats: int) -> dict[str, Series]:
    """Start and warm up all contenders, then time `repeats` rounds; the series by contender name.

    Raises: AlexNetError if one of our own contenders fails; Interrupted on SIGINT or SIGTERM during the rounds.
    """
    with ExitStack() as running:
        workers = []
        for contender in contenders:
            logger.info(f"{title}: starting {contender.name}")
            workers.append(running.enter_context(_Worker(contender)))
        try:
            for number in range(repeats):
                logger.info(f"{title}: round {number + 1} of {repeats}")
                for worker in workers:
                    worker.run_once()
        except KeyboardInterrupt as error:
            raise Interrupted(_complete_rounds(workers)) from error
        return {worker.contender.name: worker.series() for worker in workers}


def _complete_rounds(workers: Sequence["_Worker"]) -> dict[str, Series]:
    """The series of the rounds in which every contender was timed; empty if there is none."""
    rounds = min((len(worker.seconds) for worker in workers if not worker.missing), default=0)
    return {worker.contender.name: worker.series(rounds) for worker in workers} if rounds else {}


class _Worker:
    """Context manager for a contender's process, seen from the parent."""

    def __init__(self, contender: Contender) -> None:
        self.contender, self.seconds, self.peak_bytes, self.missing = contender, list[float](), 0, ""
        spawn = multiprocessing.get_context("spawn")  # a fresh interpreter, without the parent's threads
        self.pipe: Connection
        self.pipe, child_end = spawn.Pipe()
        arguments = (child_end, contender.build, contender.settings, contender.environment)
        self.process: BaseProcess = spawn.Process(target=serve, args=arguments)
        with _stop_signals_blocked():
            self.process.start()
        child_end.close()

    def __enter__(self) -> Self:
        try:
            self._receive()
        except BaseException:
            self._end(wait_s=0)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(wait_s=0 if kind else 5)

    def run_once(self) -> None:
        """Time one repeat."""
        if self.missing:
            return
        with suppress(BrokenPipeError):  # `_receive` finds out why
            self.pipe.send(GO)
        if answer := self._receive():
            seconds, units, self.peak_bytes = answer
            self.seconds.append(seconds / units)

    def series(self, rounds: int | None = None) -> Series:
        """The measurements of the first `rounds` rounds; None: of all."""
        if self.missing:
            return Series(self.contender.name, missing=self.missing)
        return Series(self.contender.name, tuple(self.seconds[:rounds]), self.peak_bytes)

    def _receive(self) -> Any:
        """The next message. A string is an error: raised for our own contenders, kept in `missing` for others."""
        try:
            answer = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            answer = f"its process ended with code {self.process.exitcode}, perhaps for want of memory"
        if not isinstance(answer, str):
            return answer
        if self.contender.ours:
            raise AlexNetError(f"cannot measure {self.contender.name}: {answer}")
        logger.info(f"{self.contender.name}: {answer}")
        self.missing = answer
        return None

    def _end(self, wait_s: float) -> None:
        """Close the pipe, which ends an idle process; kill it if it still runs `wait_s` seconds later."""
        self.pipe.close()
        self.process.join(timeout=wait_s)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@contextmanager
def _stop_signals_blocked() -> Iterator[None]:
    """Block SIGINT and SIGTERM while a process is started, which inherits the mask; raise them again afterwards.

    Ctrl-C signals the whole process group. Only the parent may react: it still needs what its contenders measured. The
    mask is that of this thread alone: a library's other threads receive the signals, and Python then runs the handler
    here, in the middle of the start. So the handlers wait, too.
    """
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # multiprocessing unblocks both signals when it starts the tracker
    kinds, received = {signal.SIGINT, signal.SIGTERM}, set[int]()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, kinds)
    handlers = {kind: signal.signal(kind, lambda number, frame: received.add(number)) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in handlers.items():
            signal.signal(kind, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number in received:
            signal.raise_signal(number)
