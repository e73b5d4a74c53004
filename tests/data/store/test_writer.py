"""A store holds every image of its source and is written atomically."""

import csv
import errno
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alexnet.data.images import decode, square
from alexnet.data.sources import open_source
from alexnet.data.store import Store, open_store, pack
from alexnet.errors import AlexNetError, DataError, UsageError

SIZE = 32
ROW = SIZE * SIZE * 3
AddImages = Callable[..., None]
Run = Callable[..., subprocess.Popen[str]]


def all_images(store: Store) -> np.ndarray:
    return store.images(slice(None))


def test_rows_are_the_samples_in_order_in_stored_form(photos: Path, store: Store) -> None:
    source = open_source(str(photos))
    assert len(store) == 20
    assert store.paths == [sample.path for sample in source.samples]
    assert store.labels.tolist() == [sample.label for sample in source.samples]
    assert store.labels.dtype == np.int64
    assert store.class_names == source.class_names == ["ant", "bee", "class 10"]
    assert (store.name, store.fractions, store.size) == (source.name, source.fractions, SIZE)
    assert store.fingerprint == source.fingerprint()
    assert set(store.splits.tolist()) == {""}
    expected = [square(decode(source.read(index)), SIZE) for index in range(20)]
    assert np.array_equal(all_images(store), np.stack(expected))


def test_images_gathers_rows_across_shards(store: Store) -> None:
    whole = all_images(store)
    assert sorted(path.name for path in store.folder.glob("*.bin")) == [f"shard-0000{n}.bin" for n in range(4)]
    for rows in ([19, 0, 6, 5, 6], [], [7], [-1, -20], list(range(20))[::-1]):
        found = store.images(np.array(rows, np.int64))
        assert found.shape == (len(rows), SIZE, SIZE, 3)
        assert found.dtype == np.uint8
        assert found.flags.c_contiguous
        assert found.flags.writeable
        assert np.array_equal(found, whole[rows])
    assert np.array_equal(store.images(slice(4, 15, 3)), whole[4:15:3])
    assert np.array_equal(store.images(store.labels == 1), whole[12:17])
    with pytest.raises(IndexError):
        store.images(np.array([20]))


def test_mapped_rows_are_those_that_images_copies(store: Store) -> None:
    for rows in ([19, 0, 6, 5, 6], [7], [-1, -20], list(range(20))[::-1]):
        found = store.mapped(np.array(rows))
        assert np.array_equal(np.stack(list(found)), store.images(np.array(rows)))
        assert not found[0].flags.writeable
    assert len(store.mapped(np.array([], np.int64))) == 0
    for row in (20, -21):
        with pytest.raises(IndexError, match=f"rows 0 to 20|rows {row} to 0"):
            store.mapped(np.array([0, row]))


def test_given_splits_are_kept(tmp_path: Path, add_images: AddImages) -> None:
    for split in ("train", "valid", "test"):
        for name in ("a", "b"):
            add_images(tmp_path / "data", f"{split}/{name}", 2)
    store = pack(open_source(str(tmp_path / "data")), tmp_path / "store", SIZE)
    assert sorted(set(store.splits.tolist())) == ["test", "train", "val"]
    assert all(path.split("/")[0][:3] == split[:3] for path, split in zip(store.paths, store.splits, strict=True))


def test_bytes_do_not_depend_on_the_number_of_workers(tmp_path: Path, add_images: AddImages) -> None:
    for name in ("a", "b"):
        add_images(tmp_path / "data", name, 70)
    source = open_source(str(tmp_path / "data"))
    seen: list[tuple[int, int]] = []
    one = pack(source, tmp_path / "one", SIZE, workers=1, shard_bytes=50 * ROW)
    two = pack(source, tmp_path / "two", SIZE, workers=2, shard_bytes=50 * ROW, progress=lambda *at: seen.append(at))
    for file in one.folder.iterdir():
        assert file.read_bytes() == (two.folder / file.name).read_bytes(), file.name
    assert seen == [(done, 140) for done in range(1, 141)]


def test_arrays_are_packed_as_files_are(tmp_path: Path) -> None:
    source = open_source("digits")
    store = pack(source, tmp_path / "digits", source.store_size)
    assert len(store) == 1797
    assert np.array_equal(store.images(np.array([5]))[0], square(decode(source.read(5)), source.store_size))


def test_names_of_any_bytes_survive(tmp_path: Path, add_images: AddImages) -> None:
    for name in ("a", "b"):
        add_images(tmp_path / "data", name, 2)
    for strange in (b'new\nline,"quote".png', b"not utf-8 \xff.png", "blüte.png".encode()):
        shutil.copy(tmp_path / "data" / "a" / "0.png", os.fsencode(tmp_path / "data" / "a") + b"/" + strange)
    source = open_source(str(tmp_path / "data"))
    assert len(source.samples) == 7
    assert pack(source, tmp_path / "store", SIZE).paths == [sample.path for sample in source.samples]


def test_bad_images_are_skipped_and_listed(photos: Path, tmp_path: Path) -> None:
    (photos / "ant" / "3.png").write_bytes(b"")
    (photos / "bee" / "0.png").write_bytes(b"hello")
    store = pack(open_source(str(photos)), tmp_path / "store", SIZE, max_bad=0.1)
    assert [path for path, _ in store.skipped] == ["ant/3.png", "bee/0.png"]
    assert "0 bytes" in store.skipped[0][1]
    assert "not an image" in store.skipped[1][1]
    with open(store.folder / "skipped.csv", newline="") as file:
        assert [tuple(row) for row in csv.reader(file)] == [("path", "reason"), *store.skipped]
    assert len(store) == 18
    assert "ant/3.png" not in store.paths
    source = open_source(str(photos))
    row = store.paths.index("ant/4.png")
    assert np.array_equal(
        store.images(np.array([row]))[0], square(decode(source.read(store.paths.index("ant/4.png") + 1)), SIZE)
    )


def test_too_many_bad_images_stop_packing_and_leave_nothing(photos: Path, tmp_path: Path) -> None:
    for number in range(4):
        (photos / "ant" / f"{number}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"3 of 20 images .* 5 %.*0\.png: empty.*1\.png.*2\.png.*--max-bad") as caught:
        pack(open_source(str(photos)), tmp_path / "out" / "store", SIZE, max_bad=0.05)
    assert "3.png" not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_ten_bad_images_of_few_are_skipped_by_default_and_named(
    tmp_path: Path, add_images: AddImages, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        add_images(tmp_path / "data", name, 12)
    for number in range(10):
        (tmp_path / "data" / "a" / f"{number}.png").write_bytes(b"")
    store = pack(open_source(str(tmp_path / "data")), tmp_path / "store", SIZE)
    assert (len(store), len(store.skipped)) == (14, 10)
    (line,) = (record.message for record in caplog.records if record.levelname == "WARNING")
    assert all(f"a/{number}.png: empty" in line for number in range(10))
    (tmp_path / "data" / "b" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"11 of 24 images .* 1 % or 10, whichever is more"):
        pack(open_source(str(tmp_path / "data")), tmp_path / "other", SIZE)


def test_a_share_that_is_given_is_a_share(photos: Path, tmp_path: Path) -> None:
    (photos / "class 10" / "2.png").write_bytes(b"")
    for share, named in ((0, "0"), (0.01, "1")):  # also where it is that of the default
        with pytest.raises(DataError, match=rf"1 of 20 images .* {named} % may .*class 10/2\.png"):
            pack(open_source(str(photos)), tmp_path / "store", SIZE, max_bad=share)
    assert not (tmp_path / "store").exists()


def test_bad_images_that_leave_a_class_one_image_stop_packing(photos: Path, tmp_path: Path) -> None:
    for number in range(2):
        (photos / "class 10" / f"{number}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"one usable image of 'class 10', two are needed .*class 10/0\.png: empty"):
        pack(open_source(str(photos)), tmp_path / "store", SIZE)
    assert not (tmp_path / "store").exists()


def test_class_without_usable_images_stops_packing(photos: Path, tmp_path: Path) -> None:
    for number in range(3):
        (photos / "class 10" / f"{number}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"no usable images of 'class 10'.*empty: 0 bytes"):
        pack(open_source(str(photos)), tmp_path / "store", SIZE, max_bad=0.5)
    assert not (tmp_path / "store").exists()


def test_vanished_file_is_a_bad_image(photos: Path, tmp_path: Path) -> None:
    source = open_source(str(photos))
    (photos / "ant" / "0.png").unlink()
    store = pack(source, tmp_path / "store", SIZE, max_bad=0.1)
    assert store.skipped == [("ant/0.png", "cannot be read: No such file or directory")]


def test_folder_that_is_not_a_store_is_never_replaced(photos: Path) -> None:
    with pytest.raises(UsageError, match="it is no store"):
        pack(open_source(str(photos)), photos, SIZE)
    assert len(list(photos.rglob("*.png"))) == 20


def test_store_is_replaced_by_the_next_one(photos: Path, store: Store, add_images: AddImages) -> None:
    add_images(photos, "bee", 9, seed=2)
    assert len(pack(open_source(str(photos)), store.folder, SIZE)) == 24
    assert len(list(store.folder.glob("*.bin"))) == 1


def test_link_to_an_empty_folder_is_filled_and_stays(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    pack(open_source(str(photos)), tmp_path / "link", SIZE)
    assert (tmp_path / "link").is_symlink()
    assert len(open_store(tmp_path / "link")) == 20


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/store"])
def test_unwritable_folder_is_one_clear_error(where: str, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(AlexNetError, match=r"cannot write .*choose another folder") as caught:
        pack(open_source(str(photos)), tmp_path / where, SIZE)
    assert caught.value.exit_code == 1
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(("size", "max_bad"), [(0, 0.01), (-5, 0.01), (SIZE, 1.5), (SIZE, -0.1)])
def test_invalid_settings_are_refused(size: int, max_bad: float, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"accepted|needed"):
        pack(open_source(str(photos)), tmp_path / "store", size, max_bad)


def test_full_disk_is_detected_before_packing(photos: Path, tmp_path: Path) -> None:
    huge = 10**7  # 20 images of 300 TB
    with pytest.raises(AlexNetError, match=r"cannot write .* GB are needed, .* GB are free"):
        pack(open_source(str(photos)), tmp_path / "out" / "store", huge)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_shard_is_brought_to_the_disk_while_others_are_packed(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by: list[str] = []
    real = os.fsync

    def noted(file: int) -> None:
        by.append(threading.current_thread().name)
        real(file)

    monkeypatch.setattr("alexnet.data.store.writer.FLUSHED_BYTES", 3 * ROW)
    monkeypatch.setattr(os, "fsync", noted)
    store = pack(open_source(str(photos)), tmp_path / "store", SIZE, workers=1)
    assert sum(name.startswith("alexnet-flush") for name in by) == 6  # of 20 rows
    assert len(open_store(store.folder, verify=True)) == 20
    assert not [each for each in threading.enumerate() if each.name.startswith("alexnet-flush")]


def test_disk_that_fails_beside_the_packing_leaves_no_store(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def failing(file: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise OSError(errno.EIO, "Input/output error")
        real(file)

    monkeypatch.setattr("alexnet.data.store.writer.FLUSHED_BYTES", 18 * ROW)  # once, so that the end finds the error
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(AlexNetError, match=r"cannot write .*store: Input/output error"):
        pack(open_source(str(photos)), tmp_path / "store", SIZE, workers=1)
    assert not (tmp_path / "store").exists()


def test_disk_full_during_packing_keeps_the_old_store(ready_photos: Path, store: Store, run: Run) -> None:
    """A limit on the size of files stands for the end of the disk: both fail in `write`."""
    before = {path.name: path.read_bytes() for path in store.folder.iterdir()}
    full = run(
        f"""
        import resource, sys
        from pathlib import Path
        from alexnet.data.store import pack
        from alexnet.data.sources import open_source
        from alexnet.errors import AlexNetError
        resource.setrlimit(resource.RLIMIT_FSIZE, ({10 * ROW}, {10 * ROW}))
        try:
            pack(open_source(sys.argv[1]), Path(sys.argv[2]), {SIZE})
        except AlexNetError as error:
            print(error)
            sys.exit(error.exit_code)
        """,
        ready_photos,
        store.folder,
    )
    out, error = full.communicate(timeout=60)
    assert (full.returncode, error) == (1, "")
    assert re.fullmatch(r"cannot write .*store: File too large; free space, or choose another folder.*\n", out)
    assert {path.name: path.read_bytes() for path in store.folder.iterdir()} == before
    assert sorted(path.name for path in store.folder.parent.iterdir()) == ["photos", "ready", "store"]


def test_ctrl_c_leaves_no_partial_store(ready_photos: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "out").mkdir()
    packing = run(
        """
        import signal, sys, time
        from pathlib import Path
        from alexnet.data.store import pack
        from alexnet.data.sources import open_source

        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin without it

        def slowly(done, total):
            if done == 1:
                print("packing", flush=True)
                time.sleep(60)

        try:
            pack(open_source(sys.argv[1]), Path(sys.argv[2]), 32, workers=2, progress=slowly)
        except KeyboardInterrupt:
            sys.exit(130)
        """,
        ready_photos,
        tmp_path / "out" / "store",
    )
    assert packing.stdout is not None
    assert packing.stdout.readline() == "packing\n"
    assert len(list((tmp_path / "out").glob(".*.half"))) == 1  # being written, under another name
    packing.send_signal(signal.SIGINT)
    _, error = packing.communicate(timeout=60)
    assert (packing.returncode, error) == (130, "")
    assert list((tmp_path / "out").iterdir()) == []
