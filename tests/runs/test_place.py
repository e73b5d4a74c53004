import pytest

from alexnet.errors import AlexNetError
from alexnet.runs.place import check_writable, new_folder


def test_run_numbers_start_at_one_and_never_repeat(tmp_path):
    names = [new_folder(tmp_path / "flowers17-modern", numbered=True).name for _ in range(3)]
    assert names == ["flowers17-modern-1", "flowers17-modern-2", "flowers17-modern-3"]


def test_an_empty_folder_is_used_and_a_full_one_left_alone(tmp_path):
    (tmp_path / "run").mkdir()
    assert new_folder(tmp_path / "run", numbered=False) == tmp_path / "run"
    (tmp_path / "run" / "note").touch()
    assert new_folder(tmp_path / "run", numbered=False) == tmp_path / "run-2"


def test_a_parent_that_is_a_file_is_one_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AlexNetError, match=r"cannot write .*run.*choose another folder"):
        new_folder(tmp_path / "file" / "run", numbered=False)


def test_a_place_that_cannot_be_written_to_is_refused_before_anything_is_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AlexNetError, match=r"cannot write .*file is not a folder; choose another folder"):
        check_writable(tmp_path / "file" / "deep" / "run")
    check_writable(tmp_path / "new" / "deep" / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
