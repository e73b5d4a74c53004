"""Files and folders appear whole or not at all, one process at a time makes them, and the killed leave no litter."""

import json
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from alexnet.errors import AlexNetError, UsageError
from alexnet.files import alone, held, whole_file, whole_folder, write_csv, write_json

ROOT = Path(__file__).parent.parent


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_and_be_killed(folder: Path) -> None:
    """In another process, begin a file and a folder, and end by kill -9 in the middle of both."""
    program = """
        import os, signal, sys
        from pathlib import Path
        from alexnet.files import whole_file, whole_folder
        folder = Path(sys.argv[1])
        with whole_file(folder / "file") as file, whole_folder(folder / "store") as store:
            file.write("half")
            (store / "part").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
        """
    command = [sys.executable, "-c", textwrap.dedent(program), str(folder)]
    subprocess.run(command, env={"PYTHONPATH": str(ROOT / "src")}, check=False)


def test_a_file_and_a_folder_take_their_names_when_they_are_whole(tmp_path: Path) -> None:
    with whole_file(tmp_path / "below" / "file") as file, whole_folder(tmp_path / "below" / "folder") as folder:
        file.write("all")
        (folder / "part").write_text("all")
        assert not {"file", "folder"} & set(names(tmp_path / "below"))
    assert names(tmp_path / "below") == ["file", "folder"]
    assert (tmp_path / "below" / "file").read_text() == "all"
    assert names(tmp_path / "below" / "folder") == ["part"]


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
def test_what_is_broken_off_leaves_what_was_there(tmp_path: Path, stop: type[BaseException]) -> None:
    (tmp_path / "file").write_text("before")
    (tmp_path / "folder").mkdir()

    def write() -> None:
        with whole_file(tmp_path / "file") as file, whole_folder(tmp_path / "folder"):
            file.write("half")
            raise stop

    with pytest.raises(stop):
        write()
    assert names(tmp_path) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "before"


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for write in (whole_file, whole_folder, alone):
        with pytest.raises(AlexNetError, match=r"cannot write .*below: .*choose another folder"):
            write(tmp_path / "file" / "below").__enter__()


def test_what_a_killed_process_left_goes_with_the_next_write_of_that_name(tmp_path: Path) -> None:
    write_and_be_killed(tmp_path)
    assert len(names(tmp_path)) == 2
    with whole_file(tmp_path / "other"), whole_folder(tmp_path / "stor"):
        pass
    assert len(names(tmp_path)) == 4
    with whole_file(tmp_path / "file"), whole_folder(tmp_path / "store"):
        pass
    assert names(tmp_path) == ["file", "other", "stor", "store"]


def test_what_somebody_still_writes_is_left_alone(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "store") as slow:
        (slow / "part").write_text("slow")
        with whole_folder(tmp_path / "store") as fast:
            (fast / "part").write_text("fast")
        assert (tmp_path / "store" / "part").read_text() == "fast"
    assert (tmp_path / "store" / "part").read_text() == "slow"
    assert names(tmp_path) == ["store"]


def test_one_at_a_time_makes_a_path(tmp_path: Path) -> None:
    made = []

    def make(number: int) -> None:
        with alone(tmp_path / "store"):
            if not (tmp_path / "store").exists():
                with whole_folder(tmp_path / "store"):
                    made.append(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(8)))
    assert len(made) == 1


def test_a_folder_is_kept_for_one_process_at_a_time(tmp_path: Path) -> None:
    program = "import sys, pathlib, alexnet.files as f\nwith f.held(pathlib.Path(sys.argv[1])): print(1)"

    def other() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, str(tmp_path)]
        return subprocess.run(command, env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True)

    with held(tmp_path):
        refused = other()
        with pytest.raises(UsageError, match=f"^another process is at work in {tmp_path}; wait for it"), held(tmp_path):
            pass
    assert "another process is at work" in refused.stderr
    assert other().stdout == "1\n"
    assert names(tmp_path) == []
    with pytest.raises(AlexNetError, match="cannot write"), held(tmp_path / "not there"):
        pass


def test_numbers_that_are_not_finite_become_null_in_json(tmp_path):
    write_json(tmp_path / "a.json", {"loss": float("nan"), "deep": [{"x": float("inf")}], "y": 1.5})
    assert json.loads((tmp_path / "a.json").read_text()) == {"loss": None, "deep": [{"x": None}], "y": 1.5}


def test_a_csv_holds_names_of_any_bytes(tmp_path):
    write_csv(tmp_path / "a.csv", ("path",), [(b"caf\xe9.png".decode("utf-8", "surrogateescape"),)])
    assert (tmp_path / "a.csv").read_bytes() == b"path\ncaf\xe9.png\n"
