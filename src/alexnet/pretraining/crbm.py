"""A convolutional restricted Boltzmann machine of one layer (Lee, Grosse, Ranganath, Ng 2009).

Visible units v are Gaussian with standard deviation sigma; hidden units h are binary and share a convolution's filters
W. At most one hidden unit of each B x B block of a map is on (probabilistic max-pooling):

    E(v, h) = |v - c|² / (2 s²) - sum_j h_j I_j,    I = (v * W + b) / s²,    s: sigma
    P(h_j = 1 | v) = exp(I_j) / (1 + sum over the block of exp(I)),   P(block off | v) = 1 / (1 + sum of exp(I))
    E[v | h] = c + h * W',    W': W flipped
    F(v) = |v - c|² / (2 s²) - sum over blocks of log(1 + sum of exp(I)),   exp(-F(v)) = sum over h of exp(-E(v, h))

Training is contrastive divergence with one step (CD-1): W and b follow the gradient of F(v1) - F(v0), v0 being an image
and v1 the mean reconstruction from hidden units sampled given v0. Multiplied by s² and divided by the number of hidden
positions, it is the published program's difference of statistics:

    dW = <v0 P(h | v0)> - <v1 P(h | v1)>,   db = <P(h | v0)> - <P(h | v1)> - rate * (<P(h | v0)> - sparsity)

In the program c is 0 because its images are whitened; here it is each channel's mean, as layers above the first need.

N images, C visible channels, K hidden channels, h x w hidden positions.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.pretraining.cut import Layer, filtered, root_mean_square, transposed

VISIBLE_STD = 0.1**0.5
"""Standard deviation of the visible units, for which the published rate, sigma and initial weights are chosen."""
FIRST_WEIGHT, FIRST_BIAS = 0.01, -0.1
"""Standard deviation of the initial weights, and initial hidden bias."""
LEAST = -60.0
"""Lower clamp for signals; avoids slow denormals in exp."""
EARLY_EPOCHS, EARLY_MOMENTUM = 4, 0.5
"""Momentum of the first epochs."""


class CRBM(nn.Module):
    """An RBM for one layer, on optionally whitened inputs scaled to a standard deviation of VISIBLE_STD.

    Whitening is a small convolution; the RBM's filters are smaller by as much, so that the composition is exactly one
    convolution of the layer's size. The layer's padding is not used: the RBM would first learn the edge between the
    image and the zeros around it.
    """

    scale: Tensor
    gain: Tensor
    mean: Tensor  # (C,) of the scaled inputs: the visible units' c
    whitening: Tensor  # (C, C, k, k), or empty
    sigma: Tensor

    def __init__(
        self,
        layer: Layer,
        probe: Tensor,
        *,
        block: int = 2,
        sigma: float = 0.2,
        sparsity: float = 0.03,
        sparsity_rate: float = 5.0,
        whiten: bool = False,
    ) -> None:
        """probe: some inputs of the layer, (N, C, H, W). Initial weights are drawn from torch's default generator."""
        super().__init__()
        self.block, self.sparsity, self.sparsity_rate = block, sparsity, sparsity_rate
        self.conv = _smaller(layer.conv, _whitening_size(layer.conv) if whiten else 0)
        self.register_buffer(
            "whitening", whitening_filter(probe, _whitening_size(layer.conv)) if whiten else _none(probe)
        )
        nn.init.normal_(self.conv.weight, std=FIRST_WEIGHT)
        self.hidden_bias = nn.Parameter(torch.full((layer.conv.out_channels,), FIRST_BIAS, device=probe.device))
        seen = self._whitened(probe)
        self.register_buffer("scale", (seen - seen.mean((0, 2, 3), keepdim=True)).std().clamp_min(1e-6) / VISIBLE_STD)
        self.register_buffer("mean", (seen / self.scale).mean((0, 2, 3)))
        self.register_buffer("sigma", torch.tensor(sigma, device=probe.device))
        with torch.no_grad():
            self.register_buffer("gain", root_mean_square(filtered(layer.conv, probe)))
        self.requires_grad_()

    def prepare(self, inputs: Tensor) -> Tensor:
        """Whiten and scale the layer's inputs: the visible units."""
        return self._whitened(inputs) / self.scale

    def signals(self, v: Tensor) -> Tensor:
        """I of the formulas: (N, C, H, W) -> float32 (N, K, h, w)."""
        filtered: Tensor = self.conv(v)
        return ((filtered.float() + self.hidden_bias.view(1, -1, 1, 1)) / self.sigma.square()).clamp_min(LEAST)

    def mean_visible(self, hidden: Tensor, size: Sequence[int]) -> Tensor:
        """E[v | h]: (N, K, h, w) -> float32 (N, C, *size)."""
        return transposed(hidden, self.conv.weight, self.conv, size).float() + self.mean.view(1, -1, 1, 1)

    def free_energy(self, v: Tensor, signals: Tensor | None = None) -> Tensor:
        """F of the formulas, float32 (N,). signals: `signals(v)` if already computed."""
        quadratic = (v.float() - self.mean.view(1, -1, 1, 1)).square().sum((1, 2, 3)) / (2 * self.sigma.square())
        signals = self.signals(v) if signals is None else signals
        return quadratic - log_partition(signals, self.block).sum((1, 2, 3))

    def forward(self, v: Tensor) -> Tensor:
        """Visible units -> float32 (3,): loss, mean squared reconstruction error, mean of P(h = 1 | v).

        The loss's gradient is that of CD-1 with the sparsity term. Reconstruction is from samples of torch's default
        generator in training, from probabilities in evaluation.
        """
        signals = self.signals(v)
        with torch.no_grad():
            hidden, off = block_probabilities(signals, self.block)
            states = sample(hidden, off, self.block) if self.training else hidden
            reconstruction = self.mean_visible(states, v.shape[2:])
            error = F.mse_loss(reconstruction, v.float())
        positions = hidden.numel() / hidden.shape[1]
        contrast = (
            (self.free_energy(v, signals) - self.free_energy(reconstruction)).sum() * self.sigma.square() / positions
        )
        push = (self.sparsity_rate * (hidden.mean((0, 2, 3)) - self.sparsity) * self.hidden_bias).sum()
        return torch.stack([contrast + push, error, hidden.mean()])

    @torch.no_grad()
    def export(self, layer: Layer, probe: Tensor) -> None:
        """Copy the filters into the network's layer, rescaled to the root mean square of its initial outputs.

        The layer keeps its bias: with the hidden bias, which keeps units off at almost all positions, a ReLU would be
        zero almost everywhere.
        """
        weight = self.conv.weight
        if self.whitening.numel():
            weight = F.conv_transpose2d(weight, self.whitening)
        layer.conv.weight.copy_(weight)
        layer.conv.weight.mul_(self.gain / root_mean_square(filtered(layer.conv, probe)))

    def shown(self, inputs: Tensor) -> list[tuple[str, Tensor]]:
        """Titles with the layer's inputs, the visible units and their reconstruction; the last two on one scale."""
        seen = self.prepare(inputs)
        hidden, _ = block_probabilities(self.signals(seen), self.block)
        reconstruction = self.mean_visible(hidden, seen.shape[2:])
        stretch = inputs.std() / VISIBLE_STD
        name = "whitened" if self.whitening.numel() else "scaled"
        return [
            ("original", inputs),
            (name, seen * stretch),
            ("reconstructed from hidden units", reconstruction * stretch),
        ]

    def _whitened(self, inputs: Tensor) -> Tensor:
        """Whitened inputs, smaller by the filter's border; the inputs themselves without whitening."""
        return F.conv2d(inputs, self.whitening) if self.whitening.numel() else inputs


def block_probabilities(signals: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """P(h = 1 | v), shaped as signals (N, K, h, w), and P(block off | v), (N, K, h / block, w / block) rounded up.

    Blocks at the right and lower edge may have fewer units.
    """
    weights, off, _ = _exponentials(signals, block)
    total = _sums(weights, block) + off
    return weights / _upsample(total, block, signals), off / total


def log_partition(signals: Tensor, block: int) -> Tensor:
    """log(1 + sum of exp(I)) of each block: (N, K, h, w) -> (N, K, h / block, w / block), rounded up."""
    found: Tensor = _LogPartition.apply(signals, block)
    return found


class _LogPartition(torch.autograd.Function):
    """The gradient with respect to a signal is the unit's probability."""

    @staticmethod
    def forward(ctx: Any, signals: Tensor, block: int) -> Tensor:
        weights, off, largest = _exponentials(signals, block)
        total = _sums(weights, block) + off
        ctx.save_for_backward(weights, total)
        ctx.block = block
        return largest + total.log()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        weights, total = ctx.saved_tensors
        return weights * _upsample(gradients[0] / total, ctx.block, weights), None


def sample(hidden: Tensor, off: Tensor, block: int, generator: torch.Generator | None = None) -> Tensor:
    """Sample hidden states 0 and 1, at most one unit of each block on.

    hidden, off: from `block_probabilities`. generator: None for torch's default.
    """
    drawn = torch.rand(off.shape, generator=generator, device=off.device, dtype=off.dtype)
    states, below = torch.empty_like(hidden), torch.zeros_like(drawn)
    for row in range(block):
        for column in range(block):
            chances = hidden[:, :, row::block, column::block]
            here = (..., slice(chances.shape[2]), slice(chances.shape[3]))
            above = below[here] + chances
            states[:, :, row::block, column::block] = (below[here] <= drawn[here]) & (drawn[here] < above)
            below[here] = above
    return states


def sigma_at(step: int, first: float, last: float, decay: float) -> float:
    """The visible units' sigma after `step` steps; in the published program a step is one image."""
    return max(last, first * decay**step)


def whitening_filter(images: Tensor, size: int) -> Tensor:
    """The weight (C, C, size, size) of a convolution that decorrelates pixels and channels (ZCA).

    The rows of (S + 0.1 m I)^(-1/2) for the centre pixel, with S the covariance of patches of that size and m its mean
    variance; the added term limits the amplification of noise. images: (N, C, H, W).
    """
    channels = images.shape[1]
    patches = F.unfold(images.float(), size, stride=max(1, size // 2)).transpose(1, 2).flatten(0, 1)
    patches = patches.cpu().double()  # float64, which some devices lack
    patches = patches - patches.mean(0)
    covariance = patches.T @ patches / len(patches)
    values, vectors = torch.linalg.eigh(covariance)
    values = values.clamp_min(0) + 0.1 * values.clamp_min(0).mean() + 1e-12
    root = vectors @ torch.diag(values.rsqrt()) @ vectors.T
    middle = torch.arange(channels) * size * size + (size // 2) * size + size // 2
    rows: Tensor = root[middle]
    return rows.view(channels, channels, size, size).float().to(images.device)


def _exponentials(signals: Tensor, block: int) -> tuple[Tensor, Tensor, Tensor]:
    """exp(signal - m) of each unit and exp(-m) of the off state, with m = max(0, the block's signals); and m."""
    largest = F.max_pool2d(signals, block, ceil_mode=True).clamp_min(0)
    return (signals - _upsample(largest, block, signals)).exp(), (-largest).exp(), largest


def _sums(units: Tensor, block: int) -> Tensor:
    """Sum over each block: (N, K, h, w) -> (N, K, h / block, w / block), rounded up."""
    return F.avg_pool2d(units, block, ceil_mode=True, divisor_override=1)


def _upsample(blocks: Tensor, block: int, like: Tensor) -> Tensor:
    """Repeat each block's value for its units: (N, K, h', w') -> (N, K, h, w), cropped to the size of `like`."""
    return F.interpolate(blocks, scale_factor=block)[:, :, : like.shape[2], : like.shape[3]]


def _whitening_size(conv: nn.Conv2d) -> int:
    """The whitening filter's size, odd; leaves about two thirds of the layer's kernel size for the RBM's filters."""
    return max(1, conv.kernel_size[0] // 4 * 2 + 1)


def _smaller(conv: nn.Conv2d, size: int) -> nn.Conv2d:
    """`conv` without bias; after whitening of `size` with a kernel smaller by size - 1 and no padding."""
    if not size:
        plain = copy.deepcopy(conv)
        plain.bias = None
        return plain
    kernel = (conv.kernel_size[0] - size + 1, conv.kernel_size[1] - size + 1)
    stride = (conv.stride[0], conv.stride[1])
    made = nn.Conv2d(conv.in_channels, conv.out_channels, kernel, stride, 0, groups=conv.groups, bias=False)
    return made.to(conv.weight.device)


def _none(like: Tensor) -> Tensor:
    return torch.zeros(0, device=like.device)
