"""Whether a weight that is kept in another form has changed since."""

import torch
from torch import Tensor

State = tuple[int, int, torch.dtype]


def state_of(weight: Tensor, x: Tensor) -> State:
    """What changes with the weight's values, or with the type of the input x that they are kept for."""
    return weight.data_ptr(), version(weight), x.dtype


def version(tensor: Tensor) -> int:
    """How often the tensor was changed in place; 0 where torch does not count it."""
    return 0 if tensor.is_inference() else tensor._version
