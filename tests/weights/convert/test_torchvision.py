"""torchvision's files: torchvision itself computes the same, both ways; a pickle that would run code is refused."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.models import AlexNet_Weights, alexnet

from alexnet import create
from alexnet.data.preprocess import Preprocessing
from alexnet.errors import UsageError, WeightsError
from alexnet.weights.card import Card
from alexnet.weights.convert import convert, to_file
from alexnet.weights.convert.foreign import stored


@pytest.fixture(scope="module")
def theirs() -> alexnet:
    torch.manual_seed(0)
    return alexnet(weights=None, num_classes=10).eval()


def check(file: Path, theirs: torch.nn.Module) -> None:
    """What the file gives computes as torchvision's network does."""
    card, tensors = stored(convert(file), file.name)
    ours = create(card.network, card.num_classes).eval()
    ours.load_state_dict(tensors)
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), atol=1e-6, rtol=0)


def test_pth_and_safetensors_compute_what_torchvision_does(tmp_path: Path, theirs: alexnet) -> None:
    state = theirs.state_dict()
    torch.save(state, tmp_path / "zip")
    check(tmp_path / "zip", theirs)
    (tmp_path / "zip").unlink()
    save_file(state, tmp_path / "safetensors")
    check(tmp_path / "safetensors", theirs)


def test_legacy_and_wrapped_files_are_read(tmp_path: Path, theirs: alexnet) -> None:
    wrapped = {"model": {f"module.{name}": tensor for name, tensor in theirs.state_dict().items()}, "epoch": 89}
    torch.save(wrapped, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    found = convert(tmp_path / "x.pth")
    assert all(torch.equal(tensor, found.tensors[name]) for name, tensor in theirs.state_dict().items())
    assert any("module." in note for note in found.notes)


@pytest.mark.parametrize("form", ["{}", "module.{}", "_orig_mod.{}", "module._orig_mod.{}", "model.{}", "net.{}"])
@pytest.mark.parametrize("parts", [("features.", "features.module."), ("", "")])
def test_names_lose_what_is_wrapped_around_the_network(tmp_path: Path, form: str, parts: tuple[str, str]) -> None:
    """DataParallel around the features alone is how PyTorch's ImageNet example trains this network."""
    with torch.device("meta"):
        names = alexnet(num_classes=10).state_dict()
    given = {form.format(name.replace(*parts)): torch.zeros(1) for name in names}
    torch.save({"model_state_dict": given | {"n_averaged": torch.tensor(3)}}, tmp_path / "x.pth")
    save_file(given, tmp_path / "x.safetensors")
    for file in (tmp_path / "x.pth", tmp_path / "x.safetensors"):
        with pytest.raises(WeightsError, match=r"features.0.weight is 1, expected 64 x 3 x 11 x 11"):  # by its own name
            convert(file)


def test_two_networks_in_one_file_are_not_mixed(tmp_path: Path, theirs: alexnet) -> None:
    names = list(theirs.state_dict())
    torch.save({name: 1 for part in ("", "module.") for name in [part + each for each in names]}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"holds features.0.weight of several networks"):
        convert(tmp_path / "x.pth")


def test_what_is_written_loads_strictly_in_torchvision(tmp_path: Path) -> None:
    torch.manual_seed(1)
    ours = create("one_weird_trick", 10).eval()
    to_file(ours, Card("one_weird_trick", 10, 224, {}, list("abcdefghij"), {}), "torchvision", tmp_path / "x.pth")
    theirs = alexnet(weights=None, num_classes=10).eval()
    theirs.load_state_dict(torch.load(tmp_path / "x.pth", weights_only=True), strict=True)
    assert all(torch.equal(one, other) for one, other in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_other_networks_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one_weird_trick here, not 'cifar-19pct'"):
        to_file(create("cifar-19pct"), Card("x", 1, 1, {}, ["a"], {}), "torchvision", tmp_path / "x.pth")


@pytest.mark.parametrize("size", [(256, 256), (640, 480), (300, 421), (299, 257), (1000, 300)])
def test_images_enter_as_in_torchvisions_transforms(theirs: alexnet, size: tuple[int, int]) -> None:
    """Within one level of 0..255: both round to whole levels after each side is scaled."""
    from alexnet.weights.convert.foreign import published

    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    photo = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    wanted = AlexNet_Weights.IMAGENET1K_V1.transforms()(photo)[None]
    form = published(create("one_weird_trick", 2))
    assert isinstance(form, Preprocessing)
    found = form(photo)
    levels = (found - wanted).abs() * torch.tensor(form.std).reshape(3, 1, 1)
    assert levels.max() <= 1.01


def test_a_pickle_that_would_run_code_runs_none(tmp_path: Path) -> None:
    class Touch:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"features.0.weight": Touch()}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"x.pth is no file of tensors alone"):
        convert(tmp_path / "x.pth")
    assert not (tmp_path / "ran").exists()


def test_damage_is_one_line(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(64, 3, 11, 11)}, tmp_path / "x.pth")
    whole = (tmp_path / "x.pth").read_bytes()
    for size in (len(whole) // 2, 20):
        (tmp_path / "x.pth").write_bytes(whole[:size])
        with pytest.raises(WeightsError) as told:
            convert(tmp_path / "x.pth")
        assert "\n" not in str(told.value)


def test_a_zip_that_unpacks_to_more_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("archive/data.pkl", pickle.dumps({}))
        zipped.writestr("archive/data/0", bytes(10**7))
    with pytest.raises(WeightsError, match="more than it has"):
        convert(tmp_path / "x.pth")


def test_other_tensors_are_refused_by_name(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(2)}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"features.0.weight, .* missing, 'conv.weight' unknown"):
        convert(tmp_path / "x.pth")
    torch.save([1, 2], tmp_path / "y.pth")
    with pytest.raises(WeightsError, match="holds a list"):
        convert(tmp_path / "y.pth")


def test_a_view_that_claims_many_values_is_not_copied(tmp_path: Path, theirs: alexnet) -> None:
    state = dict(theirs.state_dict())
    state["classifier.4.weight"] = torch.zeros(1).expand(10**6, 10**6)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"classifier.4.weight is 1000000 x 1000000"):
        convert(tmp_path / "x.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_changed_bytes_give_one_line(tmp_path: Path, zipped: bool) -> None:
    drawn = np.random.default_rng(0)
    file = tmp_path / "x.pth"
    torch.save({"features.0.weight": torch.randn(4, 3)}, file, _use_new_zipfile_serialization=zipped)
    whole = file.read_bytes()
    for number in range(100):
        data = bytearray(whole)
        for place in drawn.integers(0, len(data), 1 + number % 5):
            data[place] = drawn.integers(0, 256)
        file.write_bytes(data)
        with pytest.raises(WeightsError) as told:
            convert(file)
        assert "\n" not in str(told.value)


def test_what_a_whole_network_asks_for_is_named(tmp_path: Path) -> None:
    torch.save(torch.nn.Sequential(torch.nn.Linear(1, 1)), tmp_path / "x.pt")
    with pytest.raises(WeightsError, match=r"it asks for torch.nn.modules.container.Sequential, as .* nothing of it"):
        convert(tmp_path / "x.pt")


def test_a_torchscript_program_is_refused_as_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("x/data.pkl", pickle.dumps({}))
        zipped.writestr("x/code/net.py", " " * 10**4)
        zipped.writestr("x/constants.pkl", pickle.dumps(()))
    with pytest.raises(WeightsError, match=r"is a TorchScript program.*state_dict\(\)"):
        convert(tmp_path / "x.pt")


def _tiny(name: str, shape: torch.Size) -> torch.Tensor:
    """A tensor of the shape whose file holds one number."""
    return torch.zeros(1).expand(10**9 if name.startswith("classifier.6") else shape[0], *shape[1:])


@pytest.mark.parametrize("kind", ["fewer", "sparse", "meta"])
def test_tensors_whose_values_are_not_in_the_file_are_refused(tmp_path: Path, kind: str) -> None:
    """Of a view of 5 kB that claims a billion classes, 16 terabytes would be taken."""
    with torch.device("meta"):
        meta = alexnet(num_classes=10).state_dict()
    state = {name: _tiny(name, tensor.shape) for name, tensor in meta.items()}
    if kind != "fewer":
        first = torch.zeros(64, 3, 11, 11)
        state["features.0.weight"] = first.to_sparse() if kind == "sparse" else first.to("meta")
    torch.save(state, tmp_path / "x.pth")
    told = "and holds fewer values" if kind == "fewer" else "is no plain tensor of floats"
    with pytest.raises(WeightsError, match=f"features.0.weight .*{told}|features.0.weight {told}"):
        convert(tmp_path / "x.pth")
