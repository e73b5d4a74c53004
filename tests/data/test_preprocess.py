import json

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet.data.images import square
from alexnet.data.preprocess import Preprocessing
from alexnet.errors import ImageError, UsageError, WeightsError


def ramp(count: int = 2, side: int = 8) -> torch.Tensor:
    """uint8 (count, side, side, 3) whose value tells image, row and column."""
    image = torch.arange(side * side, dtype=torch.uint8).view(1, side, side, 1)
    return (image + torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1) * 100).expand(-1, -1, -1, 3).contiguous()


def plain(input_size: int, resize: int) -> Preprocessing:
    return Preprocessing(input_size, resize, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 8)


def test_one_view_is_the_centre():
    view = plain(4, 8).views(ramp())
    assert view.shape == (2, 3, 4, 4)
    assert view.dtype == torch.float32
    assert view.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(view[0, 0], torch.arange(64.0).view(8, 8)[2:6, 2:6])


def test_ten_views_are_the_papers_corners_centre_and_mirror_images():
    views = plain(4, 8).views(ramp(), 10)
    whole = torch.arange(64.0).view(8, 8)
    corners = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
    for number, (top, left) in enumerate(corners):
        window = whole[top : top + 4, left : left + 4]
        assert torch.equal(views[number, 0], window)
        assert torch.equal(views[number + 5, 0], window.flip(1))
    assert torch.equal(views[10:], plain(4, 8).views(ramp()[1:], 10))


def test_nine_views_are_a_grid_without_mirror_images():
    views = plain(4, 8).views(ramp(), 9)
    whole = torch.arange(64.0).view(8, 8)
    for number, (top, left) in enumerate((top, left) for top in (0, 2, 4) for left in (0, 2, 4)):
        assert torch.equal(views[number, 0], whole[top : top + 4, left : left + 4])
    assert torch.equal(views[9:], plain(4, 8).views(ramp()[1:], 9))


def test_channels_are_normalized_with_their_own_mean_and_deviation():
    batch = torch.tensor([10, 20, 30], dtype=torch.uint8).expand(1, 4, 4, 3)
    view = Preprocessing(4, 4, (10.0, 10.0, 10.0), (1.0, 2.0, 4.0), 4).views(batch)
    assert view[0, :, 0, 0].tolist() == [0.0, 5.0, 5.0]


def test_square_is_resized_if_it_differs_from_the_store():
    assert plain(16, 16).views(ramp()).shape == (2, 3, 16, 16)
    assert plain(4, 4).views(torch.full((1, 8, 8, 3), 77, dtype=torch.uint8)).sub(77).abs().max() < 1e-4


def test_resizing_agrees_with_pillow_to_one_level():
    batch = torch.randint(0, 256, (1, 50, 50, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pillow = Image.fromarray(batch[0].numpy()).resize((20, 20), Image.Resampling.BILINEAR)
    ours = plain(20, 20).views(batch)[0].permute(1, 2, 0)
    assert (ours - torch.from_numpy(np.array(pillow))).abs().max() <= 1


def test_json_round_trip():
    before = Preprocessing(224, 256, (1.5, 2.0, 3.0), (4.0, 5.0, 6.0), 256)
    assert Preprocessing.from_json(json.loads(json.dumps(before.to_json()))) == before


def test_invalid_sizes_and_numbers_of_views_are_refused():
    with pytest.raises(UsageError, match="resize 200 is smaller than the input size 224"):
        plain(224, 200)
    for views in (3, "10", 1.0, None):
        with pytest.raises(UsageError, match=f"views is {views!r}; take 1"):
            plain(4, 8).views(ramp(), views)


def test_calling_it_gives_the_centre_view_of_a_path_an_image_or_an_array(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    preprocessing = Preprocessing(6, 7, (120.0, 115.0, 100.0), (60.0, 58.0, 57.0), store_size=8)
    wanted = preprocessing.views([square(pixels, 8)])
    assert wanted.shape == (1, 3, 6, 6)
    for image in (tmp_path / "photo.png", str(tmp_path / "photo.png"), Image.fromarray(pixels), pixels):
        assert torch.equal(preprocessing(image), wanted)
    with pytest.raises(ImageError, match="No such file"):
        preprocessing(tmp_path / "gone.png")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"resize": 10**6}, "resize is 1000000"),
        ({"store_size": "256"}, "store_size is 256|not supported"),
        ({"std": [0, 1, 1]}, r"std is \[0, 1, 1\]"),
        ({"mean": [float("nan"), 1, 1]}, "mean is"),
        ({"mean": 3}, "no len"),
        ({"fit": "oops"}, "unknown fit 'oops'"),
        ({"evil": 1}, "evil"),
    ],
)
def test_what_a_card_says_wrongly_is_one_line(change: dict[str, object], told: str) -> None:
    good = Preprocessing(224, 256, (1.0, 2.0, 3.0), (1.0, 1.0, 1.0)).to_json()
    with pytest.raises(WeightsError, match=f"preprocessing is damaged .*({told})"):
        Preprocessing.from_json(good | change)
    with pytest.raises(WeightsError, match="missing"):
        Preprocessing.from_json({})
