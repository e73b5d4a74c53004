"""Sources from folders, known names and archives."""

import io
import os
import pickle
import tarfile
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from alexnet.data.images import decode
from alexnet.data.samples import RECORD
from alexnet.data.sources import assign_splits, check_classes, open_images, open_source
from alexnet.data.sources.download import Archive
from alexnet.data.sources.imagenet import tiny_imagenet
from alexnet.data.sources.known import (
    CIFAR10_FILES,
    FLOWERS17_CLASSES,
    FLOWERS17_SPLITS,
    _flower_splits,
    cifar10,
    flowers17_published,
)
from alexnet.errors import DataError

CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def image_bytes(color=(200, 30, 30), format="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(file, format)
    return file.getvalue()


def lay(root: Path, *paths: str) -> Path:
    """Put a real little image at each of these paths below root."""
    for number, path in enumerate(paths):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(image_bytes((number % 256, 0, 0)))
    return root


def by_class(source, split=None):
    """Class name -> paths."""
    found: dict[str, list[str]] = {}
    for sample in source.samples:
        if split in (None, sample.split):
            found.setdefault(source.class_names[sample.label], []).append(sample.path)
    return found


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    """A cache of its own and no folder of archives."""
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ALEXNET_DATA", raising=False)
    return tmp_path / "cache"


# Folders


def test_folders_are_classes_and_sub_folders_are_read(tmp_path):
    source = open_source(str(lay(tmp_path / "pets", "cat/1.png", "cat/more/deep/2.PNG", "dog/1.jpeg")))
    assert by_class(source) == {"cat": ["cat/1.png", "cat/more/deep/2.PNG"], "dog": ["dog/1.jpeg"]}
    assert source.name == "pets"
    assert {sample.split for sample in source.samples} == {""}
    assert decode(source.read(0)).shape == (8, 8, 3)


def test_classes_and_files_sort_naturally(tmp_path):
    source = open_source(str(lay(tmp_path, "10/b10.png", "10/b2.png", "2/x.png", "b/x.png", "A/x.png")))
    assert source.class_names == ["2", "10", "A", "b"]
    assert by_class(source)["10"] == ["10/b2.png", "10/b10.png"]


def test_class_names_equal_but_for_case_are_two_classes(tmp_path):
    lay(tmp_path, "Rose/1.png", "rose/1.png")
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system does not tell Rose from rose")
    assert open_source(str(tmp_path)).class_names == ["Rose", "rose"]


def test_composed_and_decomposed_letters_name_one_class(tmp_path):
    lay(tmp_path, "train/caf\u00e9/1.png", "train/tea/1.png", "val/cafe\u0301/2.png")
    source = open_source(str(tmp_path))
    assert source.class_names == ["caf\u00e9", "tea"]
    assert [source.class_names[sample.label] for sample in source.samples] == ["caf\u00e9", "tea", "caf\u00e9"]


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_split_folders_give_the_splits(tmp_path, val):
    source = open_source(str(lay(tmp_path, "train/a/1.png", "train/b/1.png", f"{val}/a/2.png", "test/b/3.png")))
    assert source.class_names == ["a", "b"]
    assert by_class(source, "train") == {"a": ["train/a/1.png"], "b": ["train/b/1.png"]}
    assert by_class(source, "val") == {"a": [f"{val}/a/2.png"]}
    assert by_class(source, "test") == {"b": ["test/b/3.png"]}


def test_class_may_be_named_train(tmp_path):
    assert open_source(str(lay(tmp_path, "bus/1.png", "train/1.png"))).class_names == ["bus", "train"]


def test_split_folders_next_to_others_are_refused(tmp_path):
    lay(tmp_path, "train/a/1.png", "train/b/1.png", "extra/1.png")
    with pytest.raises(DataError, match="'train' and 'extra'"):
        open_source(str(tmp_path))


def test_hidden_names_are_ignored_and_other_files_are_listed_with_the_reason(tmp_path):
    lay(tmp_path, "a/1.png", "b/1.png", ".thumbs/1.png", "a/.hidden.png", "loose.png")
    (tmp_path / "a" / "notes.txt").write_text("notes")
    (tmp_path / "a" / "broken.png").symlink_to(tmp_path / "nowhere.png")
    source = open_source(str(tmp_path))
    assert by_class(source) == {"a": ["a/1.png"], "b": ["b/1.png"]}
    assert [line.split(":")[0] for line in source.other_files] == ["a/broken.png", "a/notes.txt", "loose.png"]
    assert "outside any class folder" in source.other_files[-1]


def test_unlabelled_images_of_a_split_are_listed(tmp_path):
    source = open_source(str(lay(tmp_path, "train/a/1.png", "train/b/1.png", "test/1.png")))
    assert source.other_files == ["test/1.png: an unlabelled image, in no class folder"]


def test_empty_class_keeps_its_name_and_is_refused_when_splitting(tmp_path):
    lay(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    (tmp_path / "c").mkdir()
    source = open_source(str(tmp_path))
    assert source.class_names == ["a", "b", "c"]
    with pytest.raises(DataError, match="'c' has no images"):
        assign_splits([s.label for s in source.samples], [""] * 4, source.class_names, 0, 0.1, 0.1)


def test_linked_class_folder_is_read_and_cyclic_links_are_not_followed(tmp_path):
    lay(tmp_path, "far/1.png", "root/b/1.png")
    (tmp_path / "root" / "a").symlink_to(tmp_path / "far")
    (tmp_path / "root" / "b" / "back").symlink_to(tmp_path / "root" / "b")
    source = open_source(str(tmp_path / "root"))
    assert by_class(source) == {"a": ["a/1.png"], "b": ["b/1.png"]}


# Bad input


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no such folder or file: '.*/nowhere'"):
        open_source(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("typed", "meant"), [("flower17", "flowers17"), ("cifar-10", "cifar10"), ("imagenet", "imagenet:/folder")]
)
def test_mistyped_name_gets_a_suggestion(typed, meant):
    with pytest.raises(DataError, match=f"no such folder.*did you mean '{meant}'"):
        open_source(typed)


@pytest.mark.parametrize("spec", ["", "imagenet:"])
def test_empty_name_does_not_mean_the_current_folder(spec):
    with pytest.raises(DataError, match="no such folder"):
        open_source(spec)


def test_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="is empty"):
        open_source(str(tmp_path))


def test_images_without_class_folders_are_refused(tmp_path):
    lay(tmp_path, "1.png", "2.png")
    with pytest.raises(DataError, match="2 files but no class folders; put the images of each class into a folder"):
        open_source(str(tmp_path))


def test_class_folders_without_images_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match="2 class folders but no images"):
        open_source(str(tmp_path))


def test_file_for_a_folder_is_refused(tmp_path):
    lay(tmp_path, "photo.png")
    with pytest.raises(DataError, match="is a file"):
        open_source(str(tmp_path / "photo.png"))


def test_single_class_opens_but_is_refused_for_training(tmp_path):
    source = open_source(str(lay(tmp_path, "cat/1.png", "cat/2.png")))
    with pytest.raises(DataError, match=r"only one class has images \('cat'\)"):
        check_classes(source)


def test_class_without_training_images_is_refused(tmp_path):
    source = open_source(str(lay(tmp_path, "train/a/1.png", "train/b/1.png", "test/Daisy/1.png")))
    with pytest.raises(DataError, match="no training images of 'Daisy'"):
        check_classes(source)


def test_two_classes_are_accepted(tmp_path):
    check_classes(open_source(str(lay(tmp_path, "a/1.png", "b/1.png"))))


# Fingerprints and processes


def test_fingerprint_changes_with_the_files(tmp_path):
    lay(tmp_path, "a/1.png", "b/1.png")
    first = open_source(str(tmp_path)).fingerprint()
    assert open_source(str(tmp_path)).fingerprint() == first
    os.utime(tmp_path / "a" / "1.png", ns=(1, 1))
    touched = open_source(str(tmp_path)).fingerprint()
    lay(tmp_path, "a/2.png")
    grown = open_source(str(tmp_path)).fingerprint()
    (tmp_path / "b").rename(tmp_path / "c")
    assert len({first, touched, grown, open_source(str(tmp_path)).fingerprint()}) == 4


def test_source_can_be_pickled():
    source = open_source("digits")
    copy = pickle.loads(pickle.dumps(source))
    assert (copy.read(5) == source.read(5)).all()
    assert copy.fingerprint() == source.fingerprint()


# Known sets


def test_digits_cover_the_whole_range_of_uint8():
    source = open_source("digits")
    images = np.stack([decode(source.read(index)) for index in range(len(source.samples))])
    assert images.shape == (1797, 8, 8, 3)
    assert (images.min(), images.max(), len(np.unique(images))) == (0, 255, 17)
    assert source.class_names == list("0123456789")
    assert min(Counter(sample.label for sample in source.samples).values()) >= 170


def test_known_name_has_precedence_over_a_folder(tmp_path, monkeypatch):
    lay(tmp_path, "digits/a/1.png", "digits/b/1.png")
    monkeypatch.chdir(tmp_path)
    assert len(open_source("digits").samples) == 1797
    assert len(open_source("./digits").samples) == 2


def test_flowers17_are_17_kinds_of_80_photos_in_the_publishers_order(data_folder):
    source = open_source("flowers17")
    assert source.class_names == FLOWERS17_CLASSES
    assert Counter(sample.label for sample in source.samples) == dict.fromkeys(range(17), 80)
    assert source.samples[80].path == "jpg/image_0081.jpg"
    assert source.class_names[source.samples[80].label] == "snowdrop"
    assert min(decode(source.read(0)).shape[:2]) >= 500
    splits = assign_splits([s.label for s in source.samples], [""] * 1360, source.class_names, 0, *source.fractions)
    assert Counter(splits.tolist()) == {"train": 60 * 17, "test": 20 * 17}


def flower_archive(folder: Path) -> Archive:
    """An archive with the publisher's file names and tiny images."""
    folder.mkdir(parents=True, exist_ok=True)
    content = image_bytes()
    with tarfile.open(folder / "17flowers.tgz", "w:gz") as tar:
        for number in range(1, 1361):
            add(tar, f"jpg/image_{number:04}.jpg", content)
    return Archive("17flowers.tgz")


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def publishers_splits() -> dict[str, np.ndarray]:
    """Three splits as datasplits.mat holds them, 340 images apart."""
    splits = {}
    for number in (1, 2, 3):
        turned = np.roll(np.arange(1, 1361), 100 * number)
        pieces = {"trn": turned[:680], "val": turned[680:1020], "tst": turned[1020:]}
        splits |= {f"{name}{number}": piece[None] for name, piece in pieces.items()}
    return splits


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    """A data folder with the archive and the publisher's splits."""
    folder = tmp_path_factory.mktemp("flowers")
    flower_archive(folder)
    savemat(folder / "datasplits.mat", publishers_splits())
    return folder


@pytest.fixture(scope="module")
def unpacked_flowers(tmp_path_factory):
    """A cache in which the archive stays unpacked."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def flowers_at_hand(flowers, unpacked_flowers, monkeypatch):
    monkeypatch.setenv("ALEXNET_DATA", str(flowers))
    monkeypatch.setenv("ALEXNET_CACHE", str(unpacked_flowers))
    return flowers


def test_flowers17_does_not_depend_on_the_publishers_splits(flowers_at_hand, tmp_path, monkeypatch):
    beside = open_source("flowers17")
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "17flowers.tgz").hardlink_to(flowers_at_hand / "17flowers.tgz")
    monkeypatch.setenv("ALEXNET_DATA", str(alone))
    source = open_source("flowers17")
    assert {sample.split for sample in source.samples} == {""}
    assert (source.samples, source.fractions, source.name) == (beside.samples, beside.fractions, beside.name)
    assert source.fingerprint() == beside.fingerprint()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_flowers17_with_a_number_has_the_publishers_split(flowers_at_hand, number):
    source = open_source(f"flowers17:{number}")
    for split, name in (("train", "trn"), ("val", "val"), ("test", "tst")):
        found = [n + 1 for n, sample in enumerate(source.samples) if sample.split == split]
        assert found == sorted(publishers_splits()[f"{name}{number}"].ravel())
    assert source.name == f"flowers17-split{number}"
    assert source.fingerprint() != open_source("flowers17").fingerprint()


def test_unavailable_publishers_splits_are_reported(flowers_at_hand, tmp_path, monkeypatch):
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "17flowers.tgz").hardlink_to(flowers_at_hand / "17flowers.tgz")
    monkeypatch.setenv("ALEXNET_DATA", str(alone))
    offline = replace(FLOWERS17_SPLITS, url="http://127.0.0.1:9/datasplits.mat")
    with pytest.raises(DataError, match=r"cannot download datasplits\.mat .*ALEXNET_DATA"):
        flowers17_published(1, splits=offline)


@pytest.mark.parametrize("fault", ["overlap", "no MATLAB file", "a variable missing"])
def test_faulty_flower_splits_are_refused(flowers_at_hand, tmp_path, fault):
    file = tmp_path / "datasplits.mat"
    if fault == "no MATLAB file":
        file.write_bytes(b"<html>404</html>" * 20)
    else:
        names = ("trn1", "val1") if fault == "a variable missing" else ("trn1", "val1", "tst1")
        savemat(file, {name: np.arange(1, 1361) for name in names})
    with pytest.raises(DataError, match=r"datasplits\.mat"):
        _flower_splits(file, 1)


def test_cifar10_from_jpeg_copies_has_its_own_name_and_a_warning(fresh_cache, tmp_path, monkeypatch, caplog):
    (tmp_path / "data").mkdir()
    content = image_bytes(format="JPEG")
    with tarfile.open(tmp_path / "data" / "cifar10-jpeg.tgz", "w:gz") as tar:
        for split in ("train", "test"):
            for name in CIFAR10_CLASSES:
                add(tar, f"{split}/{name}/0000.jpg", content)
    monkeypatch.setenv("ALEXNET_DATA", str(tmp_path / "data"))
    source = open_source("cifar10")
    assert source.name == "cifar10-jpeg"
    assert "cifar10-jpeg.tgz holds JPEG copies; their pixels" in caplog.text
    assert source.class_names == CIFAR10_CLASSES
    assert Counter((s.label, s.split) for s in source.samples) == {
        (n, p): 1 for n in range(10) for p in ("train", "test")
    }
    assert decode(source.read(0)).shape == (8, 8, 3)


def test_cifar10_reads_the_publishers_binary_form(fresh_cache, tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 2, 32, 32, 3), np.uint8)
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("ALEXNET_DATA", str(tmp_path / "data"))
    with tarfile.open(tmp_path / "data" / "cifar-10-binary.tar.gz", "w:gz") as tar:
        add(tar, "cifar-10-batches-bin/batches.meta.txt", "\n".join(CIFAR10_CLASSES).encode() + b"\n\n")
        for file, images in zip(CIFAR10_FILES, pixels, strict=True):
            rows = [bytes([3 + n]) + image.transpose(2, 0, 1).tobytes() for n, image in enumerate(images)]
            assert len(rows[0]) == RECORD
            add(tar, f"cifar-10-batches-bin/{file}", b"".join(rows))
    (tmp_path / "data" / "cifar10-jpeg.tgz").write_bytes(b"")  # the publisher's file goes before copies
    source = pickle.loads(pickle.dumps(cifar10()))
    assert source.name == "cifar10"
    assert source.class_names == CIFAR10_CLASSES
    assert [sample.label for sample in source.samples] == [3, 4] * 6
    assert [sample.split for sample in source.samples] == ["train"] * 10 + ["test"] * 2
    assert all((source.read(n) == image).all() for n, image in enumerate(pixels.reshape(12, 32, 32, 3)))
    assert len(source.fingerprint()) == 64


TINY = {
    "train/n02/images/n02_0.JPEG": image_bytes(format="JPEG"),
    "train/n02/n02_boxes.txt": b"n02_0.JPEG\t0\t0\t62\t62\n",
    "train/n10/images/n10_0.JPEG": image_bytes(format="JPEG"),
    "train/n10/images/n10_1.JPEG": image_bytes(format="JPEG"),
    "val/images/val_0.JPEG": image_bytes(format="JPEG"),
    "val/images/val_1.JPEG": image_bytes(format="JPEG"),
    "val/val_annotations.txt": b"val_0.JPEG\tn10\t0\t32\t44\t62\nval_1.JPEG\tn02\t1\t2\t3\t4\n",
    "test/images/test_0.JPEG": image_bytes(format="JPEG"),
    "wnids.txt": b"n10\nn02\n",
    "words.txt": b"n01\tthing\nn02\tgoldfish, Carassius auratus\nn10\tbullfrog, Rana catesbeiana\n",
}


@pytest.mark.parametrize("filename", ["tiny-imagenet-200.zip", "tiny-imagenet-200-half.tgz"])
def test_tiny_imagenet_takes_val_labels_and_names_from_its_files(fresh_cache, tmp_path, monkeypatch, filename):
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("ALEXNET_DATA", str(tmp_path / "data"))
    if filename.endswith("zip"):
        with zipfile.ZipFile(tmp_path / "data" / filename, "w") as zipped:
            for name, content in TINY.items():
                zipped.writestr(f"tiny-imagenet-200/{name}", content)
    else:
        with tarfile.open(tmp_path / "data" / filename, "w:gz") as tar:
            for name, content in TINY.items():
                add(tar, f"tiny-imagenet-200/{name}", content)
    source = tiny_imagenet()
    assert source.name == ("tiny-imagenet" if filename.endswith("zip") else "tiny-imagenet-half")
    assert source.class_names == ["goldfish", "bullfrog"]
    train = {"goldfish": ["train/n02/images/n02_0.JPEG"]}
    train["bullfrog"] = [f"train/n10/images/n10_{n}.JPEG" for n in (0, 1)]
    assert by_class(source, "train") == train
    assert by_class(source, "val") == {"bullfrog": ["val/images/val_0.JPEG"], "goldfish": ["val/images/val_1.JPEG"]}
    assert len(source.samples) == 5
    assert source.other_files == []


# ImageNet as its own archives unpack


@pytest.fixture
def challenge(tmp_path):
    """Three classes of training images and a flat val of three."""
    train = [f"train/{wnid}/{wnid}_{n}.JPEG" for wnid in ("n01", "n02", "n03") for n in (1, 2)]
    return lay(tmp_path, *train, *(f"val/ILSVRC2012_val_0000000{n}.JPEG" for n in (1, 2, 3)))


def devkit(root: Path, ids=(3, 1, 2)) -> None:
    folder = root / "ILSVRC2012_devkit_t12" / "data"
    folder.mkdir(parents=True)
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{n}\n" for n in ids))
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]
    rows = [(1, "n03", "crane", "bird", 0), (2, "n01", "crane, derrick", "machine", 0), (3, "n02", "ox", "cattle", 0)]
    rows.append((4, "n00", "entity", "all", 2))
    savemat(folder / "meta.mat", {"synsets": np.array(rows, dtype=fields)[:, None]})


def val_classes(source):
    return [source.class_names[sample.label] for sample in source.samples if sample.split == "val"]


def test_imagenet_val_is_labelled_by_the_development_kit(challenge):
    devkit(challenge)
    source = open_source(f"imagenet:{challenge}")
    assert source.class_names == ["crane (n01)", "ox", "crane (n03)"]
    assert val_classes(source) == ["ox", "crane (n03)", "crane (n01)"]
    assert Counter(sample.split for sample in source.samples) == {"train": 6, "val": 3}


def test_imagenet_val_is_labelled_by_a_list_in_the_order_of_sorted_wnids(challenge):
    lines = [f"ILSVRC2012_val_0000000{n}.JPEG {label}\n" for n, label in ((3, 0), (1, 2), (2, 1))]
    (challenge / "val.txt").write_text("".join(lines))
    assert val_classes(open_source(f"imagenet:{challenge}")) == ["n03", "n02", "n01"]


def test_imagenet_val_may_lie_in_class_folders(tmp_path):
    lay(tmp_path, "train/n01/1.JPEG", "train/n02/1.JPEG", "val/n02/2.JPEG", "val/n09/2.JPEG")
    source = open_source(f"imagenet:{tmp_path}")
    assert val_classes(source) == ["n02"]
    assert source.other_files == ["val/n09/2.JPEG: its class n09 is not in train"]


def test_imagenet_without_val_has_no_given_split(tmp_path):
    source = open_source(f"imagenet:{lay(tmp_path, 'train/n01/1.JPEG', 'train/n02/1.JPEG')}")
    assert {sample.split for sample in source.samples} == {""}
    assert source.fractions == (0.1, 0.1)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "ILSVRC2012_validation_ground_truth.txt and meta.mat, or val.txt, is missing"),
        ({"ILSVRC2012_validation_ground_truth.txt": "1\n2\n3\n"}, "meta.mat, needed with"),
        ({"val.txt": "ILSVRC2012_val_00000001.JPEG 2\n"}, "does not list 2 of 3 val images"),
        ({"val.txt": "ILSVRC2012_val_00000001.JPEG 999\n"}, "numbers classes up to 999, but train has 3"),
        ({"val.txt": "ILSVRC2012_val_00000001.JPEG\n"}, "should be two words"),
        ({"val.txt": "ILSVRC2012_val_00000001.JPEG tench\n"}, "a file name and a label are needed"),
        ({"ILSVRC2012_validation_ground_truth.txt": "1\n", "meta.mat": "no"}, "cannot be read as a MATLAB file"),
    ],
)
def test_missing_imagenet_files_are_reported_in_one_line(challenge, files, reason):
    for name, text in files.items():
        (challenge / name).write_text(text)
    with pytest.raises(DataError) as caught:
        open_source(f"imagenet:{challenge}")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ground_truth_of_wrong_length_is_refused(challenge):
    devkit(challenge, ids=(1, 2))
    with pytest.raises(DataError, match="labels 2 images, but val holds 3"):
        open_source(f"imagenet:{challenge}")


def test_imagenet_without_train_is_refused(tmp_path):
    with pytest.raises(DataError, match="no folder train/<wnid>/"):
        open_source(f"imagenet:{lay(tmp_path, 'n01/1.JPEG', 'n02/1.JPEG')}")


def test_open_images_accepts_a_folder_without_classes(tmp_path: Path) -> None:
    for name in ("b10.png", "b9.png", "more/deep/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    source = open_images(str(tmp_path))
    assert [sample.path for sample in source.samples] == ["b9.png", "b10.png", "more/deep/a.png"]
    assert {(sample.label, sample.split) for sample in source.samples} == {(0, "")}
    assert (source.class_names, source.fractions) == (["images"], (0.1, 0.0))
    assert len(source.other_files) == 1
    with pytest.raises(DataError, match=r"one class has images|no class folders"):
        check_classes(source)


def test_open_images_agrees_with_open_source_on_classes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / name / "1.png")
    assert open_images(str(tmp_path)).samples == open_source(str(tmp_path)).samples
    assert open_images("digits").class_names == open_source("digits").class_names
    with pytest.raises(DataError, match="no such folder or file"):
        open_images(str(tmp_path / "missing"))


def test_imagenet_counts_litter_and_other_files_as_folders_do(challenge):
    devkit(challenge)
    lay(challenge, "train/n01/notes.txt", "train/n01/Thumbs.db", "train/stray.JPEG", "val/.DS_Store", "test/1.JPEG")
    source = open_source(f"imagenet:{challenge}")
    assert source.litter == {"Thumbs.db": 1, ".DS_Store": 1}
    assert [line.partition(": ")[0] for line in source.other_files] == [
        "train/n01/notes.txt",
        "test/1.JPEG",
        "train/stray.JPEG",
    ]
    assert "unlabelled" in source.other_files[1]
