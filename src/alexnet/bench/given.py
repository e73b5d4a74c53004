"""Subject "predict" for models that the user names: runs, weights files and exports, from JPEG to class names."""

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from alexnet.bench.measure import Contender, Options, Series, measured
from alexnet.bench.pictures import photographs
from alexnet.bench.table import Row, duration, share
from alexnet.bench.worker import Work, repeated

TITLE = "from JPEG to names"


def measure(options: Options) -> Iterator[Row]:
    """Latency of one photo of 500 x 375 pixels for each of `options.models`, and as a share of the first one's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photo = str(folder / photographs(folder, 1)[0])
        contenders = [
            Contender(f"{model}, {TITLE}", f"{__name__}:answers", options.settings(model=model, photo=photo))
            for model in dict.fromkeys(options.models)
        ]
        names = [each.name for each in contenders]
        yield from measured("predict", contenders, options.repeats, partial(_rows, names))


def _rows(names: Sequence[str], found: dict[str, Series]) -> Iterator[Row]:
    yield from (duration("predict", found[name]) for name in names)
    for name in names[1:]:
        yield share("predict", f"{name}: of {names[0].removesuffix(f', {TITLE}')}", found[name], found[names[0]])


def answers(model: str, photo: str, seconds: float, device: str) -> Work:
    """`predict` of one file by a model as `alexnet.load` takes it, in the precision that is fastest. Unit: image."""
    from alexnet.inference.loading import load

    loaded = load(model, device, "auto")
    return repeated(lambda: loaded.predict(photo), 1, seconds, device)
