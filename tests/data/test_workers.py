"""ordered_map: order, bounded memory, clean-up."""

import threading
import time
from collections.abc import Iterator

import pytest

from alexnet.data.workers import CHUNK, WAITING, ordered_map
from alexnet.errors import UsageError

COUNT = 100


@pytest.mark.parametrize("workers", [1, 2, 5, None])
def test_results_are_in_the_order_of_the_items(workers: int | None) -> None:
    def slow_at_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0)
        return -item

    with ordered_map(slow_at_first, range(COUNT), workers) as results:
        assert list(results) == [-item for item in range(COUNT)]


def test_one_worker_is_the_callers_thread() -> None:
    together = threading.Barrier(2, timeout=20)

    def meet(_: int) -> str:
        together.wait()
        return threading.current_thread().name

    with ordered_map(meet, range(2 * CHUNK), workers=2) as results:
        assert len(set(results)) == 2
    with ordered_map(lambda _: threading.current_thread(), range(5), workers=1) as results:
        assert set(results) == {threading.current_thread()}


def test_items_are_consumed_as_results_are() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(10_000):
            taken += 1
            yield number

    with ordered_map(abs, items(), workers=2) as results:
        assert next(results) == 0
        assert taken <= 2 * WAITING * CHUNK


@pytest.mark.parametrize("workers", [1, 2])
def test_error_in_the_work_is_raised(workers: int) -> None:
    with pytest.raises(ValueError, match="invalid literal"), ordered_map(int, ["x"] * COUNT, workers) as results:
        list(results)


def test_leaving_the_block_early_stops_the_threads() -> None:
    done = []

    def work(item: int) -> int:
        time.sleep(0.001)
        done.append(item)
        return item

    with ordered_map(work, range(10_000), workers=2) as results:
        next(results)
    assert len(done) <= 2 * WAITING * CHUNK
    assert not [each for each in threading.enumerate() if each.name.startswith("alexnet-worker")]


def test_zero_workers_are_refused() -> None:
    with pytest.raises(UsageError, match="workers 0"), ordered_map(abs, [1], workers=0):
        pass
