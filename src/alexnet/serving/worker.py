"""The process that decodes and computes: python -P -m alexnet.serving.worker.

It speaks over its standard input and output (`wire`), knows nothing of HTTP, and ends when its input does, so that none
is left behind. The first message says which model to open; the answer to it is its card, or why there is none. Every
later message is an image with its number, and gets one answer with the same number.

Small images are decoded by a few threads at once, large ones by a single thread of their own: they neither hold up the
others nor fill the memory. What is decoded is computed in batches of all that waits.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from alexnet.data.images import Pixels
from alexnet.data.places import VIEWS
from alexnet.data.workers import cores
from alexnet.errors import AlexNetError, ImageError, TooLarge, UsageError
from alexnet.inference.answers import BATCH, Answering, Answers, Prediction
from alexnet.inference.loading import load
from alexnet.inference.runtime import Exported
from alexnet.memory import give_back_memory
from alexnet.serving import wire
from alexnet.weights.exported import is_onnx

WAIT = 0.005  # seconds that a batch waits for images that are being decoded
SMALL, SMALL_JPEG = 4_000_000, 16_000_000  # pixels up to which several images are decoded at once
JPEG = b"\xff\xd8"  # decoded at a smaller scale, where others take up to 22 bytes a pixel
USUAL = 2_000_000  # pixels of a decoded image that need no more memory than the next will
TIDY = 1.0  # seconds between two times that memory is given back
SHARED = "this model"  # what a client is told in the place of its path


@dataclass
class Work:
    """One image on its way."""

    number: int
    top: int
    views: int
    coverage: float | None
    whole: bool  # whether all probabilities are asked for
    until: float  # time.monotonic() after which nobody waits for it
    body: bytes = b""
    pixels: Pixels | None = None
    note: str | None = None

    @property
    def late(self) -> bool:
        """Whether nobody waits for it any more."""
        return time.monotonic() > self.until


class Worker:
    """The threads between the two pipes."""

    def __init__(self, model: Answering, max_pixels: int, out: BinaryIO, at_once: bool) -> None:
        """at_once: the thread that has decoded an image computes its answer; else one thread computes batches."""
        self._model, self._max_pixels, self._out = model, max_pixels, out
        self._sending, self._counting = threading.Lock(), threading.Lock()
        self._decoded: queue.Queue[Work | None] = queue.Queue()
        self._coming = 0  # images that are being decoded and not large
        self._at_once = at_once
        self._untidy, self._tidied = False, 0.0  # whether memory is held that usual photos do not need
        self._few = ThreadPoolExecutor(cores() + 1, "decode")
        self._one = ThreadPoolExecutor(1, "decode-large")
        self._computing = threading.Thread(target=self._compute, daemon=True)
        self._computing.start()

    def take(self, work: Work) -> None:
        """Begin with an image."""
        self._count(1)
        self._few.submit(self._decode_small, work)

    def finish(self) -> None:
        """Answer all that was taken."""
        self._few.shutdown()
        self._one.shutdown()
        self._decoded.put(None)
        self._computing.join()

    def send(self, told: dict[str, Any], body: bytes = b"") -> None:
        """Give a message to the other process."""
        with self._sending:
            for piece in wire.pack(told, body):
                self._out.write(piece)
            self._out.flush()

    def _decode_small(self, work: Work) -> None:
        try:
            most = SMALL_JPEG if work.body.startswith(JPEG) else SMALL
            self._decode(work, min(most, self._max_pixels))
        except TooLarge as error:
            if self._max_pixels > most:
                self._one.submit(self._decode_large, work)
            else:
                self._refuse(work, error)
        finally:
            self._count(-1)
            self._tidy()

    def _decode_large(self, work: Work) -> None:
        try:
            self._decode(work, self._max_pixels)
        except TooLarge as error:
            self._refuse(work, error)
        finally:
            self._tidy()

    def _tidy(self) -> None:
        """Give back the memory of unusual images, once in a while."""
        if self._untidy and time.monotonic() > self._tidied + TIDY:
            self._untidy, self._tidied = False, time.monotonic()
            give_back_memory()

    def _decode(self, work: Work, max_pixels: int) -> None:
        """The image in its stored form, answered or handed on; TooLarge above `max_pixels`, other errors are told."""
        if work.late:
            self.send({"number": work.number, "kind": "late"})
            return
        try:
            packed = self._model.form.pack(work.body, max_pixels)
        except TooLarge:
            raise
        except ImageError as error:
            self._refuse(work, error)
            return
        except Exception as error:  # a decoder's own, or no memory
            self._fail(work, error)
            return
        self._untidy = self._untidy or packed.width * packed.height > USUAL
        work.pixels, work.note, work.body = packed.pixels, "; ".join(packed.remarks()) or None, b""
        if self._at_once:
            self._answer([work], work.views, work.coverage)
        else:
            self._decoded.put(work)

    def _compute(self) -> None:
        while batch := list(self._batch()):
            same = sorted(batch, key=_asked)
            for (views, coverage), works in groupby(same, _asked):
                for part in _parts(list(works), max(1, BATCH // views)):
                    self._answer(part, views, coverage or None)

    def _batch(self) -> Iterator[Work]:
        """What is decoded, waiting a moment for what is being decoded; nothing at the end."""
        until = None
        for _ in range(BATCH):
            try:
                work = self._decoded.get(True, None if until is None else max(until - time.monotonic(), 0))
            except queue.Empty:
                return
            if work is None:
                if until is not None:  # the end is met again by the next batch
                    self._decoded.put(None)
                return
            yield work
            until = time.monotonic() + WAIT if until is None else until
            until = until if self._coming else 0.0

    def _answer(self, works: list[Work], views: int, coverage: float | None) -> None:
        """Compute and send the answers of images for which the same is asked."""
        waited = [work for work in works if not work.late]
        for work in works:
            if work not in waited:
                self.send({"number": work.number, "kind": "late"})
        if not waited:
            return
        try:
            answers = self._model.answers([work.pixels for work in waited if work.pixels is not None], views)
            told = self._model.told(answers, max(work.top for work in waited), views, coverage)
        except Exception as error:  # told to the clients concerned; the others go on
            for work in waited:
                self._fail(work, error)
            return
        for place, work in enumerate(waited):
            self.send(*self._reply(work, told[place], answers, place))

    def _reply(self, work: Work, told: Prediction, answers: Answers, place: int) -> tuple[dict[str, Any], bytes]:
        """The message of an answer: as `alexnet predict --json` prints it, or all numbers."""
        told = replace(told, predictions=told.predictions[: work.top], note=work.note)
        values = told.to_json()
        if work.whole:
            values["probabilities"] = answers.probabilities[place].tolist()
        return {"number": work.number, "kind": "answer"}, json.dumps(values).encode()

    def _refuse(self, work: Work, error: ImageError) -> None:
        self._untidy = True  # it may have been decoded in part
        self.send({"number": work.number, "kind": "image", "detail": str(error)})

    def _fail(self, work: Work, error: Exception) -> None:
        print(f"alexnet: an image was not answered: {type(error).__name__}", file=sys.stderr, flush=True)
        told = str(error) if isinstance(error, AlexNetError) else f"unexpected {type(error).__name__}"
        self.send({"number": work.number, "kind": "failed", "detail": shared(told, self._model)})

    def _count(self, more: int) -> None:
        with self._counting:
            self._coming += more


def _asked(work: Work) -> tuple[int, float]:
    return work.views, work.coverage or 0.0


def _parts(works: list[Work], most: int) -> Iterator[list[Work]]:
    return (works[begin : begin + most] for begin in range(0, len(works), most))


def shared(text: str, model: Answering) -> str:
    """A message without the place where the model lies."""
    return text.replace(model.name, SHARED)


def card(model: Answering) -> dict[str, Any]:
    """What the other process must know of a model, found by one answer: the first is slow, too."""
    side = model.form.size
    answers = model.answers([np.zeros((side, side, 3), np.uint8)])
    described = model.card  # type: ignore[attr-defined]  # a Classifier's or an Exported's
    return {
        "network": described.network,
        "class_names": model.class_names,
        "input_size": int(described.preprocessing["input_size"]),
        "fit": model.form.fit,
        "calibrated": getattr(described, "calibration", None) is not None,
        "unknown": answers.unknown is not None,
        "views": {str(views): refusal(model, lambda views=views: model.check_views(views)) for views in VIEWS},
        "coverage": refusal(model, lambda: model.sets(answers.probabilities, 0.9)),
    }


def refusal(model: Answering, ask: Any) -> str | None:
    """Why a model does not do what it is asked; None where it does."""
    try:
        ask()
    except UsageError as error:
        return shared(str(error), model)
    return None


def opened(order: dict[str, Any]) -> tuple[Answering, bool]:
    """The model, and whether several threads may compute by it at once: an ONNX file's engine, one thread each."""
    path = Path(order["model"])
    at_once = path.is_file() and is_onnx(_head(path))
    if at_once:
        os.environ["OMP_NUM_THREADS"] = "1"  # of this process alone, before its engine is made
    model = load(order["model"], order["device"])
    return model, at_once and isinstance(model, Exported)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(6)


def works(messages: Iterable[wire.Message]) -> Iterator[Work]:
    """Messages of the other process as work."""
    for told, body in messages:
        seconds = told.pop("seconds")
        yield Work(**told, until=time.monotonic() + seconds, body=body)


def main() -> None:
    """Work until standard input ends."""
    for each in (signal.SIGINT, signal.SIGTERM):  # both go to the whole group; the end of input is what ends us
        signal.signal(each, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no message
    messages = iter(lambda: wire.read(sys.stdin.buffer), None)
    if (order := next(messages, None)) is None:
        return
    try:
        model, at_once = opened(order.told)
        told = card(model)
    except AlexNetError as error:
        out.write(b"".join(wire.pack({"failed": str(error), "code": error.exit_code})))
        out.flush()
        return
    worker = Worker(model, order.told["max_pixels"], out, at_once)
    try:
        worker.send(told)
        for work in works(messages):
            worker.take(work)
        worker.finish()
    finally:
        os._exit(0)  # threads of decoders that hang hold nothing up


if __name__ == "__main__":
    main()
