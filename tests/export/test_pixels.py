"""The preprocessing inside an export: any size, every fit, as `Preprocessing` does it, whatever an engine's Resize."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper

from alexnet.data.form import FITS, fitted
from alexnet.data.preprocess import Preprocessing
from alexnet.export.network import FLOAT, IMAGES, PROBABILITIES, model_of
from alexnet.export.pixels import whole

Pixels = npt.NDArray[np.uint8]
SHAPES = [(40, 40), (41, 40), (57, 23), (23, 57), (1, 9), (130, 1), (100, 175), (175, 100), (201, 200), (16, 12)]
MEAN, STD = (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)
STEP = 1 / min(STD)  # one level of a pixel in the network's input
Run = Callable[[dict[str, Any]], list[Any]]


def preprocessing(fit: str, resize: int = 40) -> Preprocessing:
    return Preprocessing(32, resize, MEAN, STD, store_size=40, fit=fit)


def graph(steps: Preprocessing) -> Any:
    """An export of a network that answers with its input."""
    side = steps.input_size
    shown = [helper.make_tensor_value_info(name, FLOAT, ["N", 3, side, side]) for name in (IMAGES, PROBABILITIES)]
    nothing = helper.make_node("Identity", [IMAGES], [PROBABILITIES])
    return whole(model_of(helper.make_graph([nothing], "nothing", shown[:1], shown[1:])), steps)


def picture(shape: tuple[int, int], seed: int = 0) -> Pixels:
    """Edges and noise."""
    rng = np.random.default_rng((seed, *shape))
    blocks = np.kron(rng.integers(0, 256, (shape[0] // 7 + 1, shape[1] // 5 + 1, 3)), np.ones((7, 5, 1)))
    noisy = blocks[: shape[0], : shape[1]] + rng.integers(-20, 20, (*shape, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def error(run: Run, steps: Preprocessing, image: Pixels) -> npt.NDArray[np.float32]:
    """How far the graph's input for a network is from ours, in levels."""
    expected = steps.views([fitted(image, steps.store_size, steps.fit)])[0].numpy()
    (found,) = run({"image": image})
    assert found.shape == expected.shape
    difference: npt.NDArray[np.float32] = np.abs(found - expected) / STEP
    return difference


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "reference"])
def test_pictures_of_odd_sizes_become_the_input_that_ours_makes(fit: str, engine: str, engines: Any) -> None:
    """Within a level of a pixel; within two where a picture is scaled that is no square, as Pillow's versions differ.

    Pillow scales rows or columns first, by their lengths, and rounds between the two.
    """
    steps, most = preprocessing(fit), 1.01 if fit == "crop" else 2.01
    model = graph(steps)
    onnx.checker.check_model(model, full_check=True)
    run = engines[engine](model)
    for shape in SHAPES:
        levels = error(run, steps, picture(shape))
        assert levels.max() < most, shape
        assert (levels > 0.01).mean() < 0.3, shape


@pytest.mark.parametrize("resize", [40, 35, 48])
def test_view_is_scaled_as_ours_where_it_is_cropped_from_another_size(resize: int, engines: Any) -> None:
    steps = preprocessing("crop", resize)
    assert error(engines["onnxruntime"](graph(steps)), steps, picture((40, 40))).max() < 0.001


@pytest.mark.parametrize(
    "fault",
    [{"antialias": 0, "exclude_outside": 0}, {"exclude_outside": 0}, {"coordinate_transformation_mode": "asymmetric"}],
)
def test_engine_whose_resize_is_wrong_gives_the_same_answers(fault: dict[str, Any], engines: Any) -> None:
    """The graph asks Resize for a known answer, and takes products with weights where it gives another."""
    steps = preprocessing("crop")
    model = graph(steps)
    changed = 0
    for nodes in (model.graph.node, *(a.g.node for n in model.graph.node if n.op_type == "If" for a in n.attribute)):
        for node in nodes:
            if node.op_type == "Resize":
                changed += 1
                kept = [each for each in node.attribute if each.name not in fault]
                del node.attribute[:]
                node.attribute.extend([*kept, *(helper.make_attribute(*each) for each in fault.items())])
    assert changed == 2
    run = engines["onnxruntime"](model)
    for shape in SHAPES:
        levels = error(run, steps, picture(shape))
        assert levels.max() < 1.01, shape
        assert (levels > 0.01).mean() < 0.05, shape  # ties, where a scale is a small fraction


def test_picture_of_the_stored_size_is_not_changed(engines: Any) -> None:
    """So that an export answers an image in the stored form as the image it was made of."""
    run = engines["onnxruntime"](graph(preprocessing("crop")))
    image = picture((40, 40))
    (found,) = run({"image": image})
    exact = (image[4:36, 4:36].astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
    np.testing.assert_allclose(found, exact.transpose(2, 0, 1), atol=1e-6)
