"""Claim: throughput and memory stay within 5 % from 1,000 to 100,000 packed images.

    python tools/growth.py              # images of 64 px: 1.4 GB on the disk while it runs
    python tools/growth.py --size 256   # as ImageNet is packed: 22 GB

Batches of 128 with crop, flip and colour noise from three stores of noise, on one core, one process per store, timed in
turn. Each epoch has a new order, so that every row of a store is read. Memory is the peak of the process, libraries
included; pages of the memory-mapped store, which the system can reclaim at any time, are not counted.
"""

import argparse
import tempfile
from pathlib import Path

from alexnet.bench.measure import Contender, race
from alexnet.bench.pictures import noise_store
from alexnet.bench.table import Row, memory, rate
from alexnet.bench.train import PAPER

IMAGES = (1_000, 10_000, 100_000)
REPEATS, SECONDS = 5, 10.0
FLAT = 0.05


def main() -> None:
    """Write the stores, measure, and print a line per store and the verdicts."""
    parser = argparse.ArgumentParser(
        description="Images per second and memory as functions of the number of packed images."
    )
    parser.add_argument("--size", type=int, default=64, help="side of the packed images in pixels")
    parser.add_argument("--images", type=int, nargs="+", default=IMAGES, help="number of images in each store")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="target duration of a repeat")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        contenders = [
            contender(Path(folder) / str(images), images, given.size, given.seconds) for images in given.images
        ]
        found = race("growth", contenders, REPEATS).values()
    rates, peaks = [rate("growth", each) for each in found], [memory("growth", each) for each in found]
    for row in (*rates, *peaks):
        print(f"{row.what}: {row.figure}" + (f" ({row.spread})" if row.spread else ""))
    print(f"images per second: {flatness(rates)}")
    print(f"memory: {flatness(peaks)}")


def contender(folder: Path, images: int, size: int, seconds: float) -> Contender:
    """Batches from a new store of `images` images. The network is not used, so that a small one serves."""
    store = noise_store(folder, images, min(1000, images // 2), size)
    changes = {"network": "modern", "batch_size": 128, "augment": PAPER, "resize": size, "input_size": size * 7 // 8}
    changes["input_size"] = max(63, changes["input_size"])
    settings = {"store": store, "name": "bvlc", "changes": changes, "seconds": seconds}
    return Contender(f"{images:,} images", "alexnet.bench.data:batches", settings)


def flatness(rows: list[Row]) -> str:
    """Relative difference between the largest and the smallest value, and whether it is within the claim."""
    values = [row.value for row in rows if row.value]
    apart = max(values) / min(values) - 1
    return f"{apart:.1%} from the smallest to the largest, <= {FLAT:.0%}: {'yes' if apart <= FLAT else 'no'}"


if __name__ == "__main__":
    main()
