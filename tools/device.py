"""Check and measure this project on a GPU, in minutes, from a plain checkout.

    python tools/device.py --out results              # all parts, the most valuable first
    python tools/device.py --out results --only steps loop
    python tools/device.py --prepare flowers17        # on a machine that has the photos: writes device-data/
    python tools/device.py --write results            # puts results/summary.md into docs/results.md

Needs Python 3.11.4, PyTorch with CUDA and Triton, NumPy, Pillow and safetensors; nothing is installed or
fetched, but for the native operators, which are compiled where they are missing and a C++ compiler is there; to save
that minute carry src/alexnet/ops/native/kernels.so along. What a part needs beyond these and does not find, it says.
Each part is a process with a limit of its own. OUT holds three files: results.json with what all parts have found so
far, logs.txt with what they said, summary.md. Without a GPU the parts run small on the processor, to see that they run.
The part flowers17 needs the folder device-data/ of this checkout, which git does not hold: carry it along.
"""

import argparse
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tools")]

from alexnet.errors import AlexNetError, unknown_name  # noqa: E402
from device_parts.parts import PARTS  # noqa: E402 - found through the path above
from device_parts.runner import run_parts  # noqa: E402
from device_parts.summary import SUMMARY, holds, write_section  # noqa: E402


def main(words: list[str]) -> int:
    """What is asked for; 1 where a part failed or missed a mark."""
    given = parser().parse_args(words)
    try:
        if given.list:
            print("\n".join(f"{part.name:12} {part.limit:4.0f} s  {part.about}" for part in PARTS))
        elif given.prepare:
            from device_parts.photos import prepare  # needs torch, which the rest of this process does without

            print(prepare(given.prepare, given.out or ROOT / "device-data"))
        elif given.write:
            write_section(given.write, given.document)
        else:
            return measure(given.only, given.out or Path("device-results"), given.seconds, given.commit)
    except AlexNetError as error:
        print(f"device.py: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def measure(only: list[str] | None, folder: Path, seconds: float, commit: str | None) -> int:
    """Run the parts, all or those named, in their order."""
    for name in only or []:
        if name not in {part.name for part in PARTS}:
            raise unknown_name("part", name, [part.name for part in PARTS])
    parts = [part for part in PARTS if not only or part.name in only]
    results = run_parts(parts, folder.absolute(), seconds, commit)
    print(f"\n{(folder / SUMMARY).read_text(encoding='utf-8')}")
    return 0 if all(map(holds, results)) else 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--out", type=Path, help="folder for results (device-results), or for what --prepare writes")
    made.add_argument("--seconds", type=float, default=480, help="time for all parts together (480)")
    made.add_argument("--only", action="extend", nargs="+", metavar="PART", help="parts to run, of those of --list")
    made.add_argument("--commit", help="what was checked out, where this folder has lost its .git")
    made.add_argument("--list", action="store_true", help="name the parts and their limits")
    made.add_argument("--write", type=Path, metavar="FOLDER", help="put a folder's summary into docs/results.md")
    made.add_argument("--document", type=Path, default=ROOT / "docs" / "results.md", help=argparse.SUPPRESS)
    made.add_argument("--prepare", metavar="DATA", help="write photos that travel: squares of 256 px, 30 MB at most")
    return made


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the part under way is ended, too
    sys.exit(main(sys.argv[1:]))
