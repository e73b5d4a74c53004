"""Sources from CSV files."""

from pathlib import Path

import pytest
from PIL import Image

from alexnet.data.images import decode
from alexnet.data.sources import open_source, recorded_name
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


# Tables as people write them


def labels_of(data: str) -> dict[str, str]:
    """The label and the part of each image, as "label" or "label part"."""
    source = open_source(data)
    return {each.path: f"{source.class_names[each.label]} {each.split}".strip() for each in source.samples}


@pytest.mark.parametrize("header", ["File Name,CLASS,Set", "image_path,species,partition", "img,Category,SUBSET"])
def test_columns_are_found_by_their_usual_names_in_any_case(tmp_path: Path, header: str) -> None:
    lay(tmp_path, "1.png", "2.png")
    text = f"{header}\n1.png,ant,Training\n2.png,bee,Testing\n"
    assert labels_of(write_csv(tmp_path, text)) == {"1.png": "ant train", "2.png": "bee test"}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize(("encoding", "line_end"), [("utf-8-sig", "\r\n"), ("utf-16", "\n"), ("utf-16-le", "\r")])
def test_separator_encoding_and_line_ends_are_told_apart(
    tmp_path: Path, separator: str, encoding: str, line_end: str
) -> None:
    lay(tmp_path, "1.png", "2, b; c.png")
    rows = [("path", "label"), ("1.png", "Füchse"), ('"2, b; c.png"', "bee")]
    text = line_end.join(map(separator.join, rows))
    (tmp_path / "list.csv").write_bytes(text.encode(encoding))
    assert labels_of(str(tmp_path / "list.csv")) == {"1.png": "Füchse", "2, b; c.png": "bee"}


def test_first_line_that_names_the_separator_is_read(tmp_path: Path) -> None:
    lay(tmp_path, "1.png")
    assert labels_of(write_csv(tmp_path, "sep=;\npath;label\n1.png;a\n")) == {"1.png": "a"}
    with pytest.raises(DataError, match="line 3: the label is empty"):
        open_source(write_csv(tmp_path, "sep=;\npath;label\n1.png;\n"))


@pytest.mark.parametrize(
    ("listed", "lies"),
    [
        ("ant\\1.png", "ant/1.png"),
        ("C:\\Users\\me\\{root}\\ant\\1.png", "ant/1.png"),
        ("{root}/ant/1.png", "ant/1.png"),
        ("1.png", "images/1.png"),
        ("ISIC_0001", "ISIC_0001.jpg"),
        ("ISIC_0001", "ISIC_Training_Input/ISIC_0001.jpg"),
        ("IMG_1.JPG", "images/img_1.jpg"),
        ("cafe\u0301.png", "images/caf\u00e9.png"),
    ],
)
def test_listed_files_are_found_where_people_keep_them(
    tmp_path: Path, listed: str, lies: str, caplog: pytest.LogCaptureFixture
) -> None:
    lay(tmp_path, lies)
    text = f"path,label\n{listed.format(root=tmp_path.name)},a\n"
    with caplog.at_level("INFO", "alexnet"):
        assert labels_of(write_csv(tmp_path, text)) == {lies: "a"}
    assert "found 1 images" in caplog.text or listed.startswith("cafe")


def test_name_that_fits_two_files_is_refused(tmp_path: Path) -> None:
    lay(tmp_path, "x/1.png", "y/1.png")
    with pytest.raises(DataError, match=r"line 2: '1' fits 2 files, 'x/1.png' and 'y/1.png'"):
        open_source(write_csv(tmp_path, "path,label\n1,a\n"))


def test_table_of_a_part_takes_the_images_of_its_part(tmp_path: Path) -> None:
    lay(tmp_path, "train/1.png", "test/1.png")
    (tmp_path / "train_labels.csv").write_text("id,label\n1,a\n")
    assert list(labels_of(f"{tmp_path}/train_labels.csv")) == ["train/1.png"]


def test_missing_windows_path_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"do not exist.*write it as from there, with / in place"):
        open_source(write_csv(tmp_path, "path,label\nD:\\photos\\1.png,a\n"))


def test_several_columns_of_labels_are_refused_and_one_can_be_chosen(tmp_path: Path) -> None:
    lay(tmp_path, "1.png", "2.png")
    data = write_csv(tmp_path, "file,class,species,Colour of hair\n1.png,insect,ant,red\n2.png,insect,bee,brown\n")
    with pytest.raises(
        DataError, match=r"several columns that may hold the labels: 'class', 'species'.*--label-column"
    ):
        open_source(data)
    assert labels_of(f"{data}:species") == {"1.png": "ant", "2.png": "bee"}
    assert labels_of(f"{data}:colour of hair") == {"1.png": "red", "2.png": "brown"}
    with pytest.raises(DataError, match="no column 'age'; it has 'file', 'class'"):
        open_source(f"{data}:age")
    assert open_source(f"{data}:class").fingerprint() != open_source(f"{data}:species").fingerprint()


def test_chosen_column_and_several_tables_are_recorded_for_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(tmp_path, "path,label\n")
    (tmp_path / "test.csv").touch()
    monkeypatch.chdir(tmp_path)
    assert recorded_name("list.csv:species") == f"{tmp_path}/list.csv:species"
    assert recorded_name("list.csv,test.csv") == f"{tmp_path}/list.csv,{tmp_path}/test.csv"
    assert recorded_name("list.csv") == f"{tmp_path}/list.csv"


def test_column_of_numbered_folds_gives_no_parts_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lay(tmp_path, "1.png", "2.png")
    assert labels_of(write_csv(tmp_path, "path,label,fold\n1.png,a,1\n2.png,b,2\n")) == {"1.png": "a", "2.png": "b"}
    assert "the column fold gives no parts: it holds '1', '2'" in caplog.text


def test_one_hot_columns_are_classes(tmp_path: Path) -> None:
    lay(tmp_path, "images/I_1.jpg", "images/I_2.jpg", "images/I_3.jpg")
    text = "image,MEL,NV,UNK\nI_1,1.0,0.0,0.0\nI_2,0.0,1.0,0.0\nI_3,0.0,1.0,0.0\n"
    assert labels_of(write_csv(tmp_path, text)) == {
        f"images/I_{n}.jpg": name for n, name in ((1, "MEL"), (2, "NV"), (3, "NV"))
    }


def test_one_hot_columns_may_hold_false_and_true(tmp_path: Path) -> None:
    lay(tmp_path, "1.png", "2.png")
    data = write_csv(tmp_path, "file,cat,dog\n1.png,True,False\n2.png,FALSE,TRUE\n")
    assert labels_of(data) == {"1.png": "cat", "2.png": "dog"}


@pytest.mark.parametrize(
    ("column", "yes", "no"),
    [("is_valid", "val", "train"), ("isTest", "test", "train"), ("is_training_image", "train", "test")],
)
def test_column_of_yes_and_no_gives_the_parts_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, column: str, yes: str, no: str
) -> None:
    lay(tmp_path, "1.png", "2.png")
    data = write_csv(tmp_path, f"path,label,{column}\n1.png,a,True\n2.png,b,False\n")
    assert labels_of(data) == {"1.png": f"a {yes}", "2.png": f"b {no}"}
    assert f"images of which {column} is true are {yes}, all others {no}" in caplog.text
    assert labels_of(f"{data}:{column}") == {"1.png": "True", "2.png": "False"}


@pytest.mark.parametrize(("row", "reason"), [("0,0,0", "none of the classes"), ("1,0,1", "several classes, 'A', 'C'")])
def test_row_without_exactly_one_class_is_refused(tmp_path: Path, row: str, reason: str) -> None:
    lay(tmp_path, "1.jpg", "2.jpg")
    with pytest.raises(DataError, match=f"line 3: {reason}"):
        open_source(write_csv(tmp_path, f"image,A,B,C\n1.jpg,0,1,0\n2.jpg,{row}\n"))


def test_several_tables_give_the_parts_by_their_names(tmp_path: Path) -> None:
    lay(tmp_path, "1.png", "2.png", "more/3.png")
    (tmp_path / "train.csv").write_text("path,label\n1.png,a\n2.png,b\n")
    (tmp_path / "more" / "Testing.csv").write_text("path,label\n3.png,b\n")
    data = f"{tmp_path}/train.csv,{tmp_path}/more/Testing.csv"
    assert labels_of(data) == {"1.png": "a train", "2.png": "b train", "more/3.png": "b test"}


def test_second_table_may_give_the_parts_alone(tmp_path: Path) -> None:
    lay(tmp_path, "1.png", "2.png", "3.png")
    data = write_csv(tmp_path, "path,label\n1.png,a\n2.png,b\n3.png,b\n")
    (tmp_path / "parts.csv").write_text("path,split\n2.png,test\n1.png,train\n")
    assert labels_of(f"{data},{tmp_path}/parts.csv") == {"1.png": "a train", "2.png": "b test", "3.png": "b"}


def test_image_in_two_tables_with_two_parts_is_refused(tmp_path: Path) -> None:
    lay(tmp_path, "1.png")
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text("path,label\n1.png,a\n")
    with pytest.raises(DataError, match=r"split 'train', in train.csv and 'a', split 'test', in test.csv"):
        open_source(f"{tmp_path}/train.csv,{tmp_path}/test.csv")
