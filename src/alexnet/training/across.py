"""Layers of a network that several processes compute together, and the exchanges between them with their gradients.

N images a batch over all K processes, N / K of them in each; D values an image. Activations lie in `rows`, (N / K, D),
the process's own images; or, between dense layers that are split, in `columns`, (N, D / K), the process's own units of
all images, process after process. Losses are scaled by 1 / K before they are differentiated, so that every gradient is
the one of the batch's mean loss, once it is summed over the processes.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.data.loader import places
from alexnet.ops.norm import follow
from alexnet.processes.together import Together

Norm = nn.BatchNorm1d | nn.BatchNorm2d


class _RowsGathered(torch.autograd.Function):
    """(N / K, D) -> (N, D); backward: of the gradients of all processes the sum of one's own rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, together: Together) -> Tensor:
        ctx.together = together
        return together.gathered(x, "activations")

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        return ctx.together.scattered(dy.contiguous(), "activations"), None


class _ColumnsGathered(torch.autograd.Function):
    """(N, D / K) -> (N, D); backward: of the gradients of all processes the sum of one's own columns."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, together: Together) -> Tensor:
        ctx.together = together
        blocks = together.gathered(x[None], "activations")  # (K, N, D / K)
        return blocks.transpose(0, 1).reshape(len(x), -1)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        blocks = dy.reshape(len(dy), ctx.together.ranks, -1).transpose(0, 1).contiguous()
        return ctx.together.scattered(blocks, "activations")[0], None


class _ColumnsToRows(torch.autograd.Function):
    """(N, D / K) -> (N / K, D): each image's units go to the process that has the image; backward: back again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, together: Together) -> Tensor:
        ctx.together = together
        blocks = together.exchanged(x.reshape(together.ranks, -1, x.shape[1]), "activations")  # (K, N / K, D / K)
        return blocks.transpose(0, 1).reshape(blocks.shape[1], -1)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        blocks = dy.reshape(len(dy), ctx.together.ranks, -1).transpose(0, 1).contiguous()
        return ctx.together.exchanged(blocks, "activations").flatten(0, 1), None


class SplitDense(nn.Module):
    """A dense layer of which each process has the weights of its own units (Krizhevsky 2014, section 4, scheme a).

    gathers: "rows" or "columns", as its input lies. rows: whether its output goes back to rows.
    """

    def __init__(self, layer: nn.Linear, gathers: str, rows: bool, together: Together) -> None:
        """layer: with the weights (D / K, inputs) and, if any, biases (D / K,) of the process's own units."""
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.gathers, self.rows, self.together = gathers, rows, together

    def forward(self, x: Tensor) -> Tensor:
        """Rows or columns of all inputs -> columns, or rows, of all units."""
        gathered = _RowsGathered if self.gathers == "rows" else _ColumnsGathered
        y = F.linear(gathered.apply(x, self.together), self.weight, self.bias)
        return _ColumnsToRows.apply(y, self.together) if self.rows else y


class DropoutAcross(nn.Module):
    """Dropout with the mask that one process draws for the whole batch, of which each takes its part.

    The generators of all processes stand alike, as each step seeds them: the mask is drawn whole, with the same call
    as nn.Dropout's, and so are those after it.
    """

    def __init__(self, p: float, columns: bool, together: Together) -> None:
        """columns: whether its input lies in columns."""
        super().__init__()
        self.p, self.columns, self.together = p, columns, together

    def forward(self, x: Tensor) -> Tensor:
        """Zero each value with probability p and divide the others by 1 - p, in training."""
        if not self.training or self.p == 0:
            return x
        ranks, rank = self.together.ranks, self.together.rank
        if self.columns:
            mask = self._mask(x, len(x), x.shape[1] * ranks)
            order = np.concatenate([places(len(x), each, ranks) for each in range(ranks)])
            return x * mask[torch.from_numpy(order).to(x.device), x.shape[1] * rank : x.shape[1] * (rank + 1)]
        mask = self._mask(x, len(x) * ranks, *x.shape[1:])
        return x * mask[torch.from_numpy(places(len(mask), rank, ranks)).to(x.device)]

    def _mask(self, x: Tensor, *shape: int) -> Tensor:
        last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
        form = torch.channels_last if last else torch.contiguous_format
        return F.dropout(torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=form).fill_(1), self.p)


class _Normalized(torch.autograd.Function):
    """BatchNorm (Ioffe and Szegedy 2015, algorithm 1) over the batches of several processes, with its gradients.

    y = (x - mean) / deviation * weight + bias, mean and deviation over all images of all processes. With x' = (x -
    mean) / deviation and n values a channel: dx = weight / deviation * (dy - sum(dy) / n - x' sum(dy x') / n), the sums
    over all processes; the gradients of weight and bias are this process's part of them.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, inverse: Tensor, together: Together
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.together = together
        shape = _by_channel(x)
        a = x.to(mean.dtype)
        return torch.addcmul(bias.view(shape), a - mean.view(shape), (inverse * weight).view(shape)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse = ctx.saved_tensors
        shape, dims = _by_channel(x), _all_but_channels(x)
        dy, a = dy.to(mean.dtype), (x.to(mean.dtype) - mean.view(shape)) * inverse.view(shape)
        own = torch.stack([dy.sum(dims), (dy * a).sum(dims)])
        sums = ctx.together.summed(own.clone(), "norm") / (ctx.together.ranks * x.numel() // x.shape[1])
        dx = (dy - sums[0].view(shape) - a * sums[1].view(shape)) * (weight * inverse).view(shape)
        return dx.to(x.dtype), own[1], own[0], None, None, None


class NormAcross(nn.Module):
    """A BatchNorm over the images of all processes; in columns, where each has all images, over its own units."""

    def __init__(self, layer: Norm, together: Together) -> None:
        """layer: with weights and running statistics, in columns those of the process's own units."""
        super().__init__()
        self.layer, self.together = layer, together

    def forward(self, x: Tensor) -> Tensor:
        """(N / K, C, H, W), (N / K, C) or, in columns, (N, C / K) -> the same shape and type."""
        layer = self.layer
        if not layer.training:
            y: Tensor = layer(x)
            return y
        with torch.no_grad():
            mean, variance = self._moments(x)
            inverse = (variance + layer.eps).rsqrt()
            follow(layer, mean, variance, self.together.ranks * x.numel() // x.shape[1])
        normalized: Tensor = _Normalized.apply(x, layer.weight, layer.bias, mean, inverse, self.together)
        return normalized

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of each channel over all processes, from theirs (Chan et al. 1983)."""
        variance, mean = torch.var_mean(x.to(self.layer.weight.dtype), _all_but_channels(x), correction=0)
        if self.together.ranks == 1:
            return mean, variance
        means, variances = self.together.gathered(torch.stack([mean, variance])[None], "norm").unbind(1)
        mean = means.mean(0)
        return mean, variances.mean(0) + (means - mean).square().mean(0)


def _by_channel(x: Tensor) -> tuple[int, ...]:
    return (-1, *[1] * (x.ndim - 2))


def _all_but_channels(x: Tensor) -> list[int]:
    return [dim for dim in range(x.ndim) if dim != 1]
