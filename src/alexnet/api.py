"""Training from Python: `train`, and the `Run` that it returns."""

import os
from functools import cached_property
from typing import Any

from alexnet.data.sources import Data, spec_of
from alexnet.errors import FileError, UsageError
from alexnet.inference.classifier import Classifier, load
from alexnet.inference.inputs import as_path
from alexnet.runs.folder import RunFolder
from alexnet.training.recipes import recipe as recipe_named


class Run(os.PathLike[str]):
    """A run in its folder. It is accepted wherever a path is, so `load(run)` and `evaluate(run, data)` work too."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """folder: of a run of `train` or of the command `alexnet train`; FileError for any other."""
        self.folder = as_path("a run's folder", folder)
        self._files = RunFolder(self.folder)
        self._config = self._files.read_config()
        if self._config.kind != "train":
            raise FileError(f"{self.folder} is a run of alexnet pretrain; give one of alexnet train")

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        """ "<Run runs/digits-modern-1: modern, test top-1 98.61%>"."""
        network = self._config.recipe["network"]
        if not self._files.is_finished:
            return f"<Run {self.folder}: {network}, not finished>"
        return f"<Run {self.folder}: {network}, {self.metrics['split']} top-1 {self.metrics['top1']:.2%}>"

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The final evaluation, from metrics.json: split, top1, top5, interval, confusion, seconds and more.

        FileError for a run that is not finished.
        """
        return self._files.read_metrics()

    @cached_property
    def classifier(self) -> Classifier:
        """The trained network, loaded when it is first asked for; answers are computed in float32."""
        return load(self.folder)


def train(data: Data, recipe: str = "modern", out: str | os.PathLike[str] | None = None, **settings: Any) -> Run:
    """Train a network on data by a named recipe.

    data: a known set such as "digits", the path of a folder of class folders, of a CSV or of a packed store, or a tuple
    (images, labels): uint8 (N, H, W, 3) and (N,). out: the run's folder; None: a new runs/<data>-<network>-<n>/. A
    folder that holds something already is left alone, and the next free name beside it is taken. settings: fields of
    the recipe that shall differ from it, such as epochs=20 or input_size=64 (`alexnet train --help` lists them).
    Raises UsageError for wrong settings and DataError for data that cannot be used, both before an image is read.
    """
    if not isinstance(recipe, str):
        raise UsageError(f"recipe is of type {type(recipe).__name__}; give the name of one, such as 'modern'")
    chosen, where = recipe_named(recipe, **settings), None if out is None else as_path("out", out)
    if not isinstance(data, tuple):
        spec_of(data)  # refuses data of another type
    from alexnet.training import run

    return Run(run.train(data, chosen, where))
