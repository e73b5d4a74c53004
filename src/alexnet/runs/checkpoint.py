"""All that a resumed run needs, in one file that appears whole or not at all.

The tensors of the network, of its moving average and of the optimizer are safetensors; the run's progress is JSON in
the file's metadata. Nothing is pickled.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from alexnet.errors import WeightsError
from alexnet.files import whole_file
from alexnet.runs.folder import CHECKPOINT
from alexnet.weights.card import tensors_sha256


@dataclass
class Progress:
    """Where a run stands; with the tensors, everything that its future depends on."""

    epoch: int = 0  # epochs completed
    step: int = 0  # steps taken within the current epoch
    loss_sum: float = 0.0  # over those steps
    score_sum: float = 0.0  # over the images of those steps: see `Task.score_name`
    seconds: float = 0.0  # of training, evaluation included
    best_epoch: int = 0  # the epoch whose weights are kept; 0: none yet
    best_score: float = -1.0  # its top-1 on the validation part
    rows: list[dict[str, Any]] = field(default_factory=list)  # metrics.csv

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The record from its dictionary; checkpoints of format 1 call `score_sum` "correct"."""
        renamed = {"score_sum" if name == "correct" else name: value for name, value in values.items()}
        return cls(**renamed)


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment: its progress and copies of its tensors, which later steps do not change."""

    progress: str  # JSON
    tensors: dict[str, Tensor]  # on the processor, contiguous


def take_snapshot(
    progress: Progress, network: nn.Module, average: nn.Module | None, optimizer: torch.optim.Optimizer
) -> Snapshot:
    """Copy everything that a resume needs."""
    tensors = _prefixed("network", network.state_dict())
    if average is not None:
        tensors |= _prefixed("average", average.state_dict())
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= _prefixed(f"optimizer.{index}", state)
    return Snapshot(json.dumps(dataclasses.asdict(progress)), {name: copied(each) for name, each in tensors.items()})


def copied(tensor: Tensor) -> Tensor:
    """A contiguous copy on the processor that shares no memory with the tensor."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def write_snapshot(run: Path, snapshot: Snapshot) -> None:
    """Write RUN/last/checkpoint.safetensors."""
    notes = {"progress": snapshot.progress, "sha256": tensors_sha256(snapshot.progress, snapshot.tensors)}
    with whole_file(run / CHECKPOINT, "wb") as file:
        file.write(save(snapshot.tensors, {"checkpoint": json.dumps(notes)}))


def read_progress(run: Path) -> Progress | None:
    """The progress in the run's checkpoint, its tensors unread; None where there is none yet."""
    path = run / CHECKPOINT
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            return Progress.from_json(json.loads(json.loads(file.metadata()["checkpoint"])["progress"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def load_checkpoint(
    run: Path, network: nn.Module, average: nn.Module | None, optimizer: torch.optim.Optimizer
) -> Progress | None:
    """Fill the network, its average and the optimizer from the run's checkpoint; None where there is none yet."""
    path = run / CHECKPOINT
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            notes = json.loads(file.metadata()["checkpoint"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
        progress = Progress.from_json(json.loads(notes["progress"]))
        if notes["sha256"] != tensors_sha256(notes["progress"], tensors):
            raise ValueError("its checksum is another")
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error
    try:
        network.load_state_dict(_part(tensors, "network"))
        if average is not None:
            average.load_state_dict(_part(tensors, "average"))
        _load_optimizer(optimizer, tensors)
    except (RuntimeError, KeyError, IndexError) as error:
        raise WeightsError(f"the checkpoint {path} belongs to another network than {run}/config.json names") from error
    return progress


def _damaged(path: Path, error: Exception) -> WeightsError:
    return WeightsError(f"the checkpoint {path} is damaged ({error}); start the run anew")


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Each state tensor in the memory layout of its weight, which the fused optimizers require."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(tensors, "optimizer").items():
        index, _, key = name.partition(".")
        weight = weights[int(index)]
        laid_out = torch.empty_like(weight).copy_(tensor) if tensor.shape == weight.shape else tensor
        state.setdefault(int(index), {})[key] = laid_out
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _prefixed(prefix: str, tensors: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items() if tensor is not None}


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}."): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")
    }
