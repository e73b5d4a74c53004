"""A convolutional restricted Boltzmann machine of one layer (Lee, Grosse, Ranganath, Ng 2009).

Visible units v are Gaussian with deviation sigma about their mean; hidden units h are binary and share the filters W of
a convolution. In each block of B x B hidden units of a map at most one is on (probabilistic max-pooling):

    E(v, h) = |v - c|² / (2 s²) - sum_j h_j I_j,    I = (v * W + b) / s²,    s: sigma
    P(h_j = 1 | v) = exp(I_j) / (1 + sum over the block of exp(I)),   P(all of it off | v) = 1 / (1 + sum of exp(I))
    E[v | h] = c + h * W', W' flipped
    F(v) = |v - c|² / (2 s²) - sum over blocks of log(1 + sum of exp(I)),   exp(-F(v)) = sum over h of exp(-E(v, h))

Learning is contrastive divergence with one step: W and b follow the gradient of F(v1) - F(v0), where v0 is an image and
v1 the mean rebuilt from hidden units that are sampled given v0. That gradient is the published program's difference of
statistics, once multiplied by s² and divided by the number of hidden positions:

    dW = <v0 P(h | v0)> - <v1 P(h | v1)>,   db = <P(h | v0)> - <P(h | v1)> - rate * (<P(h | v0)> - sparsity)

In the program c is 0, for its images are whitened; here it is each channel's mean, which layers above the first need.

N images, C visible channels, K hidden ones, h x w hidden positions.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.pretraining.cut import Layer, filtered, root_mean_square, transposed

SPREAD = 0.1**0.5
"""Deviation of the visible units' values that the published rate, sigma and first weights are made for."""
FIRST_WEIGHT, FIRST_BIAS = 0.01, -0.1
"""The deviation of its first weights and its first hidden biases."""
LEAST = -60.0
"""The smallest signal: exp of it is nothing, and of much less a denormal number, with which processors are slow."""
EARLY_EPOCHS, EARLY_MOMENTUM = 4, 0.5
"""Epochs with a smaller momentum."""


class CRBM(nn.Module):
    """One layer as a machine, on inputs that are whitened where asked, and scaled to a deviation of SPREAD.

    Whitening is a small convolution; the machine's filters are then smaller by as much, so that the two together are
    exactly one convolution of the layer's own size. The convolution's own padding is left out: the machine would learn
    the edge between the image and the zeros around it before anything else.
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
        """probe: some inputs of the layer, (N, C, H, W). The first weights come from torch's generator."""
        super().__init__()
        self.block, self.sparsity, self.sparsity_rate = block, sparsity, sparsity_rate
        self.conv = _smaller(layer.conv, _whitening_size(layer.conv) if whiten else 0)
        self.register_buffer(
            "whitening", whitening_filter(probe, _whitening_size(layer.conv)) if whiten else _none(probe)
        )
        nn.init.normal_(self.conv.weight, std=FIRST_WEIGHT)
        self.hidden_bias = nn.Parameter(torch.full((layer.conv.out_channels,), FIRST_BIAS, device=probe.device))
        seen = self._whitened(probe)
        self.register_buffer("scale", (seen - seen.mean((0, 2, 3), keepdim=True)).std().clamp_min(1e-6) / SPREAD)
        self.register_buffer("mean", (seen / self.scale).mean((0, 2, 3)))
        self.register_buffer("sigma", torch.tensor(sigma, device=probe.device))
        with torch.no_grad():
            self.register_buffer("gain", root_mean_square(filtered(layer.conv, probe)))
        self.requires_grad_()

    def prepare(self, inputs: Tensor) -> Tensor:
        """The layer's inputs as visible units."""
        return self._whitened(inputs) / self.scale

    def signals(self, v: Tensor) -> Tensor:
        """I of the formulas: (N, C, H, W) to float32 (N, K, h, w)."""
        filtered: Tensor = self.conv(v)
        return ((filtered.float() + self.hidden_bias.view(1, -1, 1, 1)) / self.sigma.square()).clamp_min(LEAST)

    def mean_visible(self, hidden: Tensor, size: Sequence[int]) -> Tensor:
        """E[v | h]: (N, K, h, w) to float32 (N, C, *size)."""
        return transposed(hidden, self.conv.weight, self.conv, size).float() + self.mean.view(1, -1, 1, 1)

    def free_energy(self, v: Tensor, signals: Tensor | None = None) -> Tensor:
        """F of the formulas, float32 (N,). signals: those of v, where they are known."""
        far = (v.float() - self.mean.view(1, -1, 1, 1)).square().sum((1, 2, 3)) / (2 * self.sigma.square())
        told = self.signals(v) if signals is None else signals
        return far - log_partition(told, self.block).sum((1, 2, 3))

    def forward(self, v: Tensor) -> Tensor:
        """Visible units to float32 (3,): what is minimised; the squared error a value; the mean of P(h = 1).

        In training the gradient of the first is what W and b follow downwards, and the hidden units that rebuild v are
        sampled from torch's generator; in evaluation they are their probabilities.
        """
        signals = self.signals(v)
        with torch.no_grad():
            hidden, off = block_probabilities(signals, self.block)
            states = sample(hidden, off, self.block) if self.training else hidden
            rebuilt = self.mean_visible(states, v.shape[2:])
            error = F.mse_loss(rebuilt, v.float())
        positions = hidden.numel() / hidden.shape[1]
        contrast = (self.free_energy(v, signals) - self.free_energy(rebuilt)).sum() * self.sigma.square() / positions
        push = (self.sparsity_rate * (hidden.mean((0, 2, 3)) - self.sparsity) * self.hidden_bias).sum()
        return torch.stack([contrast + push, error, hidden.mean()])

    @torch.no_grad()
    def export(self, layer: Layer, probe: Tensor) -> None:
        """Write the filters into the network's layer, with outputs as large as its first weights gave.

        The layer's bias stays its own: the machine's is a threshold that a sparse unit passes once in hundreds of
        places, above which a ReLU, too, would give nothing almost everywhere.
        """
        weight = self.conv.weight
        if self.whitening.numel():
            weight = F.conv_transpose2d(weight, self.whitening)
        layer.conv.weight.copy_(weight)
        layer.conv.weight.mul_(self.gain / root_mean_square(filtered(layer.conv, probe)))

    def shown(self, inputs: Tensor) -> list[tuple[str, Tensor]]:
        """The layer's inputs beside what the machine sees and makes of them, with titles; the last two on one scale."""
        seen = self.prepare(inputs)
        hidden, _ = block_probabilities(self.signals(seen), self.block)
        rebuilt = self.mean_visible(hidden, seen.shape[2:])
        stretch = inputs.std() / SPREAD
        name = "whitened" if self.whitening.numel() else "scaled"
        return [("original", inputs), (name, seen * stretch), ("rebuilt from hidden units", rebuilt * stretch)]

    def _whitened(self, inputs: Tensor) -> Tensor:
        """Whitened where this machine whitens, and smaller by the filter's edges; else the inputs."""
        return F.conv2d(inputs, self.whitening) if self.whitening.numel() else inputs


def block_probabilities(signals: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """P(h = 1 | v), of the shape of signals (N, K, h, w), and P(all off | v), (N, K, h / block, w / block), rounded up.

    A block over the right or lower edge has only the units that are there.
    """
    weights, off, _ = _exponentials(signals, block)
    total = _sums(weights, block) + off
    return weights / _spread(total, block, signals), off / total


def log_partition(signals: Tensor, block: int) -> Tensor:
    """log(1 + sum of exp(I)) of each block: (N, K, h, w) to (N, K, h / block, w / block), rounded up."""
    found: Tensor = _LogPartition.apply(signals, block)
    return found


class _LogPartition(torch.autograd.Function):
    """Its gradient by a signal is the unit's probability."""

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
        return weights * _spread(gradients[0] / total, ctx.block, weights), None


def sample(hidden: Tensor, off: Tensor, block: int, generator: torch.Generator | None = None) -> Tensor:
    """States 0 and 1 of the hidden units, at most one a block on, drawn by their probabilities.

    hidden, off: as `block_probabilities` gives them. generator: torch's own without one.
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
    """The visible units' deviation after so many steps; in the published program a step is one image."""
    return max(last, first * decay**step)


def whitening_filter(images: Tensor, size: int) -> Tensor:
    """(C, C, size, size): the convolution whose outputs are nearly uncorrelated and of equal power, over channels too.

    ZCA's rows for the middle pixel of patches of that size, S^(-1/2) of their covariance S, each direction with a
    tenth of the mean variance added, so that noise is not all that is left. images: (N, C, H, W).
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
    """exp of each signal and of 0, which stands for all off, less the block's largest of them; and that largest."""
    largest = F.max_pool2d(signals, block, ceil_mode=True).clamp_min(0)
    return (signals - _spread(largest, block, signals)).exp(), (-largest).exp(), largest


def _sums(units: Tensor, block: int) -> Tensor:
    """(N, K, h, w) to the sum of each block, (N, K, h / block, w / block), rounded up."""
    return F.avg_pool2d(units, block, ceil_mode=True, divisor_override=1)


def _spread(blocks: Tensor, block: int, like: Tensor) -> Tensor:
    """A value a block, (N, K, h', w'), to each of its units: (N, K, h, w) as `like` has them."""
    return F.interpolate(blocks, scale_factor=block)[:, :, : like.shape[2], : like.shape[3]]


def _whitening_size(conv: nn.Conv2d) -> int:
    """The side of the whitening filter: what leaves the layer's filter a side of about two thirds; odd."""
    return max(1, conv.kernel_size[0] // 4 * 2 + 1)


def _smaller(conv: nn.Conv2d, size: int) -> nn.Conv2d:
    """A convolution like `conv` without bias; one that follows a whitening of `size` is smaller and pads nothing."""
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
