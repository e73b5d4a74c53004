"""The first convolution with the space-to-depth weight gradient equals torch's, in values and in all derivatives."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from alexnet.ops import blocks, native
from alexnet.ops.blocks import ImageConv, blocks_of, pays

needs_kernels = pytest.mark.skipif(native.instruction_set() is None, reason="the native kernels are not built")

LAYERS = {  # colours, outputs, window, stride, padding, height and width of the images; without a bias if named so
    "bvlc": (3, 96, 11, 4, 0, 227, 227),
    "one_weird_trick": (3, 64, 11, 4, 2, 64, 75),
    "a stride that divides the window": (4, 5, 6, 3, 1, 20, 31),
    "gray, a window as wide as the stride": (1, 3, 2, 2, 0, 9, 8),
    "padded by more than a block": (2, 3, 7, 2, 3, 7, 7),
    "modern, without a bias": (3, 96, 11, 4, 5, 64, 64),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_and_gradients_match_torch(instructions, name, dtype):
    colors, outputs, kernel, stride, padding, height, width = LAYERS[name]
    torch.manual_seed(0)
    layer = nn.Conv2d(colors, outputs, kernel, stride, padding, bias="without" not in name).to(dtype)
    x = torch.randn(2, colors, height, width).to(dtype)
    y = ImageConv(layer)(x)
    dy = torch.randn(y.shape).to(dtype)
    found = torch.autograd.grad(y, list(layer.parameters()), dy)
    exact = [each.detach().double().requires_grad_() for each in layer.parameters()]
    wanted = F.conv2d(x.double(), exact[0], exact[1] if exact[1:] else None, stride, padding)
    expected = torch.autograd.grad(wanted, exact, dy.double())
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    for one, other in zip((y, *found), (wanted, *expected), strict=True):
        assert (one.double() - other).norm() <= tolerance * other.norm()


def test_autocast_of_float32_images_gives_its_own_gradients():
    torch.manual_seed(0)
    layer, x = nn.Conv2d(3, 96, 11, 4), torch.randn(2, 3, 227, 227)
    gradients = []
    for convolution in (ImageConv(layer), layer):
        with torch.autocast("cpu", torch.bfloat16):
            y = convolution(x)
        gradients.append(torch.autograd.grad(y.float().square().mean(), layer.weight)[0])
    assert torch.equal(*gradients)


@needs_kernels
def test_a_block_holds_its_pixels_in_memory_order():
    x = torch.arange(2 * 3 * 5 * 6, dtype=torch.float32).view(2, 3, 5, 6)
    blocks = blocks_of(x, kernel=3, stride=2, padding=1)
    assert blocks.shape == (2, 16, 4, 4)
    padded = F.pad(x, (1, 1, 1, 2))
    pixels = padded.permute(0, 2, 3, 1).unfold(1, 2, 2).unfold(2, 2, 2)  # (N, rows, columns, C, 2, 2)
    wanted = pixels.permute(0, 4, 5, 3, 1, 2).flatten(1, 3)
    assert torch.equal(blocks[:, :12], wanted)
    assert not blocks[:, 12:].any()


@needs_kernels
def test_result_is_bit_identical_for_any_thread_count():
    x = torch.randn(3, 3, 67, 67)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = blocks_of(x, 11, 4, 0)
        torch.set_num_threads(4)
        assert torch.equal(blocks_of(x, 11, 4, 0), one)
    finally:
        torch.set_num_threads(threads)


def test_image_gradients_match_torch():
    layer = nn.Conv2d(3, 4, 5, 2)
    x = torch.randn(1, 3, 17, 17, requires_grad=True)
    ImageConv(layer)(x).sum().backward()
    ours, x.grad = x.grad, None
    layer(x).sum().backward()
    assert torch.equal(ours, x.grad)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("name", LAYERS)
def test_double_backward_matches_torch(name, dtype, tolerance):
    colors, outputs, kernel, stride, padding, height, width = LAYERS[name]
    torch.manual_seed(0)
    layer = nn.Conv2d(colors, outputs, kernel, stride, padding, bias="without" not in name).to(dtype)
    x = torch.randn(2, colors, height, width).to(dtype)
    directions = [torch.randn_like(each) for each in layer.parameters()]

    def second(convolution, layer, x):
        weights = list(layer.parameters())
        y = convolution(x)
        gradients = torch.autograd.grad(y.square().sum(), weights, create_graph=True)
        along = sum((one * way.to(one.dtype)).sum() for one, way in zip(gradients, directions, strict=True))
        return torch.autograd.grad(along, weights)

    ours = second(ImageConv(layer), layer, x)
    layer = layer.double()
    for one, other in zip(ours, second(layer, layer, x.double()), strict=True):
        assert (one.double() - other).norm() <= tolerance * other.norm()


@needs_kernels
def test_vmapped_per_sample_gradients_match_a_loop():
    torch.manual_seed(0)
    layer, x = nn.Conv2d(3, 4, 5, 2), torch.randn(3, 1, 3, 17, 17)

    def loss(weights, image):
        return torch.func.functional_call(Calling(layer), weights, image).square().sum()

    weights = {f"layer.{name}": value.detach() for name, value in layer.named_parameters()}
    batched = torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, x)
    for place, image in enumerate(x):
        single = torch.autograd.grad(ImageConv(layer)(image).square().sum(), [layer.weight, layer.bias])
        torch.testing.assert_close([batched["layer.weight"][place], batched["layer.bias"][place]], list(single))


class Calling(nn.Module):
    """ImageConv as a module, for torch.func.functional_call."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return ImageConv(self.layer)(x)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(48, 8, 5, 2),
        nn.Conv2d(3, 8, 3, 1),
        nn.Conv2d(3, 8, 3, 4),
        nn.Conv2d(3, 6, 5, 2, groups=3),
        nn.Conv2d(3, 8, 5, 2, dilation=2),
        nn.Conv2d(3, 8, (5, 3), 2),
        nn.Conv2d(3, 8, 5, 2, padding="valid"),
        nn.Conv2d(3, 8, 5, 2, padding=2, padding_mode="reflect"),
    ],
)
def test_unsupported_convolutions_are_not_replaced(layer):
    assert not pays(layer)


@needs_kernels
def test_a_first_convolution_without_bias_uses_the_gradient_over_blocks():
    layer = nn.Conv2d(3, 8, 11, 4, 5, bias=False)
    y = ImageConv(layer)(torch.randn(2, 3, 64, 64))
    assert "image_conv" in type(y.grad_fn).__name__


def test_the_published_first_convolution_is_replaced():
    assert pays(nn.Conv2d(3, 96, 11, 4))


@pytest.mark.parametrize(("kernel", "stride", "padding", "size"), [(11, 4, 0, 31), (11, 4, 5, 33), (5, 2, 1, (12, 9))])
def test_convolution_over_blocks_has_the_layers_values_and_gradients(
    kernel: int, stride: int, padding: int, size: int | tuple[int, int]
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 8, kernel, stride, padding).double()
    x = torch.randn(2, 3, *(size if isinstance(size, tuple) else (size, size)), dtype=torch.float64)
    expected, found = layer(x), blocks.over_blocks(layer, x, layer.bias)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    dy = torch.randn_like(expected)
    for one, other in zip(*(torch.autograd.grad(y, [*layer.parameters()], dy) for y in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.cuda
def test_on_a_gpu_blocks_are_those_of_plain_torch() -> None:
    x = torch.randn(2, 3, 31, 29)
    found = torch.ops.alexnet.image_blocks(x.cuda(), 11, 4, 5).cpu()
    assert torch.equal(found, torch.ops.alexnet.image_blocks(x, 11, 4, 5))
