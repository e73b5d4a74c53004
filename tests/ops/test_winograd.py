"""Convolutions with fewer products: the kernels equal the formula, and both the convolution."""

import pytest
import torch
from torch import Tensor, nn

from alexnet.ops import native, winograd
from alexnet.ops.packed import WinogradConv, packed
from alexnet.ops.winograd import GATHER, convolve, join, plain_split, points_of, split, weights_of

SETS = [name for name in native.instruction_sets() if native.instruction_set()]


def maps(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last)


@pytest.fixture(params=SETS)
def instructions(request: pytest.FixtureRequest) -> str:
    best = native.instruction_set()
    assert best is not None
    if SETS.index(request.param) < SETS.index(best):
        pytest.skip(f"this processor lacks {request.param}")
    return str(request.param)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (13, 9), (1, 2)])
def test_kernels_equal_the_formula(height: int, width: int, dtype: torch.dtype, instructions: str) -> None:
    x = maps(2, 32, height, width, dtype=dtype)
    with native.using(instructions):
        points = split(x, groups=2)
        assert torch.equal(points, plain_split(x, groups=2))
        found = torch.empty_like(x)
        bias = torch.linspace(-1, 1, 32)
        join(points, bias, 2, True, found)
    a = torch.tensor(GATHER, dtype=torch.float32)
    tiles = points.float().view(4, 4, 2, 2, -(-height // 2), -(-width // 2), 16)  # i, j, group, image, row, column, c
    pixels = torch.einsum("ai,ijgnrqc,bj->ngcraqb", a, tiles, a).reshape(
        2, 32, *(2 * -(-side // 2) for side in x.shape[2:])
    )
    wanted = (pixels[:, :, :height, :width] + bias.view(-1, 1, 1)).relu()
    torch.testing.assert_close(found.float(), wanted, rtol=2**-8 if dtype == torch.bfloat16 else 1e-6, atol=1e-5)


@pytest.mark.skipif(not SETS, reason="needs the native kernels")
@pytest.mark.parametrize("groups", [1, 2])
def test_it_equals_the_convolution(groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "AT_ONCE", 3 * 16 * 35 * 224)  # three images at once of five
    conv, x = nn.Conv2d(128, 96, 3, padding=1, groups=groups).requires_grad_(False), maps(5, 128, 13, 9)
    wanted = conv(x).relu()
    for dtype, rounding in ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)):
        found = convolve(x.to(dtype), *weights_of(conv, dtype), groups, relu=True)
        assert found.dtype == dtype
        assert (found.float() - wanted).abs().max() < rounding * wanted.max()


def test_weights_as_points_are_the_published_transform() -> None:
    weight = torch.zeros(2, 1, 3, 3)
    weight[0, 0, 0, 0] = weight[1, 0, 1, 1] = 4
    first, second = points_of(weight, 1).view(4, 4, 2).unbind(2)
    assert first.tolist() == [[4, 2, 2, 0], [2, 1, 1, 0], [2, 1, 1, 0], [0, 0, 0, 0]]
    assert second.tolist() == [[0, 0, 0, 0], [0, 1, -1, 0], [0, -1, 1, 0], [0, 0, 0, 0]]


@pytest.mark.skipif(not SETS, reason="needs the native kernels")
def test_packed_layers_take_it_where_it_pays_and_follow_weights_and_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "PAYS", True)
    conv = nn.Conv2d(64, 64, 3, padding=1).requires_grad_(False)
    others = [
        nn.Conv2d(64, 64, 3),
        nn.Conv2d(64, 64, 3, 2, 1),
        nn.Conv2d(64, 64, 5, padding=1),
        nn.Conv2d(64, 72, 3, 1, 1),
    ]
    (_, layer), *rest = packed(("conv", each) for each in [conv, *others])
    assert type(layer) is WinogradConv
    assert WinogradConv not in {type(each) for _, each in rest}
    for x in (maps(1, 64, 8, 8), maps(1, 64, 5, 20)):
        torch.testing.assert_close(layer(x), conv(x), rtol=1e-4, atol=1e-4)
    conv.weight.mul_(2)
    torch.testing.assert_close(layer(x), conv(x), rtol=1e-4, atol=1e-4)
    with native.using("off"):
        torch.testing.assert_close(layer(x), conv(x), rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not SETS, reason="needs the native kernels")
def test_weights_follow_the_instruction_set() -> None:
    layer = WinogradConv(nn.Conv2d(64, 64, 3, padding=1).requires_grad_(False), relu=False)
    x = maps(1, 64, 8, 8, dtype=torch.bfloat16)
    wanted = layer(x).float()
    with native.using("portable"):
        assert (layer(x).float() - wanted).abs().max() < 2e-2 * wanted.abs().max()
