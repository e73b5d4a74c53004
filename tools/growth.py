"""Claim: from 1,000 to 100,000 packed images, images a second and memory stay the same within 5 %.

    python tools/growth.py              # images of 64 px: 1.4 GB on the disk while it runs
    python tools/growth.py --size 256   # as ImageNet is packed: 22 GB

Batches of 128 with crop, flip and colour noise from three stores of noise, each in a process of its own, in turn, on
one core. Order and places are drawn anew each epoch, so that every row of a store is read. Memory is the peak of the
process, libraries included; the mapped store's own pages, which the system may take back at any time, are not counted.
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
    """Write the stores, measure, and print a line for each, and how far they lie apart."""
    parser = argparse.ArgumentParser(description="Images a second and memory over the number of packed images.")
    parser.add_argument("--size", type=int, default=64, help="pixels a side of the packed images")
    parser.add_argument("--images", type=int, nargs="+", default=IMAGES, help="in the stores")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="that a repeat takes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        contenders = [
            contender(Path(folder) / str(images), images, given.size, given.seconds) for images in given.images
        ]
        found = race("growth", contenders, REPEATS).values()
    rates, peaks = [rate("growth", each) for each in found], [memory("growth", each) for each in found]
    for row in (*rates, *peaks):
        print(f"{row.what}: {row.figure}" + (f" ({row.spread})" if row.spread else ""))
    print(f"images a second: {flatness(rates)}")
    print(f"memory: {flatness(peaks)}")


def contender(folder: Path, images: int, size: int, seconds: float) -> Contender:
    """Batches from a new store of so many images; the network is a small one, for it is not used."""
    store = noise_store(folder, images, min(1000, images // 2), size)
    changes = {"network": "modern", "batch_size": 128, "augment": PAPER, "resize": size, "input_size": size * 7 // 8}
    changes["input_size"] = max(63, changes["input_size"])
    settings = {"store": store, "name": "bvlc", "changes": changes, "seconds": seconds}
    return Contender(f"{images:,} images", "alexnet.bench.data:batches", settings)


def flatness(rows: list[Row]) -> str:
    """How far the largest lies above the smallest, and whether that is within the claim."""
    values = [row.value for row in rows if row.value]
    apart = max(values) / min(values) - 1
    return f"{apart:.1%} from the least to the most, <= {FLAT:.0%}: {'yes' if apart <= FLAT else 'no'}"


if __name__ == "__main__":
    main()
