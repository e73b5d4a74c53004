"""One contender in a process of its own: it builds its work, then does it once for each "go".

Contenders would disturb each other in one process: TensorFlow's threads and PyTorch's fight for the cores, a setting of
the allocator or of the native kernels is one for all. This module imports neither library, so that a process holds only
what its contender needs. An idle one sleeps on its pipe.
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
"""One repeat; returns how many units of work it did: images, passes, operations."""

GO, END = "go", "end"


def serve(pipe: Connection, build: str, settings: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Build the work, and answer orders until "end" or until the other side is gone.

    build: "module:function", a function of `settings` that returns a `Work`, warmed up. Sent: None once all is
    ready, then (seconds, units) for each "go" and `peak_memory()` for "end"; the text of an error in place of any.
    """
    os.environ.update(environment)
    with tempfile.TemporaryFile() as log, suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        os.dup2(log.fileno(), 2)  # libraries chatter there
        try:
            work = _built(build, settings)
            pipe.send(None)
            while pipe.recv() == GO:
                began = time.perf_counter()
                units = work()
                pipe.send((time.perf_counter() - began, units))
            pipe.send(peak_memory())
        except ImportError as error:
            pipe.send(f"{error.name or error} is not installed")
        except Exception as error:
            pipe.send(" ".join(f"{type(error).__name__}: {error}".split()))


def _built(build: str, settings: dict[str, Any]) -> Work:
    module, _, function = build.partition(":")
    work: Work = getattr(import_module(module), function)(**settings)
    return work


def repeated(step: Callable[[], object], units: float, seconds: float, device: str = "cpu") -> Work:
    """Work that does `step`, of so many units, as often as takes about `seconds`, and once at least.

    On a GPU, which computes behind the program's back, a repeat ends when the device has.
    """
    step()
    _wait_for(device)
    began = time.perf_counter()
    step()
    _wait_for(device)
    count = max(1, round(seconds / (time.perf_counter() - began)))

    def work() -> float:
        for _ in range(count):
            step()
        _wait_for(device)
        return count * units

    return work


def _wait_for(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(device)


def peak_memory() -> int:
    """The most bytes of memory that this process held, libraries included, a mapped store's pages not counted.

    0 on Windows, where the standard library does not tell.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:  # not Linux; macOS counts in bytes
        try:
            import resource
        except ImportError:
            return 0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return 1024 * (peak - _mapped_store())


def _mapped_store() -> int:
    """Kilobytes of a store's shards (shard-00000.bin, ...) that are in memory now."""
    found, inside = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.split(maxsplit=1)[0].endswith(":"):  # the first line of a mapping: addresses, ..., path
            inside = Path(line).name.startswith("shard-")
        elif inside and line.startswith("Rss:"):
            found += int(line.split()[1])
    return found
