"""Whatever a user names as a model, ready for use. torch is imported for networks, and not for exports."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Union

from alexnet.errors import WeightsError
from alexnet.inference.runtime import Exported, open_export
from alexnet.weights import hub
from alexnet.weights.exported import export_card

if TYPE_CHECKING:
    import torch

    from alexnet.inference.classifier import Classifier


def load(
    path: str | os.PathLike[str],
    device: Union[str, "torch.device"] = "auto",
    precision: str = "float32",
    brief: bool = False,
) -> Union["Classifier", Exported]:
    """The classifier in a run's folder, in a weights file, published, on a hub, or in an export.

    path: as for `alexnet.inference.classifier.load`, or a file that `alexnet export` wrote, which is known by its
    content and used without torch: an `Exported`, with `predict` as a `Classifier` has. device, precision: as for
    `Classifier`; an export takes "auto" or "cpu", and no precision but its own. brief: for few images, which exports
    answer sooner and in less memory then (`alexnet.inference.runtime.open_export`). WeightsError for a path that is
    none of these, and for a file that is damaged.
    """
    is_path = isinstance(path, (str, os.PathLike)) and not hub.is_name(path)
    if is_path and (card := export_card(Path(os.fsdecode(path)))):
        return open_export(Path(os.fsdecode(path)), card, str(device), str(precision), brief)
    try:
        from alexnet.inference.classifier import load as load_network
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise _without_torch(path) from error
    return load_network(path, device, precision)


def _without_torch(path: str | os.PathLike[str]) -> WeightsError:
    """Why nothing was loaded where torch is not installed, as in an image that serves exports alone."""
    if Path(path).is_dir():
        told = f"{path} is a folder and no export; Docker makes an empty one where the file to mount is not there"
    elif Path(path).exists() or hub.is_name(path):
        told = f"{path} is no export, which alone is used without torch; install torch, or give alexnet export's file"
    else:
        told = f"no model at {path}; without torch give an export, the file that alexnet export wrote"
    return WeightsError(told)
