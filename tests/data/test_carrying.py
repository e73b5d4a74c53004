"""Batches carried to a GPU: one ahead of the step, each waited for, and the same as those of the processor."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet.data.augment import Augmentation
from alexnet.data.carrying import carried
from alexnet.data.loader import Loader
from alexnet.data.preprocess import Preprocessing
from alexnet.data.sources import open_source
from alexnet.data.store import Store, pack
from alexnet.ops import native


class Noting:
    """A carrier that notes what is asked of it."""

    def __init__(self):
        self.notes = []

    def send(self, batch):
        self.notes.append(f"send {batch}")
        return batch

    def receive(self):
        self.notes.append("receive")


def numbers(count, notes):
    try:
        yield from range(count)
    finally:
        notes.append("closed")


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_all_batches_arrive_in_order_and_each_is_received_once(count):
    carrier = Noting()
    assert list(carried(numbers(count, carrier.notes), carrier)) == list(range(count))
    assert [note for note in carrier.notes if note != "receive"] == [*(f"send {n}" for n in range(count)), "closed"]
    assert carrier.notes.count("receive") == count


def test_the_first_batch_is_there_at_once_and_each_later_one_under_way_before_a_step_begins():
    carrier = Noting()
    batches = carried(numbers(3, carrier.notes), carrier)
    for number in batches:
        carrier.notes.append(f"step {number}")
    assert carrier.notes == [
        *("send 0", "receive", "step 0"),
        *("send 1", "send 2", "receive", "step 1"),
        *("closed", "receive", "step 2"),
    ]


def test_what_nobody_takes_is_received_and_the_source_closed():
    carrier = Noting()
    batches = carried(numbers(9, carrier.notes), carrier)
    assert [next(batches), next(batches)] == [0, 1]
    batches.close()
    assert carrier.notes == ["send 0", "receive", "send 1", "send 2", "receive", "receive", "closed"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return pack(open_source("digits"), Path(tmp_path_factory.mktemp("digits")) / "store", size=64, workers=1)


def loader(store: Store, device: str, **settings) -> Loader:
    preprocessing = Preprocessing(56, 64, (127.0, 127.0, 127.0), (60.0, 60.0, 60.0), 64)
    chosen = Augmentation(("resized_crop", "flip", "color", "pca", "gaussian"), mixup=0.4, cutmix=1.0)
    settings = {"seed": 3, "device": torch.device(device), **settings}
    return Loader(store, np.arange(800), 16, preprocessing, chosen, **settings)


def test_batches_are_carried_where_the_kernel_prepares_them_for_a_gpu(store):
    assert not loader(store, "cpu").carries
    assert loader(store, "cuda").carries
    assert not loader(store, "cuda", dtype=torch.float64).carries
    with native.using("off"):
        assert not loader(store, "cuda").carries


def test_threads_that_call_kernels_share_the_cores():
    before = torch.get_num_threads()
    with ThreadPoolExecutor(1, initializer=native.limit_threads, initargs=(3,)) as pool:
        assert pool.submit(native.threads).result() == 3
        if native.instruction_set() is not None and sys.platform == "linux":  # PyTorch's and the kernels' OpenMP is one
            assert pool.submit(torch.get_num_threads).result() == 3
    assert native.threads() == torch.get_num_threads() == before


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("workers", [0, 4])
def test_a_gpu_gets_the_batches_of_the_processor(store, dtype, workers):
    right = list(loader(store, "cpu", dtype=dtype).batches(1))
    there = loader(store, "cuda", dtype=dtype, workers=workers)
    assert there.carries
    kept = []
    for number, batch in enumerate(there.batches(1)):
        load = torch.randn(2048, 2048, device="cuda")
        for _ in range(20):  # the step is slower than the loader, whose memory is used again and again
            load = load @ load / 50
        assert (batch.images.device.type, batch.images.dtype) == ("cuda", dtype)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        kept.append([each.clone() for each in (batch.images, batch.targets, batch.labels)])
        if number % 7 == 0:
            torch.cuda.synchronize()
    for (images, targets, labels), batch in zip(kept, right, strict=True):
        torch.testing.assert_close(images.cpu(), batch.images, rtol=2**-7 if dtype == torch.bfloat16 else 0, atol=1e-3)
        assert torch.equal(targets.cpu(), batch.targets)
        assert torch.equal(labels.cpu(), batch.labels)


@pytest.mark.cuda
def test_an_epoch_that_is_left_early_leaves_nothing_behind(store):
    there, right = loader(store, "cuda", workers=4), next(loader(store, "cpu").batches(0))
    for _ in range(10):
        batches = there.batches(0)
        first = next(batches).images.clone()
        batches.close()
        fresh = torch.zeros(16, 3, 56, 56, device="cuda")  # may be memory that a batch was under way to
        torch.testing.assert_close(first.cpu(), right.images, rtol=0, atol=1e-3)
        torch.cuda.synchronize()
        assert not fresh.any()


@pytest.mark.cuda
def test_views_on_a_gpu_are_those_of_the_processor(store):
    preprocessing, found, load = loader(store, "cpu").preprocessing, [], torch.randn(2048, 2048, device="cuda")
    for first in range(0, 400, 8):
        for _ in range(10):  # the memory that is copied from is wanted again before the copy begins
            load = load @ load / 50
        found.append(preprocessing.views(store.mapped(np.arange(first, first + 8)), 10, device=torch.device("cuda")))
    for number, views in enumerate(found):
        rows = np.arange(8 * number, 8 * number + 8)
        torch.testing.assert_close(views.cpu(), preprocessing.views(store.mapped(rows), 10), rtol=0, atol=1e-3)


@pytest.mark.cuda
def test_without_the_kernel_the_gpu_renders_the_same(store):
    with native.using("off"):
        plain = next(loader(store, "cuda").batches(0))
    right = next(loader(store, "cpu").batches(0))
    assert torch.allclose(plain.images.cpu(), right.images, atol=1e-3)
