"""Contenders in turn: each in a process of its own, one repeat of each a round, so that all see the same machine."""

import logging
import multiprocessing
import statistics
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self

from alexnet.bench.worker import END, GO, serve
from alexnet.errors import AlexNetError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What all subjects are told."""

    batch_size: int = 128
    repeats: int = 5
    device: str = "cpu"
    seconds: float = 1.0  # a repeat takes at least about as long
    images: int = 2048  # in the store that is worked on
    side: int = 4096  # of the matrices whose product is the ceiling

    @property
    def classes(self) -> int:
        """Of the store: ImageNet's, or as many as have two images."""
        return min(1000, self.images // 2)

    @classmethod
    def quick(cls, device: str) -> Self:
        """Only to see that it runs."""
        return cls(batch_size=4, repeats=1, device=device, seconds=0.0, images=32, side=256)

    def settings(self, **more: Any) -> dict[str, Any]:
        """What most builders take."""
        return {"seconds": self.seconds, "device": self.device, **more}


@dataclass(frozen=True)
class Contender:
    """Something to be timed."""

    name: str
    build: str
    """ "module:function" that makes its work, in its own process (see `alexnet.bench.worker.serve`)."""
    settings: dict[str, Any]
    ours: bool = True  # others may fail, or not be installed: that is said in their row
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Series:
    """What one contender was measured to do."""

    name: str
    seconds: tuple[float, ...] = ()  # a unit of work, one figure a round, in the order of the rounds
    peak_bytes: int = 0  # of memory, libraries included, a mapped store not
    missing: str = ""  # why there is nothing

    @property
    def median(self) -> float:
        """Seconds a unit."""
        return statistics.median(self.seconds)


def race(title: str, contenders: Sequence[Contender], repeats: int) -> dict[str, Series]:
    """Start all contenders, one after the other, and let them work in turn, `repeats` rounds after a warm-up.

    Returns their series by name. AlexNetError where one of ours fails; others may.
    """
    with ExitStack() as running:
        workers = []
        for contender in contenders:
            logger.info(f"{title}: starting {contender.name}")
            workers.append(running.enter_context(_Worker(contender)))
        for number in range(repeats):
            logger.info(f"{title}: round {number + 1} of {repeats}")
            for worker in workers:
                worker.go()
        return {worker.contender.name: worker.end() for worker in workers}


class _Worker:
    """A contender's process, seen from outside."""

    def __init__(self, contender: Contender) -> None:
        self.contender, self.seconds, self.missing = contender, list[float](), ""
        spawn = multiprocessing.get_context("spawn")  # a fresh process, without this one's threads
        self.pipe: Connection
        self.pipe, theirs = spawn.Pipe()
        told = (theirs, contender.build, contender.settings, contender.environment)
        self.process: BaseProcess = spawn.Process(target=serve, args=told)
        self.process.start()
        theirs.close()

    def __enter__(self) -> Self:
        try:
            self._answer()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def go(self) -> None:
        """One repeat."""
        if not self.missing and (answer := self._ask(GO)):
            seconds, units = answer
            self.seconds.append(seconds / units)

    def end(self) -> Series:
        """All that was measured."""
        peak = 0 if self.missing else self._ask(END)
        if self.missing:
            return Series(self.contender.name, missing=self.missing)
        return Series(self.contender.name, tuple(self.seconds), peak)

    def _ask(self, order: str) -> Any:
        with suppress(BrokenPipeError):  # what became of it is seen next
            self.pipe.send(order)
        return self._answer()

    def _answer(self) -> Any:
        """What the process sends; a text says why it cannot go on."""
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

    def _stop(self) -> None:
        """Let the process end, and see to it."""
        self.pipe.close()
        self.process.join(timeout=5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
