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
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert (answer["split"], answer["page"]) == ("test", str(folder / "explain" / "index.html"))
    assert all(Path(row["file"]).read_bytes().startswith(b"\x89PNG") for row in answer["pictures"])
    assert "not shown: Local response normalisation" in err
    assert cli.main(["explain", str(folder), "--out", str(folder / "weights")]) == 2
    assert "holds 'best.safetensors'" in capsys.readouterr().err
