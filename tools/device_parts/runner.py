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

from device_parts.parts import Part
from device_parts.summary import LOGS, lines, write_results

ROOT = Path(__file__).parents[2]
LOOK = 2.0  # seconds between looks at what a part has so far
LEAST = 3.0  # seconds; with fewer left a part is not begun
GONE = 10.0  # seconds that a killed process is waited for: one that a driver holds may never go


def run_parts(
    parts: Sequence[Part],
    folder: Path,
    seconds: float,
    commit: str | None = None,
    say: Callable[[str], None] = partial(print, flush=True),  # noqa: B008 - never changed
) -> list[dict[str, Any]]:
    """The results, each in folder/results.json as it grows and said once its part has ended; summary.md follows them.

    What the parts say goes into folder/logs.txt, so that three files are all that has to be carried home. commit: what
    stands in the results where the checkout does not tell.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ends, results = time.monotonic() + seconds, list[dict[str, Any]]()
    (folder / LOGS).write_bytes(b"")  # what stands there is of an earlier run
    write_results(folder, results)

    def keep(result: dict[str, Any]) -> None:
        if result["machine"]:
            result["machine"]["commit"] = result["machine"]["commit"] or commit
        write_results(folder, [*results, result])

    for part in parts:
        result = run_part(part, folder, min(part.limit, ends - time.monotonic()), keep)
        keep(result)
        results.append(result)
        say("\n".join(lines(result)))
    return results


def run_part(part: Part, folder: Path, limit: float, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """What the part found within `limit` seconds, whatever became of it; `keep` is given what it has so far."""
    if limit < LEAST:
        return {**_nothing(part), "state": "not begun", "reason": "no time was left"}
    began = time.monotonic()

    def found() -> dict[str, Any]:
        return {**_nothing(part), **_read(result), "seconds": round(time.monotonic() - began, 1)}

    with tempfile.TemporaryDirectory() as scratch, open(folder / LOGS, "ab") as output:
        output.write(f"== {part.name} ==\n".encode())
        output.flush()
        result, start = Path(scratch) / f"{part.name}.json", output.tell()
        command = [*part.command, part.name, str(result)]
        code = _run(command, _environment(scratch), output.fileno(), limit, lambda: keep(found()))
        last = found()
    if code is None:
        return {**last, "state": "ended", "reason": f"at its limit of {limit:.0f} s"}
    if last["state"] == "running":  # it went without a word
        return {**last, "state": "failed", "reason": f"exit code {code}: {_last_line(folder / LOGS, start)}"}
    return last


def _run(
    command: Sequence[str], environment: dict[str, str], output: int, limit: float, look: Callable[[], None]
) -> int | None:
    """The exit code; None for a process that was killed at its limit. Its children end with it.

    look: called now and then while it runs.
    """
    ends = time.monotonic() + limit
    with _group(command, environment, output) as process:
        while (left := ends - time.monotonic()) > 0:
            try:
                return process.wait(min(left, LOOK))
            except subprocess.TimeoutExpired:
                look()
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


def _last_line(log: Path, start: int) -> str:
    written = log.read_bytes()[start:].decode(errors="replace").split("\n")
    return next((line.strip()[:300] for line in reversed(written) if line.strip()), "it said nothing")
