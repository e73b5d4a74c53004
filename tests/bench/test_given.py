"""Models that the user names are timed in turn; what is no model is refused before anything is."""

from pathlib import Path

import pytest
from PIL import Image

from alexnet.bench import run
from alexnet.bench.given import answers, measure
from alexnet.bench.measure import Options
from alexnet.errors import UsageError, WeightsError
from alexnet.export.formats import Order
from alexnet.export.onnx import write
from alexnet.inference.classifier import load


def test_a_model_is_timed_once(tmp_path: Path) -> None:
    model = str(tmp_path / "model.onnx")
    write(Order(load("tiny-imagenet:modern", "cpu"), "fp32", batched=False), Path(model))
    (row,) = measure(Options(repeats=1, seconds=0.0, models=(model, model)))
    assert row.what == f"{model}, from JPEG to names"
    assert row.value is not None
    assert row.value > 0


@pytest.mark.parametrize(
    ("subject", "models", "error", "message"),
    [
        ("data", ("tiny-imagenet:modern",), UsageError, "goes with the subject predict, not data"),
        ("predict", ("none",), WeightsError, "no model"),
    ],
)
def test_what_cannot_be_timed_is_refused_at_once(
    subject: str, models: tuple[str, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run.benchmark(subject, Options(repeats=1, models=models))


def test_the_work_is_an_answer(tmp_path: Path) -> None:
    Image.new("RGB", (90, 80), (200, 30, 60)).save(tmp_path / "red.png")
    assert answers("tiny-imagenet:modern", str(tmp_path / "red.png"), 0.0, "cpu")() == 1
