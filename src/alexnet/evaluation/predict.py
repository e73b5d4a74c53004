"""Predicted probabilities for stored images. N images of S x S pixels, V views of each, K classes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from alexnet.data.places import check_views
from alexnet.data.preprocess import Preprocessing
from alexnet.data.store import Store
from alexnet.device import pick_device, pick_precision
from alexnet.errors import DataError, Diverged
from alexnet.networks.layers import Network, evaluating
from alexnet.networks.prepared import Prepared
from alexnet.ops.views import Images

USUAL_BATCH, GPU_BATCH = 64, 512  # views in a forward pass; on an H200 256 are a quarter faster than 64
AHEAD = 2  # batches that are prepared while a GPU computes, and answers that are on their way back
T = TypeVar("T")


def usual_batch(device: torch.device) -> int:
    """Views in a forward pass, unless a user says otherwise."""
    return GPU_BATCH if device.type == "cuda" else USUAL_BATCH


def probabilities(
    network: Network,
    preprocessing: Preprocessing,
    store: Store,
    indices: Sequence[int] | np.ndarray,
    views: int = 1,
    batch_size: int | None = None,
    device: str | torch.device = "cpu",
    precision: str = "auto",
    progress: Callable[[int, int], None] | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """Class probabilities for the images of `store` at `indices`: float32 (N, K) on the CPU.

    views: 1, 9 or 10 (`Preprocessing.views`), over which softmax outputs are averaged. batch_size: views per forward
    pass; it does not change the result; None: `usual_batch`. precision: "auto", "float32" or "bfloat16". progress:
    called with (images done, N). temperature: by what logits are divided. The network is moved to `device`; each layer
    keeps its training or evaluation mode. A GPU computes while the next batches are prepared and answers come back.
    """
    check_views(views)
    indices = np.asarray(indices, dtype=np.int64)
    if not len(indices):
        raise DataError("no images to evaluate; choose a split that has some")
    device = torch.device(device) if isinstance(device, torch.device) else pick_device(device)
    dtype = pick_precision(precision, device)
    step = max(1, (batch_size or usual_batch(device)) // views)
    parts = [indices[start : start + step] for start in range(0, len(indices), step)]
    batches: list[Tensor] = []
    with evaluating(network.to(device)):
        prepared = Prepared(network, device, dtype)
        shown = partial(_shown, preprocessing, store, views, prepared)
        overlaps = device.type == "cuda"
        inputs = _ahead(shown, parts) if overlaps else map(shown, parts)
        answers = (_averaged(prepared, each, views, temperature) for each in inputs)
        for found in _brought(answers) if overlaps else (each.cpu() for each in answers):
            batches.append(_checked(found, network))
            if progress:
                progress(min(step * len(batches), len(indices)), len(indices))
    return torch.cat(batches)


def of_images(
    prepared: Prepared, preprocessing: Preprocessing, images: Images, views: int, temperature: float = 1.0
) -> Tensor:
    """One batch: N of uint8 (S, S, 3) -> float32 (N, K) on the CPU, softmax outputs averaged over the views.

    Averaging softmax outputs over views is from Krizhevsky et al. 2012, section 4.1. Diverged where an output is not
    finite.
    """
    with torch.inference_mode():
        inputs = preprocessing.views(images, views, prepared.dtype, prepared.device)
    return _checked(_averaged(prepared, inputs, views, temperature).cpu(), prepared.network)


def _shown(preprocessing: Preprocessing, store: Store, views: int, prepared: Prepared, rows: np.ndarray) -> Tensor:
    """The views of stored images, on the device."""
    with torch.inference_mode():
        return preprocessing.views(store.mapped(rows), views, prepared.dtype, prepared.device)


def _averaged(prepared: Prepared, inputs: Tensor, views: int, temperature: float) -> Tensor:
    """Views (N * V, 3, H, W) -> float32 (N, K) on the device, not waited for."""
    with torch.inference_mode():
        logits = prepared(inputs)
        return (logits.float() / temperature).softmax(1).view(len(inputs) // views, views, -1).mean(1)


def _checked(found: Tensor, network: Network) -> Tensor:
    """Answers on the processor; Diverged where one is not finite."""
    if not found.isfinite().all():
        raise Diverged(f"network {network.name!r} gave outputs that are not finite; its weights may have diverged")
    return found


def _ahead(work: Callable[[np.ndarray], T], parts: Iterable[np.ndarray]) -> Iterator[T]:
    """The work on each part in order, AHEAD of them prepared by threads."""
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(AHEAD, "alexnet-views") as pool:
        try:
            for part in parts:
                waiting.append(pool.submit(work, part))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()


def _brought(answers: Iterable[Tensor]) -> Iterator[Tensor]:
    """A GPU's answers in the processor's memory, each copied while the GPU computes the next ones."""
    under_way: deque[tuple[Tensor, torch.cuda.Event | None]] = deque()
    for answer in answers:
        there = torch.empty(answer.shape, dtype=answer.dtype, pin_memory=answer.is_cuda)
        there.copy_(answer, non_blocking=True)
        under_way.append((there, torch.cuda.current_stream().record_event() if answer.is_cuda else None))
        if len(under_way) > AHEAD:
            yield _arrived(*under_way.popleft())
    while under_way:
        yield _arrived(*under_way.popleft())


def _arrived(there: Tensor, done: torch.cuda.Event | None) -> Tensor:
    if done is not None:
        done.synchronize()
    return there
