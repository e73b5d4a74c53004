"""Sources from CSV files."""

from pathlib import Path

import pytest
from PIL import Image

from alexnet.data.images import decode
from alexnet.data.sources import open_source
from alexnet.errors import DataError


def lay(root: Path, *paths: str) -> None:
    """Write a small image at each of these paths below root."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(root / path)


def write_csv(folder: Path, text: str, encoding="utf-8") -> str:
    (folder / "list.csv").write_text(text, encoding=encoding)
    return str(folder / "list.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv_lists_images_relative_to_its_own_folder(tmp_path, encoding):
    lay(tmp_path, "x/1.png", "x/2, old.png", "3.png")
    text = 'path,label,split,note\nx/1.png,2,train,\n"x/2, old.png",10,valid,hm\n\n3.png,Füchse,,\n'
    source = open_source(write_csv(tmp_path, text, encoding))
    assert source.class_names == ["2", "10", "Füchse"]
    assert [(sample.path, sample.label, sample.split) for sample in source.samples] == [
        ("x/1.png", 0, "train"),
        ("x/2, old.png", 1, "val"),
        ("3.png", 2, ""),
    ]
    assert source.name == "list"
    assert decode(source.read(1)).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no column path and no label"),
        ("who,label\n1.png,a\n", "no column path in its first line"),
        ("path,label,label\n1.png,a,b\n", "the column label 2 times"),
        ("path,label\n", "lists no images"),
        ("path,label\n1.png,a\n9.png,b\n", "1 of 2 files do not exist, the first in line 3: '9.png'"),
        ("path,label\n1.png,\n", "line 2: the label is empty"),
        ("path,label\n,a\n", "line 2: the path is empty"),
        ("path,label\n1.png,a,b\n", "line 2: 3 cells under 2 columns"),
        ("path,label,split\n1.png,a,later\n", "line 2: split 'later' is none of"),
        ('path,label\n"1.png,a\n', "cannot be read as CSV"),
    ],
)
def test_faulty_csv_is_refused_with_the_line_and_the_reason(tmp_path, text, reason):
    lay(tmp_path, "1.png")
    with pytest.raises(DataError) as caught:
        open_source(write_csv(tmp_path, text))
    assert reason in str(caught.value)


def test_csv_in_another_encoding_is_refused(tmp_path):
    lay(tmp_path, "1.png")
    with pytest.raises(DataError, match="UTF-8"):
        open_source(write_csv(tmp_path, "path,label\n1.png,Füchse\n", "latin-1"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path,label\n1.png,a\n2.png,b\n1.png,b\n", "'1.png' is listed as 'a', split '', in line 2 and 'b', split '',"),
        (
            "path,label,split\n1.png,a,train\n./1.png,a,test\n2.png,b,\n",
            "split 'train', in line 2 and 'a', split 'test'",
        ),
    ],
)
def test_file_with_two_labels_or_splits_is_refused(tmp_path, text, reason):
    lay(tmp_path, "1.png", "2.png")
    with pytest.raises(DataError) as caught:
        open_source(write_csv(tmp_path, text))
    assert reason in str(caught.value)


def test_repeated_line_is_dropped_with_a_warning(tmp_path, caplog):
    lay(tmp_path, "1.png", "2.png")
    source = open_source(write_csv(tmp_path, "path,label\n1.png,a\n./1.png,a\n2.png,b\n1.png,a\n"))
    assert [sample.path for sample in source.samples] == ["1.png", "2.png"]
    assert "2 lines repeat an earlier one" in caplog.text


def test_fingerprint_depends_on_labels_and_splits(tmp_path):
    lay(tmp_path, "1.png", "2.png")
    texts = ["path,label,split\n1.png,a,\n2.png,b,\n", "path,label,split\n1.png,b,\n2.png,a,\n"]
    texts.append("path,label,split\n1.png,a,train\n2.png,b,\n")
    assert len({open_source(write_csv(tmp_path, text)).fingerprint() for text in texts}) == 3
