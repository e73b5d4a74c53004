"""Training steps of this checkout and of another commit, timed in turn: whether anything got slower.

    python tools/against.py 20a565f [--recipes bvlc krizhevsky2012 torchvision modern] [--rounds 9] [--json]

COMMIT is a commit, of which a checkout is made beside this one's git folder and removed again, or the folder of a
checkout. Each side and recipe has a process of its own, which imports that side's `alexnet` and builds its own native
kernels if they are not built; a round times each side of a recipe once, the first side in turn. The ratio is formed
within each round: this checkout's time by the other's, so that below 1 is faster. By the clock, and by the processor
time of all threads, which other work on the machine disturbs less.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

WORKER = """
import json, sys, time
from alexnet.bench.train import step

work = step(**json.loads(sys.argv[1]))
print("ready", flush=True)
for _ in sys.stdin:
    clock, processor = time.perf_counter(), time.process_time()
    units = work()
    print((time.perf_counter() - clock) / units, (time.process_time() - processor) / units, flush=True)
"""
STORE = """
import sys
from pathlib import Path
from alexnet.bench.pictures import noise_store

print(noise_store(Path(sys.argv[1]), int(sys.argv[2]), max(2, min(1000, int(sys.argv[2]) // 2))))
"""


def main(words: Sequence[str] | None = None) -> int:
    """Time both sides and print a row for each recipe."""
    given = parser().parse_args(words)
    with ExitStack() as stack:
        other = stack.enter_context(checkout(given.commit))
        build_kernels(other)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = python(ROOT, STORE, str(folder), str(max(4, 2 * given.batch_size))).strip()
        for recipe in given.recipes:
            settings = {"store": store, "name": recipe, "changes": {"batch_size": given.batch_size}}
            found = race(other, {**settings, "seconds": given.seconds, "device": "cpu"}, given.rounds)
            print(json.dumps(row(recipe, found)) if given.json else line(row(recipe, found)), flush=True)
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("commit", help="a commit, or the folder of a checkout")
    found.add_argument("--recipes", nargs="+", default=["bvlc", "krizhevsky2012", "torchvision", "modern"])
    found.add_argument("--rounds", type=int, default=9)
    found.add_argument("--batch-size", type=int, default=128)
    found.add_argument("--seconds", type=float, default=2.0, help="of one timing, about")
    found.add_argument("--json", action="store_true", help="a JSON object a line")
    return found


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """The folder of a checkout of `commit`, removed at the end; a folder is taken as it is."""
    if Path(commit).is_dir():
        yield Path(commit).resolve()
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "checkout"
        git = ("git", "-C", str(ROOT), "worktree")
        subprocess.run([*git, "add", "--quiet", "--detach", str(place), commit], check=True)
        try:
            yield place
        finally:
            subprocess.run([*git, "remove", "--force", str(place)], check=True)


def build_kernels(folder: Path) -> None:
    """Compile the native kernels of a checkout that has none, where a compiler is."""
    if not (folder / "src/alexnet/ops/native/kernels.so").exists() and os.environ.get("ALEXNET_NATIVE") != "off":
        environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
        subprocess.run([sys.executable, "-m", "alexnet.ops.native"], env=environment, check=True, stdout=sys.stderr)


def python(folder: Path, code: str, *words: str) -> str:
    """What `code` prints in an interpreter that imports that checkout's `alexnet`."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def race(other: Path, settings: dict[str, Any], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds an image, by the clock and of the processor, of each round: {"here": ..., "there": ...}."""
    with ExitStack() as stack:
        folders = {"here": ROOT, "there": other}
        sides = {name: stack.enter_context(worker(folder, settings)) for name, folder in folders.items()}
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for number in range(rounds):
            for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
                found[name].append(timed(sides[name]))
    return found


@contextmanager
def worker(folder: Path, settings: dict[str, Any]) -> Iterator["subprocess.Popen[str]"]:
    """A process of a checkout that times one repeat for each line that it is sent, warmed up."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    command = [sys.executable, "-c", WORKER, json.dumps(settings)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:  # type: ignore[call-overload]
        try:
            if answer(process) != "ready":
                raise RuntimeError(f"{folder} cannot time {settings['name']}; its error is above")
            yield process
        finally:
            process.stdin.close()


def timed(process: "subprocess.Popen[str]") -> tuple[float, float]:
    """One repeat: seconds an image by the clock and of the processor."""
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()
    clock, processor = answer(process).split()
    return float(clock), float(processor)


def answer(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def row(recipe: str, found: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """Medians, and of the ratios lowest and highest too."""
    told: dict[str, Any] = {"recipe": recipe, "rounds": len(found["here"])}
    for kind, place in (("clock", 0), ("processor", 1)):
        here, there = ([each[place] for each in found[side]] for side in ("here", "there"))
        ratios = [one / other for one, other in zip(here, there, strict=True)]
        told[kind] = {
            "here_images_per_second": 1 / statistics.median(here),
            "there_images_per_second": 1 / statistics.median(there),
            "ratio": [statistics.median(ratios), min(ratios), max(ratios)],
        }
    return told


def line(told: dict[str, Any]) -> str:
    """A row for people."""
    parts = []
    for kind in ("clock", "processor"):
        middle, low, high = told[kind]["ratio"]
        rates = (told[kind][f"{side}_images_per_second"] for side in ("here", "there"))
        told_rates = "{:.0f} and {:.0f} images/s".format(*rates)
        parts.append(f"{told_rates} of {kind} time: {middle:.3f} x ({low:.3f} to {high:.3f})")
    return f"{told['recipe']}, {told['rounds']} rounds, here and there: {'; '.join(parts)}"


if __name__ == "__main__":
    sys.exit(main())
