"""alexnet embed divided among machines: the features of one part computed and kept, or all parts put together.

Parts are of whole batches, as one command would compute them, so that on like machines the file that is put together
equals, byte for byte, what one command writes.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from alexnet.data.sources import Data
from alexnet.evaluation.features import BATCH, of_store
from alexnet.inference.classifier import Classifier
from alexnet.inference.divided.job import parts_of
from alexnet.inference.embed import Progress, begin_array, check_out, embedded, write_all
from alexnet.processes.parts import Kept
from alexnet.processes.shards import Division, Shard

READ = 1024  # rows of features read at once


def embed_part(
    classifier: Classifier,
    data: Data,
    layers: Sequence[str],
    pool: str,
    division: Division,
    shard: Shard,
    packing: Progress | None = None,
    progress: Progress | None = None,
) -> Kept:
    """Compute and keep the features of one part's images, a .npy file a stage.

    Arguments and errors as for `alexnet.inference.embed.embed` and `Parts.keep`.
    """
    store, chosen = embedded(classifier, data, layers, pool, packing)

    def fill(folder: Path) -> int:
        rows = np.arange(*shard.bounds(len(store), BATCH))
        parts = (classifier.network, classifier.preprocessing, store, chosen, pool)
        with ExitStack() as stack:
            files: dict[str, IO[bytes]] = {}
            for batch in of_store(*parts, classifier.device, classifier.precision, rows, progress):
                for name, values in batch.items():
                    if name not in files:
                        files[name] = stack.enter_context((folder / f"{name}.npy").open("wb"))
                        begin_array(files[name], (len(rows), values.shape[1]))
                    files[name].write(np.ascontiguousarray(values.numpy(), "<f4").data)
        return len(rows)

    told = {"data": store.content, "layers": chosen, "pool": pool}
    return parts_of(division, "embed", classifier, told).keep(shard, fill)


def embed_whole(
    classifier: Classifier,
    data: Data,
    out: Path,
    layers: Sequence[str],
    pool: str,
    division: Division,
    packing: Progress | None = None,
) -> dict[str, Any]:
    """Write the features of all images from the parts; returns what `alexnet.inference.embed.embed` does.

    Errors as for it and for `Parts.all`.
    """
    check_out(out)
    store, chosen = embedded(classifier, data, layers, pool, packing)
    told = {"data": store.content, "layers": chosen, "pool": pool}
    return write_all(out, _batches(parts_of(division, "embed", classifier, told).all(), chosen), store)


def _batches(kept: Sequence[Kept], layers: Sequence[str]) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Some rows of all stages at a time, in the order of the images."""
    for part in (part for part in kept if part.images):
        found = {name: np.load(part.folder / f"{name}.npy", mmap_mode="r") for name in layers}
        for start in range(0, part.images, READ):
            yield {name: values[start : start + READ] for name, values in found.items()}
