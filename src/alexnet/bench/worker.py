"""The process of one contender: build its work, then do it once per order.

Contenders would disturb each other in one process: the thread pools of TensorFlow and PyTorch compete for the cores,
and settings of the allocator and the native kernels are global. This module imports neither library, so that a process
loads only what its contender needs. An idle process sleeps on its pipe.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

Work = Callable[[], float]
"""Does one repeat; returns the number of units of work done: images, passes, operations or bytes."""

GO = "go"


def serve(pipe: Connection, build: str, settings: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Build the work, then do one repeat for each GO, until the other end of the pipe is closed.

    build: "module:function"; called with `settings`, it returns a `Work` that is warmed up.
    Sends None when ready, then (seconds, units, peak bytes) for each repeat; instead of either, an error as a string.
    """
    os.environ.update(environment)
    with tempfile.TemporaryFile() as log, suppress(EOFError, ConnectionError):
        os.dup2(log.fileno(), 2)  # hide what libraries write to standard error
        try:
            work = _built(build, settings)
            pipe.send(None)
            while pipe.recv() == GO:
                began = time.perf_counter()
                units = work()
                seconds = time.perf_counter() - began
                pipe.send((seconds, units, peak_memory()))
        except ImportError as error:
            pipe.send(f"{error.name or error} is not installed")
        except Exception as error:
            pipe.send(" ".join(f"{type(error).__name__}: {error}".split()))


def _built(build: str, settings: dict[str, Any]) -> Work:
    module, _, function = build.partition(":")
    work: Work = getattr(import_module(module), function)(**settings)
    return work


def repeated(step: Callable[[], object], units: float, seconds: float, device: str = "cpu") -> Work:
    """Work that calls `step` as often as fits into `seconds`, but at least once.

    units: units of work per call. On a GPU, which computes asynchronously, a repeat ends after synchronisation.
    """
    step()
    _synchronize(device)
    began = time.perf_counter()
    step()
    _synchronize(device)
    count = max(1, round(seconds / (time.perf_counter() - began)))

    def work() -> float:
        for _ in range(count):
            step()
        _synchronize(device)
        return count * units

    return work


def _synchronize(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)


def peak_memory() -> int:
    """Peak resident memory of this process in bytes, libraries included, pages of a memory-mapped store excluded."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:  # not Linux
        return _peak_without_proc()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return 1024 * (peak - _mapped_store())


def _peak_without_proc() -> int:
    """Peak resident memory as POSIX reports it; 0 on Windows, which does not."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # macOS counts bytes, others kilobytes


def _mapped_store() -> int:
    """Kilobytes of a store's shards (shard-00000.bin, ...) that are resident now."""
    found, inside = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.split(maxsplit=1)[0].endswith(":"):  # header of a mapping: addresses, ..., path
            inside = Path(line).name.startswith("shard-")
        elif inside and line.startswith("Rss:"):
            found += int(line.split()[1])
    return found
