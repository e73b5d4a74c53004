"""An ordered parallel map over threads in constant memory.

Threads suffice: decoding, resizing, hashing and writing release the interpreter lock.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from alexnet.errors import UsageError

T = TypeVar("T")
R = TypeVar("R")

CHUNK = 4  # items per task
WAITING = 8  # tasks per thread, pending or finished, held at any time: 6 MB of 256 x 256 images


@contextmanager
def ordered_map(work: Callable[[T], R], items: Iterable[T], workers: int | None = None) -> Iterator[Iterator[R]]:
    """Iterate over `work(item)` in the order of the items; the threads end with the block.

    workers: threads, None for one per core; 1 works in the caller's thread.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"workers {workers}: at least 1 is needed")
    threads = workers or cores()
    if threads == 1:
        yield map(work, items)
        return
    pool = ThreadPoolExecutor(threads, "alexnet-worker")
    try:
        yield _results(pool, work, iter(items), WAITING * threads)
    finally:
        pool.shutdown(cancel_futures=True)


def _results(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterator[T], waiting: int) -> Iterator[R]:
    pending: deque[Future[list[R]]] = deque()
    while chunk := list(islice(items, CHUNK)):
        pending.append(pool.submit(_work_on, work, chunk))
        if len(pending) == waiting:
            yield from pending.popleft().result()
    while pending:
        yield from pending.popleft().result()


def _work_on(work: Callable[[T], R], chunk: list[T]) -> list[R]:
    return [work(item) for item in chunk]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
