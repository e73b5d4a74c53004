"""An export answers as the model it was made from, without torch; what it cannot do it says in one line."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image

import alexnet
from alexnet.errors import AlexNetError, Diverged, UsageError, WeightsError
from alexnet.export import onnx as writer
from alexnet.export.formats import Order
from alexnet.inference.classifier import Classifier
from alexnet.inference.classifier import load as load_network
from alexnet.inference.evaluate import evaluate
from alexnet.inference.loading import load
from alexnet.inference.runtime import Exported, threads

K = 3


@pytest.fixture(scope="module")
def classifier(weights: Path) -> Classifier:
    return load_network(weights, "cpu")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, classifier: Classifier) -> Path:
    """An export that takes an image of any size."""
    path = tmp_path_factory.mktemp("export") / "whole.onnx"
    writer.write(Order(classifier, "fp32", batched=False), path)
    return path


@pytest.fixture(scope="module")
def batched(tmp_path_factory: pytest.TempPathFactory, classifier: Classifier) -> Path:
    """An export that takes normalised batches."""
    path = tmp_path_factory.mktemp("export") / "batched.onnx"
    writer.write(Order(classifier, "fp32", batched=True), path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A tall JPEG, a wide PNG with alpha, a TIFF of two pages, a file that is torn, and none."""
    folder, draw = tmp_path_factory.mktemp("photos"), np.random.default_rng(1)
    paths = [folder / name for name in ("tall.jpg", "wide.png", "pages.tif", "torn.jpg", "missing.jpg")]
    Image.fromarray(draw.integers(0, 256, (300, 201, 3), np.uint8)).save(paths[0])
    Image.fromarray(draw.integers(0, 256, (80, 170, 4), np.uint8)).save(paths[1])
    pages = [Image.fromarray(draw.integers(0, 256, (90, 90), np.uint8)) for _ in range(2)]
    pages[0].save(paths[2], save_all=True, append_images=pages[1:])
    paths[3].write_bytes(paths[0].read_bytes()[:1000])
    return paths


def close(found: list[Any], wanted: list[Any]) -> None:
    """Equal but for the rounding of probabilities."""
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert (one.path, one.error, one.note) == (other.path, other.error, other.note)
        chances = [{guess.label: guess.probability for guess in each.predictions} for each in (one, other)]
        assert chances[0] == pytest.approx(chances[1], abs=2e-6)


@pytest.mark.parametrize("kind", ["whole", "batched"])
@pytest.mark.parametrize("brief", [False, True])
def test_an_export_answers_as_its_model(
    kind: str, brief: bool, request: pytest.FixtureRequest, classifier: Classifier, photos: list[Path]
) -> None:
    export = load(request.getfixturevalue(kind), brief=brief)
    assert isinstance(export, Exported)
    wanted = classifier.predict(photos)
    assert [bool(each.error) for each in wanted] == [False, False, False, True, True]
    assert wanted[2].note
    close(export.predict(photos), wanted)


def test_an_export_takes_the_kinds_of_images_that_a_classifier_takes(whole: Path, classifier: Classifier) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (2, 75, 100, 3), np.uint8)
    export = alexnet.load(whole)
    given = [pixels[0], torch.from_numpy(pixels[1]).permute(2, 0, 1), Image.fromarray(pixels[0])]
    close(export.predict(given, top_k=2), classifier.predict(given, top_k=2))
    assert len(export.predict(pixels)) == 2
    assert export.predict([]) == []
    with pytest.raises(UsageError, match="top_k is 0"):
        export.predict(pixels, top_k=0)


def test_views_are_averaged_where_the_export_takes_batches(
    batched: Path, classifier: Classifier, photos: list[Path]
) -> None:
    for views in (9, 10):
        close(load(batched).predict(photos[:2], views=views), classifier.predict(photos[:2], views=views))


def test_other_views_are_refused_where_the_preprocessing_is_inside(whole: Path, data: Path, photos: list[Path]) -> None:
    with pytest.raises(UsageError, match=r"views is 10, .*centre alone.*--batched"):
        load(whole).predict(photos, views=10)
    with pytest.raises(UsageError, match="views is 10"):
        evaluate(whole, data, views=10)


def test_evaluate_measures_an_export_as_its_model(batched: Path, whole: Path, weights: Path, data: Path) -> None:
    with pytest.warns(UserWarning, match="belongs to no run"):
        wanted = evaluate(weights, data, device="cpu")
    for model in (whole, load(batched)):
        with pytest.warns(UserWarning, match="belongs to no run"):
            found = evaluate(model, data, batch_size=16)
        assert (found.images, found.confusion) == (36, wanted.confusion)
        assert found.ece == pytest.approx(wanted.ece, abs=1e-5)


def test_an_export_in_a_runs_folder_is_measured_on_what_the_run_held_out(
    whole: Path, data: Path, tmp_path: Path, write_run: Callable[..., dict[str, str]]
) -> None:
    write_run(tmp_path / "run", data, lambda number: "test" if number < 7 else "train")
    (tmp_path / "run" / "model.onnx").write_bytes(whole.read_bytes())
    assert (evaluate(tmp_path / "run" / "model.onnx", data).split, 7) == ("test", 7)


# --- what is refused ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda"}, r"device is 'cuda', .*on the processor"),
        ({"precision": "bfloat16"}, r"precision is 'bfloat16', .*fixed when it is made"),
    ],
)
def test_device_and_precision_are_those_of_the_export(whole: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(whole, **options)


def test_what_needs_the_network_itself_refuses_an_export(whole: Path) -> None:
    with pytest.raises(
        UsageError, match=r"whole.onnx is an export, which predict and evaluate take; .*the run's folder"
    ):
        load_network(whole)
    with pytest.raises(UsageError, match=r"gives no feature vectors; load the run"):
        load(whole).embed([])


def small(path: Path, card: object, outputs: int = K, value: float = 1 / K, name: str = "image") -> Path:
    """An ONNX file that gives constant probabilities. card: as JSON, a text, or None for a file without one."""
    kind, shape = (TensorProto.UINT8, ["H", "W", 3]) if name == "image" else (TensorProto.FLOAT, ["N", 3, 63, 63])
    constant = helper.make_tensor("found", TensorProto.FLOAT, [outputs], [value] * outputs)
    graph = helper.make_graph(
        [helper.make_node("Constant", [], ["probabilities"], value=constant)],
        "small",
        [helper.make_tensor_value_info(name, kind, shape)],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [outputs])],
    )
    made = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    if card is not None:
        helper.set_model_props(made, {"alexnet.card": card if isinstance(card, str) else json.dumps(card)})
    onnx.save(made, path)
    return path


@pytest.fixture
def card(classifier: Classifier) -> dict[str, Any]:
    return classifier.card.to_json()


def test_an_onnx_file_that_is_not_ours_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no export of ours either, for its metadata has no alexnet.card"):
        load(small(tmp_path / "other.onnx", None))


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "card is damaged"), ("[]", "card is damaged"), ('{"network": "modern", "class_names": ["a"]}', "preproc")],
)
def test_a_damaged_card_is_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(WeightsError, match=f"bad.onnx.*{message}"):
        load(small(tmp_path / "bad.onnx", text))


def test_a_truncated_export_is_told(whole: Path, tmp_path: Path) -> None:
    content = whole.read_bytes()
    for part in (len(content) // 2, len(content) - 40):
        (tmp_path / "torn.onnx").write_bytes(content[:part])
        with pytest.raises(AlexNetError, match=r"torn.onnx.*truncated"):
            load(tmp_path / "torn.onnx")


def test_answers_that_do_not_fit_the_card_are_told(tmp_path: Path, card: dict[str, Any]) -> None:
    image = np.zeros((9, 9, 3), np.uint8)
    with pytest.raises(WeightsError, match="gives 5 probabilities and names 3 classes"):
        load(small(tmp_path / "five.onnx", card, 5)).predict(image)
    with pytest.raises(Diverged, match="not finite"):
        load(small(tmp_path / "nan.onnx", card, value=float("nan"))).predict(image)
    with pytest.raises(WeightsError, match=r"takes pixels and gives probabilities; an export takes image or images"):
        load(small(tmp_path / "pixels.onnx", card, name="pixels"))


def test_a_missing_engine_gets_the_line_that_installs_it(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"needs the package onnxruntime; install it: pip install onnxruntime"):
        load(whole)


@pytest.mark.parametrize(("asked", "most"), [("1", 1), ("100000", 100000), ("many", 100000), ("", 100000)])
def test_threads_are_the_cores_or_fewer_where_asked(asked: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert 1 <= threads() <= most
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads() >= 1


# --- starting ---

STARTED = """
import sys
from alexnet.cli import main
code = main(sys.argv[1:])
modules = sorted({name.partition(".")[0] for name in sys.modules} | ({"torch._dynamo"} & set(sys.modules)))
peak = 0
if sys.platform == "linux":
    peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1024
print(code, peak, *modules)
"""
NEVER = {"sklearn", "scipy", "matplotlib", "captum", "pandas", "onnx", "torchmetrics", "torch._dynamo", "rich", "keras"}


def started(*words: str | Path) -> tuple[str, float, set[str]]:
    """The answer, the peak of memory in MB and the packages that a command imports, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", STARTED, *map(str, words)], capture_output=True, text=True, check=True)
    answer, told = done.stdout.splitlines()
    code, peak, *modules = told.split()
    assert code == "0"
    return answer, float(peak), set(modules)


def test_predict_of_an_export_imports_no_torch_and_takes_little_memory(
    whole: Path, photos: list[Path], classifier: Classifier
) -> None:
    answer, peak, modules = started("predict", whole, photos[0], "--json", "--top", "1")
    assert not modules & {*NEVER, "torch", "safetensors"}
    assert "onnxruntime" in modules
    assert peak <= 120
    assert json.loads(answer)[0]["predictions"][0]["label"] == classifier.predict(photos[0])[0].predictions[0].label


def test_predict_of_a_weights_file_imports_nothing_slow_beside_torch(weights: Path, photos: list[Path]) -> None:
    _, _, modules = started("predict", weights, photos[0], "--json")
    assert not modules & {*NEVER, "onnxruntime"}


def test_a_fingerprint_is_of_the_content_wherever_it_lies(
    whole: Path, batched: Path, weights: Path, classifier: Classifier, tmp_path: Path
) -> None:
    (tmp_path / "copy.onnx").write_bytes(whole.read_bytes())
    (tmp_path / "copy.safetensors").write_bytes(weights.read_bytes())
    assert load(tmp_path / "copy.onnx").fingerprint() == load(whole).fingerprint()
    assert load(tmp_path / "copy.safetensors").fingerprint() == classifier.fingerprint()
    assert len({load(whole).fingerprint(), load(batched).fingerprint(), classifier.fingerprint()}) == 3


@pytest.mark.parametrize(("name", "told"), [("gone.onnx", "no model at"), ("empty", "Docker"), ("x.bin", "no export")])
def test_without_torch_one_line_says_what_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.bin").write_bytes(b"no model")
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "alexnet.inference.classifier")
    with pytest.raises(WeightsError, match=told):
        load(tmp_path / name)
