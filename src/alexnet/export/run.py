"""alexnet export from its first line to its last: the file is written, proven, and only then takes its name."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from alexnet.errors import UsageError
from alexnet.export.formats import Format, Order, check, format_of, module_of
from alexnet.export.photos import Photos, held_out
from alexnet.export.verify import Proof, prove
from alexnet.files import whole_file, whole_folder
from alexnet.inference.classifier import load
from alexnet.inference.inputs import as_path
from alexnet.inference.parts import place_of
from alexnet.weights.named import file_of

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Exported:
    """An export that was written and proven."""

    path: str
    format: str
    precision: str
    batched: bool
    size: int  # bytes
    model_size: int  # of the weights file it was made from
    engine: str  # that answered
    photos: str  # "340 photos of flowers17, test"
    proof: Proof

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def export(
    model: str | os.PathLike[str],
    format: str = "onnx",
    precision: str | None = None,
    out: str | os.PathLike[str] | None = None,
    batched: bool = False,
    data: str | None = None,
    progress: Progress | None = None,
    title: str | None = None,
) -> Exported:
    """Write a model as a file for another engine, and prove that it answers the same.

    model: as for `load`, no export. format, precision: see `formats.FORMATS`; None: the usual one. out: the file, or
    the folder of formats that are folders; None: model.onnx, model-fp16.onnx, ... in the run's folder, for other
    weights a file of their name in the current folder. What stood there is replaced, once the new file is proven.
    batched: the export takes normalised batches instead of a picture. data: photos to prove it on; None: those that the
    model's run held out. progress: called with (photos done, N). title: of a page; None: one of the classes.
    Raises UsageError for what cannot be exported, for a package that is missing (with its install command) and where
    there are no photos; AlexNetError for an export that answers otherwise than the model. Nothing is left then.
    """
    kind = format_of(format)
    precision = precision or kind.usual
    check(kind, format, precision, batched, title)
    order = Order(load(model, "cpu"), precision, batched, data, title)
    given = None if out is None else as_path("out", out)
    if given is not None and given.suffix != kind.suffix:
        raise UsageError(f"--out {out} does not end in {kind.suffix}, as exports of the format {format} do; rename it")
    photos = held_out(order.classifier.origin, data)
    path = given or _place(order, kind)
    with (whole_folder if kind.folder else _file)(path) as place:
        module_of(kind).write(order, place)
        proof = _proven(order, kind, place, photos, progress)
        size = _bytes(place)
    told = (kind.engine, str(photos), proof)
    return Exported(str(path), format, precision, batched, size, _bytes(file_of(order.classifier.name)), *told)


def _place(order: Order, kind: Format) -> Path:
    """model.onnx, model-fp16.onnx, model-batched.onnx ...: in the run's folder, else named after the weights."""
    origin = order.classifier.origin
    marks = ("" if order.precision == kind.usual else f"-{order.precision}") + ("-batched" if order.batched else "")
    stem = _plain(order.classifier.name) if origin is None else origin.stem
    names = (f"model{marks}{kind.suffix}", f"{stem}{marks}{kind.suffix}")
    return place_of(origin, order.classifier.name, *names)


def _plain(name: str) -> str:
    """ "imagenet-bvlc" of imagenet:bvlc, "flowers" of hub:me/flowers@commit: a name for a file."""
    return name.partition("@")[0].rpartition("/")[2].replace(":", "-")


def _proven(order: Order, kind: Format, place: Path, photos: Photos, progress: Progress | None) -> Proof:
    moved = None if progress is None else partial(_moved, progress, len(photos))
    tolerance = kind.tolerances[order.precision]
    engine = module_of(kind).engine(place)
    proof = prove(order.classifier, engine, photos.decoded(order.classifier.form), tolerance, moved)
    proof.check(tolerance)
    return proof


def _moved(progress: Progress, total: int, done: int) -> None:
    progress(done, total)


@contextmanager
def _file(path: Path) -> Iterator[Path]:
    """A place for a file that takes its name at the end of the block, or never."""
    with whole_file(path, "wb") as file:
        yield Path(file.name)


def _bytes(path: Path) -> int:
    files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
    return sum(each.stat().st_size for each in files)
