"""From data to its store: user folders and the cache."""

import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.data.samples import Source
from alexnet.data.sources import check_classes, open_source
from alexnet.data.sources.download import cache_folder
from alexnet.data.store import Store, named_store, open_store, pack, packed, verified
from alexnet.errors import DataError
from alexnet.files import exclusive_lock

SIZE = 32
ROW = SIZE * SIZE * 3
AddImages = Callable[..., None]
Run = Callable[..., subprocess.Popen[str]]


def all_images(store: Store) -> np.ndarray:
    return store.images(slice(None))


def test_source_is_packed_once_and_reused(photos: Path, cache: Path) -> None:
    first = packed(open_source(str(photos)), SIZE)
    assert first.folder == cache / "stores" / f"photos-{SIZE}-{first.fingerprint[:16]}-v3"
    before = (first.folder / "shard-00000.bin").stat()
    second = packed(open_source(str(photos)), SIZE)
    assert (second.folder / "shard-00000.bin").stat().st_ino == before.st_ino
    assert np.array_equal(all_images(first), all_images(second))


def test_changed_source_gets_a_new_store(photos: Path, add_images: AddImages) -> None:
    first = packed(open_source(str(photos)), SIZE)
    add_images(photos, "bee", 6, seed=1)
    second = packed(open_source(str(photos)), SIZE)
    assert second.folder != first.folder
    assert (len(first), len(second)) == (20, 21)


def test_size_defaults_to_the_sources(photos: Path) -> None:
    assert packed(open_source(str(photos))).size == open_source(str(photos)).store_size == 256
    assert packed(open_source(str(photos)), SIZE).size == SIZE


def test_store_with_accepted_gaps_is_reused(photos: Path) -> None:
    (photos / "ant" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 of 20 images .*ant/0\.png"):
        packed(open_source(str(photos)), SIZE, max_bad=0)
    assert len(packed(open_source(str(photos)), SIZE, max_bad=0.1)) == 19
    assert len(packed(open_source(str(photos)), SIZE, max_bad=0)) == 19


def test_packing_is_logged_once_and_skipped_images_with_every_use(
    photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "alexnet")
    (photos / "ant" / "0.png").write_bytes(b"")
    store = packed(open_source(str(photos)), SIZE, max_bad=0.1)
    assert caplog.messages == [
        f"packing 20 images of photos into {store.folder}, this once",
        (skipped := f"1 image skipped (ant/0.png: empty: 0 bytes), see {store.folder / 'skipped.csv'}"),
    ]
    caplog.clear()
    packed(open_source(str(photos)), SIZE)
    assert caplog.messages == [skipped]


def test_images_worth_a_look_are_told_with_every_use_in_one_line(
    photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    drawn = Image.open(photos / "ant" / "1.png").convert("RGB")
    drawn.save(photos / "ant" / "film.gif", save_all=True, append_images=[drawn.rotate(90)])
    for number in range(2):
        Image.new("RGB", (40, 40), "blue").save(photos / "ant" / f"sky{number}.png")
    said = "photos: images worth a look: several frames, the first used alone: 1 (ant/film.gif); "
    said += "blank, of one colour: 2 (ant/sky0.png, ...)"
    for _ in range(2):
        caplog.clear()
        packed(open_source(str(photos)), SIZE)
        assert [message for message in caplog.messages if "worth a look" in message] == [said]


def test_store_of_another_version_is_untouched(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = packed(open_source(str(photos)), SIZE)
    before = {path: path.read_bytes() for path in first.folder.iterdir()}
    for module in ("format", "reader", "writer"):
        monkeypatch.setattr(f"alexnet.data.store.{module}.VERSION", 4)
    monkeypatch.setattr("alexnet.data.store.reader.READABLE", (4,))
    second = packed(open_source(str(photos)), SIZE)
    assert second.folder == first.folder.with_name(first.folder.name.replace("-v3", "-v4"))
    assert {path: path.read_bytes() for path in first.folder.iterdir()} == before


def test_waiting_for_another_process_is_logged(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "alexnet")
    source = open_source(str(photos))
    folder = cache_folder() / "stores" / f"photos-{SIZE}-{source.fingerprint()[:16]}-v3"
    with exclusive_lock(folder):
        waiting = threading.Thread(target=packed, args=(source, SIZE))
        waiting.start()
        waiting.join(0.5)
        assert caplog.messages == ["waiting for another process that packs photos"]
    waiting.join(60)
    assert len(open_store(folder)) == 20


def test_concurrent_processes_pack_once(ready_photos: Path, run: Run) -> None:
    forking = run(
        f"""
        import os, sys
        from contextlib import suppress
        from alexnet.data.store import named_store

        os.fork(), os.fork()  # four processes
        store = named_store(sys.argv[1], size={SIZE}, progress=lambda done, total: os.write(2, b"."))
        os.write(1, b"%d images " % len(store))
        with suppress(ChildProcessError):  # none left
            while True:
                os.wait()
        """,
        ready_photos,
    )
    assert forking.communicate(timeout=60) == ("20 images " * 4, "." * 20)


def test_leftovers_of_a_killed_process_are_removed(ready_photos: Path, cache: Path, run: Run) -> None:
    killed = run(
        f"""
        import os, signal, sys
        from alexnet.data.store import named_store

        named_store(sys.argv[1], size={SIZE}, progress=lambda done, total: os.kill(os.getpid(), signal.SIGKILL))
        """,
        ready_photos,
    )
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert len(list((cache / "stores").glob(".*.half"))) == 1
    assert len(packed(open_source(str(ready_photos)), SIZE)) == 20
    assert list((cache / "stores").glob(".*.half")) == []


def test_opening_a_store_needs_no_slow_imports(ready_photos: Path, run: Run) -> None:
    packed(open_source(str(ready_photos)), SIZE)
    opened = run(
        f"""
        import sys
        from alexnet.data.store import named_store

        assert len(named_store(sys.argv[1], size={SIZE})) == 20
        print([name for name in ("torch", "torchvision", "sklearn", "scipy", "rich") if name in sys.modules])
        """,
        ready_photos,
    )
    assert opened.communicate(timeout=60) == ("[]\n", "")


def test_named_store_accepts_a_store_folder(store: Store, cache: Path) -> None:
    again = named_store(str(store.folder))
    assert (again.folder, again.paths, again.fingerprint) == (store.folder, store.paths, store.fingerprint)
    assert not cache.exists()
    assert named_store(str(store.folder), size=SIZE).size == SIZE
    with pytest.raises(
        DataError, match=r"has images of 32 px a side, 64 px a side are needed; .*alexnet pack DATA --size 64"
    ):
        named_store(str(store.folder), size=64)


def test_named_store_packs_other_data_into_the_cache(photos: Path, cache: Path) -> None:
    assert named_store(str(photos), size=SIZE).folder.parent == cache / "stores"
    with pytest.raises(DataError, match="no such folder or file"):
        named_store(str(photos / "nowhere"))


def test_known_name_has_precedence_over_a_store_folder(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.folder.rename(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    assert len(named_store("digits", size=8)) == 1797
    assert len(named_store("./digits")) == 20


def test_look_can_refuse_data_before_packing(photos: Path, cache: Path) -> None:
    def refuse(source: Source) -> None:
        raise DataError(f"not {source.name}")

    with pytest.raises(DataError, match="not photos"):
        named_store(str(photos), size=SIZE, look=refuse)
    assert not cache.exists()


def test_look_sees_the_stored_samples_too(tmp_path: Path, add_images: AddImages) -> None:
    for name, count in (("train/a", 4), ("train/b", 1), ("test/a", 1), ("test/b", 1)):
        add_images(tmp_path / "data", name, count)
    (tmp_path / "data" / "train" / "b" / "0.png").write_bytes(b"")
    check_classes(open_source(str(tmp_path / "data")))
    for data in (tmp_path / "data", pack(open_source(str(tmp_path / "data")), tmp_path / "store", SIZE, 0.5).folder):
        with pytest.raises(DataError, match="no training images of 'b'"):
            named_store(str(data), size=SIZE, max_bad=0.5, look=check_classes)


def test_verified_names_all_damage(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alexnet.data.store.reader.VERIFIED_BYTES", 0)
    assert len(verified(str(store.folder))) == 20
    shard = store.folder / "shard-00002.bin"
    shard.write_bytes(bytes(shard.stat().st_size))
    (store.folder / "shard-00000.bin").unlink()
    with pytest.raises(DataError, match=r"damaged: shard-00000\.bin: No such .*; the checksum of shard-00002\.bin is"):
        verified(str(store.folder))


def test_verified_finds_the_store_in_the_cache(photos: Path) -> None:
    with pytest.raises(DataError, match=r"no store at .*stores.photos-256-"):
        verified(str(photos))
    store = packed(open_source(str(photos)), SIZE)
    assert verified(str(photos), SIZE).folder == store.folder


@pytest.mark.parametrize("file", ["shard-00000.bin", "samples.csv", "store.json"])
def test_damaged_store_in_the_cache_is_packed_again(file: str, photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = packed(open_source(str(photos)), SIZE)
    whole = all_images(store)
    (store.folder / file).unlink()
    caplog.clear()
    again = packed(open_source(str(photos)), SIZE)
    assert np.array_equal(all_images(again), whole)
    (line,) = caplog.messages
    assert "is damaged" in line
    assert "packing it again" in line
    open_store(again.folder)


def test_store_with_names_that_differ_in_case_alone_warns_again(tmp_path, caplog):
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    pack(open_source((images, ["Cat", "cat"])), tmp_path / "store", SIZE)
    caplog.clear()
    named_store(tmp_path / "store")
    assert "differ in case alone: 'Cat', 'cat'" in caplog.text
