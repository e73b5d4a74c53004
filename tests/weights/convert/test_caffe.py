"""Caffe's files: OpenCV computes the same from what is written, and every published form is read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet import create
from alexnet.errors import UsageError, WeightsError
from alexnet.networks.layers import Network
from alexnet.weights.card import Card
from alexnet.weights.convert import caffe, convert, to_file, wire
from alexnet.weights.convert.caffe_layers import KINDS, connected
from alexnet.weights.convert.foreign import NetworkUntold, stored

SMALL = {  # shapes of a file that `read` accepts; whether they fit the network is checked with the card
    **{"conv1": (4, 3, 2, 2), "conv2": (4, 2, 1, 1), "conv3": (4, 4, 1, 1), "conv4": (4, 2, 1, 1)},
    **{"conv5": (4, 2, 1, 1), "fc6": (5, 4), "fc7": (5, 5), "fc8": (3, 5)},
}
V1_BLOBS, V2_BLOBS = 6, 7


def values() -> dict[str, torch.Tensor]:
    drawn = torch.Generator().manual_seed(0)
    made = {f"{name}.weight": torch.randn(shape, generator=drawn) for name, shape in SMALL.items()}
    return made | {f"{name}.bias": torch.randn(shape[0], generator=drawn) for name, shape in SMALL.items()}


def blob(tensor: torch.Tensor, older: bool = False, packed: bool = True, double: bool = False) -> bytes:
    """A BlobProto; older: 4-D with leading ones and without a shape."""
    sizes = [1] * (4 - tensor.ndim) + list(tensor.shape)
    shape = (
        b"".join(wire.whole_field(number, size) for number, size in enumerate(sizes, 1))
        if older
        else wire.bytes_field(7, wire.packed(1, list(tensor.shape)))
    )
    flat = tensor.flatten()
    if double:
        return shape + wire.bytes_field(8, flat.double().numpy().tobytes())
    if not packed:
        return shape + b"".join(wire.float_field(5, value) for value in flat.tolist())
    return shape + wire.bytes_field(5, flat.numpy().tobytes())


def caffemodel(
    path: Path,
    network: str = "bvlc",
    old: bool = False,
    told: bool = True,
    change: Callable[[str, bytes], bytes] = lambda name, layer: layer,
    last: str = "fc8",
    **form: bool,
) -> Path:
    """A small file in V1 (old) or V2. told: with the layers without weights; change: what is added to a layer."""
    tensors, parts = values(), [wire.bytes_field(1, b"AlexNet")]
    for layer, bottom, top in connected(network, 3):
        name = last if layer.name == "fc8" else layer.name
        own = [tensors[key] for key in (f"{layer.name}.weight", f"{layer.name}.bias") if key in tensors]
        if not (own or told):
            continue
        kind = KINDS[layer.kind]
        words = [(4, name), (2, bottom), (3, top)] if old else [(1, name), (2, layer.kind), (3, bottom), (4, top)]
        written = b"".join(wire.bytes_field(number, word.encode()) for number, word in words)
        written += wire.whole_field(5, kind.v1_type) if old else b""
        written += b"".join(wire.bytes_field(V1_BLOBS if old else V2_BLOBS, blob(each, **form)) for each in own)
        if layer.kind == "LRN":
            lrn = wire.whole_field(1, 5) + wire.float_field(2, 1e-4) + wire.float_field(3, 0.75)
            written += wire.bytes_field(kind.v1 if old else kind.v2, lrn)
        parts.append(wire.bytes_field(2 if old else 100, change(layer.name, written)))
    path.write_bytes(b"".join(parts))
    return path


def same(found: dict[str, torch.Tensor]) -> None:
    wanted = values()
    wanted["conv1.weight"] = wanted["conv1.weight"].flip(1)
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("network", ["bvlc", "caffenet"])
@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("form", [{}, {"older": True}, {"packed": False}, {"double": True}])
def test_every_form_gives_the_same_tensors(tmp_path: Path, network: str, old: bool, form: dict[str, bool]) -> None:
    found = convert(caffemodel(tmp_path / "x", network, old, **form))
    assert found.network == network
    same(found.tensors)


def lively(name: str) -> Network:
    """A network whose outputs differ: larger weights than at the start, and biases."""
    torch.manual_seed(0)
    network = create(name).eval()
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            parameter.normal_(std=0.1) if key.endswith("bias") else parameter.mul_(2)
    return network


@pytest.mark.parametrize("name", ["bvlc", pytest.param("caffenet", marks=pytest.mark.slow)])
def test_opencv_computes_the_same_and_the_way_back_is_exact(tmp_path: Path, name: str) -> None:
    import cv2

    network, file = lively(name), tmp_path / "x.caffemodel"
    to_file(network, card_of(network), "caffe", file)
    theirs = cv2.dnn.readNetFromCaffe(str(file.with_suffix(".prototxt")), str(file))
    images = torch.randn(1, 3, 227, 227, generator=torch.Generator().manual_seed(1)) * 60
    theirs.setInput(images.flip(1).contiguous().numpy())  # BGR
    with torch.no_grad():
        ours = network(images).softmax(1).numpy()
    assert ours.max() > 0.01  # no uniform answer, which any network would give
    np.testing.assert_allclose(theirs.forward(), ours, atol=1e-5)
    card, tensors = stored(convert(file), "x")
    assert card.network == name
    for key, tensor in network.state_dict().items():
        assert torch.equal(tensor, tensors[key]), key


def card_of(network: Network) -> Card:
    return Card(network.name, network.num_classes, 227, {}, [str(n) for n in range(network.num_classes)], {})


def test_weights_alone_need_the_networks_name(tmp_path: Path) -> None:
    file = caffemodel(tmp_path / "x", told=False)
    with pytest.raises(WeightsError, match="--network bvlc or --network caffenet"):
        convert(file)
    assert convert(file, "caffenet").network == "caffenet"
    with pytest.raises(NetworkUntold):
        convert(file)


def test_a_name_that_the_file_contradicts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"Pooling first.* is caffenet, not bvlc"):
        convert(caffemodel(tmp_path / "x", "caffenet"), "bvlc")
    with pytest.raises(WeightsError, match="not 'modern'"):
        convert(tmp_path / "x", "modern")


def test_other_constants_are_refused_not_ignored(tmp_path: Path) -> None:
    other = wire.bytes_field(118, wire.whole_field(1, 5) + wire.float_field(2, 5e-4) + wire.float_field(3, 0.75))
    file = caffemodel(tmp_path / "x", change=lambda name, layer: layer + (other if name == "norm1" else b""))
    with pytest.raises(WeightsError, match=r"norm1 has alpha 0.0005, bvlc has 0.0001"):
        convert(file)


def _settings(kind: str, *fields: bytes, old: bool = False) -> bytes:
    """Settings of a layer; later ones take the place of those before."""
    return wire.bytes_field(KINDS[kind].v1 if old else KINDS[kind].v2, b"".join(fields))


NEGATIVE = wire.float_field(1, 0.1)
CONV3 = (wire.whole_field(1, 384), wire.whole_field(3, 1), wire.whole_field(4, 3))
POOL = (wire.whole_field(2, 3), wire.whole_field(3, 2))
BENT = {
    "relu1": (_settings("ReLU", NEGATIVE), r"relu1 has negative_slope 0.1, bvlc has 0"),
    "conv3": (_settings("Convolution", *CONV3, wire.whole_field(18, 2)), "conv3 has dilation 2, bvlc has 1"),
    "conv4": (
        _settings("Convolution", *CONV3, *(wire.whole_field(number, 2) for number in (5, 13, 14))),
        "conv4 has stride 2, bvlc has 1",
    ),
    "pool5": (_settings("Pooling", *POOL, wire.whole_field(12, 1)), "pool5 has global_pooling 1"),
    "fc7": (_settings("InnerProduct", wire.whole_field(1, 4096), wire.whole_field(6, 1)), "fc7 has transpose 1"),
}


@pytest.mark.parametrize("name", BENT)
def test_settings_that_ours_has_not_are_refused_not_ignored(tmp_path: Path, name: str) -> None:
    added, told = BENT[name]
    with pytest.raises(WeightsError, match=told):
        convert(caffemodel(tmp_path / "x", change=lambda own, layer: layer + (added if own == name else b"")))


def test_settings_of_the_older_layers_are_compared_too(tmp_path: Path) -> None:
    bent = _settings("ReLU", NEGATIVE, old=True)
    with pytest.raises(WeightsError, match="relu1 has negative_slope"):
        convert(
            caffemodel(tmp_path / "x", old=True, change=lambda own, layer: layer + (bent if own == "relu1" else b""))
        )


def test_strides_for_height_and_width_are_read(tmp_path: Path) -> None:
    both = _settings("Pooling", *(wire.whole_field(number, 3 if number < 7 else 2) for number in (5, 6, 7, 8)))
    same(
        convert(caffemodel(tmp_path / "x", change=lambda own, layer: layer + (both if own == "pool5" else b""))).tensors
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b"\x12\x04ReLU", b"\x12\x04TanH", "its relu1, after conv1, is a TanH, where bvlc has the ReLU relu1"),
        (b"\x28\x12", b"\x28\x17", "its relu1, after conv1, is a type 23"),
        (b"\x12\x04ReLU", b"\x12\x05Split", "its norm1, after conv1, is a LRN, where bvlc has the ReLU relu1"),
    ],
)
def test_layers_of_other_types_are_refused_not_left_out(tmp_path: Path, old: bytes, new: bytes, told: str) -> None:
    older = old[0] == 0x28
    file = caffemodel(
        tmp_path / "x", old=older, change=lambda name, layer: layer.replace(old, new) if name == "relu1" else layer
    )
    with pytest.raises(WeightsError, match=told):
        convert(file)


def test_a_renamed_layer_is_compared_by_its_place(tmp_path: Path) -> None:
    other = _settings("LRN", wire.whole_field(1, 5), wire.float_field(2, 5e-4))

    def change(name: str, layer: bytes) -> bytes:
        return layer.replace(b"norm1", b"other") + other if name == "norm1" else layer

    with pytest.raises(WeightsError, match=r"its other has alpha 0.0005, bvlc has 0.0001"):
        convert(caffemodel(tmp_path / "x", change=change))


def test_a_last_layer_of_another_name_is_told(tmp_path: Path) -> None:
    found = convert(caffemodel(tmp_path / "x", last="fc8_flickr"))
    same(found.tensors)
    assert any("fc8_flickr" in note for note in found.notes)


def test_other_networks_are_refused(tmp_path: Path) -> None:
    def renamed(name: str, layer: bytes) -> bytes:
        return layer.replace(b"conv3", b"convX")

    with pytest.raises(WeightsError, match="no weights for conv3; its layers with weights: conv1, conv2, convX"):
        convert(caffemodel(tmp_path / "x", change=renamed))


def test_the_first_format_is_refused_with_the_tool_that_upgrades_it(tmp_path: Path) -> None:
    v0 = wire.bytes_field(1, b"conv1") + wire.bytes_field(2, b"conv") + wire.bytes_field(50, blob(torch.ones(4)))
    layer = wire.bytes_field(1, v0) + wire.bytes_field(2, b"data") + wire.bytes_field(3, b"conv1")
    (tmp_path / "x").write_bytes(wire.bytes_field(1, b"CaffeNet") + wire.bytes_field(2, layer))
    with pytest.raises(WeightsError, match=r"first format \(V0, of 2013\).* upgrade_net_proto_binary OLD NEW"):
        convert(tmp_path / "x")


def test_small_shapes_do_not_fit_the_network(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not fit network 'bvlc'"):
        stored(convert(caffemodel(tmp_path / "x")), "x")


def test_truncation_anywhere_is_told(tmp_path: Path) -> None:
    whole = caffemodel(tmp_path / "x").read_bytes()
    for size in [1, 5, 9, 12, 40, len(whole) // 2, len(whole) - 1]:
        (tmp_path / "y").write_bytes(whole[:size])
        with pytest.raises(WeightsError, match=r"/y"):
            convert(tmp_path / "y")


def test_a_claimed_size_is_not_allocated(tmp_path: Path) -> None:
    huge = wire.bytes_field(7, wire.packed(1, [10**6, 10**6])) + wire.bytes_field(5, b"\0" * 8)
    layer = wire.bytes_field(1, b"conv1") + wire.bytes_field(7, huge)
    (tmp_path / "x").write_bytes(wire.bytes_field(100, layer))
    with pytest.raises(WeightsError, match="1000000 x 1000000 holds 2 values"):
        convert(tmp_path / "x")


def test_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    network = create("bvlc")
    with torch.no_grad():
        network.fc8.bias[3] = float("nan")
    from alexnet.weights.convert.foreign import Foreign

    with pytest.raises(WeightsError, match=r"fc8.bias that are not finite"):
        stored(Foreign("bvlc", dict(network.state_dict())), "x")


def test_other_networks_are_not_written(tmp_path: Path) -> None:
    network = create("cifar-19pct")
    with pytest.raises(UsageError, match="bvlc and caffenet here, not 'cifar-19pct'"):
        caffe.write(network, card_of(network), tmp_path / "x.caffemodel")
    assert not list(tmp_path.iterdir())


def test_changed_bytes_give_one_line_or_tensors(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0)
    files = [caffemodel(tmp_path / "x", old=old, double=old).read_bytes() for old in (True, False)]
    told = []
    for number in range(300):
        data = bytearray(files[number % 2])
        for place in drawn.integers(0, len(data), 1 + number % 5):
            data[place] = drawn.integers(0, 256)
        (tmp_path / "y").write_bytes(data)
        try:
            caffe.read(tmp_path / "y")
        except WeightsError as error:
            told.append(str(error))
    assert 50 < len(told) < 300
    assert not any("\n" in line for line in told)
