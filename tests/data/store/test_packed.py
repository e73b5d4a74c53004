"""A store holds what its source shows, appears whole or not at all, and is known when it is damaged."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.data.images import decode, square
from alexnet.data.samples import Source
from alexnet.data.sources import check_classes, open_source
from alexnet.data.store.packed import Store, named_store, open_store, pack, packed, verified
from alexnet.errors import AlexNetError, DataError, UsageError

pytestmark = pytest.mark.usefixtures("shown_log")

SIZE = 32
ROW = SIZE * SIZE * 3


def add_images(root: Path, folder: str, count: int, seed: int = 0) -> None:
    rng = np.random.default_rng([seed, *folder.encode()])
    (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        noise = rng.integers(0, 256, (40 + number % 3, 50, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / folder / f"{number}.png")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three classes of 12, 5 and 3 images."""
    root = tmp_path / "photos"
    for name, count in (("ant", 12), ("bee", 5), ("class 10", 3)):
        add_images(root, name, count)
    return root


@pytest.fixture
def store(photos: Path, tmp_path: Path) -> Store:
    """Packed in shards of 6 rows: 6, 6, 6, 2."""
    return pack(open_source(str(photos)), tmp_path / "store", SIZE, shard_bytes=6 * ROW)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def everything(store: Store) -> np.ndarray:
    return store.images(slice(None))


# --- what is in it ---


def test_rows_are_the_sources_samples_in_order_in_their_stored_form(photos: Path, store: Store) -> None:
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
    assert np.array_equal(everything(store), np.stack(expected))


def test_images_gathers_any_rows_across_shards_into_one_array(store: Store) -> None:
    whole = everything(store)
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


def test_given_splits_are_kept(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        for name in ("a", "b"):
            add_images(tmp_path / "data", f"{split}/{name}", 2)
    store = pack(open_source(str(tmp_path / "data")), tmp_path / "store", SIZE)
    assert sorted(set(store.splits.tolist())) == ["test", "train", "val"]
    assert all(path.split("/")[0][:3] == split[:3] for path, split in zip(store.paths, store.splits, strict=True))


def test_many_processes_write_the_same_bytes_as_one(tmp_path: Path) -> None:
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


def test_names_of_any_bytes_survive(tmp_path: Path) -> None:
    for name in ("a", "b"):
        add_images(tmp_path / "data", name, 2)
    for strange in (b'new\nline,"quote".png', b"not utf-8 \xff.png", "blüte.png".encode()):
        shutil.copy(tmp_path / "data" / "a" / "0.png", os.fsencode(tmp_path / "data" / "a") + b"/" + strange)
    source = open_source(str(tmp_path / "data"))
    assert len(source.samples) == 7
    assert pack(source, tmp_path / "store", SIZE).paths == [sample.path for sample in source.samples]


# --- bad images ---


def spoil(path: Path, content: bytes = b"") -> None:
    path.write_bytes(content)


def test_bad_images_are_left_out_and_listed_with_their_reasons(photos: Path, tmp_path: Path) -> None:
    spoil(photos / "ant" / "3.png")
    spoil(photos / "bee" / "0.png", b"hello")
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


def test_too_many_bad_images_stop_it_naming_three_and_leave_nothing(photos: Path, tmp_path: Path) -> None:
    for number in range(4):
        spoil(photos / "ant" / f"{number}.png")
    with pytest.raises(DataError, match=r"3 of 20 images .* 5 %.*0\.png: empty.*1\.png.*2\.png.*--max-bad") as caught:
        pack(open_source(str(photos)), tmp_path / "out" / "store", SIZE, max_bad=0.05)
    assert "3.png" not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_one_bad_image_of_few_is_too_many_by_default(photos: Path, tmp_path: Path) -> None:
    spoil(photos / "class 10" / "2.png")
    with pytest.raises(DataError, match=r"1 of 20 images .* 1 % .*class 10/2\.png"):
        pack(open_source(str(photos)), tmp_path / "store", SIZE)
    assert not (tmp_path / "store").exists()


def test_a_class_left_without_images_stops_it(photos: Path, tmp_path: Path) -> None:
    for number in range(3):
        spoil(photos / "class 10" / f"{number}.png")
    with pytest.raises(DataError, match=r"no usable images of 'class 10'.*empty: 0 bytes"):
        pack(open_source(str(photos)), tmp_path / "store", SIZE, max_bad=0.5)
    assert not (tmp_path / "store").exists()


def test_a_file_that_vanishes_after_it_was_listed_is_a_bad_image(photos: Path, tmp_path: Path) -> None:
    source = open_source(str(photos))
    (photos / "ant" / "0.png").unlink()
    store = pack(source, tmp_path / "store", SIZE, max_bad=0.1)
    assert store.skipped == [("ant/0.png", "cannot be read: No such file or directory")]


# --- damage ---


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def change_names(path: Path) -> None:
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "class_names": ["bee", "ant", "class 10"]}))


DAMAGES = {
    "a truncated shard": ("shard-00001.bin", lambda path: os.truncate(path, 100), "shard-00001.bin has 100 bytes"),
    "a flipped byte": ("shard-00002.bin", flip_byte, "checksum of shard-00002.bin"),
    "a missing shard": ("shard-00000.bin", Path.unlink, "shard-00000.bin: No such file"),
    "a changed label": ("samples.csv", lambda path: path.write_text(path.read_text()[:-2] + "0\n"), "samples.csv"),
    "missing samples": ("samples.csv", Path.unlink, "samples.csv"),
    "a changed reason": ("skipped.csv", lambda path: path.write_text("x" * path.stat().st_size), "skipped.csv"),
    "broken facts": ("store.json", lambda path: path.write_text('{"size": '), "store.json cannot be read"),
    "facts of another kind": ("store.json", lambda path: path.write_text("[]"), "store.json cannot be read"),
    "empty facts": ("store.json", lambda path: path.write_text(""), "store.json cannot be read"),
    "changed class names": ("store.json", change_names, "store.json was changed"),
    "missing facts": ("store.json", Path.unlink, "store.json is missing"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_recognised_and_named(damage: str, store: Store) -> None:
    open_store(store.folder)
    file, do, message = DAMAGES[damage]
    do(store.folder / file)
    with pytest.raises(DataError, match=f"store {re.escape(str(store.folder))} is damaged: .*{re.escape(message)}"):
        open_store(store.folder)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_in_the_cache_is_packed_again_in_one_line(
    damage: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = packed(open_source(str(photos)), SIZE)
    whole = everything(store)
    file, do, _ = DAMAGES[damage]
    name = "shard-00000.bin" if file.startswith("shard") else file  # so small a store has one shard
    do(store.folder / name)
    capsys.readouterr()
    again = packed(open_source(str(photos)), SIZE)
    assert np.array_equal(everything(again), whole)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "is damaged" in error
    assert "packing it again" in error
    open_store(again.folder)


def test_the_checksums_of_large_stores_are_looked_at_only_on_request(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    flip_byte(store.folder / "shard-00002.bin")
    monkeypatch.setattr("alexnet.data.store.packed.VERIFIED_BYTES", 1000)
    assert len(open_store(store.folder)) == 20
    with pytest.raises(DataError, match="checksum"):
        open_store(store.folder, verify=True)


def test_a_store_of_a_later_version_is_not_called_damaged(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet.data.store.packed.VERSION", 0)
    with pytest.raises(DataError, match=r"version 1, this program reads .* version 0"):
        open_store(store.folder)


def test_no_store_at_all_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no store at .*alexnet pack"):
        open_store(tmp_path / "nowhere")


def test_a_store_that_goes_away_after_it_was_opened_is_a_data_error(store: Store) -> None:
    (store.folder / "shard-00003.bin").unlink()
    with pytest.raises(DataError, match=r"is damaged: shard-00003\.bin"):
        everything(store)


# --- the cache ---


def test_a_source_is_packed_once_and_reused(photos: Path, cache: Path) -> None:
    first = packed(open_source(str(photos)), SIZE)
    assert first.folder == cache / "stores" / f"photos-{SIZE}-{first.fingerprint[:16]}"
    before = (first.folder / "shard-00000.bin").stat()
    second = packed(open_source(str(photos)), SIZE)
    assert (second.folder / "shard-00000.bin").stat().st_ino == before.st_ino
    assert np.array_equal(everything(first), everything(second))


def test_a_changed_source_gets_a_new_store(photos: Path) -> None:
    first = packed(open_source(str(photos)), SIZE)
    add_images(photos, "bee", 6, seed=1)
    second = packed(open_source(str(photos)), SIZE)
    assert second.folder != first.folder
    assert (len(first), len(second)) == (20, 21)


def test_the_size_is_the_sources_own_unless_told(photos: Path) -> None:
    assert packed(open_source(str(photos))).size == open_source(str(photos)).store_size == 256
    assert packed(open_source(str(photos)), SIZE).size == SIZE


def test_a_store_with_gaps_that_were_accepted_is_reused(photos: Path) -> None:
    spoil(photos / "ant" / "0.png")
    with pytest.raises(DataError, match=r"1 of 20 images .*ant/0\.png"):
        packed(open_source(str(photos)), SIZE)
    assert len(packed(open_source(str(photos)), SIZE, max_bad=0.1)) == 19
    assert len(packed(open_source(str(photos)), SIZE)) == 19


def test_packing_and_what_it_skipped_are_said_once(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(photos / "ant" / "0.png")
    store = packed(open_source(str(photos)), SIZE, max_bad=0.1)
    assert capsys.readouterr().err.splitlines() == [
        f"packing 20 images of photos into {store.folder}, this once",
        f"1 image skipped, see {store.folder / 'skipped.csv'}",
    ]
    packed(open_source(str(photos)), SIZE)
    assert capsys.readouterr().err == ""


PACK = f"""
    import logging, os, signal, sys
    from alexnet.data.store.packed import named_store

    logging.basicConfig(level="INFO", format="%(message)s")

    def die(done, total):
        os.kill(os.getpid(), signal.SIGKILL)

    print(len(named_store(sys.argv[1], size={SIZE}, progress=die if sys.argv[2:] else None)))
    """


def test_of_several_processes_that_start_together_one_packs(photos: Path) -> None:
    together = [run(PACK, photos) for _ in range(3)]
    answers = [process.communicate(timeout=60) for process in together]
    assert [(process.returncode, out) for process, (out, _) in zip(together, answers, strict=True)] == [(0, "20\n")] * 3
    assert sorted(error.count("packing 20 images") for _, error in answers) == [0, 0, 1]


def test_what_a_killed_process_had_begun_is_removed(photos: Path, cache: Path) -> None:
    killed = run(PACK, photos, Path("to the death"))
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert len(list((cache / "stores").glob(".*.half"))) == 1
    assert len(packed(open_source(str(photos)), SIZE)) == 20
    assert list((cache / "stores").glob(".*.half")) == []


# --- by name ---


def test_a_stores_folder_is_a_name_for_its_data(store: Store, cache: Path) -> None:
    again = named_store(str(store.folder))
    assert (again.folder, again.paths, again.fingerprint) == (store.folder, store.paths, store.fingerprint)
    assert not cache.exists()
    assert named_store(str(store.folder), size=SIZE).size == SIZE
    with pytest.raises(DataError, match=r"has images of 32 px a side, 64 are needed; .*alexnet pack DATA --size 64"):
        named_store(str(store.folder), size=64)


def test_any_other_name_is_packed_into_the_cache(photos: Path, cache: Path) -> None:
    assert named_store(str(photos), size=SIZE).folder.parent == cache / "stores"
    with pytest.raises(DataError, match="no such folder or file"):
        named_store(str(photos / "nowhere"))


def test_a_known_set_is_meant_before_a_store_of_its_name(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.folder.rename(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    assert len(named_store("digits", size=8)) == 1797
    assert len(named_store("./digits")) == 20


def test_what_speaks_against_data_stops_it_before_packing(photos: Path, cache: Path) -> None:
    def refuse(source: Source) -> None:
        raise DataError(f"not {source.name}")

    with pytest.raises(DataError, match="not photos"):
        named_store(str(photos), size=SIZE, look=refuse)
    assert not cache.exists()


def test_what_the_store_kept_is_looked_at_too(tmp_path: Path) -> None:
    for name, count in (("train/a", 4), ("train/b", 1), ("test/a", 1), ("test/b", 1)):
        add_images(tmp_path / "data", name, count)
    spoil(tmp_path / "data" / "train" / "b" / "0.png")
    check_classes(open_source(str(tmp_path / "data")))
    for data in (tmp_path / "data", pack(open_source(str(tmp_path / "data")), tmp_path / "store", SIZE, 0.5).folder):
        with pytest.raises(DataError, match="no training images of 'b'"):
            named_store(str(data), size=SIZE, max_bad=0.5, look=check_classes)


def test_verifying_a_store_names_all_its_damage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet.data.store.packed.VERIFIED_BYTES", 0)
    assert len(verified(str(store.folder))) == 20
    flip_byte(store.folder / "shard-00002.bin")
    (store.folder / "shard-00000.bin").unlink()
    with pytest.raises(DataError, match=r"damaged: shard-00000\.bin: No such .*; the checksum of shard-00002\.bin is"):
        verified(str(store.folder))


def test_the_store_of_data_in_the_cache_is_verified_under_the_datas_name(photos: Path) -> None:
    with pytest.raises(DataError, match=r"no store at .*stores.photos-256-"):
        verified(str(photos))
    store = packed(open_source(str(photos)), SIZE)
    assert verified(str(photos), SIZE).folder == store.folder


# --- where it is written ---


def test_a_folder_that_is_no_store_is_never_replaced(photos: Path) -> None:
    with pytest.raises(UsageError, match="it is no store"):
        pack(open_source(str(photos)), photos, SIZE)
    assert len(list(photos.rglob("*.png"))) == 20


def test_a_store_is_replaced_by_the_next_one(photos: Path, store: Store) -> None:
    add_images(photos, "bee", 9, seed=2)
    assert len(pack(open_source(str(photos)), store.folder, SIZE)) == 24
    assert len(list(store.folder.glob("*.bin"))) == 1


def test_a_link_to_an_empty_folder_is_filled_and_stays(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    pack(open_source(str(photos)), tmp_path / "link", SIZE)
    assert (tmp_path / "link").is_symlink()
    assert len(open_store(tmp_path / "link")) == 20


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/store"])
def test_a_place_that_cannot_be_written_is_one_clear_error(where: str, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(AlexNetError, match=r"cannot write .*choose another folder") as caught:
        pack(open_source(str(photos)), tmp_path / where, SIZE)
    assert caught.value.exit_code == 1
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(("size", "max_bad"), [(0, 0.01), (-5, 0.01), (SIZE, 1.5), (SIZE, -0.1)])
def test_impossible_settings_are_refused(size: int, max_bad: float, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"accepted|needed"):
        pack(open_source(str(photos)), tmp_path / "store", size, max_bad)


def test_a_disk_too_small_is_known_before_the_work(photos: Path, tmp_path: Path) -> None:
    huge = 10**7  # 20 images of 300 TB
    with pytest.raises(AlexNetError, match=r"cannot write .* GB are needed, .* GB are free"):
        pack(open_source(str(photos)), tmp_path / "out" / "store", huge)
    assert list((tmp_path / "out").iterdir()) == []


def run(code: str, *arguments: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_a_disk_that_fills_up_in_mid_write_leaves_the_old_store(photos: Path, store: Store) -> None:
    """A limit on the size of files stands for the end of the disk: both fail in `write`."""
    before = {path.name: path.read_bytes() for path in store.folder.iterdir()}
    full = run(
        f"""
        import resource, sys
        from pathlib import Path
        from alexnet.data.store.packed import pack
        from alexnet.data.sources import open_source
        from alexnet.errors import AlexNetError
        resource.setrlimit(resource.RLIMIT_FSIZE, ({10 * ROW}, {10 * ROW}))
        try:
            pack(open_source(sys.argv[1]), Path(sys.argv[2]), {SIZE})
        except AlexNetError as error:
            print(error)
            sys.exit(error.exit_code)
        """,
        photos,
        store.folder,
    )
    out, error = full.communicate(timeout=60)
    assert (full.returncode, error) == (1, "")
    assert re.fullmatch(r"cannot write .*store: File too large; free space or choose another folder.*\n", out)
    assert {path.name: path.read_bytes() for path in store.folder.iterdir()} == before
    assert sorted(path.name for path in store.folder.parent.iterdir()) == ["photos", "store"]


def test_ctrl_c_leaves_nothing_half_written(tmp_path: Path) -> None:
    for name in ("a", "b"):
        add_images(tmp_path / "data", name, 200)
    (tmp_path / "out").mkdir()
    packing = run(
        """
        import signal, sys, time
        from pathlib import Path
        from alexnet.data.store.packed import pack
        from alexnet.data.sources import open_source

        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin without it

        def slowly(done, total):
            if done == 1:
                print("packing", flush=True)
            time.sleep(0.05)

        try:
            pack(open_source(sys.argv[1]), Path(sys.argv[2]), 32, workers=2, progress=slowly)
        except KeyboardInterrupt:
            sys.exit(130)
        """,
        tmp_path / "data",
        tmp_path / "out" / "store",
    )
    assert packing.stdout is not None
    assert packing.stdout.readline() == "packing\n"
    assert len(list((tmp_path / "out").glob("*.half"))) == 1  # being written, under another name
    packing.send_signal(signal.SIGINT)
    _, error = packing.communicate(timeout=60)
    assert (packing.returncode, error) == (130, "")
    assert list((tmp_path / "out").iterdir()) == []
