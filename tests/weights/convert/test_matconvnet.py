"""MatConvNet's files: equal answers by NumPy from the file's filters, simplenn and dagnn, both ways; refusals."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.io import loadmat, savemat

from alexnet.data.preprocess import Preprocessing
from alexnet.data.sources.synsets import imagenet_names
from alexnet.errors import UsageError, WeightsError
from alexnet.networks import create
from alexnet.weights.card import Card
from alexnet.weights.convert import HEAD, matconvnet
from alexnet.weights.convert.foreign import stored
from alexnet.weights.convert.layouts import empty

Floats = npt.NDArray[np.float32]
SHAPES = {"conv1": (11, 11, 3, 96), "conv2": (5, 5, 48, 256), "conv3": (3, 3, 256, 384), "conv4": (3, 3, 192, 384)}
SHAPES |= {"conv5": (3, 3, 192, 256), "fc6": (6, 6, 256, 4096), "fc7": (1, 1, 4096, 4096), "fc8": (1, 1, 4096, 5)}
STRIDES, PADS = {"conv1": 4.0}, {"conv2": 2.0, "conv3": 1.0, "conv4": 1.0, "conv5": 1.0}
ORDERS = {
    "bvlc": "conv1 relu lrn pool conv2 relu lrn pool conv3 relu conv4 relu conv5 relu pool fc6 relu fc7 relu fc8",
    "caffenet": "conv1 relu pool lrn conv2 relu pool lrn conv3 relu conv4 relu conv5 relu pool fc6 relu fc7 relu fc8",
}


def filters(small: bool = False) -> dict[str, list[Floats]]:
    few = np.random.default_rng(0).standard_normal(100_003, np.float32)
    found = {}
    for name, shape in SHAPES.items():
        size = (1, 1) if small else shape
        scale = np.float32(1.5 / np.prod(size[:-1]) ** 0.5)
        found[name] = [np.resize(few * scale, size), np.resize(few[5:], (1, size[-1]))]
    return found


def cells(values: list[Any]) -> Any:
    found = np.empty((1, len(values)), object)
    for place, value in enumerate(values):
        found[0, place] = value
    return found


def simplenn(order: str, arrays: dict[str, list[Floats]], old: bool = False) -> dict[str, Any]:
    """Layers as import-caffe.py writes them; old: before beta12, when filters had fields of their own."""
    layers: list[dict[str, Any]] = []
    for name in order.split():
        if name in arrays:
            layer: dict[str, Any] = {"type": "conv", "name": name, "stride": STRIDES.get(name, 1.0)}
            layer |= {"pad": PADS.get(name, 0.0)}
            layer |= (
                {"filters": arrays[name][0], "biases": arrays[name][1]} if old else {"weights": cells(arrays[name])}
            )
        elif name == "lrn":
            layer = {"type": "normalize" if old else "lrn", "name": "norm", "param": np.array([[5, 1, 2e-5, 0.75]])}
        elif name == "pool":
            layer = {"type": "pool", "name": "pool", "method": "max", "pool": np.array([[3.0, 3.0]])}
            layer |= {"stride": np.array([[2.0, 2.0]]), "pad": np.array([[0.0, 1.0, 0.0, 1.0]])}
        else:
            layer = {"type": name, "name": name}
        layers.append(layer)
    return {"layers": cells([*layers, {"type": "softmax", "name": "prob"}])}


def dagnn(order: str, arrays: dict[str, list[Floats]]) -> dict[str, Any]:
    """The same layers as a struct array with blocks, and the arrays in params."""
    layers, params = [], []
    types = {"conv": "dagnn.Conv", "relu": "dagnn.ReLU", "lrn": "dagnn.LRN", "pool": "dagnn.Pooling"}
    for place, layer in enumerate(simplenn(order, arrays)["layers"][0][:-1]):
        kind, block = (
            layer["type"],
            {key: value for key, value in layer.items() if key not in ("type", "name", "weights")},
        )
        if "pool" in block:
            block["poolSize"] = block.pop("pool")
        names = [f"{layer['name']}f", f"{layer['name']}b"] if kind == "conv" else []
        params += [(name, value) for name, value in zip(names, layer.get("weights", [[]])[0], strict=True)]
        name = f"{layer['name']}_{place}"
        flow = (cells([f"x{place}"]), cells([f"x{place + 1}"]))
        layers.append((name, types[kind], block or np.zeros((0, 0)), cells(names), *flow))
    fields = [(key, object) for key in ("name", "type", "block", "params", "inputs", "outputs")]
    found = np.array([layers], np.dtype(fields))
    return {"layers": found, "params": np.array([params], np.dtype([("name", object), ("value", object)]))}


def meta(classes: int) -> dict[str, Any]:
    mean = np.full((227, 227, 3), (122.0, 116.0, 104.0), np.float32)
    mean[0, 0] += 2
    names = list(imagenet_names())[:classes]
    form = {"imageSize": np.array([[227.0, 227.0, 3.0]]), "averageImage": mean, "keepAspect": False}
    form |= {"cropSize": np.array([[227 / 256, 227 / 256]]), "interpolation": "bicubic"}
    return {"meta": {"normalization": form, "classes": {"name": cells(names), "description": cells(["x"] * classes)}}}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "make"), [("bvlc", simplenn), ("caffenet", simplenn), ("bvlc", dagnn)])
def test_answers_equal_those_computed_from_the_file_by_numpy(
    name: str, make: Callable[..., Any], tmp_path: Path, caffe_images: Floats, caffe_logits: Callable[..., Floats]
) -> None:
    arrays = filters()
    path = tmp_path / "imagenet-caffe-alex.mat"
    savemat(path, make(ORDERS[name], arrays) | meta(5), oned_as="column")
    assert matconvnet.recognises(path, path.read_bytes()[:HEAD])
    found = matconvnet.read(path)
    assert found.network == name
    assert found.class_names == list(imagenet_names().values())[:5]
    assert found.preprocessing is not None
    assert (found.preprocessing.resize, found.preprocessing.fit) == (256, "warp")
    np.testing.assert_allclose(found.preprocessing.mean, (122, 116, 104), atol=1e-3)
    assert any("differ by up to 2.0 of 255 levels" in note for note in found.notes)
    network = empty(name, num_classes=5).eval()
    network.load_state_dict(stored(found, str(path)).tensors)
    with torch.inference_mode():
        ours = network(torch.from_numpy(caffe_images).permute(2, 0, 1)[None])[0].numpy()
    flat = {key: (w.reshape(-1, w.shape[-1]) if key[0] == "f" else w, b[0]) for key, (w, b) in arrays.items()}
    theirs = caffe_logits(caffe_images, flat, name == "caffenet")
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.slow
def test_round_trip_is_exact_and_filters_lie_as_in_the_published_files(tmp_path: Path) -> None:
    arrays, theirs, path = filters(), tmp_path / "theirs.mat", tmp_path / "ours.mat"
    savemat(theirs, simplenn(ORDERS["caffenet"], arrays, old=True))
    network = empty("caffenet", num_classes=5)
    network.load_state_dict(matconvnet.read(theirs).tensors)
    form = Preprocessing(227, 256, (1.0, 2.0, 3.0), (1.0, 1.0, 1.0), 256, "warp")
    matconvnet.write(network, Card("caffenet", 5, 227, {}, list("abcde"), form.to_json()), path)
    for layer in loadmat(path)["layers"][0]:
        name = str(layer["name"][0, 0][0])
        if name in arrays:
            np.testing.assert_array_equal(layer["weights"][0, 0][0, 0], arrays[name][0])
            np.testing.assert_array_equal(layer["weights"][0, 0][0, 1], arrays[name][1])
    back = matconvnet.read(path)
    assert (back.network, back.class_names, back.preprocessing) == ("caffenet", list("abcde"), form)
    assert all(torch.equal(back.tensors[key], value) for key, value in network.state_dict().items())


def saved(path: Path, order: str, **changes: Any) -> Path:
    content = simplenn(order, filters(small=True))
    for place, layer in enumerate(content["layers"][0]):
        if layer["name"] in changes:
            content["layers"][0, place] = layer | changes[layer["name"]]
    savemat(path, content)
    return path


@pytest.mark.parametrize(
    ("order", "changes", "reason"),
    [
        (ORDERS["bvlc"], {"conv1": {"stride": 2.0}}, "stride of conv1 is"),
        (ORDERS["bvlc"], {"conv2": {"pad": np.array([[2.0, 2.0, 1.0, 1.0]])}}, "pad of conv2 is"),
        (ORDERS["bvlc"], {"norm": {"param": np.array([[5, 2, 1e-4, 0.75]])}}, "param of norm1 is"),
        (ORDERS["bvlc"], {"pool": {"pool": np.array([[2.0, 2.0]])}}, "pool of pool1 is"),
        (ORDERS["bvlc"], {"pool": {"method": "avg"}}, "pool1 is of 'avg', ours of max"),
        (ORDERS["bvlc"], {"relu": {"leak": 0.1}}, "leak of relu1 is not 0"),
        (ORDERS["bvlc"], {"conv3": {"dilate": np.array([[2.0, 2.0]])}}, "dilate of conv3 is not 1"),
        (ORDERS["bvlc"], {"pool": {"pad": np.array([[1.0, 1.0, 1.0, 1.0]])}}, "pad of pool1 is"),
        (
            ORDERS["bvlc"],
            {"conv1": {"weights": cells([np.zeros((2, 2))])}},
            "another network: the filters of conv1 is 2",
        ),
        (ORDERS["bvlc"], {}, "filters of conv1 is"),
        (ORDERS["bvlc"].replace("lrn ", ""), {}, "it has no LRN"),
        ("conv1 lrn relu", {}, "its layers are conv, lrn, relu"),
    ],
)
def test_other_layers_are_refused_in_one_line(order: str, changes: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "other.mat", order, **changes)
    with pytest.raises(WeightsError, match=reason) as caught:
        matconvnet.read(path)
    assert "\n" not in str(caught.value)


ODD: dict[str, tuple[Any, str | None]] = {
    "no struct": (np.arange(3.0), None),
    "no structs in it": ({"normalization": np.arange(3.0), "classes": "cats"}, None),
    "a mean of text": ({"normalization": {"averageImage": "none"}}, "a mean of another kind"),
    "no size": ({"normalization": {"averageImage": np.ones((1, 1, 3)), "imageSize": np.zeros((0, 0))}}, "of 0 px"),
    "no names": ({"classes": {"name": cells([np.arange(2), "a"]), "description": cells([np.arange(2), "b"])}}, None),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_facts_about_a_network_are_left_out_or_one_line(name: str, tmp_path: Path) -> None:
    path, (about, reason) = tmp_path / "odd.mat", ODD[name]
    savemat(path, {"meta": about, "layers": np.zeros(1)})
    content = matconvnet._content(path)
    assert matconvnet._class_names(content, 2, []) is None
    with nullcontext() if reason is None else pytest.raises(WeightsError, match=reason):
        assert matconvnet._preprocessing(content, empty("bvlc"), path, []) is None


def test_dagnn_layers_out_of_order_are_refused(tmp_path: Path) -> None:
    path, content = tmp_path / "other.mat", dagnn(ORDERS["bvlc"], filters(small=True))
    savemat(path, content)
    with pytest.raises(WeightsError, match="filters of conv1 is a scalar"):  # so far in order
        matconvnet.read(path)
    content["layers"][0, [5, 9]] = content["layers"][0, [9, 5]]
    savemat(path, content)
    with pytest.raises(WeightsError, match="reads x9, not x5 before it"):
        matconvnet.read(path)


def test_the_network_asked_for_must_be_that_of_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "other.mat", ORDERS["caffenet"])
    with pytest.raises(WeightsError, match="'caffenet' by the order of its layers, not 'bvlc'"):
        matconvnet.read(path, "bvlc")


def test_files_that_are_no_networks_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "other.mat"
    savemat(path, {"trn1": np.arange(5)})
    with pytest.raises(WeightsError, match="it has no layers"):
        matconvnet.read(path)
    path.write_bytes(matconvnet.NEW + bytes(600))
    assert matconvnet.recognises(path, path.read_bytes())
    with pytest.raises(WeightsError, match=r"7\.3 file, which is not read; in MATLAB"):
        matconvnet.read(path)
    content = saved(path, ORDERS["bvlc"]).read_bytes()
    for kept in (30, 127, 140, 1000, len(content) - 3):
        path.write_bytes(content[:kept])
        with pytest.raises(WeightsError, match=r"damaged|no layers|another network") as caught:
            matconvnet.read(path)
        assert "\n" not in str(caught.value)


def test_what_unpacks_to_more_than_any_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.mat"
    savemat(path, {"layers": np.zeros(3_000_000)}, do_compression=True)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(matconvnet, "MOST", 20_000_000)
    with pytest.raises(WeightsError, match=r"unpacks to more than 20,000,000 bytes"):
        matconvnet.read(path)
    savemat(path, simplenn(ORDERS["bvlc"], filters(small=True)), do_compression=True)
    with pytest.raises(WeightsError, match="filters of conv1 is a scalar, expected 11"):
        matconvnet.read(path)


def test_other_networks_are_not_written(tmp_path: Path) -> None:
    network = create("cifar-19pct")
    with pytest.raises(UsageError, match="bvlc, caffenet"):
        matconvnet.write(network, Card("cifar-19pct", 10, 32, {}, list("abcdefghij"), {}), tmp_path / "out.mat")
    assert list(tmp_path.iterdir()) == []
