"""Occlusion and Grad-CAM locate the evidence and equal the published formulas."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.data.preprocess import Preprocessing
from alexnet.explain.activations import last_map_layer
from alexnet.explain.attribution import figure, grad_cam, occlusion
from alexnet.networks import create
from alexnet.networks.layers import Network
from alexnet.plots.canvas import png


class Corner(Network):
    """Two classes; the second's logit is the brightness of the upper left 16 x 16 pixels."""

    name = "corner"
    input_size = 64
    mean, std = (0.0,) * 3, (1.0,) * 3

    def __init__(self) -> None:
        super().__init__(2, None, 0.0)
        self.conv1 = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor, return_maps: bool = False) -> Tensor:  # type: ignore[override]
        bright = x[:, :, :16, :16].mean((1, 2, 3))
        return torch.stack([0 * bright, bright], 1)


def test_occluding_irrelevant_pixels_changes_nothing() -> None:
    lost = occlusion(Corner(), torch.ones(1, 3, 64, 64), 1)
    assert lost.shape == (64, 64)
    assert lost[:16, :16].max() > 0.05
    assert (lost[:16, :16] > 0).all()
    patch = 64 // 6
    assert np.abs(lost[16 + patch :]).max() < 1e-6
    assert np.abs(lost[:, 16 + patch :]).max() < 1e-6


def test_occluding_evidence_for_the_other_label_raises_the_probability() -> None:
    assert occlusion(Corner(), torch.ones(1, 3, 64, 64), 0)[:16, :16].max() < 0


@pytest.mark.parametrize("label", [0, 2])
def test_grad_cam_equals_its_formula(tiny: Network, label: int) -> None:
    torch.manual_seed(1)
    batch = torch.randn(1, 3, 64, 64)
    tiny.eval()
    logits, maps = tiny(batch, return_maps=True)
    (gradient,) = torch.autograd.grad(logits[0, label], maps["relu2"])
    cam = (gradient.mean((2, 3), keepdim=True) * maps["relu2"]).sum(1, keepdim=True).relu().detach()
    wanted = F.interpolate(cam, (64, 64), mode="bilinear", align_corners=False)[0, 0]
    wanted = wanted / wanted.max().clamp_min(1e-12)
    assert last_map_layer(tiny) == "relu2"
    assert np.allclose(grad_cam(tiny, batch, label), wanted.numpy(), atol=1e-4)


@pytest.mark.parametrize("name", ["modern", "krizhevsky2012"])
def test_grad_cam_works_for_fused_networks(name: str) -> None:
    torch.manual_seed(0)
    network = create(name, 2, 63, **({"width": 0.25} if name == "modern" else {}))
    network.train()
    cam = grad_cam(network, torch.randn(1, 3, 63, 63), 1)
    assert cam.shape == (63, 63)
    assert 0 <= cam.min() <= cam.max() <= 1
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_title_has_the_explained_label_and_its_probability(tiny: Network, preprocessing: Preprocessing) -> None:
    images = list(np.random.default_rng(0).integers(0, 256, (2, 72, 72, 3), np.uint8))
    steps: list[tuple[int, int]] = []
    drawn = figure(tiny, preprocessing, images, [2, 0], ["a", "b", "$c_"], lambda *step: steps.append(step))
    tiny.eval()
    chances = tiny(preprocessing.views(images)).softmax(1).tolist()
    assert drawn.axes[0].get_title() == f"$c_: {chances[0][2]:.1%}"
    assert drawn.axes[3].get_title() == f"a: {chances[1][0]:.1%}"
    assert steps == [(1, 2), (2, 2)]
    assert png(drawn)


def test_the_title_has_the_true_label_where_it_is_known(tiny: Network, preprocessing: Preprocessing) -> None:
    images = list(np.random.default_rng(0).integers(0, 256, (2, 72, 72, 3), np.uint8))
    drawn = figure(tiny, preprocessing, images, [2, 0], ["a", "b", "c"], truths=[1, None])
    first, second = (drawn.axes[place].get_title().split("\n") for place in (0, 3))
    assert first[0].startswith("c: ")
    assert first[1:] == ["true label: b"]
    assert second[0].startswith("a: ")
    assert second[1:] == []
