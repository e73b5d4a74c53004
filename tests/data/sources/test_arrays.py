"""Images and labels given as arrays."""

from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet.data.sources import ARRAYS, array_source, open_images, open_source, recorded_name
from alexnet.data.store import named_store
from alexnet.errors import UsageError

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 9, 3), np.uint8)
LABELS = [0, 1] * 6


def test_arrays_lists_and_tensors_are_accepted_as_images() -> None:
    for images in (
        IMAGES,
        IMAGES[..., 0],
        list(IMAGES),
        [*IMAGES[:6], *IMAGES[6:, :5, :4, 0]],
        torch.from_numpy(IMAGES),
    ):
        source = open_source((images, LABELS))
        assert len(source.samples) == 12
        for index in range(12):
            assert np.array_equal(source.read(index), np.asarray(images[index]))


@pytest.mark.parametrize(
    ("labels", "class_names", "expected"),
    [
        ([2, 0, 2], ["a", "b", "c"], ("c", "a", "c")),
        (np.array([7, 10, 7], np.uint8), None, ("7", "10", "7")),
        (["dog 10", "dog 2", "dog 10"], None, ("dog 10", "dog 2", "dog 10")),
        (np.array(["x", "y", "y"]), ["y", "x"], ("x", "y", "y")),
    ],
)
def test_labels_are_integers_or_strings(labels, class_names, expected) -> None:
    source = array_source(IMAGES[:3], labels, class_names)
    assert tuple(source.class_names[sample.label] for sample in source.samples) == expected
    assert source.class_names == (class_names or sorted(set(expected), key=lambda name: int(name.split()[-1])))


@pytest.mark.parametrize(
    ("images", "labels", "class_names", "reason"),
    [
        (IMAGES / 255, LABELS, None, "images of type float64; uint8 .* multiply 0..1 by 255"),
        (IMAGES.astype(np.int64), LABELS, None, "images of type int64"),
        (IMAGES.transpose(0, 3, 1, 2), LABELS, None, r"one image has the shape \(3, 8, 9\)"),
        (IMAGES[0, 0, 0], [0, 1, 0], None, r"one image has the shape \(\)"),
        (IMAGES[:0], [], None, r"images of shape \(0, 8, 9, 3\)"),
        ([], [], None, "an empty list"),
        ("photos", ["a"], None, "images: str"),
        ([*IMAGES[:11], IMAGES[11] / 255], LABELS, None, "image 11 of type float64"),
        ([*IMAGES[:11], [[0, 1]]], LABELS, None, "image 11 of type list"),
        (IMAGES, LABELS[:5], None, "12 images and 5 labels"),
        (IMAGES, np.eye(12), None, r"labels of type float64 and shape \(12, 12\)"),
        (IMAGES, [-1, *LABELS[1:]], None, "label -1 is negative"),
        (IMAGES, [0.5, *LABELS[1:]], None, "labels of type float64"),
        (IMAGES, [None, *LABELS[1:]], None, "label None is no string"),
        (IMAGES, LABELS, ["only"], "label 1 with 1 class names"),
        (IMAGES, ["a", "b"] * 6, ["a", "c"], "label 'b' is none of the class names 'a', 'c'"),
        (IMAGES, LABELS, ["a", "a"], "repeat one"),
        (IMAGES, [1] * 12, None, "all labels are '1'; at least two classes"),
    ],
)
def test_invalid_arrays_are_refused_in_one_line(images, labels, class_names, reason) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        array_source(images, labels, class_names)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [(IMAGES,), 7, None, [IMAGES, LABELS], b"digits"])
@pytest.mark.parametrize("opener", [open_source, open_images, named_store])
def test_data_of_another_type_is_refused(opener, data) -> None:
    with pytest.raises(UsageError, match=r"data of type \w+; a name, a path|a tuple of 1"):
        opener(data)


def test_fingerprint_depends_on_every_pixel_label_and_shape() -> None:
    changed = IMAGES.copy()
    changed[11, 7, 8, 2] ^= 1
    turned = IMAGES.reshape(12, 9, 8, 3)
    sources = [(IMAGES, LABELS), (changed, LABELS), (turned, LABELS), (IMAGES, LABELS[::-1])]
    assert len({open_source(data).fingerprint() for data in sources}) == 4
    assert open_source((IMAGES, LABELS)).fingerprint() == open_source((list(IMAGES), LABELS)).fingerprint()


def test_arrays_are_packed_once_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALEXNET_CACHE", str(tmp_path))
    first = named_store((IMAGES[:, :, :8], LABELS, ["cat", "dog"]), size=8)
    assert np.array_equal(first.images(slice(None)), IMAGES[:, :, :8])
    assert (first.name, first.class_names, first.labels.tolist()) == ("arrays", ["cat", "dog"], LABELS)
    again = named_store((IMAGES[:, :, :8].copy(), LABELS, ["cat", "dog"]), size=8)
    assert again.folder == first.folder


def test_path_object_is_never_a_known_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_digits) -> None:
    write_digits(tmp_path / "digits", 2, 2)
    monkeypatch.chdir(tmp_path)
    assert len(open_source(Path("digits")).samples) == len(open_images(Path("digits")).samples) == 4
    assert len(named_store(Path("digits"), size=8)) == 4


def test_recorded_name_is_valid_in_any_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "1").mkdir()
    monkeypatch.chdir(tmp_path)
    assert recorded_name("digits") == "digits"
    assert recorded_name("flowers17:1") == "flowers17:1"
    assert recorded_name("photos") == recorded_name(Path("photos")) == str(tmp_path / "photos")
    assert recorded_name("imagenet:photos") == f"imagenet:{tmp_path / 'photos'}"
    assert recorded_name((IMAGES, LABELS)) == ARRAYS
    with pytest.raises(UsageError, match=r"give the same \(images, labels\) again"):
        open_source(ARRAYS)
