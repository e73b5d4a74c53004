"""The library logs and never prints; the command line shows lines and, on a terminal, bars."""

import io
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet import console

ROOT = Path(__file__).parent.parent
ROW = {"epoch": 3, "train_loss": 0.5, "train_top1": 0.8, "val_top1": 0.75, "images_per_second": 99.6}


class Terminal(io.StringIO):
    """Text in memory that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def open_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Put a terminal in the place of standard error."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    return shown


def work() -> None:
    """What a caller of the library does: messages, a bar, and a training."""
    logging.getLogger("alexnet.data").info("packing [1] :x: of 2")
    logging.getLogger("alexnet.data").debug("not for people")
    with console.bar("packing") as move:
        move(1, 2)
    with console.TrainingBar(10) as shown:
        shown.step("1/3", 100.0, 0.5, 0.5)
        shown.evaluated(ROW)


LINES = ["packing [1] :x: of 2", "epoch 3  loss 0.500  val_top1 75.00%  100 images/s"]


def test_a_caller_of_the_library_sees_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = open_terminal(monkeypatch)
    work()
    logging.getLogger("alexnet.data").warning("not even this")
    assert terminal.getvalue() == capsys.readouterr().out == ""


def test_messages_are_plain_lines_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with console.show_log(), console.show_progress():
        work()
        logging.getLogger("alexnet.data").warning("few images")
    work()  # after the end of the context nothing is shown
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [*LINES, "alexnet: warning: few images"]  # and no bar, for there is no terminal


def test_a_program_that_configures_logging_gets_each_message_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "alexnet"):
        work()
    assert caplog.messages == LINES


def test_bars_are_drawn_on_a_terminal_and_messages_stand_above_them(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    with console.show_log(), console.show_progress(), console.bar("packing") as move:
        move(1, 2)
        console.logger.info(f"a message [bold] {'long ' * 30}end")
        move(2, 2)
    text = terminal.getvalue()
    assert "packing" in text
    assert "2/2" in text
    assert f"a message [bold] {'long ' * 30}end\n" in text  # neither wrapped nor read as markup


def test_a_bar_appears_when_it_is_first_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    with console.show_progress(), console.bar("packing"), console.bar("photos.zip", in_bytes=True) as move:
        move(500, None)
        move(1_000_000, 2_000_000)
    assert "photos.zip" in terminal.getvalue()
    assert "1.0/2.0 MB" in terminal.getvalue()
    assert "packing" not in terminal.getvalue()


def test_the_training_bar_shows_where_a_run_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    with console.show_log(), console.show_progress(), console.TrainingBar(10, done=4) as shown:
        shown.step("2/3", 120.0, 0.25, 0.5, "units")
        shown.evaluated(ROW)
    text = terminal.getvalue()
    assert "epoch 2/3" in text
    assert LINES[1] in text


def test_without_a_bar_lines_tell_what_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0, 30, 61, 61, 600, 1200, 1200])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with console.show_log(), console.TrainingBar(1000, done=100) as shown:
        shown.step("2/20", 1.0, 0.5, 0.5, work=5)  # after 30 s
        shown.step("2/20", 1.0, 0.5, 0.5, work=5)  # after 61 s: 10 of 900 are done
        shown.step("2/20", 1.0, 0.5, 0.5, work=190)  # told once
        shown.evaluated(ROW)  # after 600 s: 200 of 900
        shown.step("20/20", 1.0, 0.5, 0.5, work=690)
        shown.evaluated(ROW)  # 10 s are left
    assert capsys.readouterr().err.splitlines() == [
        "epoch 2/20 begun; about 1 h 30 min left",
        f"{LINES[1]}  about 35 min left",
        LINES[1],
    ]


def test_rich_is_imported_only_to_draw() -> None:
    program = (
        "import sys; from alexnet import console\n"
        "with console.show_log(), console.show_progress(), console.bar('a') as move, console.TrainingBar(3) as bar:\n"
        "    move(1, 2); bar.step('1', 1.0, 1.0, 1.0); console.logger.info('b'); console.print_lines('c')\n"
        "print('rich' in sys.modules)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("c\nFalse\n", "b\n")
