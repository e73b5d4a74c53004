import math
from hashlib import sha256

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from alexnet.data.augment import (
    PCA_COMPONENTS,
    PCA_STD,
    Augmentation,
    SampleRandom,
    augment,
    crops,
    flips,
    gaussian,
    jitter,
    lighting,
    mix_targets,
    mixing,
    pca_noise,
    resized_crops,
)
from alexnet.data.preprocess import Preprocessing
from alexnet.ops.views import ColorMap, mix

EVERYTHING = ("resized_crop", "flip", "color", "pca", "lighting", "gaussian")


def photos(count: int = 6, side: int = 32) -> torch.Tensor:
    """uint8 (count, 3, side, side)."""
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def streams(count: int = 6, seed: int = 0, epoch: int = 0) -> SampleRandom:
    return SampleRandom(seed, epoch, range(count))


def test_stream_is_a_function_of_seed_epoch_and_sample():
    alone = SampleRandom(3, 5, [7]).uniform(0, 1, 4)
    among = SampleRandom(3, 5, [1, 7, 2]).uniform(0, 1, 4)
    assert torch.equal(among[1], alone[0])
    others = [SampleRandom(4, 5, [7]), SampleRandom(3, 6, [7]), SampleRandom(3, 5, [8])]
    assert all(not torch.equal(other.uniform(0, 1, 4), alone) for other in others)


def test_image_is_augmented_alike_in_any_batch():
    preprocessing = Preprocessing(24, 32, (120.0, 110.0, 100.0), (60.0, 60.0, 60.0), 32)
    images, chosen = photos().permute(0, 2, 3, 1), Augmentation(EVERYTHING)
    targets = torch.eye(6)
    whole, _ = augment(images, targets, SampleRandom(0, 0, range(6)), chosen, preprocessing, 24)
    part, _ = augment(images[2:4], targets[2:4], SampleRandom(0, 0, [2, 3]), chosen, preprocessing, 24)
    assert torch.equal(whole[2:4], part)
    assert whole.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("crop", ["crop", "resized_crop"])
def test_a_batch_is_the_same_whoever_draws_its_numbers(crop):
    preprocessing = Preprocessing(24, 28, (120.0, 110.0, 100.0), (60.0, 50.0, 40.0), 32)
    chosen = Augmentation((crop, *EVERYTHING[1:]), mixup=0.4, cutmix=1.0)
    images, digests = photos(40).permute(0, 2, 3, 1), []
    for drawing in (streams(40), streams(40)):
        if digests:
            drawing.generators()  # NumPy's, from now on
        batch, targets = augment(images, torch.eye(40), drawing, chosen, preprocessing, 24)
        digests.append(sha256(batch.contiguous().numpy().tobytes() + targets.numpy().tobytes()).hexdigest())
    assert digests[0] == digests[1]


def test_without_augmentation_the_input_is_the_centre_crop():
    preprocessing = Preprocessing(16, 20, (0.0,) * 3, (1.0,) * 3, 32)
    images = photos().permute(0, 2, 3, 1)
    seen, _ = augment(images, torch.eye(6), streams(), Augmentation(), preprocessing, 16)
    resized = torch.nn.functional.interpolate(photos().float(), size=(20, 20), mode="bilinear", antialias=True)
    assert torch.allclose(seen, resized[:, :, 2:18, 2:18], atol=1e-2)


def test_crop_offsets_are_uniform():
    parts = crops(6, streams(1800), 6, 4).parts
    assert parts[:, 2:].unique().tolist() == [4.0]
    places, counts = (3 * parts[:, 0] + parts[:, 1]).unique(return_counts=True)
    assert places.tolist() == list(range(9))
    assert counts.min() > 150


def test_half_of_the_images_are_mirrored():
    assert 430 < flips(streams(1000)).sum() < 570


def test_resized_crops_have_the_requested_areas_and_stay_inside():
    top, left, height, width = resized_crops(200, streams(2000), 0.25).parts.unbind(1)
    share = height * width / 200**2
    assert 0.24 < share.min() < 0.27
    assert 0.97 < share.max() <= 1.0
    assert 0.74 < (width / height).min() < 0.78
    assert 1.28 < (width / height).max() < 1.35
    assert min(top.min(), left.min()) == 0
    assert max((top + height).max(), (left + width).max()) == 200


def test_resized_crop_is_the_first_draw_that_fits():
    """With one try in ten that fits, now and then, and often none."""
    drawn = SampleRandom(0, 0, range(200))
    areas, aspects, places = drawn.uniform(0.9, 1.0, 10) * 50 * 50, drawn.uniform(-1.0, 1.0, 10), drawn.uniform(0, 1, 2)
    expected = []
    for n, place in enumerate(places):
        aspect = torch.exp(aspects[n] * math.log(4 / 3))
        sides = zip((areas[n] / aspect).sqrt().round(), (areas[n] * aspect).sqrt().round(), strict=True)
        height, width = next((pair for pair in sides if max(pair) <= 50), (50, 50))
        expected.append([*(place * (torch.tensor([51 - height, 51 - width]))).floor(), height, width])
    found = resized_crops(50, streams(200), 0.9).parts
    assert torch.equal(found, torch.tensor(expected))
    assert 20 < (found[:, 2] == 50).sum() < 190


def test_resized_crop_falls_back_to_the_whole_image():
    whole = resized_crops(200, streams(5), 1.0, ratio=1.0).parts
    assert whole.tolist() == [[0.0, 0.0, 200.0, 200.0]] * 5


def test_jitter_of_strength_zero_is_the_identity():
    batch = photos(3, 8)
    assert torch.allclose(jitter(ColorMap.identity(3), streams(3), 0.0).apply(batch), batch.float(), atol=1e-2)


def test_jitter_equals_torchvisions_brightness_contrast_and_saturation():
    import torchvision.transforms.v2.functional as tv

    batch = torch.randint(60, 120, (1, 3, 8, 8), generator=torch.Generator().manual_seed(0)).float()  # nothing clips
    b, c, s = SampleRandom(0, 0, [5]).uniform(0.9, 1.1, 3)[0].tolist()
    ours = jitter(ColorMap.identity(1), SampleRandom(0, 0, [5]), 0.1).apply(batch)
    theirs = tv.adjust_saturation(tv.adjust_contrast(tv.adjust_brightness(batch / 255, b), c), s) * 255
    assert torch.allclose(ours, theirs, atol=0.3)  # torchvision's luma weights have four digits


def test_pca_noise_has_the_deviations_of_2012():
    """Along each principal component the noise has a tenth of that component's standard deviation, over 1.1."""
    colors = pca_noise(ColorMap.identity(20000), streams(20000), (0.0, 0.0, 0.0))
    along = colors.offset @ torch.tensor(PCA_COMPONENTS)
    assert np.allclose(along.std(0), torch.tensor(PCA_STD) * 0.1 / 1.1, rtol=0.03)
    mean = torch.tensor([127.30, 119.72, 104.91])
    kept = pca_noise(ColorMap.identity(1), streams(1), mean.tolist(), 0.0).apply(
        mean.view(1, 3, 1, 1).repeat(1, 1, 2, 2)
    )
    assert torch.allclose(kept[0, :, 0, 0], mean, atol=1e-3)


def test_lighting_is_the_weaker_noise():
    strong = pca_noise(ColorMap.identity(5000), streams(5000), (0.0, 0.0, 0.0)).offset.std(0)
    weak = lighting(ColorMap.identity(5000), streams(5000)).offset.std(0)
    assert (strong / weak > 1.8).all()
    assert weak[0] == pytest.approx(3.2, rel=0.1)  # .1 * 255 * sqrt(sum (component * scale)^2) for red


class Float64OffCPU(TorchFunctionMode):
    """Collects the operations that give float64 tensors elsewhere than on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        wide = isinstance(result, torch.Tensor) and result.dtype in (torch.float64, torch.complex128)
        self.found += [func] if wide and result.device.type != "cpu" else []
        return result


@pytest.mark.parametrize("crop", ["crop", "resized_crop"])
def test_a_device_without_float64_is_sent_none(crop):
    """The meta device stands for Apple's GPUs."""
    chosen, preprocessing = (
        Augmentation((crop, *EVERYTHING[1:]), cutmix=1.0),
        Preprocessing(24, 28, (1.0,) * 3, (2.0,) * 3),
    )
    with Float64OffCPU() as mode:
        batch, targets = augment(
            photos().permute(0, 2, 3, 1).numpy(),
            torch.eye(6, device="meta"),
            streams(),
            chosen,
            preprocessing,
            24,
            device=torch.device("meta"),
        )
    assert batch.device.type == targets.device.type == "meta"
    assert batch.dtype == torch.float32
    assert mode.found == []


def test_gaussian_noise_has_the_requested_deviation():
    chosen, preprocessing = (
        Augmentation(("gaussian",), gaussian_std=8.0),
        Preprocessing(64, 64, (0.0,) * 3, (2.0, 4.0, 8.0)),
    )
    plain = np.zeros((4, 64, 64, 3), np.uint8)
    noise, _ = augment(plain, torch.eye(4), streams(4), chosen, preprocessing, 64)
    assert np.allclose(noise.std((0, 2, 3)), [4.0, 2.0, 1.0], rtol=0.03)
    assert noise.mean().abs() < 0.05
    assert not torch.equal(noise[0], noise[1])
    assert len(gaussian(streams(100), 1.0, (1.0,) * 3)[0].unique()) == 100


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_targets_are_mixed_by_visible_share(mixup, cutmix):
    """Image n is constant n, so a mixed image's mean tells how much of whom it shows."""
    count = 40
    batch = torch.arange(float(count)).view(-1, 1, 1, 1).expand(-1, 3, 16, 16)
    how = mixing(streams(count), 16, mixup, cutmix, 1.0)
    mixed, targets = mix(batch.clone(), how), mix_targets(torch.eye(count), how.visible(16))
    assert torch.allclose(targets.sum(1), torch.ones(count))
    assert torch.allclose(mixed.mean((1, 2, 3)), targets @ torch.arange(float(count)), atol=1e-3)
    if not mixup:
        assert set(mixed[3].unique().tolist()) <= {3.0, 36.0}


def test_mix_probability_is_the_share_of_mixed_images():
    batch = torch.arange(1000.0).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    how = mixing(streams(1000), 4, 0.4, 0.0, 0.3)
    mixed, targets = mix(batch.clone(), how), mix_targets(torch.eye(1000), how.visible(4))
    alone = (mixed == batch).flatten(1).all(1)
    assert 630 < alone.sum() < 770
    assert torch.equal(targets[alone], torch.eye(1000)[alone])
