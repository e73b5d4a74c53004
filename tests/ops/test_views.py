"""Views of stored images follow the documented formula, for every instruction set and in plain torch."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from alexnet.errors import UsageError
from alexnet.ops.views import LUMA, ColorMap, Mixing, Windows, mix, normals, render

COUNT, SIDE = 5, 37


def random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def images() -> Tensor:
    """uint8 (COUNT, SIDE, SIDE, 3)."""
    return torch.randint(0, 256, (COUNT, SIDE, SIDE, 3), dtype=torch.uint8, generator=random())


def colors() -> ColorMap:
    """A map that mixes channels and looks at the mean."""
    drawn = random()
    return ColorMap(*(torch.randn(COUNT, *shape, generator=drawn) / 100 for shape in ((3, 3), (3,), (3,))))


def test_a_scaled_map_is_the_map_followed_by_a_diagonal_matrix():
    factors = torch.rand(COUNT, 3, generator=random())
    ours, plain = colors().scaled(factors), colors().then(torch.diag_embed(factors), torch.zeros(3))
    assert all(torch.equal(getattr(ours, name), getattr(plain, name)) for name in ("matrix", "offset", "gray"))


@pytest.mark.parametrize("size", [1, 5, 16, 23, SIDE])
def test_a_crop_of_the_views_size_is_copied(instructions, size):
    top, left = (SIDE - size) // 2, (SIDE - size) // 3
    shown = Windows.square([top] * COUNT, [left] * COUNT, size)
    view = render(images(), shown, ColorMap.identity(COUNT), size)
    window = images()[:, top : top + size, left : left + size].permute(0, 3, 1, 2).float()
    assert torch.equal(view, window)
    assert view.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [1, 4, 11, 31, 50, 80])
def test_resizing_equals_torch_interpolate(instructions, size):
    parts = torch.tensor([[0.0, 0, SIDE, SIDE], [3, 5, 20, 11], [30, 1, 7, 36], [0, 36, 1, 1], [2, 2, 33, 4]])
    view = render(images(), Windows(parts), ColorMap.identity(COUNT), size)
    for n, (top, left, height, width) in enumerate(parts.int().tolist()):
        part = images()[n : n + 1, top : top + height, left : left + width].permute(0, 3, 1, 2).float()
        wanted = F.interpolate(part, size=(size, size), mode="bilinear", antialias=True)
        torch.testing.assert_close(view[n : n + 1], wanted, rtol=1e-4, atol=1e-2)


def test_an_unbounded_crop_resamples_pixels_around_it(instructions):
    scale = SIDE / 23
    shown = Windows.square([scale * 3] * COUNT, [scale * 9] * COUNT, scale * 12)
    view = render(images(), shown, ColorMap.identity(COUNT), 12)
    scaled = F.interpolate(images().permute(0, 3, 1, 2).float(), size=(23, 23), mode="bilinear", antialias=True)
    torch.testing.assert_close(view, scaled[:, :, 3:15, 9:21], rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_flip_colour_and_noise_follow_the_formula(instructions, dtype):
    mirrored = torch.tensor([True, False, True, True, False])
    parts = Windows.square([2] * COUNT, [4] * COUNT, 21).parts
    keys, deviation = torch.tensor([0, 1, -1, 2**62, -(2**63)]), torch.tensor([0.5, 1.0, 2.0])
    noise = normals(keys, 3 * 21 * 21).view(COUNT, 21, 21, 3)
    view = render(images(), Windows(parts, True, mirrored), colors(), 21, dtype, noise=(keys, deviation))
    window = images()[:, 2:23, 4:25].float()
    window = torch.where(mirrored.view(-1, 1, 1, 1), window.flip(2), window)
    gray = (window.mean((1, 2)) * torch.tensor(LUMA)).sum(1)
    wanted = torch.einsum("nij,nyxj->nyxi", colors().matrix, window)
    wanted = wanted + (colors().offset + colors().gray * gray[:, None])[:, None, None] + noise * deviation
    assert view.dtype == dtype
    tolerance = 1e-2 if dtype == torch.bfloat16 else 1e-4
    torch.testing.assert_close(view.permute(0, 2, 3, 1).float(), wanted, rtol=tolerance, atol=tolerance)


def test_normals_are_normal_and_match_philox_known_answers():
    values = normals(torch.tensor([5, 6]), 2**18)
    assert values.mean(1).abs().max() < 0.01
    assert (values.std(1) - 1).abs().max() < 0.01
    assert (values**4).mean(1).sub(3).abs().max() < 0.1
    assert torch.corrcoef(values).fill_diagonal_(0).abs().max() < 0.01
    assert torch.equal(normals(torch.tensor([6]), 2**18)[0], values[1])
    # Random123's known answer for philox4x32-10, counter 0, key 0: 6627e8d5 e169c58d bc57ac4c 9b00dbd8.
    first = normals(torch.tensor([0]), 64)[0, ::16].double()
    for pair, (radius, angle) in zip(
        first.view(2, 2), ((0x6627E8D5, 0xE169C58D), (0xBC57AC4C, 0x9B00DBD8)), strict=True
    ):
        length, turn = math.sqrt(-2 * math.log(((radius >> 8) + 0.5) / 2**24)), 2 * math.pi * angle / 2**32
        assert pair.tolist() == pytest.approx([length * math.cos(turn), length * math.sin(turn)], abs=1e-6)


def test_images_in_a_larger_buffer_are_read_in_place(instructions):
    wide = images().numpy()
    shown = Windows.square([0.0] * COUNT, [0.0] * COUNT, SIDE)
    rows = [wide[n] for n in range(COUNT)]
    assert torch.equal(render(rows, shown, colors(), SIDE), render(images(), shown, colors(), SIDE))


def test_result_is_bit_identical_for_any_thread_count():
    parts = torch.tensor([[0.0, 0, SIDE, SIDE], [3, 5, 20, 11], [30, 1, 7, 36], [0, 36, 1, 1], [2, 2, 33, 4]])
    before, views = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            views.append(mix(render(images(), Windows(parts), colors(), 24, torch.bfloat16), how()))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(views[0], views[1])
    assert torch.equal(views[0], views[2])


def how() -> Mixing:
    box = torch.tensor([[0, 0, 0, 0], [2, 9, 3, 19], [0, 19, 0, 19], [5, 6, 0, 1], [1, 4, 17, 19]], dtype=torch.int32)
    return Mixing(torch.tensor([0.3, 1.0, 0.5, 0.0, 0.75]), box)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_mixing_blends_outside_the_box_and_replaces_inside(instructions, dtype):
    batch = torch.randn(COUNT, 3, 19, 19, generator=random()).to(dtype, memory_format=torch.channels_last)
    mixed = mix(batch.clone(), how())
    for n, (share, (top, bottom, left, right)) in enumerate(zip(how().share, how().box.tolist(), strict=True)):
        own, partner = batch[n].float(), batch[COUNT - 1 - n].float()
        wanted = share * own + (1 - share) * partner
        wanted[:, top:bottom, left:right] = partner[:, top:bottom, left:right]
        torch.testing.assert_close(mixed[n].float(), wanted, rtol=1e-2, atol=1e-2 if dtype == torch.bfloat16 else 1e-6)
    assert torch.allclose(how().visible(19)[1], torch.tensor(1 - 7 * 16 / 361))


def test_out_of_bounds_crops_and_boxes_are_rejected(instructions):
    for part in ([0.0, 0, 38, 20], [-1, 0, 5, 5], [30, 36, 5, 5], [0, 0, 0, 5], [float("nan"), 0, 5, 5]):
        with pytest.raises(UsageError, match="of images of 37 x 37 pixels"):
            render(images(), Windows(torch.tensor([part] * COUNT)), colors(), 24)
    with pytest.raises(UsageError, match="one square size"):
        render([images()[0], images()[1, :20]], Windows.square([0.0] * 2, [0.0] * 2, 20), colors(), 20)
    outside = Mixing(how().share, how().box + 1)
    with pytest.raises(UsageError, match="a box within 19 x 19 pixels"):
        mix(torch.zeros(COUNT, 3, 19, 19), outside)
