"""ONNX: onnxruntime and our networks give equal answers on the same file, both ways."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx as library
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper

from alexnet.errors import UsageError, WeightsError
from alexnet.networks import create
from alexnet.networks.layers import Network
from alexnet.weights.card import Card
from alexnet.weights.convert import HEAD, onnx, onnx_graph
from alexnet.weights.convert.foreign import Foreign, published, stored
from alexnet.weights.convert.layouts import empty

Floats = npt.NDArray[np.float32]
SMALL = ["modern", "cifar-80sec", "cifar-19pct", "cifar-18pct", "cifar-13pct", "cifar-11pct"]
LARGE = ["krizhevsky2012", "paper", "bvlc", "caffenet", "one_weird_trick", "article"]


def lively(network: Network) -> Network:
    """The network with weights under which every layer, and each class, counts."""
    torch.manual_seed(5)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2)
            elif value.ndim == 1 and value.is_floating_point():
                value.normal_(1 if name.split(".")[-2].startswith("bn") and name.endswith("weight") else 0, 0.3)
            elif value.ndim > 1:
                value.normal_(0, (2 / value[0].numel()) ** 0.5 if value.ndim != 3 else (2 / value.shape[1]) ** 0.5)
    return network.eval()


def card_of(network: Network, differences: dict[str, Any] | None = None) -> Card:
    names = [f"kind {number}" for number in range(network.num_classes)]
    form = published(network)
    return Card(network.name, network.num_classes, form.input_size, differences or {}, names, form.to_json())


def run(path: Path, images: torch.Tensor) -> Floats:
    """onnxruntime's answer, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    result: Floats = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
    return result


def assert_close(found: Floats, expected: Floats) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def written(path: Path, network: Network, differences: dict[str, Any] | None = None) -> Path:
    onnx.write(network, card_of(network, differences), path)
    return path


def changed(path: Path, change: Callable[[Any], Any]) -> Path:
    """The file after a change of its message."""
    model = library.load(path)
    change(model)
    library.save(model, path)
    return path


def without_card(model: Any) -> None:
    del model.metadata_props[:]


@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_onnxruntime_equals_our_network_and_the_file_comes_back_exactly(name: str, tmp_path: Path) -> None:
    network = lively(empty(name, num_classes=7))
    path = written(tmp_path / "network.onnx", network)
    assert onnx.recognises(path, path.read_bytes()[:HEAD])
    library.checker.check_model(str(path))
    images = torch.randn(2, 3, network.input_size, network.input_size) * 60
    with torch.inference_mode():
        assert_close(run(path, images), network(images).numpy())
    back = stored(onnx.read(path), str(path))
    assert back.card.class_names == card_of(network).class_names
    assert back.card.preprocessing == card_of(network).preprocessing
    for key, value in network.state_dict().items():
        assert torch.equal(back.tensors[key], value if value.is_floating_point() else torch.zeros_like(value)), key


@pytest.mark.parametrize(
    ("name", "differences"),
    [("cifar-19pct", {"norm": "both"}), ("cifar-80sec", {"norm": "batch", "activation": "tanh", "pool": 2})],
)
def test_differences_are_written_and_come_back(name: str, differences: dict[str, Any], tmp_path: Path) -> None:
    network = lively(create(name, 4, **differences))
    path = written(tmp_path / "network.onnx", network, differences)
    images = torch.randn(1, 3, 32, 32) * 60
    with torch.inference_mode():
        assert_close(run(path, images), network(images).numpy())
    assert onnx.read(path).differences == differences


def test_other_input_size_is_averaged_as_our_network_does(tmp_path: Path) -> None:
    network = lively(create("cifar-19pct", 4))
    card = dataclasses.replace(card_of(network), input_size=45)
    onnx.write(network, card, tmp_path / "network.onnx")
    images = torch.randn(1, 3, 45, 45) * 60
    with torch.inference_mode():
        assert_close(run(tmp_path / "network.onnx", images), network(images).numpy())


# --- graphs of others ---


@pytest.mark.parametrize("name", ["modern", "cifar-19pct", pytest.param("one_weird_trick", marks=pytest.mark.slow)])
def test_graph_without_a_card_is_told_by_its_layers(name: str, tmp_path: Path) -> None:
    network = lively(empty(name, num_classes=7))
    path = changed(written(tmp_path / "network.onnx", network), without_card)
    found = onnx.read(path)
    assert found.network == name
    assert found.class_names is None
    back = stored(found, str(path)).tensors
    assert all(torch.equal(back[key], value) for key, value in network.state_dict().items() if value.ndim)


def test_constants_products_and_softmax_of_other_writers_are_read(tmp_path: Path) -> None:
    """MatMul and Add for Gemm, values in Constant nodes, lists of floats, a last Softmax, a Reshape for Flatten."""
    network = lively(create("cifar-19pct", 7))
    path = changed(written(tmp_path / "network.onnx", network), without_card)

    def rewrite(model: Any) -> None:
        graph = model.graph
        gemm = graph.node.pop()
        flat = graph.node.pop()
        weight, bias = network.fc10.weight.detach().numpy(), network.fc10.bias.detach().numpy()
        conv = next(each for each in graph.initializer if each.name == "conv1.weight")
        conv.float_data.extend(np.frombuffer(conv.raw_data, "f4").tolist())
        conv.ClearField("raw_data")
        graph.node.extend(
            [
                helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(weight.T.copy())),
                helper.make_node("Constant", [], ["shape"], value=numpy_helper.from_array(np.array([-1, 1024]))),
                helper.make_node("Reshape", [flat.input[0], "shape"], ["flat"]),
                helper.make_node("MatMul", ["flat", "w"], ["product"]),
                helper.make_node("Add", ["product", "b"], ["sum"]),
                helper.make_node("Softmax", ["sum"], [gemm.output[0]]),
            ]
        )
        graph.initializer.append(numpy_helper.from_array(bias, "b"))

    changed(path, rewrite)
    images = torch.randn(1, 3, 32, 32) * 60
    found = onnx.read(path)
    back = create("cifar-19pct", 7).eval()
    back.load_state_dict(found.tensors)
    with torch.inference_mode():
        assert_close(run(path, images), back(images).softmax(1).numpy())


def zoo(path: Path, layers: dict[str, tuple[Floats, Floats]], pool_first: bool, side: int, pad: list[int]) -> None:
    """A file as the zoo's: Caffe2's names and order of layers, half of the tensors as lists of floats."""
    nodes, current = [], "data_0"

    def add(kind: str, *constants: str, **settings: Any) -> None:
        nonlocal current
        outputs = [f"{kind}_{len(nodes)}", *(["mask"] * (kind == "Dropout"))]
        outputs = outputs if kind != "Dropout" else [outputs[0], f"mask_{len(nodes)}"]
        nodes.append(helper.make_node(kind, [current, *constants], outputs, **settings))
        current = outputs[0]

    def pool(pads: list[int]) -> None:
        add("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=pads)

    def conv(number: int, group: int, edge: int, stride: int) -> None:
        names = (f"conv{number}_w_0", f"conv{number}_b_0")
        side = layers[f"conv{number}"][0].shape[2]
        add("Conv", *names, kernel_shape=[side] * 2, strides=[stride] * 2, pads=[edge] * 4, group=group)
        add("Relu")

    for number, group, edge, stride in ((1, 1, 0, 4), (2, 2, 2, 1)):
        conv(number, group, edge, stride)
        steps = [lambda: add("LRN", size=5, alpha=1e-4, beta=0.75, bias=1.0), lambda: pool([0] * 4)]
        for step in reversed(steps) if pool_first else steps:
            step()
    for number, group in ((3, 1), (4, 2), (5, 2)):
        conv(number, group, 1, 1)
    pool(pad)
    add("Reshape", "OC2_DUMMY_1")
    for number in (6, 7, 8):
        add("Gemm", f"fc{number}_w_0", f"fc{number}_b_0", transB=1)
        if number < 8:
            add("Relu")
            add("Dropout")
    add("Softmax")
    tensors = [numpy_helper.from_array(np.array([1, 9216]), "OC2_DUMMY_1")]
    for name, (weight, bias) in layers.items():
        tensors.append(numpy_helper.from_array(weight, f"{name}_w_0"))
        tensors.append(helper.make_tensor(f"{name}_b_0", 1, bias.shape, bias.tolist()))
    images = helper.make_tensor_value_info("data_0", 1, [1, 3, side, side])
    given = [helper.make_tensor_value_info(each.name, each.data_type, each.dims) for each in tensors]
    out = helper.make_tensor_value_info(current, 1, [1, len(layers["fc8"][1])])
    graph = helper.make_graph(nodes, "bvlc", [images, *given], [out], tensors)
    model = helper.make_model(
        graph, producer_name="onnx-caffe2", ir_version=8, opset_imports=[helper.make_opsetid("", 12)]
    )
    path.write_bytes(model.SerializeToString())


def at_224(network: Network, images: torch.Tensor) -> torch.Tensor:
    """Our weights in the zoo's geometry: pools rounded down, one row and column of padding at pool5."""
    for name, stage in network.stages():
        if name.startswith("pool"):
            images = torch.nn.functional.pad(images, (0, 1, 0, 1)) if name == "pool5" else images
            images = torch.nn.functional.max_pool2d(images, 3, 2)
        else:
            images = stage(images)
    return images


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bvlc", "caffenet"])
def test_zoo_file_gives_onnxruntimes_answers_at_224_and_at_227_pixels(name: str, tmp_path: Path) -> None:
    source = lively(empty(name, num_classes=7))
    state = {key: value.numpy() for key, value in source.state_dict().items()}
    layers = {
        key.split(".")[0]: (value, state[key.replace("weight", "bias")]) for key, value in state.items() if "w" in key
    }
    path = tmp_path / "zoo.onnx"
    zoo(path, layers, name == "caffenet", 224, [0, 0, 1, 1])
    found = onnx.read(path)
    assert found.network == name
    assert any("224 px, with a pad at pool5" in note for note in found.notes)
    network = empty(name, num_classes=7).eval()
    network.load_state_dict(found.tensors)
    for side, pad in ((224, None), (227, [0] * 4)):
        images = torch.randn(1, 3, side, side) * 60
        if pad:
            zoo(path, layers, name == "caffenet", side, pad)
        with torch.inference_mode():
            ours = network(images) if pad else at_224(network, images)
            assert_close(run(path, images.flip(1).contiguous()), ours.softmax(1).numpy())


# --- refused ---


def _attribute(kind: str, name: str, value: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        node = next(each for each in model.graph.node if each.op_type == kind)
        kept = [each for each in node.attribute if each.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])

    return change


def _tensor(name: str, **values: Any) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        tensor = next(each for each in model.graph.initializer if each.name == name)
        for key, value in values.items():
            if key == "dims":
                del tensor.dims[:]
                tensor.dims.extend(value)
            else:
                setattr(tensor, key, value)

    return change


def _branch(model: Any) -> None:
    model.graph.node.append(helper.make_node("Relu", ["images"], ["other"]))


def _external(location: str, **more: str) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        tensor = next(each for each in model.graph.initializer if each.name == "conv1.weight")
        tensor.ClearField("raw_data")
        tensor.data_location = 1
        for key, value in {"location": location, **more}.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value

    return change


REFUSED: dict[str, tuple[Callable[[Any], None], str]] = {
    "stride": (_attribute("Conv", "strides", [2, 2]), r"conv1 has strides \[2, 2\], not \[1, 1\]"),
    "padding": (_attribute("Conv", "pads", [1, 1, 1, 1]), "conv1 has pads"),
    "dilation": (_attribute("Conv", "dilations", [2, 2]), "conv1 is dilated"),
    "padding by rule": (_attribute("Conv", "auto_pad", "SAME_UPPER"), "padded by a rule"),
    "window": (_attribute("MaxPool", "kernel_shape", [2, 2]), "pool1 has kernel_shape"),
    "scaled": (_attribute("Gemm", "alpha", 2.0), "fc10 is scaled"),
    "other layer": (lambda model: setattr(model.graph.node[1], "op_type", "Relu"), "layer 2 is Relu"),
    "too few layers": (lambda model: model.graph.node.pop(), "layers, not"),
    "branch": (_branch, "our.* one chain|ours is one chain"),
    "other shape": (_tensor("conv1.weight", dims=[32, 75, 1, 1]), r"conv1 has weights \(32, 75, 1, 1\)"),
    "huge shape": (_tensor("conv1.weight", dims=[10**6, 10**6]), "is damaged: 'conv1.weight' is 1000000 x 1000000"),
    "negative shape": (_tensor("conv1.weight", dims=[-1, 3, 5, 5]), "type or shape"),
    "other type": (_tensor("conv1.weight", data_type=3), "type or shape"),
    "not finite": (_tensor("conv1.bias", raw_data=np.full(32, np.nan, "f4").tobytes()), "not finite"),
    "outside the folder": (_external("../secret"), "refused: 'conv1.weight' lies outside its folder"),
    "absolute": (_external("/etc/passwd"), "lies outside its folder"),
    "missing file": (_external("missing.bin"), "copy both files"),
    "too short a file": (_external("short.bin", offset="0", length="9600"), "copy both files"),
    "huge length": (_external("short.bin", length=str(10**15)), "copy both files"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_graph_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "short.bin").write_bytes(b"12345678")
    (tmp_path / "secret").write_bytes(bytes(9600))
    path = changed(written(folder / "network.onnx", create("cifar-19pct")), without_card)
    model = library.load(path)
    REFUSED[name][0](model)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match=REFUSED[name][1]) as caught:
        onnx.read(path, "cifar-19pct")
    assert "\n" not in str(caught.value)


def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(9600))
    (folder / "link").symlink_to(tmp_path / "secret")
    path = changed(written(folder / "network.onnx", create("cifar-19pct")), without_card)
    model = library.load(path)
    _external("link")(model)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match="outside its folder"):
        onnx.read(path)


def test_data_in_a_file_beside_it_is_read(tmp_path: Path) -> None:
    network = lively(create("cifar-19pct", 7))
    path = written(tmp_path / "network.onnx", network)
    model = library.load(path)
    library.save(model, path, save_as_external_data=True, location="network.bin", size_threshold=0)
    found: Foreign = onnx.read(path)
    assert torch.equal(found.tensors["conv1.weight"], network.conv1.weight)


def test_damage_is_refused_in_one_line(tmp_path: Path) -> None:
    path = written(tmp_path / "network.onnx", create("cifar-19pct"))
    content = path.read_bytes()
    for kept in (0, 1, 10, 1000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:kept])
        with pytest.raises(WeightsError, match=re.escape(str(path))) as caught:
            onnx.read(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(content.replace(b'"num_classes": 10', b'"num_classes": -1'))
    with pytest.raises(WeightsError, match="damaged card"):
        onnx.read(path)


def test_without_the_package_the_way_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(UsageError, match=r"pip install onnx"):
        onnx_graph.load(tmp_path / "network.onnx")
