"""Work on many items: in order, bounded, and ended with its block."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alexnet.data.workers import CHUNK, WORTH_A_WORKER, ordered_map
from alexnet.errors import AlexNetError, UsageError

COUNT = 2 * WORTH_A_WORKER


def test_results_come_in_the_order_of_the_items_from_other_processes() -> None:
    with ordered_map(abs, range(-COUNT, 0), COUNT, workers=2) as results:
        assert list(results) == list(range(COUNT, 0, -1))
    with ordered_map(os.getenv, ["PATH"] * COUNT, COUNT, workers=2) as results:
        assert len(list(results)) == COUNT


def test_few_items_are_worked_on_here() -> None:
    here = os.getpid()
    with ordered_map(lambda _: os.getpid(), range(5), 5, workers=2) as results:  # a lambda cannot be sent elsewhere
        assert set(results) == {here}


def test_items_are_taken_only_as_fast_as_results_are() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(10_000):
            taken += 1
            yield number

    with ordered_map(abs, items(), 10_000, workers=2) as results:
        assert next(results) == 0
        assert taken <= 8 * CHUNK


def test_an_error_in_a_worker_arrives_here() -> None:
    with pytest.raises(ValueError, match="invalid literal"), ordered_map(int, ["x"] * COUNT, COUNT, 2) as results:
        list(results)


def test_a_worker_that_dies_is_one_clear_error() -> None:
    with pytest.raises(AlexNetError, match="worker process ended"), ordered_map(os._exit, [1] * COUNT, COUNT, 2) as r:
        list(r)


def test_no_workers_are_refused() -> None:
    with pytest.raises(UsageError, match="workers 0"), ordered_map(abs, [1], 1, workers=0):
        pass


def test_code_from_standard_input_works_without_processes() -> None:
    code = "from alexnet.data.workers import ordered_map\n"
    code += f"with ordered_map(abs, range({COUNT}), {COUNT}, 2) as r: print(sum(r))\n"
    done = subprocess.run([sys.executable, "-"], input=code, capture_output=True, text=True, env=_environment())
    assert (done.stdout.strip(), done.stderr) == (str(sum(range(COUNT))), "")


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import multiprocessing, os, signal\n"
        "from alexnet.data.workers import ordered_map\n"
        "if __name__ == '__main__':\n"
        f"    with ordered_map(abs, range({COUNT}), {COUNT}, 2) as results:\n"
        "        next(results)\n"
        "        print(*(child.pid for child in multiprocessing.active_children()), flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, text=True, env=_environment())
    children = [int(pid) for pid in done.stdout.split()]
    assert children
    deadline = time.monotonic() + 20
    while any(_runs(pid) for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    """Whether a process exists and is not only waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
