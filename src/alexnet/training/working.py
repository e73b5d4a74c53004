"""Copies of the float32 weights in the compute type, kept up to date by the optimizer.

Autocast converts every weight to bfloat16 in each step and every gradient back: for 61 million weights a tenth of the
step. Here the optimizer, which has each weight in its hands once a step anyway, writes the converted one too.
"""

import torch
from torch import Tensor, nn

from alexnet.device import autocast, computed_parameters, held_weights
from alexnet.training.launched import Launched, trusted
from alexnet.training.optimizer import Adam, Momentum, Muon, average_decay, copy_buffers, update_average


class WorkingWeights:
    """A network's weights in the type it computes in.

    In bfloat16 these are copies of the parameters of convolutions and dense layers; the network itself keeps float32
    master weights. In float32 there are no copies, and none on a GPU without the optimizers of
    `alexnet.training.launched`, for torch's fused ones take gradients in the type of the weights alone.
    """

    def __init__(self, network: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        self.network, self.device, self.dtype = network, device, dtype
        self._named = held_weights(network, dtype) if device.type == "cpu" or trusted(device) else {}
        self._follows = False  # whether the optimizer moves the average itself
        self._one: Tensor | None = None  # the gradient of a loss by itself
        trained = computed_parameters(network)
        self.copies: dict[Tensor, Tensor] = {trained[name]: copy for name, copy in self._named.items()}
        for weight, copy in self.copies.items():
            if weight.requires_grad:  # a frozen one has no gradient
                weight.grad_dtype = copy.requires_grad_().dtype

    def attach(self, optimizer: torch.optim.Optimizer, average: nn.Module | None = None) -> None:
        """Let an optimizer of ours write the copies in its own step, as it has each weight in its hands.

        average: the moving average of the weights; one that `prepare` is told of is moved in that step, too.
        """
        if isinstance(optimizer, (Momentum, Adam, Muon)):
            optimizer.copies = self.copies
        if isinstance(optimizer, Launched) and average is not None:
            optimizer.averages = dict(zip(self.network.parameters(), average.parameters(), strict=True))
            self._follows = True

    def prepare(self, optimizer: torch.optim.Optimizer, decay: float, step: int) -> None:
        """What the processor does of `step` and `follow`, where a GPU does the rest; call it first."""
        if isinstance(optimizer, Launched):
            optimizer.follow = 1 - average_decay(decay, step)
            optimizer.prepare()

    def forward(self, inputs: Tensor) -> Tensor:
        """The network's output in float32, float64 of float64: logits (N, K) for images (N, 3, H, W)."""
        with autocast(self.device, self.dtype):
            output: Tensor = torch.func.functional_call(self.network, self._named, (inputs,))
        return output if output.dtype == torch.float64 else output.float()

    def backward(self, loss: Tensor) -> None:
        """Replace the gradients: `grad` of each master weight becomes the gradient of the loss."""
        self.network.zero_grad(set_to_none=True)
        if self._one is None or self._one.dtype != loss.dtype:
            self._one = torch.ones_like(loss)
        loss.backward(self._one)  # type: ignore[no-untyped-call]
        for weight, copy in self.copies.items():
            weight.grad, copy.grad = copy.grad, None

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer's step; the copies follow."""
        optimizer.step()
        if getattr(optimizer, "copies", None) is not self.copies:
            self.refresh()

    def follow(self, average: nn.Module, decay: float, step: int) -> None:
        """Move the moving average of the weights, after step 0, 1, ..."""
        if self._follows:
            with torch.no_grad():
                copy_buffers(average, self.network)
        else:
            update_average(average, self.network, decay, step)

    def gather(self, optimizer: bool = False) -> None:
        """Make the network whole where several processes hold it; one process has all of it.

        optimizer: also the optimizer's state, in the first process, until `release`.
        """

    def release(self) -> None:
        """Forget what was gathered for a checkpoint."""

    @torch.no_grad()
    def refresh(self) -> None:
        """Copy the master weights into the copies."""
        for weight, copy in self.copies.items():
            copy.copy_(weight)
