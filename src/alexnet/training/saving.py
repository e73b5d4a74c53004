"""When checkpoints and weights are written, and the thread that writes them beside the next steps."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from alexnet.errors import AlexNetError

SHARE = 0.02  # of a run's time that may go into writing
FIRST_SPEED = 3e8  # bytes/s of hashing and writing, assumed until the first write was measured


class Saver:
    """Writes a run's files in the background, rarely enough to cost at most `SHARE` of its time.

    A checkpoint is due after an epoch once 1 / SHARE times the duration of the last write has passed, or `minutes`;
    within an epoch only after `minutes`. `keep` replaces the weights that will be written with the next checkpoint,
    before it, so that a checkpoint never names weights that are not on disk. An error of the thread is raised by the
    next call. Leaving the context writes the kept weights, unless an error stops the program at once.
    """

    def __init__(self, minutes: float, size: int, writes: bool = True) -> None:
        """size: bytes of a checkpoint, for the first estimate. writes: False where another process of the run does."""
        self._writes = writes
        self._limit = 60 * minutes
        self._cost = size / FIRST_SPEED  # seconds of the last write
        self._last = time.monotonic()
        self._pending: Callable[[], None] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="saving")
        self._running: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None or isinstance(error, AlexNetError):
                self.flush()
        finally:
            self._pool.shutdown()

    def due(self, epoch_ended: bool) -> bool:
        """Whether a checkpoint should be saved now."""
        if not self._writes:
            return False
        interval = min(self._limit, self._cost / SHARE) if epoch_ended else self._limit
        return time.monotonic() - self._last > interval

    def keep(self, write: Callable[[], None]) -> None:
        """Take `write`, which holds copies of what it writes, for the next checkpoint; it replaces an earlier one."""
        self._pending = write if self._writes else None

    def save(self, write: Callable[[], None]) -> None:
        """Write the kept weights and then `write`, which holds copies, in the background; waits for the last write."""
        if not self._writes:
            return
        self.wait()
        kept, self._pending = self._pending, None
        self._last = time.monotonic()
        self._running = self._pool.submit(self._write, kept, write)

    def flush(self) -> None:
        """Write the kept weights, if any, and wait until everything is on disk."""
        self.wait()
        kept, self._pending = self._pending, None
        if kept is not None:
            kept()

    def wait(self) -> None:
        """Wait for the thread; raises its error."""
        if self._running is not None:
            running, self._running = self._running, None
            running.result()

    def _write(self, *writes: Callable[[], None] | None) -> None:
        began = time.monotonic()
        for write in writes:
            if write is not None:
                write()
        self._cost = time.monotonic() - began
