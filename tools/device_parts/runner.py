"""Parts in processes of their own, one after the other, each with a limit, all within the seconds that there are."""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from alexnet.files import write_json
from device_parts.parts import Part
from device_parts.summary import lines, write_summary

ROOT = Path(__file__).parents[2]
LEAST = 3.0  # seconds; with fewer left a part is not begun
GONE = 10.0  # seconds that a killed process is waited for: one that a driver holds may never go


def run_parts(
    parts: Sequence[Part],
    folder: Path,
    seconds: float,
    commit: str | None = None,
    say: Callable[[str], None] = partial(print, flush=True),  # noqa: B008 - never changed
) -> list[dict[str, Any]]:
    """The results, each written to folder/<part>.json and said as soon as it is there; summary.md follows them.

    commit: what stands in the results where the checkout does not tell.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ends, results = time.monotonic() + seconds, []
    for part in parts:  # what stands there is of an earlier run
        (folder / f"{part.name}.json").unlink(missing_ok=True)
    for part in parts:
        result = run_part(part, folder, min(part.limit, ends - time.monotonic()))
        if result["machine"]:
            result["machine"]["commit"] = result["machine"]["commit"] or commit
        write_json(folder / f"{part.name}.json", result)
        say("\n".join(lines(result)))
        write_summary(folder)
        results.append(result)
    return results


def run_part(part: Part, folder: Path, limit: float) -> dict[str, Any]:
    """What the part found within `limit` seconds, whatever became of it."""
    if limit < LEAST:
        return {**_nothing(part), "state": "not begun", "reason": "no time was left"}
    result, log, began = folder / f"{part.name}.json", folder / f"{part.name}.log", time.monotonic()
    with tempfile.TemporaryDirectory() as scratch, open(log, "wb") as output:
        code = _run([*part.command, part.name, str(result)], _environment(scratch), output.fileno(), limit)
    found = {**_nothing(part), **_read(result), "seconds": round(time.monotonic() - began, 1)}
    if code is None:
        return {**found, "state": "ended", "reason": f"at its limit of {limit:.0f} s"}
    if found["state"] == "running":  # it went without a word
        return {**found, "state": "failed", "reason": f"exit code {code}: {_last_line(log)}"}
    return found


def _run(command: Sequence[str], environment: dict[str, str], output: int, limit: float) -> int | None:
    """The exit code; None for a process that was killed at its limit. Its children end with it."""
    with _group(command, environment, output) as process:
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None


@contextmanager
def _group(command: Sequence[str], environment: dict[str, str], output: int) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GONE)


def _environment(scratch: str) -> dict[str, str]:
    """The package from this checkout; temporary files where they are removed even if the part is killed."""
    paths = [str(ROOT / "src"), str(ROOT / "tools"), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {"PYTHONPATH": os.pathsep.join(paths), "TMPDIR": scratch, "ALEXNET_CACHE": f"{scratch}/cache"}
    if not (ROOT / "src/alexnet/ops/native/kernels.so").is_file():
        variables["ALEXNET_NATIVE"] = "off"  # the processor's kernels; that they are missing matters nowhere here
    return {**os.environ, **variables}


def _nothing(part: Part) -> dict[str, Any]:
    return {"part": part.name, "state": "running", "reason": "", "machine": {}, "seconds": 0.0, "rows": []}


def _read(result: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(result.read_bytes())
    except (OSError, ValueError):
        return {}
    return found


def _last_line(log: Path) -> str:
    written = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip()[:300] for line in reversed(written) if line.strip()), "it said nothing")
