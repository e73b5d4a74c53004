"""What the stored form leaves out of a set of images is counted and told."""

import json
import logging
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.data.check import check
from alexnet.data.extent import Extent
from alexnet.data.form import Form
from alexnet.data.images import Values
from alexnet.data.sources import open_source
from alexnet.data.store import named_store, open_store, pack
from alexnet.data.store.cache import found_range
from alexnet.data.store.format import FACTS, seal
from alexnet.errors import DataError

SIZE = 16


def of_sizes(*sizes: tuple[int, int]) -> Extent:
    extent = Extent()
    for number, (width, height) in enumerate(sizes):
        extent.add(f"{number}.png", width, height, Values(0, 255, 255))
    return extent


def of_values(low: float, high: float, white: float, kind: str) -> Extent:
    extent = Extent()
    extent.add("0.png", 10, 10, Values(low, high, white, kind))
    return extent


def write(folder: Path, images: dict[str, np.ndarray]) -> Path:
    for name, image in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name)
    return folder


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two classes of 12-bit values in 16-bit files, which differ in texture alone."""
    rng = np.random.default_rng(0)
    rows = np.linspace(0, 4000, 20).astype(np.uint16)[:, None]
    images = {f"rows/{n}.png": rows + rng.integers(0, 90, (20, 20), np.uint16) for n in range(3)}
    images |= {f"columns/{n}.png": rows.T + rng.integers(0, 90, (20, 20), np.uint16) for n in range(3)}
    return write(tmp_path / "scans", images)


@pytest.fixture
def panoramas(tmp_path: Path) -> Path:
    """Two classes that differ in their left third alone, and one square image of each."""
    images = {}
    for label, color in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        for number in range(3):
            image = np.full((20, 60, 3), 100 + 10 * number, np.uint8)
            image[:, :20] = color
            images[f"{label}/{number}.png"] = image
        images[f"{label}/square.png"] = np.full((20, 20, 3), color, np.uint8)
    return write(tmp_path / "panoramas", images)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_more_than_a_third_is_lost_from_three_to_two_on() -> None:
    extent = of_sizes((300, 200), (500, 333), (303, 200), (200, 303), (200, 200), (30000, 1), (100, 400))
    assert (extent.images, extent.cropped) == (7, 4)
    assert extent.examples == ["2.png", "3.png", "5.png"]


def test_training_is_warned_where_more_than_a_third_of_the_images_lose_as_much() -> None:
    long, plain = (300, 100), (100, 100)
    assert of_sizes(long, plain, plain).warnings(Form()) == []
    (line,) = of_sizes(long, long, plain).warnings(Form())
    assert "2 of 3 images lose more than a third of their area" in line
    assert "--fit pad" in line
    assert "--fit warp" in line
    for fit in ("pad", "warp"):
        assert of_sizes(long, long).warnings(Form(fit=fit)) == []


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ((0, 249, 65535, "16-bit"), "0,255"),
        ((12, 4000, 65535, "16-bit"), "0,4095"),
        ((0, 16383, 65535, "16-bit"), "0,16383"),
        ((32768, 36000, 65535, "16-bit"), "32768,36000"),
        ((0, 200, 65535, "32-bit"), "0,255"),
        ((0, 15, 255, "8-bit"), "0,15"),
        ((0.0, 0.125, 1, "float"), "0,0.125"),
    ],
)
def test_a_small_part_of_the_range_is_told_with_the_values_and_what_to_give(
    values: tuple[float, float, float, str], advice: str
) -> None:
    (line,) = of_values(*values).warnings(Form())
    assert f"from {values[0]:g} to {values[1]:g}, a small part of 0 to {values[2]}" in line
    assert f"train with --value-range {advice}, or auto" in line
    low, high = map(float, advice.split(","))
    assert of_values(*values).warnings(Form(value_range=(low, high))) == []


@pytest.mark.parametrize("values", [(0, 65535, 65535, "16-bit"), (0, 20000, 65535, "16-bit"), (0, 90, 255, "8-bit")])
def test_a_wide_range_is_not_told(values: tuple[float, float, float, str]) -> None:
    assert of_values(*values).warnings(Form()) == []


def test_values_outside_of_a_given_range_are_told() -> None:
    (line,) = of_values(-5, 4095, 65535, "16-bit").warnings(Form(value_range=(0, 4000)))
    assert line.endswith("from -5 to 4095; those outside 0 to 4000 become black or white")


def test_the_counts_survive_json() -> None:
    extent = of_sizes((300, 100), (100, 100))
    assert Extent.from_json(json.loads(json.dumps(extent.to_json()))) == extent


def test_check_tells_of_the_crop_however_few_images_it_concerns(panoramas: Path) -> None:
    report = check(open_source(str(panoramas)))
    (line,) = report.extent.lines(report.form)
    assert line.startswith("6 of 8 images lose more than a third of their area to the centre crop, for example blue/0")
    assert check(open_source(str(panoramas)), form=Form(fit="pad")).to_json()["extent"]["cropped"] == 6


def test_check_and_the_store_find_the_same(scans: Path, panoramas: Path, tmp_path: Path) -> None:
    for folder in (scans, panoramas):
        store = pack(open_source(str(folder)), tmp_path / f"{folder.name}.store", SIZE)
        assert store.extent == check(open_source(str(folder))).extent
    assert check(open_source(str(scans))).extent.used["16-bit"].images == 6


def test_two_classes_told_apart_by_their_edges_are_stored_alike_by_crop_alone(panoramas: Path) -> None:
    for fit, alike in (("crop", True), ("pad", False), ("warp", False)):
        store = named_store(str(panoramas), size=SIZE, fit=fit)
        blue, red = (store.images(store.labels == label)[:3] for label in (0, 1))
        assert (blue == red).all() == alike, fit


def test_auto_is_the_range_of_all_images(scans: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "alexnet"):
        store = named_store(str(scans), size=SIZE, value_range="auto")
    assert store.extent is not None
    used = store.extent.used["16-bit"]
    assert store.value_range == (used.low, used.high)
    assert f"value range of 6 images: {used.low},{used.high}" in caplog.text
    assert (store.images(slice(None)).min() < 20, store.images(slice(None)).max() > 235) == (True, True)
    assert named_store(str(scans), size=SIZE).images(slice(None)).max() == 16  # the fault: 16 gray levels


def test_auto_of_a_packed_store_asks_for_the_images(scans: Path, tmp_path: Path) -> None:
    pack(open_source(str(scans)), tmp_path / "store", SIZE)
    with pytest.raises(DataError, match="give the folder it was made from"):
        named_store(str(tmp_path / "store"), value_range="auto")


def test_stores_of_other_forms_lie_beside_each_other_and_are_found_again(scans: Path, cache: Path) -> None:
    asked = [{}, {"fit": "pad"}, {"fit": "warp"}, {"value_range": (0, 4095)}, {"fit": "pad", "value_range": (0, 4095)}]
    folders = [named_store(str(scans), size=SIZE, **each).folder for each in asked]
    assert len(set(folders)) == 5
    assert [named_store(str(scans), size=SIZE, **each).folder for each in asked] == folders
    fingerprint = open_source(str(scans)).fingerprint()[:16]
    assert folders[0].name.startswith(f"scans-{SIZE}-{fingerprint}")  # as stores were called before there were fits
    assert folders[4].name.startswith(f"scans-{SIZE}-pad-0to4095-{fingerprint}")


def test_a_store_of_another_form_is_refused_with_the_command_for_the_one_needed(scans: Path, tmp_path: Path) -> None:
    folder = str(tmp_path / "store")
    pack(open_source(str(scans)), folder, SIZE, fit="pad", value_range=(0, 4095))
    assert named_store(folder).form == named_store(folder, fit="pad", value_range=(0, 4095)).form
    needed = f"alexnet pack DATA --size {SIZE} --fit warp --value-range 0,4095 --out FOLDER"
    with pytest.raises(DataError, match=f"16 px a side \\(pad, values 0 to 4095\\), .*{needed}"):
        named_store(folder, fit="warp")
    with pytest.raises(DataError, match=f"16 px a side \\(pad\\) are needed; .*--size {SIZE} --fit pad --out"):
        named_store(folder, fit="pad", value_range=None)


def test_a_store_that_notes_no_form_is_a_crop(scans: Path, tmp_path: Path) -> None:

    folder = pack(open_source(str(scans)), tmp_path / "store", SIZE).folder
    facts = json.loads((folder / FACTS).read_text())
    old = {name: facts[name] for name in facts if name not in ("fit", "value_range", "extent", "seal")}
    (folder / FACTS).write_text(json.dumps({**old, "seal": seal(old)}))
    store = open_store(folder)
    assert (store.form, store.extent) == (Form(SIZE), None)
    store.warn_of_extent()


def test_a_set_that_is_black_for_want_of_a_range_is_refused_with_the_range(tmp_path: Path) -> None:
    image = np.arange(400, dtype=np.uint16).reshape(20, 20) % 100
    source = open_source(str(write(tmp_path / "black", {"a/1.png": image, "b/1.png": image.T})))
    with pytest.raises(DataError, match=r"all 2 images are blank, .*train with --value-range 0,127, or auto"):
        pack(source, tmp_path / "store", SIZE)
    assert len(pack(source, tmp_path / "store", SIZE, value_range=(0, 127))) == 2


def test_an_image_of_one_colour_is_blank_whatever_its_border(tmp_path: Path) -> None:
    images = {f"{label}/1.png": np.full((20, 60, 3), 200, np.uint8) for label in "ab"}
    with pytest.raises(DataError, match=r"all 2 images are blank, every pixel is \(200, 200, 200\)"):
        pack(open_source(str(write(tmp_path / "gray", images))), tmp_path / "store", SIZE, fit="pad")


def hot(folder: Path, names: str, bits: int = 12) -> None:
    """Pictures of values up to 2**bits - 1 in files of 16 bits, three pixels of each of which are hot."""
    for label, number in product(names, range(2)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(ord(label) + number).integers(0, 2**bits, (80, 80)).astype(np.uint16)
        values.reshape(-1)[[5, 99, 2000]] = 65535
        Image.fromarray(values).save(folder / label / f"{number}.png")


def test_hot_pixels_do_not_widen_the_range_and_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "alexnet")
    hot(tmp_path, "ab")
    source = open_source(str(tmp_path))
    assert found_range(source) == (0, 4095)
    assert caplog.messages[-1] == "value range of 4 images: 0,4095, a few pixels aside that reach from 0 to 65535"
    (line,) = check(source).extent.value_lines(None)
    assert re.search(r"from 0 to 65535, nearly all of them from \d+ to 40\d\d, a small part .* 0,4095", line)


def test_range_is_that_of_training_images_also_where_a_table_lists_them(tmp_path: Path) -> None:
    hot(tmp_path / "few", "ab")
    hot(tmp_path / "many", "ab", bits=14)
    rows = [f"few/{label}/0.png,{label},train\nmany/{label}/1.png,{label},test\n" for label in "ab"]
    (tmp_path / "list.csv").write_text("path,label,split\n" + "".join(rows))
    assert found_range(open_source(str(tmp_path / "list.csv"))) == (0, 4095)
    store = named_store(str(tmp_path / "list.csv"), value_range="auto", size=32)
    assert store.value_range == (0, 4095)
