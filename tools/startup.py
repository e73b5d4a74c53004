"""Claim: `alexnet --help` takes at most 0.3 s, and `alexnet summary bvlc --json` at most 2.5 s.

    python tools/startup.py

Median and range of nine runs of each, in turn, after a first run that fills the page cache.
"""

import statistics
import subprocess
import sys
import time

CLAIMS = {("--help",): 0.3, ("summary", "bvlc", "--json"): 2.5}  # seconds
RUNS = 9


def main() -> None:
    """Measure, and print a line per command."""
    rounds = [[seconds(*words) for words in CLAIMS] for _ in range(RUNS + 1)][1:]
    for (words, most), took in zip(CLAIMS.items(), zip(*rounds, strict=True), strict=True):
        median = statistics.median(took)
        verdict = "yes" if median <= most else "no"
        print(f"alexnet {' '.join(words)}: {median:.3f} s ({min(took):.3f} to {max(took):.3f}), <= {most} s: {verdict}")


def seconds(*words: str) -> float:
    """Wall-clock seconds of one run of the command."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "alexnet.cli", *words], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
