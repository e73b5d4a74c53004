from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet.data.augment import Augmentation
from alexnet.data.loader import Loader
from alexnet.data.preprocess import Preprocessing
from alexnet.data.sources import open_source
from alexnet.data.store import Store, pack
from alexnet.errors import UsageError


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return pack(open_source("digits"), tmp_path_factory.mktemp("digits") / "store", size=64, workers=1)


def loader(store: Store, **settings) -> Loader:
    preprocessing = Preprocessing(56, 64, (127.0, 127.0, 127.0), (60.0, 60.0, 60.0), 64)
    chosen = Augmentation(("resized_crop", "flip", "color", "pca"), mixup=0.4, cutmix=1.0)
    return Loader(store, np.arange(100), 16, preprocessing, chosen, seed=3, **settings)


def test_epoch_visits_every_image_once_in_its_own_order(store):
    first, second = loader(store).order(0), loader(store).order(1)
    assert sorted(first) == sorted(second) == list(range(100))
    assert list(first) != list(second)
    assert list(first) == list(loader(store).order(0))
    assert len(loader(store)) == 6


def test_batches_do_not_depend_on_the_number_of_workers(store):
    for one, two in zip(loader(store).batches(2), loader(store, workers=3).batches(2), strict=True):
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.targets, two.targets)


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("ranks", [2, 4])
def test_processes_share_the_batches_of_one_process(store, ranks, balanced):
    alone = loader(store, balanced=balanced)
    together = [loader(store, balanced=balanced, rank=rank, ranks=ranks) for rank in range(ranks)]
    for step, (whole, *shares) in enumerate(
        zip(alone.batches(1), *(each.batches(1) for each in together), strict=True)
    ):
        places = np.concatenate([each.positions(step) for each in together]) - step * 16
        assert sorted(places) == list(range(16))
        assert torch.equal(torch.cat([share.images for share in shares]), whole.images[places])
        assert torch.equal(torch.cat([share.targets for share in shares]), whole.targets[places])
        assert torch.equal(torch.cat([share.labels for share in shares]), whole.labels[places])


def test_mixing_partners_change_from_epoch_to_epoch(store):
    orders = [loader(store).order(epoch) for epoch in (0, 1)]
    pairs = [{frozenset((order[n], order[15 - n])) for n in range(8)} for order in orders]
    assert not pairs[0] & pairs[1]


def test_batch_size_must_be_a_multiple_of_twice_the_processes(store):
    with pytest.raises(UsageError, match="batch size 16 with 3 processes; a multiple of 6 is needed"):
        loader(store, ranks=3)


def test_resume_within_an_epoch_gives_the_same_batches(store):
    whole, rest = list(loader(store).batches(1)), list(loader(store).batches(1, start=4))
    assert len(whole) == 6
    assert all(torch.equal(a.images, b.images) for a, b in zip(whole[4:], rest, strict=True))


def test_batch_is_normalized_and_of_the_requested_size(store):
    batch = next(loader(store).batches(0, size=48))
    assert batch.images.shape == (16, 3, 48, 48)
    assert batch.images.dtype == torch.float32
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.images.abs().max() < 10
    assert torch.allclose(batch.targets.sum(1), torch.ones(16))


def test_labels_match_their_images(store):
    plain = Loader(store, np.arange(100), 10, Preprocessing(64, 64, (0,) * 3, (1,) * 3, 64), Augmentation())
    order = plain.order(0)
    batch = next(plain.batches(0))
    assert torch.equal(batch.labels, torch.from_numpy(store.labels[order[:10]]))
    assert torch.equal(batch.images[0].permute(1, 2, 0), torch.from_numpy(store.images(order[:1])[0]).float())


def test_balanced_sampling_shows_classes_equally_often(store):
    rare = np.concatenate([np.flatnonzero(store.labels == 0), np.flatnonzero(store.labels == 1)[:9]])
    balanced = Loader(store, rare, 16, loader(store).preprocessing, Augmentation(), balanced=True)
    seen = np.concatenate([store.labels[balanced.order(epoch)] for epoch in range(40)])
    assert 0.46 < seen.mean() < 0.54
    one, two = (next(balanced.batches(0)) for _ in range(2))
    assert torch.equal(one.images, two.images)


def test_batch_size_above_the_number_of_images_is_refused(store):
    with pytest.raises(UsageError, match="batch size 16 is larger than the 5 training images; take --batch-size 5"):
        Loader(store, np.arange(5), 16, loader(store).preprocessing, Augmentation())


def test_closing_an_epoch_early_stops_its_threads(store):
    import threading

    before = threading.active_count()
    batches = loader(store, workers=2).batches(0)
    next(batches)
    batches.close()
    assert threading.active_count() == before


def test_loader_does_not_write_to_the_store(store):
    files = {path: path.stat().st_mtime_ns for path in Path(store.folder).iterdir()}
    list(loader(store).batches(0))
    assert files == {path: path.stat().st_mtime_ns for path in Path(store.folder).iterdir()}
