"""A convolutional auto-encoder of one layer (Masci, Meier, Ciresan, Schmidhuber 2011).

The code of an input x is h = ReLU(x * W + b) with everything but the maximum of each pooling window set to zero; the
reconstruction is h * W' + c, W' being W flipped, and training minimises its mean squared error. The maxima make the
code sparse: "no other regulariser is needed". The paper's units are tanh; ours are the network's own ReLU, after its
BatchNorm if it has one. Denoising drops input values at random, so that the code cannot copy pixels, and scales up the
others as dropout does.

N images, C input channels, K code channels.
"""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alexnet.pretraining.cut import Layer, filtered, root_mean_square, transposed

BLOCK = 2
"""Size and stride of the pooling windows for a layer that the network does not pool."""


class AutoEncoder(nn.Module):
    """One layer with its decoder, on inputs divided by `scale`.

    Initialised with the layer's initial weights, rescaled for outputs with a root mean square of one.
    """

    scale: Tensor  # root mean square of the inputs
    mean: Tensor  # (C,) of the scaled inputs, the best constant prediction
    gain: Tensor  # root mean square of the convolution's outputs, without bias, before training

    def __init__(self, layer: Layer, probe: Tensor, noise: float, tied: bool) -> None:
        """probe: some inputs of the layer, (N, C, H, W). noise: fraction of values dropped. tied: whether the decoder
        shares the encoder's filters."""
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
        """(N, C, H, W) -> (N, K, h, w), non-negative, zero except at the maxima.

        BatchNorm uses batch statistics in evaluation as well: its running statistics are of noisy inputs, and the
        network's are measured after training.
        """
        h, norm = self.conv(x), self.norm
        if norm is not None:
            momentum = (norm.momentum or 0.0) if self.training else 0.0
            h = F.batch_norm(h, norm.running_mean, norm.running_var, norm.weight, norm.bias, True, momentum, norm.eps)
        return maxima(F.relu(h), self.pool)

    def reconstruct(self, x: Tensor) -> Tensor:
        """The reconstruction of scaled inputs, (N, C, H, W)."""
        return self.decode(self.code(x), x.shape[2:])

    def decode(self, code: Tensor, size: Sequence[int]) -> Tensor:
        """(N, K, h, w) -> float32 (N, C, *size)."""
        weight = self.conv.weight if self.decoder is None else self.decoder
        return transposed(code, weight, self.conv, size).float() + self.shift.view(1, -1, 1, 1)

    def prepare(self, inputs: Tensor) -> Tensor:
        """Scale the layer's inputs."""
        return inputs / self.scale

    def forward(self, x: Tensor) -> Tensor:
        """Prepared inputs -> float32 (3,): loss, mean squared error, fraction of the code above zero.

        Noise is drawn from torch's default generator of the inputs' device.
        """
        seen = F.dropout(x, self.noise, self.training)
        code = self.code(seen)
        error = F.mse_loss(self.decode(code, x.shape[2:]), x)
        return torch.stack([error, error.detach(), (code > 0).float().mean()])

    @torch.no_grad()
    def export(self, layer: Layer, probe: Tensor) -> None:
        """Copy the trained weights into the network's layer.

        They are rescaled to the root mean square of the layer's initial outputs, which the layers above were
        initialised for; a ReLU code is invariant to scale. probe: as in the constructor.
        """
        gain = self.gain / root_mean_square(filtered(self.conv, probe / self.scale))
        layer.conv.weight.copy_(self.conv.weight * gain / self.scale)
        if layer.conv.bias is not None and self.conv.bias is not None:
            layer.conv.bias.copy_(self.conv.bias * gain)
        if layer.norm is not None and self.norm is not None:
            layer.norm.load_state_dict(self.norm.state_dict())

    def shown(self, inputs: Tensor) -> list[tuple[str, Tensor]]:
        """Titles with the layer's inputs and their reconstructions, on the inputs' scale."""
        reconstruction = self.reconstruct(self.prepare(inputs)) * self.scale
        return [("original", inputs), ("reconstructed from its code", reconstruction)]


def maxima(code: Tensor, pool: nn.MaxPool2d) -> Tensor:
    """Set every value to zero that is not the maximum of a pooling window.

    pool: with return_indices. With overlapping windows a value stays if it is the maximum of any.
    """
    places = pool(code)[1]
    kept = torch.zeros_like(code, memory_format=torch.contiguous_format).flatten(2)
    kept = kept.scatter_(2, places.flatten(2), 1.0).view(code.shape)
    return code * kept


def constant_error(x: Tensor, mean: Tensor) -> Tensor:
    """Mean squared error of the constant prediction `mean` (C,) for x (N, C, H, W)."""
    return F.mse_loss(mean.view(1, -1, 1, 1).expand_as(x), x)
