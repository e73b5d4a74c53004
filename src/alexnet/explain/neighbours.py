"""Find the nearest images by the Euclidean distance of their last hidden vectors (the paper's figure 4, right)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from alexnet.errors import DataError

COUNT = 6


def nearest(
    queries: Tensor, base: Tensor, count: int = COUNT, own: Sequence[int | None] | None = None
) -> tuple[Tensor, Tensor]:
    """For each query the rows of `base` at the smallest Euclidean distance, nearest first, and these distances.

    queries: (Q, D). base: (N, D). own: for each query its own row in `base`, which is excluded, or None.
    Returns int64 and float32 (Q, min(count, N)). DataError where no row is left.
    """
    distances = torch.cdist(queries, base, compute_mode="donot_use_mm_for_euclid_dist")
    for query, row in enumerate(own or ()):
        if row is not None:
            distances[query, row] = torch.inf
    count = min(count, len(base) - (1 if own and any(row is not None for row in own) else 0))
    if count < 1:
        raise DataError("no other images to compare with; give data with a training part")
    found = distances.topk(count, dim=1, largest=False)
    return found.indices, found.values
