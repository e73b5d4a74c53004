"""The 2012 network matches the released code and the paper's text."""

import pytest
import torch
import torch.nn.functional as F

from alexnet.errors import UsageError
from alexnet.networks import create

CODE = {  # initW and initB in cuda-convnet's layers-145.cfg
    "conv1": (0.01, 0),
    "conv2": (0.01, 1),
    "conv3": (0.03, 0),
    "conv4": (0.03, 1),
    "conv5": (0.03, 1),
    "fc6": (0.01, 1),
    "fc7": (0.01, 1),
    "fc8": (0.01, 0),
}
TEXT = {layer: (0.01, bias) for layer, (_, bias) in CODE.items()}  # section 5


@pytest.fixture(scope="module")
def code() -> torch.nn.Module:
    torch.manual_seed(0)
    return create("krizhevsky2012", num_classes=10).eval()


@pytest.fixture(scope="module")
def text() -> torch.nn.Module:
    torch.manual_seed(0)
    return create("paper", num_classes=10).eval()


def pixels(size: int) -> torch.Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)) * 255 - 117


@pytest.mark.parametrize(("name", "expected"), [("code", CODE), ("text", TEXT)])
def test_initialisation_matches_the_published_files(
    name: str, expected: dict[str, tuple[float, float]], request: pytest.FixtureRequest
) -> None:
    network = request.getfixturevalue(name)
    for layer, (std, bias) in expected.items():
        parameters = network.get_submodule(layer)
        assert parameters.weight.std().item() == pytest.approx(std, rel=0.02), layer
        assert parameters.weight.mean().item() == pytest.approx(0, abs=0.02 * std), layer
        assert (parameters.bias == bias).all(), layer


def test_layer_order_of_krizhevsky2012_matches_the_code(code: torch.nn.Module) -> None:
    order = [name for name, _ in code.stages()]
    assert order[:11] == [
        "pad",
        "conv1",
        "norm1",
        "pool1",
        "relu1",
        "conv2",
        "relu2",
        "norm2",
        "mapnorm2",
        "pool2",
        "conv3",
    ]
    assert order[-7:] == ["fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "fc8"]


def test_layer_order_of_paper_matches_the_text(text: torch.nn.Module) -> None:
    order = [name for name, _ in text.stages()]
    assert order[:9] == ["conv1", "relu1", "norm1", "pool1", "conv2", "relu2", "norm2", "pool2", "conv3"]


def test_first_stages_of_krizhevsky2012_equal_the_formulas(code: torch.nn.Module) -> None:
    x = pixels(224)
    with torch.no_grad():
        maps = code(x, return_maps=True)[1]
        padded = F.pad(x, (0, 3, 0, 3))  # zeros past the right and lower edge, as cuda-convnet's ceil sees them
        towers = F.conv2d(padded, code.conv1.weight, code.conv1.bias, stride=4).chunk(2, dim=1)
        normed = [F.local_response_norm(tower, 5, alpha=1e-4, beta=0.75, k=2.0) for tower in towers]
        front = [F.max_pool2d(tower, 3, 2).relu() for tower in normed]
        weights, biases = code.conv2.weight.chunk(2), code.conv2.bias.chunk(2)
        second = [F.conv2d(t, w, b, padding=2).relu() for t, w, b in zip(front, weights, biases, strict=True)]
        second = [F.local_response_norm(tower, 5, alpha=1e-4, beta=0.75, k=2.0) for tower in second]
        second = [t / (1 + 1e-3 * F.avg_pool2d(t * t, 5, stride=1, padding=2)) ** 0.75 for t in second]
    torch.testing.assert_close(maps["relu1"], torch.cat(front, dim=1))
    torch.testing.assert_close(maps["mapnorm2"], torch.cat(second, dim=1))


def test_first_stages_of_paper_equal_the_formulas(text: torch.nn.Module) -> None:
    x = pixels(227)
    with torch.no_grad():
        maps = text(x, return_maps=True)[1]
        rectified = F.conv2d(x, text.conv1.weight, text.conv1.bias, stride=4).relu()
        # torch divides alpha by the window of 5, the paper does not
        expected = F.max_pool2d(F.local_response_norm(rectified, 5, alpha=5e-4, beta=0.75, k=2.0), 3, 2)
    torch.testing.assert_close(maps["pool1"], expected)


def test_towers_are_independent_before_conv3(code: torch.nn.Module) -> None:
    x = pixels(100)
    with torch.no_grad():
        before = code(x, return_maps=True)[1]
        code.conv1.weight[48:] *= -1  # the second GPU's filters
        after = code(x, return_maps=True)[1]
        code.conv1.weight[48:] *= -1
    changed = {
        name: [not torch.equal(*pair) for pair in zip(before[name].chunk(2, 1), after[name].chunk(2, 1), strict=True)]
        for name in ("norm1", "mapnorm2", "conv3")
    }
    assert changed == {"norm1": [False, True], "mapnorm2": [False, True], "conv3": [True, True]}


def test_lrn_of_paper_extends_across_towers(text: torch.nn.Module) -> None:
    x = pixels(100)
    with torch.no_grad():
        before = text(x, return_maps=True)[1]["norm1"]
        text.conv1.weight[48:] *= -1
        after = text(x, return_maps=True)[1]["norm1"]
        text.conv1.weight[48:] *= -1
    changed = (before != after).any(dim=(0, 2, 3)).int().tolist()
    assert changed == [0] * 46 + [1] * 50  # maps 46 and 47 have neighbours beyond 48


def test_one_tower_connects_every_layer_to_all_maps() -> None:
    with torch.device("meta"):
        network = create("krizhevsky2012", towers=1)
    assert sum(p.numel() for p in network.parameters()) == 62_378_344
    with pytest.raises(UsageError, match=r"towers=3.*has 2"):
        create("krizhevsky2012", towers=3)
