"""Durations of repeats, and the peak memory of a process."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from alexnet.bench.worker import repeated


@pytest.mark.parametrize("seconds", [0.0, 0.001])
def test_step_is_repeated_until_the_target_duration_and_at_least_once(seconds: float) -> None:
    taken: list[int] = []
    work = repeated(lambda: taken.append(1), 4, seconds)
    taken.clear()
    assert work() == 4 * len(taken)
    assert len(taken) > 1 if seconds else len(taken) == 1


MAPPING = """
import sys
import numpy as np
from alexnet.bench.worker import peak_memory
before = peak_memory()
mapped = np.memmap(sys.argv[1], np.uint8, "r")
assert mapped.sum() == 0  # reads every page
print(peak_memory() - before)
"""


@pytest.mark.parametrize(("name", "counted"), [("shard-00000.bin", 0.0), ("other.bin", 1.0)])
def test_peak_memory_excludes_a_mapped_store(tmp_path: Path, name: str, counted: float) -> None:
    if not Path("/proc/self/smaps").exists():
        pytest.skip("needs /proc/self/smaps")
    size = 3 * 10**8
    np.memmap(tmp_path / name, np.uint8, "w+", shape=(size,)).flush()
    command = [sys.executable, "-c", MAPPING, str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert float(done.stdout) == pytest.approx(counted * size, abs=0.2 * size), done.stderr
