"""Claim: exports answer as the models they are made from, in every engine, for files of every size and format.

    python tools/export_parity.py networks [--engines onnxruntime,openvino,reference] [--batches 1,3,64]
    python tools/export_parity.py files runs/flowers [--every 1]

networks: every network at its published size, newly initialised; the largest difference of a logit from ours, as a
share of the largest logit. files: each photo that the run held out, saved anew in every size and format, answered by
Pillow and ONNX Runtime alone and by `alexnet predict`; prints how many get the same class. Markdown tables.
"""

import argparse
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from alexnet.data.preprocess import Preprocessing
from alexnet.export.network import PROBABILITIES, core
from alexnet.export.photos import held_out
from alexnet.export.run import export
from alexnet.inference.classifier import Classifier, load
from alexnet.networks import create, list_networks
from alexnet.networks.layers import Network
from alexnet.weights.card import Card

Array = NDArray[Any]
Run = Callable[[Array], Array]
SCALES = (0.25, 1.0, 2.5)
FORMATS: dict[str, dict[str, Any]] = {
    "jpeg": {"format": "JPEG", "quality": 92},
    "png": {"format": "PNG", "compress_level": 1},
    "webp": {"format": "WEBP", "quality": 90, "method": 0},
    "bmp": {"format": "BMP"},
    "tiff": {"format": "TIFF"},
}
LARGE_INPUT = 60  # standard deviation of the images, for LRN to matter


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_subparsers(dest="which", required=True)
    networks = which.add_parser("networks")
    networks.add_argument("--engines", default=",".join(ENGINES))
    networks.add_argument("--batches", default="1,3,64")
    networks.add_argument("--names", default=",".join(list_networks()))
    files = which.add_parser("files")
    files.add_argument("model", type=Path)
    files.add_argument("--every", type=int, default=1, help="of so many photos take one")
    asked = parser.parse_args()
    if asked.which == "files":
        print_files(asked.model, asked.every)
    else:
        print_networks(asked.names.split(","), asked.engines.split(","), [int(n) for n in asked.batches.split(",")])


# --- every network in every engine ---


def print_networks(names: list[str], engines: list[str], batches: list[int]) -> None:
    """A row a network: for each engine the largest relative difference over the batches."""
    print(f"| network, batches of {', '.join(map(str, batches))} | {' | '.join(engines)} |")
    print(f"|---|{'---|' * len(engines)}")
    for name in names:
        network, model = lively(name)
        images = torch.randn(max(batches), 3, network.input_size, network.input_size) * LARGE_INPUT
        with torch.inference_mode():
            logits = torch.cat([network(part) for part in images.split(8)]).numpy()
        found = [error(ENGINES[engine](model), images.numpy(), logits, batches) for engine in engines]
        print(f"| {name} | {' | '.join(f'{each:.1e}' for each in found)} |", flush=True)


def lively(name: str) -> tuple[Network, Any]:
    """A network with statistics of its own, and its core as ONNX with logits for probabilities."""
    torch.manual_seed(0)
    network = create(name).eval()
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if key.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif key.endswith("running_mean"):
                value.normal_(0, 0.3)
    names = [str(number) for number in range(network.num_classes)]
    form = Preprocessing(network.input_size, network.resize, network.mean, network.std)
    model = core(network, Card(name, network.num_classes, network.input_size, {}, names, form.to_json()))
    softmax = model.graph.node.pop()
    model.graph.node[-1].output[0] = softmax.output[0]
    return network, model


def error(run: Run, images: Array, logits: Array, batches: list[int]) -> float:
    """The largest difference, as a share of the largest logit."""
    differences = [np.abs(run(images[:count]) - logits[:count]).max() for count in batches]
    return float(max(differences) / np.abs(logits).max())


def by_onnxruntime(model: Any) -> Run:
    """ONNX Runtime on the processor."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda images: session.run([PROBABILITIES], {"images": images})[0]


def by_openvino(model: Any) -> Run:
    """OpenVINO on the processor, in float32."""
    import openvino

    ready = openvino.Core()
    compiled = ready.compile_model(
        ready.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return lambda images: compiled([images])[PROBABILITIES]


def by_reference(model: Any) -> Run:
    """ONNX's reference evaluator, its LRN put right: that of onnx 1.23 normalises the first N channels alone."""
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpRun

    class LRN(OpRun):
        op_domain = ""

        def _run(self, x: Array, alpha: float, beta: float, bias: float, size: int) -> tuple[Array]:
            squares = np.pad(x**2, ((0, 0), ((size - 1) // 2, size // 2), (0, 0), (0, 0)))
            total = sum(squares[:, shift : shift + x.shape[1]] for shift in range(size))
            return ((x / (bias + alpha / size * total) ** beta).astype(x.dtype),)

    evaluator = ReferenceEvaluator(model, new_ops=[LRN])
    return lambda images: evaluator.run(None, {"images": images})[0]


ENGINES: dict[str, Callable[[Any], Run]] = {
    "onnxruntime": by_onnxruntime,
    "openvino": by_openvino,
    "reference": by_reference,
}


# --- whole files ---


def print_files(model: Path, every: int) -> None:
    """A row a format, a column a size: how many files get the same class from the export as from the model."""
    classifier = load(model, "cpu")
    shapes = [f"{scale:g} x the size" for scale in SCALES]
    with TemporaryDirectory() as folder:
        session = _session(export(model, out=Path(folder, "model.onnx")).path)
        print(f"| format | {' | '.join(shapes)} | largest difference of a probability |")
        print(f"|---|{'---|' * (len(shapes) + 1)}")
        for name in FORMATS:
            answers = [list(_answers(classifier, session, name, scale, every)) for scale in SCALES]
            told = [f"{sum(same for same, _ in each)} of {len(each)}" for each in answers]
            print(
                f"| {name} | {' | '.join(told)} | {max(far for each in answers for _, far in each):.4f} |", flush=True
            )


def _answers(classifier: Classifier, session: Any, name: str, scale: float, every: int) -> Iterator[tuple[bool, float]]:
    """For each file whether both give the same class, and the largest difference of a probability."""
    photos = held_out(classifier.origin)
    for row in photos.rows[::every]:
        image = Image.open(photos.source.read(int(row))).convert("RGB")  # type: ignore[arg-type]
        file = io.BytesIO()
        image.resize([max(1, round(side * scale)) for side in image.size]).save(file, **FORMATS[name])
        own = classifier.predict([io.BytesIO(file.getvalue())], top_k=len(classifier.class_names))[0]
        chances = {guess.label: guess.probability for guess in own.predictions}
        found = plain_answer(session, io.BytesIO(file.getvalue()))
        expected = np.array([chances[label] for label in classifier.class_names])
        yield bool(expected.argmax() == found.argmax()), float(np.abs(expected - found).max())


def plain_answer(session: Any, file: Any) -> Array:
    """As a stranger does it, docs/export.md: Pillow and ONNX Runtime alone."""
    image = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
    found: Array = session.run([PROBABILITIES], {"image": np.asarray(image)})[0]
    return found


def _session(path: str) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main()
