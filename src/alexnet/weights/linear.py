"""The learned channel weights of a perceptual distance: lpips' files, and our own .safetensors form of them.

Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", arXiv 1801.03924, section
3.1: the vectors w_l that weight the channels of layer l. The package lpips has them as a pickle, weights/v0.1/alex.pth,
of tensors lin0.model.1.weight (1, C, 1, 1), lin1..., one a layer; it is read by torch's restricted unpickler, which
builds tensors alone.
"""

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from alexnet.errors import UsageError, WeightsError
from alexnet.files import whole_file
from alexnet.weights.card import tensors_sha256

KEY = "alexnet-channel-weights"  # the metadata entry: "1 " and the checksum
LPIPS = re.compile(r"lin(\d+)\.model\.\d+\.weight")
OURS = re.compile(r"layer(\d+)")


def read(path: str | os.PathLike[str]) -> list[Tensor]:
    """The weights of each layer, from the input on: float32 (C,), finite and at least 0.

    path: a .pth file as lpips has it, or a .safetensors file that `convert` wrote. WeightsError for a path that is no
    file, and for a file that is damaged, altered or something else.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"no file of channel weights at {path}; give lpips' alex.pth, or what it was converted to")
    if path.suffix == ".safetensors":
        return _checked(path, _read_ours(path), OURS)
    return _checked(path, _read_pickle(path), LPIPS)


def convert(source: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
    """Write the weights in `source` as a .safetensors file, which appears whole or not at all; errors as for `read`."""
    if Path(out).suffix != ".safetensors":
        raise UsageError(f"{out} does not end in .safetensors, the one format of weights; rename it")
    write(out, read(source))


def write(path: str | os.PathLike[str], weights: Sequence[Tensor]) -> None:
    """Write weights, float32 (C,) a layer, with a checksum of them."""
    tensors = {f"layer{place}": each.detach().float().cpu().contiguous() for place, each in enumerate(weights)}
    with whole_file(Path(path), "wb") as file:
        file.write(to_bytes(tensors, metadata={KEY: f"1 {tensors_sha256(KEY, tensors)}"}))


def _read_pickle(path: Path) -> Mapping[str, Any]:
    """The dictionary in a .pth file. Whatever a damaged or hostile file makes the unpickler raise, it is one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old storages
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"{path} cannot be read as tensors alone ({type(error).__name__}); give lpips' weights/v0.1/alex.pth"
        ) from error
    return found if isinstance(found, Mapping) else {}


def _read_ours(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:
            recorded = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged ({error}); convert it anew") from error
    if recorded is None:
        raise WeightsError(f"{path} holds no channel weights (it has no {KEY!r}); give lpips' alex.pth converted")
    if recorded != f"1 {tensors_sha256(KEY, tensors)}":
        raise WeightsError(f"{path} was altered or damaged after it was written; convert it anew")
    return tensors


def _checked(path: Path, tensors: Mapping[str, Any], names: re.Pattern[str]) -> list[Tensor]:
    """The vectors in the order of their numbers. WeightsError where one is missing, or no weights of channels."""
    found = {int(match[1]): tensors[name] for name in tensors if (match := names.fullmatch(str(name)))}
    if not found or sorted(found) != list(range(len(found))):
        raise WeightsError(
            f"{path} holds no channel weights: expected lin0.model.1.weight, lin1..., as lpips' alex.pth"
        )
    weights = [found[place] for place in sorted(found)]
    for place, each in enumerate(weights):
        if not isinstance(each, Tensor) or not each.is_floating_point() or each.numel() != max(each.shape, default=0):
            raise WeightsError(f"{path}: the weights of layer {place} are no vector of numbers; take a fresh copy")
        if not (each.isfinite().all() and (each >= 0).all()):
            raise WeightsError(f"{path}: layer {place} has weights below 0 or not finite; take a fresh copy")
    return [each.detach().flatten().float() for each in weights]
