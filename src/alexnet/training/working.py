"""The weights that a network computes with, in the type that it computes in, beside the float32 ones that are trained.

Autocast converts every weight to bfloat16 in each step and every gradient back: for 61 million weights a tenth of the
step. Here the optimiser, which has each weight in its hands once a step anyway, writes the converted one too.
"""

import torch
from torch import Tensor, nn

from alexnet.device import autocast, computed_parameters, held_weights


class WorkingWeights:
    """A network's weights as it computes with them.

    On the processor in bfloat16 these are copies of the parameters of convolutions and dense layers; the network itself
    keeps float32 ones. Elsewhere, and in float32, there are no copies.
    """

    def __init__(self, network: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        self.network, self.device, self.dtype = network, device, dtype
        self._named = held_weights(network, dtype) if device.type == "cpu" else {}
        trained = computed_parameters(network)
        self.copies: dict[Tensor, Tensor] = {trained[name]: copy for name, copy in self._named.items()}
        for weight, copy in self.copies.items():
            if weight.requires_grad:  # a frozen one has no gradient
                weight.grad_dtype = copy.requires_grad_().dtype

    def logits(self, images: Tensor) -> Tensor:
        """What the network says of images (N, 3, H, W): float32 (N, K), or what else its forward gives."""
        with autocast(self.device, self.dtype):
            logits: Tensor = torch.func.functional_call(self.network, self._named, (images,))
        return logits.float()

    def backward(self, loss: Tensor) -> None:
        """The gradients of the loss, in the place of older ones, as `grad` of the network's own parameters."""
        self.network.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for weight, copy in self.copies.items():
            weight.grad, copy.grad = copy.grad, None

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """The optimiser's step; the copies follow."""
        optimizer.step()
        if getattr(optimizer, "copies", None) is not self.copies:
            self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Take over what the parameters are now."""
        for weight, copy in self.copies.items():
            copy.copy_(weight)
