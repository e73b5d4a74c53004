"""Megabytes that each of several processes sends a training step, by a network's shapes: docs/parallel.md's table.

    python tools/exchanged.py [--network bvlc] [--images 128] [--processes 2 4 8]

Counted round a ring; nothing is trained. "stock" is the all-reduce of float32 gradients of DistributedDataParallel.
"""

import argparse

import torch

from alexnet.networks import create, list_networks
from alexnet.networks.layers import Network, skip_init
from alexnet.training.traffic import sent


def row(network: Network, ranks: int, images: int) -> list[float]:
    """Megabytes: stock, then each scheme in float32 and in bfloat16."""
    values = sum(each.numel() for each in network.parameters())
    stock = 2 * (ranks - 1) / ranks * values * 4
    kinds = [(scheme, dtype) for scheme in ("data", "owt") for dtype in (torch.float32, torch.bfloat16)]
    return [stock / 1e6, *(sent(network, ranks, scheme, images, dtype).total() / 1e6 for scheme, dtype in kinds)]


def main() -> None:
    """Print the table as Markdown."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--network", choices=list_networks(), default="bvlc")
    options.add_argument("--images", type=int, default=128, help="of one process in a step")
    options.add_argument("--processes", type=int, nargs="+", default=[2, 4, 8])
    asked = options.parse_args()
    with skip_init():
        network = create(asked.network)
    print("| processes | stock, float32 | data, float32 | data, bfloat16 | owt, float32 | owt, bfloat16 |")
    print("|---|---|---|---|---|---|")
    for ranks in asked.processes:
        print(f"| {ranks} | " + " | ".join(f"{value:.1f}" for value in row(network, ranks, asked.images)) + " |")


if __name__ == "__main__":
    main()
