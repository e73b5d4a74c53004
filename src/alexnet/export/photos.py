"""The photos on which an export is proven: those that the model's run held out, or any that the user names."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.data.form import Form
from alexnet.data.images import ImageSource, Pixels
from alexnet.data.samples import Source
from alexnet.data.sources import find_source, open_images
from alexnet.errors import DataError, ImageError, UsageError
from alexnet.inference.parts import RunData, keys_of, run_of

MOST = 1000  # photos that are answered; of more, as many evenly spaced ones

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Photos:
    """Some images of a source."""

    source: Source
    rows: NDArray[np.int64]
    part: str  # "test", "val", "train", or "all"

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        """ "340 photos of flowers17, test"."""
        part = "" if self.part == "all" else f", {self.part}"
        return f"{len(self):,} photo{'s' if len(self) != 1 else ''} of {self.source.name}{part}"

    def decoded(self, form: Form) -> Iterator[Pixels]:
        """Each photo's pixels, uint8 (H, W, 3), as the form decodes them; those that cannot be read are passed over."""
        for row in self.rows:
            image: ImageSource = self.source.read(int(row))
            try:
                yield form.decode(image)
            except ImageError as error:
                log.warning("%s is passed over: %s", self.source.samples[row].path, error)


def held_out(model: Path | None, data: str | None = None) -> Photos:
    """The photos of a model's run that it did not train on, test before val; of other data all photos.

    model: the run's folder or a weights file, None for one that has neither. data: where the photos lie, None for
    where the run found them. UsageError where there are none.
    """
    run = run_of(model) if model else None
    source = _source(run, data)
    parts = _parts(run, source)
    for part in ("test", "val"):
        if (parts == part).any():
            return _spread(Photos(source, np.flatnonzero(parts == part), part))
    if data is None:
        raise UsageError(f"{model} held out no photos; name some to prove the export on, any will do: --data DATA")
    rows = np.flatnonzero(parts == "")
    return _spread(Photos(source, rows if len(rows) else np.arange(len(parts)), "all"))


def trained_on(model: Path | None, data: str | None = None) -> Photos:
    """The photos that a model's run trained on, all of them; of other data all photos. UsageError as `held_out`."""
    run = run_of(model) if model else None
    source = _source(run, data)
    rows = np.flatnonzero(_parts(run, source) == "train")
    return Photos(source, rows, "train") if len(rows) else Photos(source, np.arange(len(source.samples)), "all")


def _source(run: RunData | None, data: str | None) -> Source:
    if data is not None:
        return open_images(data)
    if run is None:
        raise UsageError("no photos of this model's are known; name some, any will do: --data DATA")
    try:
        return find_source(run.data)
    except (DataError, UsageError) as error:
        raise UsageError(f"the run's photos are not at hand ({error}); name where they lie now: --data DATA") from error


def _parts(run: RunData | None, source: Source) -> NDArray[np.str_]:
    """(N,) the part that the run gave each image, known by its path; "" for those that it did not divide."""
    known = run.parts if run else {}
    return np.array([known.get(key, "") for key in keys_of(sample.path for sample in source.samples)], dtype="<U5")


def _spread(photos: Photos) -> Photos:
    """At most MOST photos, evenly spaced."""
    if len(photos) <= MOST:
        return photos
    places = np.linspace(0, len(photos) - 1, MOST).astype(np.int64)
    return Photos(photos.source, photos.rows[places], photos.part)
