"""A convolutional auto-encoder of one layer (Masci, Meier, Ciresan, Schmidhuber 2011).

The code of an input x is h = ReLU(x * W + b), of which each pooling window keeps its largest value alone; the input is
rebuilt as h * W' + c, W' flipped, and the mean squared error between the two is lowered. The maxima are what makes the
code sparse: "no other regulariser is needed". The paper's units are tanh; ours are the networks' own ReLU, behind the
BatchNorm where a network has one there. The input may lose some of its values first (denoising), which keeps the code
from passing pixels on; those that stay are raised by as much, so that the code is as strong without noise.

N images, C channels of the input, K of the code.
"""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.pretraining.cut import Layer, filtered, root_mean_square, transposed

BLOCK = 2
"""Pixels: side and step of the windows that keep their maximum where the network has no pool behind a layer."""


class AutoEncoder(nn.Module):
    """One layer with its decoder, on inputs that are divided by `scale`.

    It begins with the layer's own first weights, scaled so that the outputs have a root mean square of one.
    """

    scale: Tensor  # what inputs are divided by: their root mean square
    mean: Tensor  # (C,) of the scaled inputs: the best constant prediction
    gain: Tensor  # root mean square of the convolution's outputs, without bias, before it learned

    def __init__(self, layer: Layer, probe: Tensor, noise: float, tied: bool) -> None:
        """probe: some inputs of the layer, (N, C, H, W). noise: share of values set to zero. tied: one set of filters
        encodes and decodes."""
        super().__init__()
        self.noise, pool = noise, layer.pool
        self.pool = copy.deepcopy(pool) if pool is not None else nn.MaxPool2d(BLOCK, ceil_mode=True)
        self.pool.return_indices = True
        self.conv, self.norm = copy.deepcopy(layer.conv), copy.deepcopy(layer.norm)
        self.register_buffer("scale", root_mean_square(probe))
        self.register_buffer("mean", (probe / self.scale).mean((0, 2, 3)))
        with torch.no_grad():
            self.register_buffer("gain", root_mean_square(filtered(self.conv, probe)))
            self.conv.weight.mul_(self.scale / self.gain)
            if self.conv.bias is not None:
                self.conv.bias.zero_()
        self.decoder = None if tied else nn.Parameter(self.conv.weight.detach().clone())
        self.shift = nn.Parameter(self.mean.clone())
        self.requires_grad_()

    def code(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, K, h, w), at least 0, zero but at the maxima.

        A BatchNorm takes the batch's own statistics in evaluation, too: those that it gathers are of noisy inputs, and
        the network gets ones of its own in the end.
        """
        h, norm = self.conv(x), self.norm
        if norm is not None:
            momentum = (norm.momentum or 0.0) if self.training else 0.0
            h = F.batch_norm(h, norm.running_mean, norm.running_var, norm.weight, norm.bias, True, momentum, norm.eps)
        return maxima(F.relu(h), self.pool)

    def rebuild(self, x: Tensor) -> Tensor:
        """Scaled inputs (N, C, H, W) to what their code says of them, of the same shape."""
        return self.decode(self.code(x), x.shape[2:])

    def decode(self, code: Tensor, size: Sequence[int]) -> Tensor:
        """(N, K, h, w) to float32 (N, C, *size)."""
        weight = self.conv.weight if self.decoder is None else self.decoder
        return transposed(code, weight, self.conv, size).float() + self.shift.view(1, -1, 1, 1)

    def prepare(self, inputs: Tensor) -> Tensor:
        """The layer's inputs as this learns them."""
        return inputs / self.scale

    def forward(self, x: Tensor) -> Tensor:
        """Prepared inputs to float32 (3,): what is minimised; the squared error a value; the share of the code on.

        The noise is drawn from torch's generator of the inputs' device.
        """
        seen = F.dropout(x, self.noise, self.training)
        code = self.code(seen)
        error = F.mse_loss(self.decode(code, x.shape[2:]), x)
        return torch.stack([error, error.detach(), (code > 0).float().mean()])

    @torch.no_grad()
    def export(self, layer: Layer, probe: Tensor) -> None:
        """Write what was learned into the network's layer.

        Outputs get the root mean square that the layer's first weights gave them: the layers above were made for it,
        and a ReLU code means the same at any scale. `probe`: as at the beginning.
        """
        gain = self.gain / root_mean_square(filtered(self.conv, probe / self.scale))
        layer.conv.weight.copy_(self.conv.weight * gain / self.scale)
        if layer.conv.bias is not None and self.conv.bias is not None:
            layer.conv.bias.copy_(self.conv.bias * gain)
        if layer.norm is not None and self.norm is not None:
            layer.norm.load_state_dict(self.norm.state_dict())

    def shown(self, inputs: Tensor) -> list[tuple[str, Tensor]]:
        """The layer's inputs beside what is made of them, each on the inputs' own scale, with a title."""
        rebuilt = self.rebuild(self.prepare(inputs)) * self.scale
        return [("original", inputs), ("rebuilt from its code", rebuilt)]


def maxima(code: Tensor, pool: nn.MaxPool2d) -> Tensor:
    """The code with everything set to zero that is not the largest of a pooling window; same shape.

    pool: one that returns the places of its maxima. With windows that overlap a value stays if it is the largest of
    one of them.
    """
    places = pool(code)[1]
    kept = torch.zeros_like(code, memory_format=torch.contiguous_format).flatten(2)
    kept = kept.scatter_(2, places.flatten(2), 1.0).view(code.shape)
    return code * kept


def constant_error(x: Tensor, mean: Tensor) -> Tensor:
    """The mean squared error a value of predicting each channel's mean, `mean` (C,), everywhere in x (N, C, H, W)."""
    return F.mse_loss(mean.view(1, -1, 1, 1).expand_as(x), x)
