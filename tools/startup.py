"""Claims: how long commands take to start, and how much memory one photo takes.

    python tools/startup.py [RUN EXPORT PHOTO]

`alexnet --help` takes at most 0.3 s, `alexnet summary bvlc --json` at most 1.3 times as long as `import torch`; with a
run, an ONNX export of it and a photo: `alexnet predict RUN PHOTO` at most 1.3 times as long, `alexnet predict EXPORT
PHOTO` at most 0.8 s and 120 MB. Median and range of five runs of each, in turn, after a first that fills the page cache
and compiles what is imported, as an installation has it.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

RUNS = 5
COMMAND = (sys.executable, "-m", "alexnet.cli")
TORCH = "import torch"
PEAK = """
import sys
from alexnet.cli import main
main(sys.argv[1:])
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0], file=sys.stderr)
"""


class Claim(NamedTuple):
    """A command and the most that it may take."""

    words: tuple[str, ...]
    seconds: float | None = None
    of_torch: float | None = None  # times `import torch`


def main() -> None:
    """Measure, and print a line per command."""
    claims = {
        TORCH: Claim((sys.executable, "-c", TORCH)),
        "alexnet --help": Claim((*COMMAND, "--help"), 0.3),
        "alexnet summary": Claim((*COMMAND, "summary", "bvlc", "--json"), of_torch=1.3),
    }
    if run_export_photo := sys.argv[1:4]:
        run, export, photo = run_export_photo
        claims["alexnet predict RUN"] = Claim((*COMMAND, "predict", run, photo), of_torch=1.3)
        claims["alexnet predict EXPORT"] = Claim((*COMMAND, "predict", export, photo), 0.8)
    with tempfile.TemporaryDirectory() as compiled:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = compiled
        rounds = [[took(each.words, environment) for each in claims.values()] for _ in range(RUNS + 1)][1:]
        report(claims, {name: list(each) for name, each in zip(claims, zip(*rounds, strict=True), strict=True)})
        if run_export_photo and sys.platform == "linux":
            print(f"alexnet predict EXPORT: {peak(export, photo, environment):.1f} MB at most, <= 120 MB")


def took(words: tuple[str, ...], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds of one run by the clock, and of processor time, which other programs do not lengthen."""
    began, before = time.perf_counter(), os.times()
    subprocess.run(words, stdout=subprocess.DEVNULL, env=environment, check=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - began, used


def report(claims: dict[str, Claim], found: dict[str, list[tuple[float, float]]]) -> None:
    """Print a line per command: the clock, processor time, and whether the claim holds."""
    clock = {name: [each[0] for each in rows] for name, rows in found.items()}
    torch = statistics.median(clock[TORCH])
    for name, (_, seconds, of_torch) in claims.items():
        median, used = statistics.median(clock[name]), statistics.median(each[1] for each in found[name])
        told = f"{name}: {median:.2f} s ({min(clock[name]):.2f} to {max(clock[name]):.2f}), processor {used:.2f} s"
        if seconds is not None:
            told += f", <= {seconds} s: {'yes' if median <= seconds else 'no'}"
        if of_torch is not None:
            told += f", {median / torch:.2f} x torch, <= {of_torch}: {'yes' if median <= of_torch * torch else 'no'}"
        print(told)


def peak(export: str, photo: str, environment: dict[str, str]) -> float:
    """Megabytes that one prediction takes at most."""
    words = [sys.executable, "-c", PEAK, "predict", export, photo]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=True)
    return int(done.stderr.split()[-1]) / 1024


if __name__ == "__main__":
    main()
