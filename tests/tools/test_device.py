"""tools/device.py: parts in processes of their own, within the time that there is, and what is written of them."""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet.data.sources.tables import read_csv
from alexnet.data.splits import assign_splits
from alexnet.errors import UsageError
from device_parts import runner
from device_parts.parts import PARTS, Part
from device_parts.photos import carried, prepare
from device_parts.record import Record
from device_parts.summary import BEGIN, END, NOWHERE, lines, read_results, summary, write_results, write_section

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "device.py"
GPU = {"device": "cuda", "card": "a card", "driver": "1", "torch": "2.11", "triton": "3.6", "commit": "1234567890"}
GPU |= {"date": "2026-12-01", "python": "3.12", "processor": "a processor", "cores": 16}
WRITES = """
import json, sys
told = {"part": sys.argv[1], "state": "running", "reason": "", "machine": {}, "rows": []}
open(sys.argv[2], "w").write(json.dumps(told))
"""


def fake(name: str, then: str, limit: float = 20) -> Part:
    """A part that writes an empty result, then does this."""
    return Part(name, limit, "", (sys.executable, "-S", "-c", WRITES + then))


def tool(*words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, TOOL, *map(str, words)], capture_output=True, text=True, check=False)


def run(parts: Sequence[Part], folder: Path, seconds: float = 60) -> dict[str, dict[str, Any]]:
    said: list[str] = []
    found = runner.run_parts(parts, folder, seconds, say=said.append)
    assert [each.splitlines()[0].partition(":")[0] for each in said] == [part.name for part in parts]
    return {result["part"]: result for result in found}


def test_the_parts_are_listed_without_running_any() -> None:
    listed = tool("--list")
    assert listed.returncode == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [part.name for part in PARTS]


def test_an_unknown_part_is_refused_in_one_line_that_names_the_nearest(tmp_path: Path) -> None:
    refused = tool("--only", "step", "--out", tmp_path / "out")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("device.py: unknown part 'step': did you mean 'steps'?")
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_part_that_hangs_is_ended_with_its_children_and_the_rest_goes_on(tmp_path: Path) -> None:
    child = tmp_path / "child"
    hanging = f"""
import subprocess, time
told["rows"].append({row()!r})
open(sys.argv[2], "w").write(json.dumps(told))
open({str(child)!r}, "w").write(str(subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"]).pid))
time.sleep(60)
"""
    found = run([fake("hangs", hanging, limit=3), fake("goes", 'print("on")')], tmp_path)
    assert (found["hangs"]["state"], found["hangs"]["reason"]) == ("ended", "at its limit of 3 s")
    assert len(found["hangs"]["rows"]) == 1  # what it had measured
    assert found["goes"]["state"] == "failed"  # it never said that it was done
    assert found["goes"]["reason"] == "exit code 0: on"
    assert not_running(int(child.read_text()))


def not_running(process: int) -> bool:
    """Gone, or dead and waiting for its parent, within some seconds."""
    for _ in range(100):
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
            os.kill(process, 0)
        except (OSError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_what_is_left_of_the_time_cuts_a_part_and_with_none_left_it_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "LEAST", 0.3)
    (tmp_path / "results.json").write_text("{}")  # of an earlier run
    found = run([fake("slow", "import time; time.sleep(60)", limit=50), fake("late", "")], tmp_path, seconds=0.5)
    assert found["slow"]["state"] == "ended"
    assert found["slow"]["seconds"] < 20
    assert (found["late"]["state"], found["late"]["reason"]) == ("not begun", "no time was left")
    assert [each["state"] for each in read_results(tmp_path)] == ["not begun", "ended"]  # by name, not being parts


def test_three_files_hold_the_results_of_every_part_and_what_each_said(tmp_path: Path) -> None:
    done = 'told["state"] = "done"; open(sys.argv[2], "w").write(json.dumps(told)); print("well")'
    found = run([fake("good", done), fake("bad", 'raise ValueError("so it is")')], tmp_path)
    assert found["good"]["state"] == "done"
    assert found["bad"]["reason"] == "exit code 1: ValueError: so it is"
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "logs.txt", "summary.md"}
    text = (tmp_path / "summary.md").read_text()
    assert "- good: done in " in text
    assert "- bad: failed in " in text
    assert {each["part"]: each for each in read_results(tmp_path)} == found
    logs = (tmp_path / "logs.txt").read_text()
    assert logs.startswith("== good ==\nwell\n== bad ==\nTraceback")


def test_what_a_part_has_found_is_there_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "LOOK", 0.05)
    waits = f"""
import pathlib, time
told["rows"].append({row()!r})
open(sys.argv[2], "w").write(json.dumps(told))
kept = pathlib.Path({str(tmp_path / "results.json")!r})
while '"waits"' not in kept.read_text() or '"images/s"' not in kept.read_text():
    time.sleep(0.05)
told["state"] = "done"
open(sys.argv[2], "w").write(json.dumps(told))
"""
    found = run([fake("waits", waits)], tmp_path)
    assert found["waits"]["state"] == "done"  # it saw its own row in the results


def row(**changes: Any) -> dict[str, Any]:
    told = {"subject": "steps", "what": "bvlc", "unit": "images/s", "value": 1000.0, "low": 900.0, "high": 1100.0}
    return {**told, "repeats": 5, "at_least": None, "at_most": None, "note": "", **changes}


def results(folder: Path, *machines: dict[str, Any]) -> None:
    """Of two parts, on one machine or on one each."""
    folder.mkdir(exist_ok=True)
    told = {"state": "done", "reason": "", "seconds": 2.0}
    named = zip(("steps", "machine"), (machines * 2)[:2], strict=True)
    write_results(
        folder, [{**told, "part": name, "machine": where, "rows": [row(subject=name)]} for name, where in named]
    )


def test_the_section_of_the_results_is_filled_with_the_figures_of_a_gpu(tmp_path: Path) -> None:
    results(tmp_path / "out", GPU)
    document = tmp_path / "results.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):  # the second time the same stands there
        assert tool("--write", tmp_path / "out", "--document", document).returncode == 0
        text = document.read_text()
        assert text.startswith(
            f"before\n{BEGIN}\n`tools/device.py`, 2026-12-01, commit 12345678: a card, driver 1, torch 2.11"
        )
        assert "| steps | bvlc | 1,000 images/s | 900 to 1,100 | 5 |  |" in text
        assert text.index("| machine |") < text.index("| steps |")  # in the order of the parts
        assert text.endswith(f"- steps: done in 2.0 s\n{END}\nafter\n")
        assert "old" not in text


def test_figures_of_a_processor_do_not_get_into_the_results(tmp_path: Path) -> None:
    results(tmp_path / "out", {**GPU, "device": "cpu", "card": None})
    document = tmp_path / "results.md"
    document.write_text(f"{BEGIN}\n{END}\n")
    write_section(tmp_path / "out", document)
    head, said, _ = document.read_text().splitlines()
    assert (head, said.partition(". ")[2]) == (BEGIN, NOWHERE)
    assert "images/s" not in document.read_text()


def test_writing_without_results_or_without_markers_is_refused(tmp_path: Path) -> None:
    document = tmp_path / "results.md"
    document.write_text("no markers\n")
    with pytest.raises(UsageError, match="holds no results"):
        write_section(tmp_path / "nothing", document)
    results(tmp_path / "out", GPU)
    with pytest.raises(UsageError, match="no lines <!-- device:begin -->"):
        write_section(tmp_path / "out", document)
    assert document.read_text() == "no markers\n"


def test_the_projects_own_results_have_the_markers() -> None:
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert (text.count(BEGIN), text.count(END)) == (1, 1)


def test_results_of_two_machines_say_which_parts_are_whose(tmp_path: Path) -> None:
    results(tmp_path, {**GPU, "card": "another card"}, GPU)
    heads = summary(read_results(tmp_path)).splitlines()[:2]
    assert [("another" in head, head.rpartition(" (")[2]) for head in heads] == [(False, "machine)"), (True, "steps)")]


def test_the_summary_names_the_instruction_set_of_the_native_operators(tmp_path: Path) -> None:
    results(tmp_path, {**GPU, "native": "avx512"}, {**GPU, "native": None})
    heads = summary(read_results(tmp_path)).splitlines()[:2]
    assert [head.rpartition("16 cores, ")[2] for head in heads] == [
        "native operators off. (machine)",
        "native operators avx512. (steps)",
    ]


def test_carried_native_operators_are_taken_and_missing_ones_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alexnet.ops import native
    from device_parts import operators

    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(operators, "loads", lambda: False)
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    record = Record("operators", tmp_path / "operators.json")
    record.begin({**GPU})
    operators.run(record)
    (found,) = record.rows
    assert found.value is None
    assert "plain torch prepares the batches instead: the C++ compiler no-such-compiler" in found.note


def test_a_part_leaves_each_row_as_soon_as_it_has_it(tmp_path: Path) -> None:
    record = Record("steps", tmp_path / "steps.json")
    record.begin({**GPU})
    record.add("one", "s", 3.0, 1.0, 2.0)
    found = json.loads((tmp_path / "steps.json").read_text())
    assert found["state"] == "running"
    assert [(each["value"], each["low"], each["high"], each["repeats"]) for each in found["rows"]] == [
        (2.0, 1.0, 3.0, 3)
    ]
    assert lines(found) == ["steps: running", "  one: 2 s (1 to 3)"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of sixteen images of two classes, whose names are not in the order of the alphabet."""
    root = tmp_path_factory.mktemp("photos")
    rows = []
    for number in range(16):
        name = f"image {number:02}.png"
        Image.fromarray(np.full((20, 30, 3), 10 * number, np.uint8)).save(root / name)
        rows.append((name, "tulip" if number < 8 else "daisy"))
    with open(root / "flowers.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    return root / "flowers.csv"


def test_photos_travel_with_their_names_order_and_division(photos: Path, tmp_path: Path) -> None:
    said = prepare(str(photos), tmp_path)
    assert "16 squares of 256 px, JPEG of quality 95" in said
    found, right = carried(tmp_path / "flowers", (0.0, 0.25)), read_csv(photos)
    assert found.class_names == ["tulip", "daisy"]  # as they come, not as the alphabet has them
    assert [Path(s.path).stem for s in found.samples] == [Path(s.path).stem for s in right.samples]
    names = [[source.class_names[s.label] for s in source.samples] for source in (found, right)]
    assert names[0] == names[1]
    splits = [
        assign_splits([s.label for s in source.samples], [""] * 16, source.class_names, 0, 0.0, 0.25)
        for source in (found, right)
    ]
    assert np.array_equal(*splits)
    with Image.open(found.read(3)) as image:
        assert image.size == (256, 256)
        assert np.abs(np.asarray(image).astype(int) - 30).max() <= 2


BARE = """
import sys
from importlib.machinery import PathFinder
class Bare:
    names = {"platformdirs", "captum", "typer", "rich", "sklearn", "scipy", "matplotlib", "yaml", "simplejpeg",
             "tifffile", "pillow_heif", "torchvision", "tensorboard", "pytest"}
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in self.names else PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Bare()
from importlib import import_module
from pathlib import Path
from device_parts.__main__ import main
from device_parts.parts import PARTS
for part in PARTS:
    import_module(f"device_parts.{part.name}")
sys.exit(main("compile", Path(sys.argv[1])))
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU this part would compile for minutes")
def test_every_part_loads_where_torch_and_little_else_is_installed(tmp_path: Path) -> None:
    paths = os.pathsep.join(str(ROOT / name) for name in ("src", "tools"))
    command = [sys.executable, "-c", BARE, str(tmp_path / "compile.json")]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads((tmp_path / "compile.json").read_text())
    assert (found["state"], found["reason"]) == ("passed over", "not measured on a GPU: there is none")
    assert found["machine"]["torch"] == torch.__version__
