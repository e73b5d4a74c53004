"""Channel weights of a perceptual distance: read, converted, and refused where they are something else."""

import pickle
from pathlib import Path

import pytest
import torch

from alexnet.errors import UsageError, WeightsError
from alexnet.weights.linear import convert, read, write


def as_lpips(path: Path, *channels: int) -> Path:
    """A file as lpips has them, with random weights."""
    tensors = {f"lin{place}.model.1.weight": torch.rand(1, count, 1, 1) for place, count in enumerate(channels)}
    torch.save(tensors, path)
    return path


def test_a_file_of_lpips_is_read_in_the_order_of_its_layers(tmp_path: Path) -> None:
    path = as_lpips(tmp_path / "alex.pth", *range(1, 13))  # lin10 sorts before lin2
    wanted = torch.load(path, weights_only=True)
    found = read(path)
    assert [len(each) for each in found] == list(range(1, 13))
    assert all(torch.equal(each, wanted[f"lin{place}.model.1.weight"].flatten()) for place, each in enumerate(found))


def test_converting_keeps_every_bit(tmp_path: Path) -> None:
    path = as_lpips(tmp_path / "alex.pth", 64, 192)
    convert(path, tmp_path / "alex.safetensors")
    for one, other in zip(read(path), read(tmp_path / "alex.safetensors"), strict=True):
        assert torch.equal(one, other)


class Hostile:
    """Writes a file when it is unpickled by anything but a restricted unpickler."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_hostile_pickle_is_refused_and_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(pickle.dumps(Hostile(tmp_path / "run")))
    torch.save({"lin0.model.1.weight": Hostile(tmp_path / "run")}, tmp_path / "b.pth")
    for name in ("a.pth", "b.pth"):
        with pytest.raises(WeightsError, match="cannot be read as tensors alone"):
            read(tmp_path / name)
    assert not (tmp_path / "run").exists()


def test_damaged_and_other_files_are_refused(tmp_path: Path) -> None:
    path = as_lpips(tmp_path / "alex.pth", 64, 192)
    (tmp_path / "half.pth").write_bytes(path.read_bytes()[:300])
    torch.save({"lin1.model.1.weight": torch.rand(1, 3, 1, 1)}, tmp_path / "gap.pth")
    torch.save({"lin0.model.1.weight": torch.rand(2, 3, 1, 1)}, tmp_path / "matrix.pth")
    torch.save({"lin0.model.1.weight": -torch.ones(1, 3, 1, 1)}, tmp_path / "negative.pth")
    torch.save([1], tmp_path / "list.pth")
    for name in ("half.pth", "gap.pth", "matrix.pth", "negative.pth", "list.pth"):
        with pytest.raises(WeightsError, match=name):
            read(tmp_path / name)
    with pytest.raises(WeightsError, match="no file of channel weights at"):
        read(tmp_path / "gone.pth")
    with pytest.raises(UsageError, match=r"does not end in \.safetensors"):
        convert(path, tmp_path / "out.pth")


def test_an_altered_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write(path, [torch.rand(8)])
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="altered"):
        read(path)
    path.write_bytes(content[:-4])
    with pytest.raises(WeightsError, match="damaged"):
        read(path)
