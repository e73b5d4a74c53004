"""A checkpoint holds a moment of a run: later steps do not change it, older ones are read."""

import json

import torch
from safetensors.torch import save_file
from torch import nn

from alexnet.runs.checkpoint import Progress, load_checkpoint, read_progress, take_snapshot, write_snapshot
from alexnet.runs.folder import CHECKPOINT
from alexnet.weights.card import tensors_sha256


def stepped() -> tuple[nn.Linear, torch.optim.Adam]:
    """A layer and its optimizer after one step."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    step(layer, optimizer)
    return layer, optimizer


def step(layer: nn.Linear, optimizer: torch.optim.Adam) -> None:
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()


def test_a_snapshot_is_not_changed_by_later_steps(tmp_path):
    layer, optimizer = stepped()
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    moment = optimizer.state[layer.weight]["exp_avg"].clone()
    snapshot = take_snapshot(Progress(epoch=3, score_sum=1.5), layer, None, optimizer)
    step(layer, optimizer)
    write_snapshot(tmp_path, snapshot)
    other, other_optimizer = stepped()
    assert load_checkpoint(tmp_path, other, None, other_optimizer) == Progress(epoch=3, score_sum=1.5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())
    assert torch.equal(other_optimizer.state[other.weight]["exp_avg"], moment)


def test_progress_of_format_1_is_read(tmp_path):
    values = {"epoch": 2, "step": 1, "loss_sum": 3.0, "correct": 4.0, "seconds": 5.0, "best_epoch": 2}
    progress = json.dumps({**values, "best_score": 0.5, "rows": [{"epoch": 1}]})
    tensors = {"network.weight": torch.ones(1)}
    notes = json.dumps({"progress": progress, "sha256": tensors_sha256(progress, tensors)})
    (tmp_path / CHECKPOINT).parent.mkdir()
    save_file(tensors, tmp_path / CHECKPOINT, {"checkpoint": notes})
    assert read_progress(tmp_path) == Progress(2, 1, 3.0, 4.0, 5.0, 2, 0.5, [{"epoch": 1}])
