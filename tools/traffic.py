"""Count what a training step on a GPU launches and moves, without a GPU.

    python tools/traffic.py                                   # bvlc, batch 128: a table by phase and operator
    python tools/traffic.py --network krizhevsky2012 --batch-size 512
    python tools/traffic.py --network bvlc --batch-size 128 --json    # {"operations": ..., "bytes": ...}

The step of `alexnet train` in bfloat16 is taken on PyTorch's meta device, which computes shapes alone, by the way that
a GPU takes. Each operator counts once, its tensors in and out once; views count nothing, nor does memory that is only
set aside. A kernel of the package counts as one operator: what it recomputes costs no traffic. A convolution counts
what it reads and writes, not what a library does inside, and caches are not thought of: a GPU moves less where a small
tensor stays in its cache, and more where a library makes copies.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from alexnet.data.loader import Batch
from alexnet.device import standing_for
from alexnet.ops import triton
from alexnet.training.optimizer import build_optimizer
from alexnet.training.recipes import recipe
from alexnet.training.supervised import Supervised, build_network
from alexnet.training.task import State
from alexnet.training.working import WorkingWeights

META = torch.device("meta")
COUNTED = ("aten.", "alexnet.")  # a profiler's marks are no operators
ALLOCATES = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")
OVERWRITES = ("copy_", "zero_", "fill_")  # which do not read what they write to
CONVERTED = (torch.conv2d, F.linear)
"""What autocast computes in bfloat16; on the meta device it does not work by itself."""


@dataclass
class Traffic:
    """Operators and bytes by (phase, operator)."""

    operations: Counter[tuple[str, str]] = field(default_factory=Counter)
    moved: Counter[tuple[str, str]] = field(default_factory=Counter)

    def to_json(self) -> dict[str, int]:
        """The sums."""
        return {"operations": self.operations.total(), "bytes": self.moved.total()}


class Counting(TorchDispatchMode):
    """Adds each operator that is called to `traffic`, under the phase of the moment."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self.traffic, self.phase = traffic, "forward"

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the operator, and count it."""
        result = func(*args, **(kwargs or {}))
        name = str(func.overloadpacket).partition(".")[2] or str(func)
        if str(func).startswith(COUNTED) and not is_view(func) and name not in ALLOCATES:
            key = (self.phase, name)
            self.traffic.operations[key] += 1
            given = args[1:] if name in OVERWRITES else args
            self.traffic.moved[key] += bytes_of((given, kwargs)) + bytes_of(result)
        return result

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Count under another phase."""
        before, self.phase = self.phase, phase
        try:
            yield
        finally:
            self.phase = before


class AsOnGPU(TorchFunctionMode):
    """What torch does on a GPU and leaves on the meta device: autocast's conversions, each weight once, and dropout."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.converted: dict[int, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function."""
        if func in CONVERTED:
            args = [self.convert(each) for each in args]
            kwargs = {name: self.convert(each) for name, each in (kwargs or {}).items()}
        if func is F.dropout:
            rate, training = (args[1:] + tuple((kwargs or {}).values()))[:2]
            return torch.native_dropout(args[0], rate, training)[0] if training and rate else args[0]
        return func(*args, **(kwargs or {}))

    def convert(self, value: Any) -> Any:
        """A float32 tensor in the type of the computation."""
        if not isinstance(value, Tensor) or value.dtype != torch.float32:
            return value
        if not isinstance(value, torch.nn.Parameter):
            return value.to(self.dtype)
        return self.converted.setdefault(id(value), value.to(self.dtype))


def is_view(func: Any) -> bool:
    """Whether the operator's result is a view of what it is given."""
    if func is torch.ops.aten._unsafe_view.default:
        return True
    return any(each.alias_info is not None and not each.alias_info.is_write for each in func._schema.returns)


def bytes_of(values: Any) -> int:
    """Of all tensors in it, each once; what is expanded counts as what lies in memory."""
    tensors = {id(each): each for each in tree_leaves(values) if isinstance(each, Tensor)}
    return sum(held(each) for each in tensors.values())


def held(tensor: Tensor) -> int:
    """Bytes of the tensor's values in memory."""
    count = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= size if stride or size == 0 else 1
    return count * tensor.element_size()


def task_of(name: str, batch_size: int) -> Supervised:
    """The task of a recipe on the meta device, without data."""
    given = recipe(name, batch_size=batch_size, device="cpu")
    with META:
        network = build_network(given, 1000)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer, working = build_optimizer(network, given), WorkingWeights(network, META, torch.bfloat16)
    working.attach(optimizer)
    state = State(
        recipe=given,
        loader=Steps(1000),
        parts={},
        network=network,
        working=working,
        average=None,
        optimizer=optimizer,
        device=META,
        dtype=torch.bfloat16,
    )
    return Supervised(state, None)


class Steps(list[None]):
    """As many steps an epoch as its length."""

    def __init__(self, count: int) -> None:
        super().__init__([None] * count)


def counted(name: str, batch_size: int, kernels: bool = True) -> Traffic:
    """A step of the recipe `name`, its second: the first makes the optimiser's state. kernels: with Triton's."""
    traffic = Traffic()
    with standing_for("cuda"), nullcontext() if kernels else triton.without():
        task = task_of(name, batch_size)
        size = task.state.network.input_size
        images = torch.empty(batch_size, 3, size, size, dtype=torch.bfloat16, device=META)
        images = images.contiguous(memory_format=torch.channels_last)
        targets = torch.empty(batch_size, 1000, device=META)
        batch = Batch(images, targets, torch.empty(batch_size, dtype=torch.int64, device=META))
        for step in range(2):
            counting = Counting(traffic if step else Traffic())
            with phases(task, counting), AsOnGPU(torch.bfloat16), counting:
                task.step(batch, 0, step)
    return traffic


@contextmanager
def phases(task: Supervised, counting: Counting) -> Iterator[None]:
    """Let the backward pass and the optimizer's step be counted under their names."""
    working = task.state.working
    plain = {"backward": working.backward, "step": working.step}

    def backward(*arguments: Any) -> None:
        with counting.during("backward"):
            plain["backward"](*arguments)

    def step(*arguments: Any) -> None:
        with counting.during("optimizer"):
            plain["step"](*arguments)

    working.backward, working.step = backward, step  # type: ignore[method-assign]
    try:
        yield
    finally:
        working.backward, working.step = plain["backward"], plain["step"]  # type: ignore[method-assign]


def table(traffic: Traffic) -> Iterator[str]:
    """A line an operator, the most bytes first, and the sums of each phase."""
    for phase in ("forward", "backward", "optimizer"):
        keys = sorted((key for key in traffic.moved if key[0] == phase), key=lambda key: -traffic.moved[key])
        for key in keys:
            yield f"{phase:10}{key[1]:28}{traffic.operations[key]:5}{traffic.moved[key] / 1e6:11.1f} MB"
        moved, operations = (sum(each[key] for key in keys) for each in (traffic.moved, traffic.operations))
        yield f"{phase:10}{'':28}{operations:5}{moved / 1e6:11.1f} MB"
    sums = traffic.to_json()
    yield f"{'a step':38}{sums['operations']:5}{sums['bytes'] / 1e6:11.1f} MB"


def main() -> None:
    """Count, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="bvlc", help="a recipe: bvlc, krizhevsky2012, modern ...")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--plain", action="store_true", help="LRN and pools in plain torch, without Triton")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    traffic = counted(given.network, given.batch_size, not given.plain)
    print(json.dumps(traffic.to_json()) if given.json else "\n".join(table(traffic)))


if __name__ == "__main__":
    main()
