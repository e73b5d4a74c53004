"""Keras files: Keras itself, on torch, gives the answers of our network for the same file, both ways."""

import json
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import torch

from alexnet.errors import UsageError, WeightsError
from alexnet.networks import create
from alexnet.networks.layers import Network
from alexnet.weights.card import Card
from alexnet.weights.convert import HEAD, keras_writer
from alexnet.weights.convert import keras as convert
from alexnet.weights.convert.foreign import published, stored

Floats = npt.NDArray[np.float32]
# A variant whose last maps have 2 x 2 places, so that the order of fc6's rows matters
LESS = {"conv2": 5, "hidden": 40, "dropout": 0.25, "memory": 0.9}
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")  # Keras


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))  # where Keras writes its settings
        import keras

        yield keras


def program(keras: ModuleType, classes: int, less: bool) -> Any:
    """The article's program, or a variant with `LESS`, with statistics as if it had been trained."""
    L = keras.layers
    keras.utils.set_random_seed(3)
    blocks = [(96, 11, 4, True), (256, 5 if less else 11, 1, True), (384, 3, 1, False), (384, 3, 1, False)]
    blocks += [(256, 3, 1, True)]
    layers: list[Any] = [keras.Input((224, 224, 3))]
    memory, rate = (0.9, 0.25) if less else (0.99, 0.4)
    for filters, side, stride, pooled in blocks:
        layers.append(L.Conv2D(filters, side, strides=stride, activation=None if less else "relu"))
        layers += [L.Activation("relu")] * less + [L.MaxPooling2D(2)] * pooled + [L.BatchNormalization(momentum=memory)]
    layers.append(L.Flatten())
    for units in (4096, 4096, 40 if less else 1000):
        layers += [L.Dense(units, activation="relu"), L.Dropout(rate), L.BatchNormalization(momentum=memory)]
    model = keras.Sequential([*layers, L.Dense(classes, activation="softmax")])
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            shape = layer.get_weights()[0].shape
            layer.set_weights([random.uniform(low, 1.5, shape) for low in (0.5, -0.5, -0.2, 0.2)])
        elif layer.get_weights():
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, random.normal(0, 0.1, bias.shape)])
    return model


def answers(model: Any, images: Floats) -> Floats:
    with torch.no_grad():
        result: Floats = model(images, training=False).detach().cpu().numpy()
    return result


def our_answers(network: Network, images: Floats) -> Floats:
    with torch.inference_mode():
        return network.eval()(torch.from_numpy(images).permute(0, 3, 1, 2)).softmax(1).numpy()


def images_of(number: int = 2) -> Floats:
    return np.random.default_rng(1).random((number, 224, 224, 3), dtype=np.float32)


@pytest.fixture(scope="module")
def saved(keras: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Floats]:
    """The variant's .keras file and its answers."""
    path = tmp_path_factory.mktemp("variant") / "model.keras"
    model = program(keras, 5, less=True)
    model.save(path)
    return path, answers(model, images_of())


def test_keras_file_of_a_variant_gives_keras_answers_and_its_differences(saved: tuple[Path, Floats]) -> None:
    path, expected = saved
    assert convert.recognises(path, path.read_bytes()[:HEAD])
    found = convert.read(path)
    assert found.differences == LESS
    network = create("article", 5, **found.differences)
    network.load_state_dict(stored(found, str(path)).tensors)
    np.testing.assert_allclose(our_answers(network, images_of()), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])
def test_every_kind_of_file_of_the_published_program_gives_keras_answers(
    suffix: str, keras: ModuleType, tmp_path: Path
) -> None:
    model = program(keras, 17, less=False)
    path = tmp_path / f"model{suffix}"
    if suffix == ".weights.h5":
        model.save_weights(path)
    else:
        model.save(path)
    assert convert.recognises(path, path.read_bytes()[:HEAD])
    found = convert.read(path)
    assert found.differences == {}
    assert any("weights alone" in note for note in found.notes) == (suffix == ".weights.h5")
    assert found.class_names is not None
    assert [found.class_names[label] for label in (0, 1, 2, 9)] == [
        "daffodil",
        "snowdrop",
        "daisy",
        "lily of the valley",
    ]
    network = create("article", 17)
    network.load_state_dict(stored(found, str(path)).tensors)
    np.testing.assert_allclose(our_answers(network, images_of()), answers(model, images_of()), rtol=1e-4, atol=1e-6)


def written(path: Path, differences: dict[str, Any]) -> Network:
    torch.manual_seed(2)
    network = create("article", 5, **differences).eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.ndim == 1:
                value.uniform_(0.3 if name.endswith("running_var") else -0.3, 1.2)
    names = [f"kind {number}" for number in range(5)]
    convert.write(network, Card("article", 5, 224, differences, names, published(network).to_json()), path)
    return network


@pytest.mark.parametrize(
    "differences", [LESS, pytest.param({"padding": True, "hidden_relu": False}, marks=pytest.mark.slow)]
)
def test_keras_loads_what_is_written_and_so_do_we(
    differences: dict[str, Any], keras: ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "ours.keras"
    network = written(path, differences)
    model = keras.saving.load_model(path)
    np.testing.assert_allclose(answers(model, images_of()), our_answers(network, images_of()), rtol=1e-4, atol=1e-6)
    back = convert.read(path)
    assert (back.differences, back.class_names) == (differences, [f"kind {number}" for number in range(5)])
    assert back.preprocessing == published(network)
    for key, value in network.state_dict().items():
        assert torch.equal(back.tensors[key], value), key


def test_what_keras_cannot_hold_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Keras pads pools of 3"):
        written(tmp_path / "ours.keras", {"pool": 3, "conv2": 5, "hidden": 0})
    with pytest.raises(UsageError, match=r"name it ours\.keras"):
        written(tmp_path / "ours.zip", {})
    cifar = create("cifar-19pct")
    with pytest.raises(UsageError, match="article, not 'cifar-19pct'"):
        convert.write(cifar, Card("cifar-19pct", 10, 32, {}, list("abcdefghij"), {}), tmp_path / "ours.keras")
    assert list(tmp_path.iterdir()) == []


# --- refused ---


def altered(path: Path, target: Path, change: Callable[[list[dict[str, Any]]], Any]) -> Path:
    """A copy of a .keras file whose layers were changed, without its weights where they do not matter."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w") as out:
        config = json.loads(archive.read("config.json"))
        change(config["config"]["layers"])
        out.writestr("config.json", json.dumps(config))
        content = Path(target.parent, "empty.h5")
        h5py.File(content, "w").close()
        out.write(content, "model.weights.h5")
    return target


def _set(kind: str, number: int, key: str, value: Any) -> Callable[[list[dict[str, Any]]], None]:
    def change(layers: list[dict[str, Any]]) -> None:
        [layer for layer in layers if layer["class_name"] == kind][number]["config"][key] = value

    return change


def _lambda(layers: list[dict[str, Any]]) -> None:
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}
    layers.insert(2, {"module": "keras.layers", "class_name": "Lambda", "config": {"name": "l", "function": code}})


CHANGES: dict[str, tuple[Callable[[list[dict[str, Any]]], Any], str]] = {
    "a lambda": (_lambda, "is Lambda, the article's relu"),
    "stride": (_set("Conv2D", 0, "strides", [2, 2]), r"strides of step 1 \(Conv2D\) is \[2, 2\]"),
    "filters": (_set("Conv2D", 2, "filters", 100), r"filters of step .* is 100"),
    "dilation": (_set("Conv2D", 2, "dilation_rate", [2, 2]), "dilation_rate"),
    "channels first": (_set("Conv2D", 0, "data_format", "channels_first"), "data_format"),
    "epsilon": (_set("BatchNormalization", 1, "epsilon", 1e-5), "epsilon"),
    "pool": (_set("MaxPooling2D", 1, "pool_size", [3, 3]), "pool_size"),
    "answers": (_set("Dense", 3, "activation", "sigmoid"), "sigmoid"),
    "a layer less": (lambda layers: layers.pop(3), "is BatchNormalization, the article's MaxPooling2D"),
    "no layers": (lambda layers: layers.clear(), "has no layers|no layers/conv2d"),
    "weights left out": (lambda layers: None, "it has no layers/conv2d/vars/0"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_other_layers_are_refused_in_one_line(name: str, saved: tuple[Path, Floats], tmp_path: Path) -> None:
    path = altered(saved[0], tmp_path / "other.keras", CHANGES[name][0])
    with pytest.raises(WeightsError, match=CHANGES[name][1]) as caught:
        convert.read(path)
    assert "\n" not in str(caught.value)


def h5_with(path: Path, make: Callable[[Any], Any]) -> Path:
    with h5py.File(path, "w") as file:
        group = file.create_group("layers/conv2d/vars")
        make(group)
        group.create_dataset("1", (96,), "f4")
    return path


def test_links_and_claims_of_hdf5_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as secret:
        secret["secret"] = np.zeros((11, 11, 3, 96), "f4")

    def external(group: Any) -> None:
        (tmp_path / "raw").write_bytes(bytes(4 * 11 * 11 * 3 * 96))
        group.create_dataset("0", (11, 11, 3, 96), "f4", external=[(str(tmp_path / "raw"), 0, 139392)])

    def link(group: Any) -> None:
        group["0"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "secret")

    def soft(group: Any) -> None:
        group["0"] = h5py.SoftLink("/layers")

    def huge(group: Any) -> None:
        group.create_dataset("0", (10**6, 10**6), "f4", chunks=(1000, 1000))

    def text(group: Any) -> None:
        group.create_dataset("0", data=np.array([b"a"]))

    makers = {link: "link elsewhere", soft: "link elsewhere", external: "lie elsewhere"}
    makers |= {huge: "is 1000000 x 1000000, expected 11", text: "is 1, expected 11"}
    for make, reason in makers.items():
        path = h5_with(tmp_path / f"{make.__name__}.weights.h5", make)
        with pytest.raises(WeightsError, match=reason) as caught:
            convert.read(path)
        assert "\n" not in str(caught.value)


def test_links_of_old_files_are_refused_before_they_are_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as secret:
        secret.create_group("w/conv2d").attrs["weight_names"] = [b"kernel", b"bias"]
        secret["w"].attrs["layer_names"] = [b"conv2d"]
    for name, make in {
        "model_weights": lambda file: file.update({"model_weights": h5py.ExternalLink("secret.h5", "w")}),
        "conv2d": lambda file: file.update({"conv2d": h5py.ExternalLink("secret.h5", "w/conv2d")}),
    }.items():
        path = tmp_path / f"{name}.h5"
        with h5py.File(path, "w") as file:
            file.attrs["layer_names"] = [b"conv2d"]
            make(file)
        with pytest.raises(WeightsError, match=f"refused: {name} is a link elsewhere"):
            convert.read(path)


@pytest.mark.parametrize(("key", "value"), [("max_value", 6.0), ("negative_slope", 0.1), ("threshold", 0.5)])
def test_a_bent_relu_is_not_taken_for_a_plain_one(key: str, value: float, tmp_path: Path) -> None:
    layer = {"class_name": "ReLU", "config": {"max_value": None, "negative_slope": 0.0, "threshold": 0.0, key: value}}
    with pytest.raises(WeightsError, match=f"a ReLU with {key} {value}"):
        convert._steps([layer], tmp_path / "x.keras")
    assert [step.kind for step in convert._steps([{"class_name": "ReLU", "config": {}}], tmp_path / "x.keras")] == [
        "relu"
    ]


def test_damage_is_refused_in_one_line(saved: tuple[Path, Floats], tmp_path: Path) -> None:
    content = saved[0].read_bytes()
    path = tmp_path / "damaged.keras"
    for kept in (3, 100, 5000, len(content) // 2, len(content) - 10):
        path.write_bytes(content[:kept])
        with pytest.raises(WeightsError, match="damaged") as caught:
            convert.read(path)
        assert "\n" not in str(caught.value)
    for suffix in (".h5", ".weights.h5"):
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(convert.HDF5 + bytes(100))
        with pytest.raises(WeightsError, match="damaged"):
            convert.read(path)


def test_a_part_that_unpacks_to_more_than_weights_need_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "MOST", 1000)
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(100_000))
    with pytest.raises(WeightsError, match="more than 1000 bytes"):
        convert.read(path)


def test_other_zips_are_not_recognised(tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "other"), "zip", tmp_path)
    path = tmp_path / "other.zip"
    assert not convert.recognises(path, path.read_bytes()[:HEAD])
    with pytest.raises(WeightsError, match="leave out --network"):
        convert.read(path, "modern")


def test_without_the_package_the_way_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UsageError, match=r"pip install h5py"):
        keras_writer.library("reading x.keras")
