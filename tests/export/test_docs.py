"""The lines of docs/export.md by which a stranger uses an export run as they stand there."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import alexnet
from alexnet.export.run import export

DOCS = Path(__file__).parents[2] / "docs" / "export.md"


def test_the_lines_of_the_docs_print_what_predict_says(
    small_run: "alexnet.Run", tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    export(small_run.folder, out="model.onnx")
    pixels = np.random.default_rng(4).integers(0, 256, (61, 90, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(pixels).save("photo.jpg", exif=exif, quality=95)
    (lines,) = re.findall(r"^```python\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    exec(compile(lines, str(DOCS), "exec"), {})
    printed = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    expected = alexnet.load(small_run.folder, device="cpu").predict("photo.jpg")[0].predictions
    assert [name for _, name in printed] == [guess.label for guess in expected]
    for (share, _), guess in zip(printed, expected, strict=True):
        assert float(share.rstrip("%")) / 100 == pytest.approx(guess.probability, abs=0.002)
