"""An export in use: Pillow decodes, an engine computes, and torch is not imported.

N images stored as S x S pixels, K classes. An export takes `image`, one image of uint8 (H, W, 3), with all of the
preprocessing in its graph; or, made with --batched, `images`, float32 (N, 3, input size, input size), normalized. It
gives `probabilities`, and `unknown` where its card has a score for 'none of these'. Images come to it in the stored
form, as they come to the run that it was made from, so that both answer the same pixels.
"""

import hashlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from alexnet.data.form import Form
from alexnet.data.images import Pixels
from alexnet.data.places import centre, network_input
from alexnet.data.workers import cores
from alexnet.errors import Diverged, UsageError, WeightsError
from alexnet.files import sha256_of
from alexnet.inference.answers import Answering, Answers
from alexnet.weights.exported import PROBABILITIES, UNKNOWN, ExportCard, is_program, openvino_file

WHOLE, BATCHED = "image", "images"  # names of the input
DEVICES, PRECISIONS = ("auto", "cpu"), ("auto", "float32")
FORM = ("store_size", "fit", "value_range", "exact")  # what of the preprocessing is the stored form


class Engine(Protocol):
    """What computes an export."""

    input: str  # the name of its one input
    outputs: tuple[str, ...]

    def __call__(self, given: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs, in their order, for this input."""


class OnnxRuntime:
    """The session of an ONNX file. UsageError without the package onnxruntime, WeightsError for what it cannot run."""

    def __init__(self, path: Path, brief: bool = False):
        """brief: for few images, see `open_export`."""
        library = _package("onnxruntime", path)
        options = library.SessionOptions()
        options.log_severity_level = 4  # what is wrong is raised, too
        options.intra_op_num_threads, options.inter_op_num_threads = threads(), 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait take no core
        if brief:  # without the one step beyond it, which lays weights out anew for the processor's vectors
            options.graph_optimization_level = library.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        try:
            self._session = library.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no common class but this
            raise WeightsError(
                f"{path} is not run by ONNX Runtime {library.__version__} ({_first_line(error)}); "
                "take a newer ONNX Runtime, or export the model anew"
            ) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self.input = inputs[0].name if len(inputs) == 1 else ", ".join(each.name for each in inputs)
        self.outputs = tuple(each.name for each in outputs)

    def __call__(self, given: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs for this input."""
        found: list[NDArray[Any]] = self._session.run(None, {self.input: given})
        return found


class OpenVino:
    """A folder of OpenVINO's, or its .xml file, compiled for this processor; computes in float32 and, where it is
    quantised, in int8, whatever the processor has.

    UsageError without the package openvino, WeightsError for what it cannot run.
    """

    def __init__(self, path: Path):
        library = _package("openvino", path)
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads(),
        }
        try:
            self._compiled = library.Core().compile_model(openvino_file(path) or path, "CPU", settings)
        except Exception as error:  # its errors have no common class but this
            raise WeightsError(
                f"{path} is not run by OpenVINO {library.__version__} ({_first_line(error)}); "
                "take a newer OpenVINO, or export the model anew"
            ) from error
        self.input = ", ".join(each.any_name for each in self._compiled.inputs)
        self.outputs = tuple(each.any_name for each in self._compiled.outputs)

    def __call__(self, given: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs for this input."""
        return [np.array(each) for each in self._compiled(given).values()]


class ExecuTorch:
    """A .pte program in ExecuTorch's runtime, which imports torch; takes images in the stored form alone.

    UsageError without the package executorch, WeightsError for what it cannot run.
    """

    input = WHOLE

    def __init__(self, path: Path):
        try:
            with hushed():
                runtime = _package("executorch.runtime", path)
                self._program = runtime.Runtime.get().load_program(path)  # held: the method uses its memory
                self._method = self._program.load_method("forward")
        except UsageError:
            raise
        except Exception as error:  # its errors have no common class but this
            raise WeightsError(
                f"{path} is not run by ExecuTorch ({_first_line(error)}); take a newer one, or export the model anew"
            ) from error
        self.outputs = (PROBABILITIES, UNKNOWN)[: self._method.metadata.num_outputs()]

    def __call__(self, given: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs for this input."""
        import torch

        found = self._method.execute([torch.from_numpy(given)])
        return [each.numpy().copy() for each in found]  # the next call writes into the same memory


class Exported(Answering):
    """An export with its card: its class names and the stored form of its images."""

    def __init__(self, path: str | os.PathLike[str], card: ExportCard, engine: Engine):
        """card: as `alexnet.weights.exported.export_card` reads it. WeightsError where the graph is of another form."""
        self.origin = Path(path)
        self.card = card
        self.class_names = card.class_names
        self.preprocessing = card.preprocessing
        self.form = _form(card.preprocessing)
        self._engine = engine
        if engine.input not in (WHOLE, BATCHED) or PROBABILITIES not in engine.outputs:
            raise WeightsError(
                f"{path} takes {engine.input} and gives {', '.join(engine.outputs)}; an export takes {WHOLE} or "
                f"{BATCHED} and gives {PROBABILITIES}: export the model anew"
            )

    @property
    def name(self) -> str:
        """The file."""
        return str(self.origin)

    def __repr__(self) -> str:
        """ "<Exported modern at 160 px, 17 classes, from flowers.onnx>"."""
        network = f"{self.card.network} at {self.preprocessing['input_size']} px, {len(self.class_names)} classes"
        return f"<Exported {network}, from {self.origin}>"

    def check_views(self, views: int) -> None:
        """UsageError for another number than 1 where the preprocessing is in the graph, which takes the centre."""
        super().check_views(views)
        if views != 1 and self._engine.input == WHOLE:
            raise UsageError(
                f"views is {views}, and {self.origin} takes the centre alone; give 1, the run that it was made from, "
                "or an export made with --batched"
            )

    def probabilities(self, stored: Sequence[Pixels], views: int = 1) -> NDArray[np.float32]:
        """N of uint8 (S, S, 3) -> float32 (N, K), averaged over the views of each."""
        return self.answers(stored, views).probabilities

    def answers(self, stored: Sequence[Pixels], views: int = 1) -> Answers:
        """N of uint8 (S, S, 3) -> probabilities, averaged over the views of each, and the score of the centre.

        Diverged for probabilities that are not finite, WeightsError for another number of them than of class names.
        """
        self.check_views(views)
        found = [self._one(image) for image in stored] if self._engine.input == WHOLE else [self._many(stored, views)]
        told = {
            name: np.concatenate([np.asarray(each[place], np.float32) for each in found])
            for place, name in enumerate(self._engine.outputs)
        }
        chances, unknown = told[PROBABILITIES].reshape(len(stored), views, -1).mean(1), told.get(UNKNOWN)
        self._check(chances)
        return Answers(chances, None if unknown is None else unknown.reshape(len(stored), views)[:, centre(views)])

    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 of its file; of OpenVINO's graph with that of the weights beside it."""
        graph = openvino_file(Path(self.name))
        if graph is None:
            return super().fingerprint()
        both = sha256_of(graph) + sha256_of(graph.with_suffix(".bin"))
        return hashlib.sha256(both.encode()).hexdigest()

    def embed(self, *_: object, **__: object) -> NoReturn:
        """UsageError: an export gives answers, its layers' outputs are not among them."""
        raise UsageError(
            f"{self.origin} is an export, which gives no feature vectors; load the run that it was made from"
        )

    def _one(self, image: Pixels) -> list[NDArray[Any]]:
        """The outputs for one image, with a first axis of 1 as batches have."""
        return [np.asarray(each)[np.newaxis] for each in self._engine(np.ascontiguousarray(image))]

    def _many(self, stored: Sequence[Pixels], views: int) -> list[NDArray[Any]]:
        return self._engine(network_input(stored, self.preprocessing, views))

    def _check(self, chances: NDArray[np.float32]) -> None:
        if chances.shape[1] != len(self.class_names):
            raise WeightsError(
                f"{self.origin} gives {chances.shape[1]} probabilities and names {len(self.class_names)} classes; "
                "export the model anew"
            )
        if not np.isfinite(chances).all():
            raise Diverged(f"{self.origin} gave outputs that are not finite; its weights may have diverged")


def open_export(
    path: str | os.PathLike[str],
    card: ExportCard,
    device: str = "auto",
    precision: str = "float32",
    brief: bool = False,
) -> Exported:
    """The export in a file, of which `export_card` gave the card.

    brief: for few images. `modern` in float32 then opens in two thirds of the time and takes 18 MB less, and an image
    takes 15 % longer.
    UsageError for a device other than the processor, and for a precision, which is fixed when an export is made.
    """
    if device not in DEVICES:
        raise UsageError(f"device is {device!r}, and an export computes on the processor; leave it out, or give cpu")
    if precision not in PRECISIONS:
        raise UsageError(
            f"precision is {precision!r}, and that of an export is fixed when it is made: alexnet export --precision"
        )
    return Exported(path, card, _engine(Path(path), brief))


def _engine(path: Path, brief: bool) -> Engine:
    """The engine for a file, by its content."""
    if openvino_file(path):
        return OpenVino(path)
    with path.open("rb") as file:
        return ExecuTorch(path) if is_program(file.read(6)) else OnnxRuntime(path, brief)


def threads() -> int:
    """Threads that compute: the cores that this process may use, or fewer where OMP_NUM_THREADS says so."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores(), int(asked)) if asked.isdecimal() and int(asked) else cores()


def _form(preprocessing: dict[str, Any]) -> Form:
    """The stored form of the card's preprocessing."""
    values = {key: preprocessing[key] for key in FORM if key in preprocessing}
    size, values_in_file = values.pop("store_size", Form.size), values.pop("value_range", None)
    return Form(size, value_range=None if values_in_file is None else tuple(values_in_file), **values)


@contextmanager
def hushed() -> Iterator[None]:
    """Throw warnings and standard error away meanwhile: ExecuTorch tells what it probes of the processor."""
    sys.stderr.flush()
    try:
        before, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # no standard error
        yield
        return
    os.dup2(nothing, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stderr.flush()
        os.dup2(before, 2)
        os.close(before)
        os.close(nothing)


def _package(name: str, path: Path) -> Any:
    """A package by its name; UsageError says how to install it."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise UsageError(f"using {path} needs the package {package}; install it: pip install {package}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
