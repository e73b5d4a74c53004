import pytest

from alexnet.errors import AlexNetError, UsageError
from alexnet.runs.folder import new_folder, read_config


def test_runs_are_numbered_from_one_and_no_number_is_taken_twice(tmp_path):
    names = [new_folder(tmp_path / "flowers17-modern", numbered=True).name for _ in range(3)]
    assert names == ["flowers17-modern-1", "flowers17-modern-2", "flowers17-modern-3"]


def test_an_empty_folder_is_taken_and_a_full_one_is_left(tmp_path):
    (tmp_path / "run").mkdir()
    assert new_folder(tmp_path / "run", numbered=False) == tmp_path / "run"
    (tmp_path / "run" / "note").touch()
    assert new_folder(tmp_path / "run", numbered=False) == tmp_path / "run-2"


def test_a_place_that_cannot_hold_a_folder_is_one_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AlexNetError, match=r"cannot write .*run.*choose another folder"):
        new_folder(tmp_path / "file" / "run", numbered=False)


@pytest.mark.parametrize(("text", "said"), [(None, "is not a run"), ("{", "is damaged"), ("{}", "it lacks data")])
def test_a_folder_without_a_sound_config_is_no_run(tmp_path, text, said):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(UsageError, match=said):
        read_config(tmp_path)
