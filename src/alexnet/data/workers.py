"""The same work on many items in several processes, results in the order of the items, memory flat."""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

from alexnet.errors import AlexNetError, UsageError

T = TypeVar("T")
R = TypeVar("R")

CHUNK = 16  # items a worker takes at once: 3 MB of 256 x 256 images
WORTH_A_WORKER = 64  # starting a process costs as much as this many images


@contextmanager
def ordered_map(
    work: Callable[[T], R], items: Iterable[T], count: int, workers: int | None = None
) -> Iterator[Iterator[R]]:
    """`work(item)` for each of `count` items, in order; the processes end with the block, however it ends.

    work: a function that a fresh process can import. workers: processes, None for one a core. Few items are worked on
    in this process. At most four chunks a worker wait at any time.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"workers {workers}: at least 1 is needed")
    wanted = min(workers or _cores(), count // WORTH_A_WORKER)
    if wanted <= 1 or not _can_spawn():
        yield map(work, items)
        return
    pool = ProcessPoolExecutor(wanted, multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        yield _results(pool, work, iter(items), 4 * wanted)
    except BrokenProcessPool as error:
        raise AlexNetError(
            "a worker process ended unexpectedly: out of memory, or, in a script of your own, code outside "
            "`if __name__ == '__main__':`; mend that or take one worker"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _results(pool: ProcessPoolExecutor, work: Callable[[T], R], items: Iterator[T], waiting: int) -> Iterator[R]:
    pending: deque[Future[list[R]]] = deque()
    while chunk := list(islice(items, CHUNK)):
        pending.append(pool.submit(_work_on, work, chunk))
        if len(pending) == waiting:
            yield from pending.popleft().result()
    while pending:
        yield from pending.popleft().result()


def _work_on(work: Callable[[T], R], chunk: list[T]) -> list[R]:
    return [work(item) for item in chunk]


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, which ends the workers in order, and never outlive a parent that was killed.

    The standard error is closed: decoders written in C complain there about damaged files, which are reported anyway.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _can_spawn() -> bool:
    """A fresh process imports the main script again, which it cannot when that was read from standard input."""
    main = getattr(sys.modules["__main__"], "__file__", None)
    return main is None or Path(main).exists()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
