"""alexnet explain"""

import json
from pathlib import Path
from typing import Any

import pytest

from alexnet import cli


def test_explain_writes_a_page_beside_the_run_and_says_where(
    trained: tuple[Path, Any], digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained[0]
    assert cli.main(["explain", str(folder), str(digits / "4" / "0.png"), "--label", "1", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["split"], answer["page"]) == ("test", str(folder / "explain" / "index.html"))
    assert all(Path(row["file"]).read_bytes().startswith(b"\x89PNG") for row in answer["pictures"])
    assert cli.main(["explain", str(folder), "--out", str(folder / "weights")]) == 2
    assert "holds 'best.safetensors'" in capsys.readouterr().err


def test_explain_says_what_it_cannot_show_without_data(
    weights: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["explain", str(weights), str(digits / "4" / "0.png"), "--out", str(tmp_path / "pictures"), "--json"]
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    left_out = json.loads(out)["left_out"]
    assert left_out
    lines = err.splitlines()
    assert [f"alexnet: not shown: {row['title']}: {row['reason']}" for row in left_out] == lines[-len(left_out) :]
    stages = lines[: -len(left_out)]
    assert [stages[0], stages[1]] == ["drawn: The first layer's filters", "drawn: The probabilities of the labels"]
    assert all(line.startswith("drawn: ") for line in stages)
