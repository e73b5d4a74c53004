"""Packing divided among machines gives the store that one command packs."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.data.form import Form
from alexnet.data.sources import open_source
from alexnet.data.store import pack, pack_part, pack_whole, packed
from alexnet.errors import AlexNetError, DataError, UsageError
from alexnet.processes.shards import Shard

SIZE = 32
ROW = SIZE * SIZE * 3


@pytest.fixture
def mixed(photos: Path) -> Path:
    """Photos with one that is torn, one of one colour, one with alpha and one of 16 bits."""
    (photos / "ant" / "3.png").write_bytes(b"torn")
    Image.new("RGB", (50, 20), (9, 9, 9)).save(photos / "ant" / "5.png")
    Image.new("RGBA", (60, 40), (9, 200, 9, 128)).save(photos / "bee" / "1.png")
    Image.fromarray((np.arange(1600, dtype=np.uint16) * 40).reshape(40, 40)).save(photos / "bee" / "2.png")
    return photos


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("count", [1, 3, 30])
def test_the_store_is_that_of_one_command_byte_for_byte(mixed: Path, tmp_path: Path, count: int) -> None:
    source, form = open_source(str(mixed)), Form(SIZE)
    whole = pack(source, tmp_path / "one", SIZE, shard_bytes=6 * ROW)
    for number in range(count, 0, -1):
        pack_part(source, tmp_path / "parts", Shard(number, count), form, workers=1)
    put = pack_whole(tmp_path / "parts", source, tmp_path / "put", SIZE, shard_bytes=6 * ROW)
    assert content(put.folder) == content(whole.folder)
    assert len(whole.skipped) == 1
    assert put.remarks


def test_the_cache_keeps_what_is_put_together(photos: Path, tmp_path: Path) -> None:
    source = open_source(str(photos))
    for number in (1, 2):
        pack_part(source, tmp_path / "parts", Shard(number, 2), Form(SIZE))
    store = packed(source, SIZE, packer=partial(pack_whole, tmp_path / "parts"))
    assert store.content == pack(source, tmp_path / "one", SIZE).content
    shutil.rmtree(tmp_path / "parts")
    assert packed(source, SIZE, packer=partial(pack_whole, tmp_path / "parts")).folder == store.folder


def test_parts_of_other_data_or_of_another_form_are_refused(photos: Path, tmp_path: Path) -> None:
    source = open_source(str(photos))
    pack_part(source, tmp_path / "parts", Shard(1, 1), Form(SIZE))
    with pytest.raises(UsageError, match="fit crop, here it is pad"):
        pack_whole(tmp_path / "parts", source, tmp_path / "put", SIZE, fit="pad")
    (photos / "bee" / "0.png").unlink()
    with pytest.raises(UsageError, match="made with data"):
        pack_whole(tmp_path / "parts", open_source(str(photos)), tmp_path / "put", SIZE)
    assert not (tmp_path / "put").exists()


def test_a_missing_part_writes_no_store(photos: Path, tmp_path: Path) -> None:
    source = open_source(str(photos))
    pack_part(source, tmp_path / "parts", Shard(1, 2), Form(SIZE))
    with pytest.raises(AlexNetError, match=r"lacks 1 of 2 parts: 2/2 \(missing\); run alexnet pack"):
        pack_whole(tmp_path / "parts", source, tmp_path / "put", SIZE)
    assert not (tmp_path / "put").exists()


def test_a_part_is_refused_where_it_alone_has_too_many_unusable_images(mixed: Path, tmp_path: Path) -> None:
    source, form = open_source(str(mixed)), Form(SIZE)
    pack_part(source, tmp_path / "parts", Shard(2, 2), form, max_bad=0.0)
    with pytest.raises(DataError, match=r"ant/3\.png"):
        pack_part(source, tmp_path / "parts", Shard(1, 2), form, max_bad=0.0)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["part-00002-of-00002"]
