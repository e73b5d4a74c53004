"""`check` reports everything that is wrong with the data and writes nothing."""

import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet.data.check import Report, check
from alexnet.data.findings import Finding, Severity, findings, verdict
from alexnet.data.form import Form
from alexnet.data.sources import assign_splits, check_classes, find_source, open_source
from alexnet.data.store import pack
from alexnet.errors import DataError


def noise(seed: int, width: int = 80, height: int = 70) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def save(image: Image.Image, path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def gigantic_png(side: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def sound(root: Path, **classes: int) -> Path:
    for number, (name, count) in enumerate(classes.items()):
        for index in range(count):
            save(noise(1000 * number + index), root / name / f"{index}.png")
    return root


def checked(root: Path, **options: int) -> Report:
    return check(open_source(str(root)), **options)


def told(report: Report) -> dict[Severity, list[Finding]]:
    """The findings by severity."""
    found = findings(report)
    return {severity: [each for each in found if each.severity == severity] for severity in Severity}


def everything_below(root: Path) -> dict[Path, tuple[int, int, bytes]]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path: (path.stat().st_mtime_ns, path.stat().st_mode, path.read_bytes()) for path in files}


def test_sound_data_has_counts_and_sizes_and_nothing_fatal(tmp_path: Path) -> None:
    report = checked(sound(tmp_path, cat=6, dog=3))
    assert report.fatal == []
    assert (report.images, report.usable, report.imbalance) == (9, 9, 2.0)
    assert [(c.name, c.images, c.splits, c.unreadable) for c in report.classes] == [
        ("cat", 6, {"not split": 6}, 0),
        ("dog", 3, {"not split": 3}, 0),
    ]
    assert report.sizes is not None
    assert (report.sizes.width.min, report.sizes.width.median, report.sizes.height.max) == (80, 80, 70)
    assert (report.unreadable, report.care, report.duplicates, report.other_files) == ([], [], [], [])
    (few,) = [each for each in findings(report) if each.severity != Severity.FINE]
    assert (few.severity, few.count, few.examples) == (Severity.BETTER, 2, ["dog: 3", "cat: 6"])
    assert verdict(findings(report)) == "Nothing stops training; 1 point above could be better."
    assert verdict([]) == "Nothing stops training."


def test_classes_come_in_natural_order_with_their_splits(tmp_path: Path) -> None:
    places = [(split, name) for split in ("train", "test") for name in ("class 10", "class 2")]
    for seed, (split, name) in enumerate(places):
        for index in range(3 if split == "train" else 1):
            save(noise(10 * seed + index), tmp_path / split / name / f"{index}.png")
    report = checked(tmp_path)
    assert [each.name for each in report.classes] == ["class 2", "class 10"]
    assert [each.splits for each in report.classes] == [{"train": 3, "test": 1}] * 2


def test_every_kind_of_bad_file_is_listed_with_its_reason(tmp_path: Path) -> None:
    sound(tmp_path, cat=4, dog=4)
    jpeg = save(noise(9), tmp_path / "cat" / "cut.jpg").read_bytes()
    bad = {
        "cat/cut.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "cat/empty.jpg": (b"", "empty: 0 bytes"),
        "cat/gigantic.png": (gigantic_png(100_000), "too large: 100000 x 100000 pixels"),
        "cat/text.jpg": (b"these are notes", "not an image"),
    }
    for path, (content, _) in bad.items():
        (tmp_path / path).write_bytes(content)
    (tmp_path / "dog" / "readme.txt").write_text("notes")
    report = checked(tmp_path)
    assert sorted(each.path for each in report.unreadable) == sorted(bad)
    for each in report.unreadable:
        assert bad[each.path][1] in each.reason
        assert f"{each.path}: {each.reason}" in told(report)[Severity.LOST][0].examples
    assert report.classes[0].unreadable == 4
    assert [file.split(":")[0] for file in report.other_files] == ["dog/readme.txt"]
    passed_over = told(report)[Severity.LOST][1]
    assert passed_over.title.endswith("files passed over: 1 .txt")
    assert passed_over.examples == report.other_files


def test_more_bad_files_than_training_skips_are_fatal(tmp_path: Path) -> None:
    sound(tmp_path, cat=13, dog=5)
    for number in range(11):
        (tmp_path / "cat" / f"{number}.png").write_bytes(b"")
    (reason,) = checked(tmp_path).fatal
    assert "11 of 18 images cannot be used, 10 are skipped" in reason


def test_one_bad_file_in_hundreds_is_not_fatal(tmp_path: Path) -> None:
    sound(tmp_path, cat=100, dog=100)
    (tmp_path / "cat" / "0.png").write_bytes(b"")
    report = checked(tmp_path, workers=2)
    assert report.fatal == []
    assert report.usable == 199
    assert [each.path for each in report.unreadable] == ["cat/0.png"]


def test_converted_modes_are_counted_with_examples(tmp_path: Path) -> None:
    sound(tmp_path, cat=2, dog=2)
    deep = Image.fromarray(np.random.default_rng(0).integers(0, 65536, (70, 80), dtype=np.uint16))
    save(deep, tmp_path / "cat" / "deep.png")
    save(noise(1).convert("CMYK"), tmp_path / "cat" / "print.jpg")
    save(noise(2).convert("P"), tmp_path / "cat" / "palette.png")
    save(noise(3).convert("RGBA"), tmp_path / "cat" / "alpha.png")
    for seed in range(4, 9):
        save(noise(seed).convert("L"), tmp_path / "dog" / f"gray-{seed}.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    save(noise(10), tmp_path / "dog" / "turned.jpg", exif=exif)
    save(noise(11), tmp_path / "dog" / "moving.png", save_all=True, append_images=[noise(12)])
    report = checked(tmp_path)
    assert {care.kind: care.images for care in report.care} == {
        "grayscale": 6,
        "16-bit": 1,
        "CMYK": 1,
        "palette": 1,
        "alpha": 1,
        "EXIF orientation 6": 1,
        "animated": 1,
    }
    assert report.care[0].kind == "grayscale"
    assert len(report.care[0].examples) == 3
    assert report.fatal == []
    assert "CMYK: 1, for example cat/print.jpg" in told(report)[Severity.FINE][-1].examples
    assert [each.examples for each in told(report)[Severity.LOST]] == [["dog/moving.png"]]


def test_equal_pixels_in_different_files_are_duplicates(tmp_path: Path) -> None:
    sound(tmp_path, cat=3, dog=3)
    save(noise(0), tmp_path / "cat" / "copy.png", compress_level=0)  # the pixels of cat/0.png, other bytes
    save(noise(0), tmp_path / "dog" / "copy.bmp.png", format="BMP")
    shutil.copy(tmp_path / "dog" / "1.png", tmp_path / "dog" / "again.png")
    report = checked(tmp_path)
    assert [group.paths for group in report.duplicates] == [
        ["cat/0.png", "cat/copy.png", "dog/copy.bmp.png"],
        ["dog/1.png", "dog/again.png"],
    ]
    assert report.across_classes == report.duplicates[:1]
    assert report.across_splits == []
    labels, copies = told(report)[Severity.HARMS]
    assert labels.title.startswith("TWO LABELS: 1 picture stands")
    assert labels.examples == ["cat/0.png = cat/copy.png = dog/copy.bmp.png (cat, dog)"]
    assert "a random split may put one copy into train and another into test" in copies.title
    assert copies.examples == ["dog/1.png = dog/again.png"]
    assert verdict(findings(report)).endswith("mend what harms silently first (2 points).")


def test_image_in_two_splits_is_a_leak(tmp_path: Path) -> None:
    for seed, (split, name) in enumerate((s, n) for s in ("train", "test") for n in ("cat", "dog")):
        for index in range(3):
            save(noise(100 * seed + index), tmp_path / split / name / f"{index}.png")
    shutil.copy(tmp_path / "train" / "cat" / "1.png", tmp_path / "test" / "cat" / "seen.png")
    report = checked(tmp_path)
    (leak,) = report.across_splits
    assert sorted(leak.paths) == ["test/cat/seen.png", "train/cat/1.png"]
    assert leak.splits == ["test", "train"]
    assert report.across_classes == []
    (told_leak,) = told(report)[Severity.HARMS]
    assert told_leak.title.startswith("LEAK: 1 picture stands in more than one part")
    assert told_leak.examples == [f"{' = '.join(leak.paths)} (test, train)"]
    assert told_leak.pictures == leak.paths
    assert "Nothing stops" not in verdict(findings(report))


def photo() -> Image.Image:
    """A picture with large and small forms, as photographs have."""
    rough = np.random.default_rng(5).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((320, 240), Image.Resampling.BICUBIC)


def test_a_picture_saved_anew_or_resized_is_named(tmp_path: Path) -> None:
    sound(tmp_path / "train", cat=4, dog=4)
    save(photo(), tmp_path / "train" / "cat" / "photo.png")
    save(photo(), tmp_path / "test" / "cat" / "saved anew.jpg", quality=60)
    save(photo().resize((160, 120)), tmp_path / "test" / "dog" / "smaller.png")
    report = checked(tmp_path)
    wanted = ["test/cat/saved anew.jpg", "test/dog/smaller.png", "train/cat/photo.png"]
    assert [sorted(group.paths) for group in report.alike] == [wanted]
    assert report.duplicates == []
    (alike,) = told(report)[Severity.HARMS]
    assert alike.examples[0].endswith("(test, train, cat, dog)")
    assert "Nothing stops training" not in verdict(findings(report))


def test_blank_pictures_are_silent_harm(tmp_path: Path) -> None:
    sound(tmp_path, cat=3, dog=3)
    save(Image.new("RGB", (80, 70), "white"), tmp_path / "dog" / "white.png")
    (blank,) = told(checked(tmp_path))[Severity.HARMS]
    assert (blank.count, blank.pictures) == (1, ["dog/white.png"])


def test_copies_in_one_given_part_are_no_leak(tmp_path: Path) -> None:
    for seed, (split, name) in enumerate((s, n) for s in ("train", "test") for n in ("cat", "dog")):
        for index in range(2):
            save(noise(100 * seed + index), tmp_path / split / name / f"{index}.png")
    shutil.copy(tmp_path / "train" / "cat" / "1.png", tmp_path / "train" / "cat" / "again.png")
    report = checked(tmp_path)
    assert told(report)[Severity.HARMS] == []
    (copies, *_) = told(report)[Severity.BETTER]
    assert "each copy counts again" in copies.title


def test_bad_files_are_no_duplicates_of_each_other(tmp_path: Path) -> None:
    sound(tmp_path, cat=2, dog=2)
    for name in ("a.png", "b.png"):
        (tmp_path / "cat" / name).write_bytes(b"")
    assert checked(tmp_path).duplicates == []


def test_small_images_are_counted(tmp_path: Path) -> None:
    sound(tmp_path, cat=2, dog=2)
    save(noise(5, 300, 62), tmp_path / "cat" / "low.png")
    save(noise(6, 63, 63), tmp_path / "cat" / "enough.png")
    report = checked(tmp_path)
    assert report.sizes is not None
    assert report.sizes.small == 1
    assert (report.sizes.width.max, report.sizes.height.min) == (300, 62)
    small = told(report)[Severity.BETTER][-1]
    assert (small.count, small.examples) == (1, ["cat/low.png"])
    assert "a side below 63 pixels" in small.title
    (cropped,) = [each for each in told(report)[Severity.BETTER] if each.title.startswith("CROP")]
    assert (cropped.count, cropped.pictures) == (1, ["cat/low.png"])


def test_a_set_that_the_crop_cuts_is_silent_harm_unless_another_fit_is_asked_for(tmp_path: Path) -> None:
    for number in range(4):
        save(noise(number, 200, 70), tmp_path / ("cat", "dog")[number % 2] / f"{number}.png")
    (cropped,) = told(checked(tmp_path))[Severity.HARMS]
    assert cropped.count == 4
    assert "--fit pad" in cropped.advice
    padded = check(open_source(str(tmp_path)), form=Form(fit="pad"))
    assert not any("centre crop" in each.title for each in findings(padded))


def test_a_small_part_of_the_values_is_silent_harm_with_the_setting_that_mends_it(tmp_path: Path) -> None:
    for number in range(4):
        values = np.random.default_rng(number).integers(0, 4000, (70, 80), dtype=np.uint16)
        save(Image.fromarray(values), tmp_path / ("cat", "dog")[number % 2] / f"{number}.png")
    (values,) = told(checked(tmp_path))[Severity.HARMS]
    assert "a small part of 0 to 65535" in values.title
    assert values.advice == "train with --value-range 0,4095, or auto"


def test_classes_of_unequal_size_are_named_with_what_helps(tmp_path: Path) -> None:
    unequal, few = told(checked(sound(tmp_path, cat=25, dog=5)))[Severity.BETTER]
    assert (unequal.count, unequal.examples, few.examples) == (1, ["dog: 5"], ["dog: 5"])
    assert "5 times as many" in unequal.title
    assert "--balance sampling" in unequal.advice


@pytest.mark.parametrize(
    ("classes", "spoiled", "message"),
    [
        ({"cat": 3}, [], "only one class has images"),
        ({"cat": 3, "dog": 1}, [], "class 'dog' has one image"),
        ({"cat": 3, "dog": 3}, ["dog/0.png", "dog/1.png", "dog/2.png"], "class 'dog' has no images"),
        ({"cat": 3, "dog": 2}, ["dog/1.png"], "class 'dog' has one image"),
    ],
)
def test_untrainable_classes_are_fatal(
    classes: dict[str, int], spoiled: list[str], message: str, tmp_path: Path
) -> None:
    sound(tmp_path, **classes)
    for path in spoiled:
        (tmp_path / path).write_bytes(b"")
    assert any(message in reason for reason in checked(tmp_path).fatal)


def test_empty_class_folder_is_fatal_and_listed_with_zero(tmp_path: Path) -> None:
    sound(tmp_path, cat=3, dog=3)
    (tmp_path / "emu").mkdir()
    report = checked(tmp_path)
    assert [each.images for each in report.classes] == [3, 3, 0]
    assert report.imbalance == 1.0
    assert any("class 'emu' has no images" in reason for reason in report.fatal)


def test_all_files_bad_still_gives_a_report(tmp_path: Path) -> None:
    sound(tmp_path, cat=2, dog=2)
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"")
    report = checked(tmp_path)
    assert (report.usable, report.sizes, report.imbalance) == (0, None, None)
    assert report.fatal
    order = [each.severity for each in findings(report)]
    assert order[0] == Severity.STOPS
    assert order == sorted(order, key=list(Severity).index)
    assert verdict(findings(report)).startswith("Training cannot start")


@pytest.mark.parametrize("bad", [0, 1, 2, 3])
def test_fatal_agrees_with_packing_and_splitting(bad: int, tmp_path: Path) -> None:
    sound(tmp_path / "data", cat=3, dog=3)
    for number in range(bad):
        (tmp_path / "data" / "dog" / f"{number}.png").write_bytes(b"")
    source = open_source(str(tmp_path / "data"))
    fatal = check(source).fatal

    def train_would() -> None:
        store = pack(source, tmp_path / "store", 16)
        check_classes(source)
        assign_splits(store.labels.tolist(), store.splits.tolist(), store.class_names, 0, *store.fractions)

    if fatal:
        with pytest.raises(DataError):
            train_would()
    else:
        train_would()
    assert bool(fatal) == (bad > 1)  # three images less two are too few for a class


def test_check_writes_nothing(tmp_path: Path) -> None:
    sound(tmp_path, cat=2, dog=2)
    (tmp_path / "cat" / "bad.jpg").write_bytes(b"bad")
    before = everything_below(tmp_path)
    checked(tmp_path)
    assert everything_below(tmp_path) == before


def test_json_holds_every_finding(tmp_path: Path) -> None:
    sound(tmp_path, cat=3, dog=3)
    shutil.copy(tmp_path / "cat" / "0.png", tmp_path / "dog" / "copy.png")
    (tmp_path / "cat" / "bad.jpg").write_bytes(b"bad")
    report = checked(tmp_path)
    found = json.loads(json.dumps(report.to_json()))
    assert found["unreadable"] == [{"path": "cat/bad.jpg", "reason": report.unreadable[0].reason}]
    assert found["classes"][0] == {"name": "cat", "images": 3, "splits": {"not split": 3}, "unreadable": 1}
    assert found["duplicates_across_classes"] == found["duplicates"]
    assert found["duplicates_across_splits"] == []
    assert found["fatal"] == report.fatal
    assert found["sizes"]["width"] == {"min": 80, "median": 80.0, "max": 80}


def test_report_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    sound(tmp_path, cat=70, dog=70)
    (tmp_path / "cat" / "7.png").write_bytes(b"")
    seen: list[tuple[int, int]] = []
    source = open_source(str(tmp_path))
    assert check(source, 1) == check(source, 2, lambda *at: seen.append(at))
    assert seen == [(done, 140) for done in range(1, 141)]


def test_arrays_are_checked_too() -> None:
    report = check(open_source("digits"))
    assert (report.images, report.usable, len(report.classes)) == (1797, 1797, 10)
    assert report.sizes is not None
    assert report.sizes.small == 1797
    assert report.fatal == []


def test_names_that_look_alike_and_litter_are_told_by_the_report_itself(tmp_path: Path) -> None:
    for name in ("Ring", "ring", "k\u00e4se", "ka\u0308se"):
        (tmp_path / name).mkdir()
        for number in range(2):
            noise(zlib.crc32(f"{name}{number}".encode())).save(tmp_path / name / f"{number}.png")
    (tmp_path / "ring" / "Thumbs.db").write_bytes(b"")
    if len({path.name for path in tmp_path.iterdir()}) < 4:
        pytest.skip("this file system takes such names for one")
    titles = {each.title: each.severity for each in findings(check(find_source(str(tmp_path))))}
    assert titles["NAMES: 2 classes differ in case alone; each is a class of its own"] == Severity.HARMS
    merged = "written in two ways, with letters composed and decomposed, and taken as one class: 'k\u00e4se'"
    assert titles[merged] == titles["litter passed over: 1 Thumbs.db"] == Severity.FINE
