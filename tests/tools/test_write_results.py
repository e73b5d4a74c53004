"""tools/write_results.py: the section between the markers, and refused input."""

import json
import subprocess
import sys
from pathlib import Path

from alexnet.bench.table import row

ROOT = Path(__file__).parent.parent.parent


def test_only_the_text_between_the_markers_changes(tmp_path: Path) -> None:
    results = tmp_path / "results.md"
    text = "before\n<!-- benchmark:begin -->\nold\n<!-- benchmark:end -->\nafter\n"
    results.write_text(text, encoding="utf-8")
    answers = []
    for number, speed in enumerate((190.0, 230.0, 200.0)):
        answers.append(tmp_path / f"{number}.json")
        answers[-1].write_text(json.dumps(answer(speed)), encoding="utf-8")
    for _ in range(2):  # the second run must not change the result
        subprocess.run([sys.executable, ROOT / "tools" / "write_results.py", *answers, "--out", results], check=True)
        written = results.read_text(encoding="utf-8")
        assert written.startswith("before\n<!-- benchmark:begin -->\n`alexnet benchmark all`, 3 runs")
        assert written.endswith("\n<!-- benchmark:end -->\nafter\n")
        assert "| train | steps | 200 images/s | 190 to 230 | 3 | >= 150 images/s: yes |" in written
        assert "commit 12345678." in written
        assert "1 of 1 marks" in written
        assert "old" not in written


def test_an_answer_of_a_stopped_benchmark_is_refused(tmp_path: Path) -> None:
    results, stopped = tmp_path / "results.md", tmp_path / "stopped.json"
    results.write_text("<!-- benchmark:begin -->\n<!-- benchmark:end -->\n", encoding="utf-8")
    stopped.write_text(json.dumps({**answer(190.0), "complete": False}), encoding="utf-8")
    command = [sys.executable, ROOT / "tools" / "write_results.py", stopped, "--out", results]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"{stopped} is the answer of a benchmark that was stopped; give one of a complete run\n"
    assert results.read_text(encoding="utf-8").startswith("<!-- benchmark:begin -->\n<!--")


def test_docs_results_has_both_markers_once() -> None:
    lines = (ROOT / "docs" / "results.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("<!-- benchmark:")] == [
        "<!-- benchmark:begin -->",
        "<!-- benchmark:end -->",
    ]


def answer(speed: float) -> dict[str, object]:
    """An answer of `alexnet benchmark all --json` with one row."""
    machine = {"processor": "a processor", "cores": 2, "threads": 2, "memory_bytes": 25 * 10**9, "native": None}
    software = {
        "commit": "1234567890",
        "system": "Linux",
        "python": "3.11.0",
        "versions": {"torch": "2.11", "keras": None},
    }
    steps = row("train", "steps", "images/s", [speed], at_least=150)
    return {"ceilings": [], "rows": [steps.to_json()], "environment": {**machine, **software, "batch_size": 128}}
