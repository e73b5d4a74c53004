"""The layouts and names of folders that people have."""

import logging
from collections import Counter
from pathlib import Path

import pytest

from alexnet.data.sources import check_classes, open_images, open_source
from alexnet.data.sources.parts import part_named
from alexnet.errors import DataError


def lay(root: Path, *paths: str) -> Path:
    """Put a file at each of these paths below root; opening a source reads none."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")
    return root


def parts_of(root: Path) -> Counter[str]:
    """Number of images of each part of each class, as "part class"."""
    source = open_source(str(root))
    return Counter(f"{sample.split} {source.class_names[sample.label]}".strip() for sample in source.samples)


# Parts


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("train", "train training Train TRAINING train_set trainset training-set seg_train TrainingData train2017 trn"),
        ("val", "val valid Validation dev seg_val VAL_DATA validation_set"),
        ("test", "test Testing testing_set test_set eval holdout hold-out seg_test TestData evaluation"),
        ("", "trainer tester devices set data images cat 2017 Retraining latest protest value evaluator"),
    ],
)
def test_parts_are_known_by_the_names_that_people_give_them(part: str, names: str) -> None:
    assert {name: part_named(name) for name in names.split()} == dict.fromkeys(names.split(), part)


@pytest.mark.parametrize(
    ("train", "test"),
    [("Training", "Testing"), ("training_set", "test_set"), ("seg_train/seg_train", "seg_test/seg_test")],
)
def test_part_folders_of_other_names_are_no_classes(tmp_path: Path, train: str, test: str) -> None:
    lay(tmp_path, f"{train}/ant/1.jpg", f"{train}/bee/1.jpg", f"{test}/ant/2.jpg", f"{test}/bee/2.jpg")
    assert parts_of(tmp_path) == Counter(["train ant", "train bee", "test ant", "test bee"])


def test_parts_may_lie_in_the_class_folders(tmp_path: Path) -> None:
    lay(tmp_path, "ant/train/1.jpg", "ant/test/2.jpg", "bee/Training/1.jpg", "bee/Testing/2.jpg")
    assert parts_of(tmp_path) == Counter(["train ant", "train bee", "test ant", "test bee"])


@pytest.mark.parametrize("folder", ["test", "Testing/images", "test/test", "seg_pred", "seg_pred/seg_pred"])
def test_unlabelled_images_beside_train_are_told_and_left_out(
    tmp_path: Path, folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    lay(tmp_path, "train/ant/1.jpg", "train/bee/1.jpg", f"{folder}/1.jpg", f"{folder}/2.jpg", f"{folder}/Thumbs.db")
    with caplog.at_level(logging.INFO, "alexnet"):
        assert parts_of(tmp_path) == Counter(["train ant", "train bee"])
    litter, line = caplog.messages
    assert litter.endswith("litter passed over: 1 Thumbs.db")
    assert "2 of 4 files passed over: 2 unlabelled;" in line
    assert "alexnet predict" in line


def test_top_folders_with_the_same_sub_folders_and_no_telling_name_are_refused(tmp_path: Path) -> None:
    lay(tmp_path, *(f"{top}/{name}/1.jpg" for top in ("hospital A", "hospital B") for name in ("cyst", "tumour")))
    with pytest.raises(
        DataError, match=r"'hospital A', 'hospital B' hold the same sub-folders, 'cyst', 'tumour'.*rename"
    ):
        open_source(str(tmp_path))


def test_class_folders_with_sub_folders_of_their_own_or_one_alike_are_classes(tmp_path: Path) -> None:
    lay(tmp_path / "own", "cat/indoor/1.jpg", "cat/night/1.jpg", "dog/beach/1.jpg", "dog/night/1.jpg")
    lay(tmp_path / "one", "cat/images/1.jpg", "dog/images/1.jpg")
    beside = [f"{top}/{name}" for top in ("cat", "dog") for name in ("1.jpg", "train/2.jpg", "test/3.jpg")]
    assert parts_of(lay(tmp_path / "beside", *beside)) == Counter(cat=3, dog=3)
    assert open_source(str(tmp_path / "own")).class_names == ["cat", "dog"]
    assert open_source(str(tmp_path / "one")).class_names == ["cat", "dog"]


def test_folders_without_images_beside_the_parts_are_passed_over(tmp_path: Path) -> None:
    lay(tmp_path, "train/ant/1.jpg", "test/ant/1.jpg", "annotations/1.xml")
    assert parts_of(tmp_path) == Counter(["train ant", "test ant"])
    assert open_source(str(tmp_path)).other_files == ["annotations/1.xml: outside any class folder"]


def test_folder_around_the_parts_is_looked_into(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lay(tmp_path, "archive/train/ant/1.jpg", "archive/test/ant/1.jpg", "__MACOSX/archive/._train", "about.txt")
    with caplog.at_level(logging.INFO, "alexnet"):
        assert parts_of(tmp_path) == Counter(["train ant", "test ant"])
    wrapped, litter, others = caplog.messages
    assert "read as" in wrapped
    assert "1 in __MACOSX/" in litter
    assert "1 of 3 files passed over: 1 .txt" in others


def test_folder_around_the_classes_is_named_where_training_is_refused(tmp_path: Path) -> None:
    source = open_source(str(lay(tmp_path, "photos/ant/1.jpg", "photos/bee/1.jpg")))
    with pytest.raises(DataError, match="give the folder 'photos' itself if its sub-folders are the classes"):
        check_classes(source)


def test_class_folders_without_readable_images_say_what_they_hold(tmp_path: Path) -> None:
    lay(tmp_path, "ant/1.CR2", "bee/2.CR2")
    with pytest.raises(DataError, match=r"no images in them.*2 \.cr2; convert \.cr2 to JPEG or PNG"):
        open_source(str(tmp_path))


@pytest.mark.parametrize("image", ["1.jpg", "images/1.jpg", "train/1.jpg"])
def test_folder_with_a_list_names_the_list(tmp_path: Path, image: str) -> None:
    lay(tmp_path, "labels.csv", image)
    with pytest.raises(DataError, match=f"give {tmp_path}/labels.csv"):
        open_source(str(tmp_path))


# Litter and other files

LITTER = [
    *("__MACOSX/ant/._1.jpg", "__MACOSX/ant/2.jpg", "ant/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg", "ant/thumbs/1.jpg"),
    *("bee/Thumbs/2.jpg", "bee/.thumbnails/2.jpg", "$RECYCLE.BIN/1.jpg", "System Volume Information/1.jpg"),
    *("bee/FOUND.002/1.jpg", "ant/@Recently-Snapshot/1.jpg"),
    *("lost+found/1.jpg", "ant/._1.jpg", "bee/._2.jpg", "ant/Thumbs.db", "ant/desktop.ini", ".DS_Store", ".git/x.png"),
]


def test_litter_is_passed_over_and_counted_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lay(tmp_path, "ant/1.jpg", "bee/1.jpg", *LITTER)
    with caplog.at_level(logging.INFO, "alexnet"):
        assert parts_of(tmp_path) == Counter(["ant", "bee"])
    (line,) = caplog.messages
    assert "litter passed over: " in line
    told = (
        "2 in __MACOSX/",
        "1 in @eaDir/",
        "1 in thumbs/",
        "1 in FOUND.002/",
        "1 in @Recently-Snapshot/",
        "1 in Thumbs/",
        "2 ._*",
        "1 Thumbs.db",
        "1 .DS_Store",
        "1 .git/",
    )
    assert [text for text in told if text not in line] == []


def test_files_passed_over_are_counted_by_suffix_with_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = [f"{room}/IMG_{number}.CR2" for room in ("kitchen", "garden") for number in range(3)]
    lay(tmp_path, "kitchen/1.jpg", "garden/1.jpg", *photos, "garden/film.mov", "kitchen/IMG_9")
    for opener in (open_source, open_images):
        caplog.clear()
        opener(str(tmp_path))
        (record,) = caplog.records
        assert record.levelname == "WARNING"
        assert "8 of 10 files passed over: 6 .cr2, 1 .mov, 1 without a suffix" in record.message
        assert "convert .cr2 to JPEG or PNG" in record.message


def test_texts_beside_images_are_told_without_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lay(tmp_path, "ant/1.jpg", "bee/1.jpg", "readme.txt", "ant/notes.txt")
    with caplog.at_level(logging.INFO, "alexnet"):
        open_source(str(tmp_path))
    assert [(record.levelname, "2 of 4 files passed over: 2 .txt" in record.message) for record in caplog.records] == [
        ("INFO", True)
    ]


# Names


def test_names_that_differ_in_case_alone_are_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lay(tmp_path, "train/Cat/1.jpg", "train/dog/1.jpg", "val/cat/1.jpg")
    if len(open_source(str(tmp_path)).class_names) == 2:
        pytest.skip("this file system does not tell Cat from cat")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "differ in case alone: 'Cat', 'cat'" in record.message
