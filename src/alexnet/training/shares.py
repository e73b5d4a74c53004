"""Tensors in one piece of memory, of which each process keeps its share up to date.

The values of several tensors lie one after the other, in each tensor's own order of memory, and the whole is cut into
a share for each process. Where every value is updated by itself, as by all rules but Muon's, shares are equal and cut
tensors anywhere; the end is padded. Muon's step needs whole matrices: then every tensor belongs to one process, the
costliest first, each to the process that has the least to compute so far (`balanced`), and shares differ in size.

Exchanged tensors are whole in every process for each step: gradients are summed into the shares, the values that
compute are gathered from them. Those that are not, the rows of a dense layer that is split, are gathered for
checkpoints alone. W values, K processes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alexnet.processes.together import Together

ELEMENTWISE = 32
"""Multiply-adds that take about as long as the memory traffic of updating one value."""


@dataclass(frozen=True)
class Piece:
    """What of a tensor lies in this process's share."""

    index: int  # of the tensor
    start: int  # of the piece, in the tensor's order of memory
    values: nn.Parameter  # in the master's memory: as the tensor where it is all of it, else (n,)
    place: slice  # of the whole memory

    def of(self, whole: Tensor) -> Tensor:
        """The piece of a tensor of the same strides, in the shape of `values`; a view."""
        return flat(whole)[self.start : self.start + self.values.numel()].as_strided(
            self.values.shape, self.values.stride()
        )


class Shares:
    """Tensors that several processes keep up to date together.

    master: (W,) the values that the optimizer works on; each tensor given becomes a view of it. compute: (W,) in the
    type that the network computes in; the master itself where that is the same. average: (W,) or None, the moving
    average. pieces: this process's.
    """

    def __init__(
        self,
        tensors: Sequence[nn.Parameter],
        together: Together,
        dtype: torch.dtype,
        exchanged: bool = True,
        cost: Callable[[nn.Parameter], float] | None = None,
    ) -> None:
        """cost: of a tensor's update; None: every value is updated by itself, so that tensors may be cut."""
        self.tensors, self.together, self.exchanged = list(tensors), together, exchanged
        self.equal = cost is None
        sizes = [tensor.numel() for tensor in tensors]
        if cost is None:
            self.offsets, self.bounds = _in_order(sizes, together.ranks)
        else:
            owners = balanced([cost(tensor) for tensor in tensors], together.ranks)
            self.offsets, self.bounds = _by_owner(sizes, owners, together.ranks)
        self.mine = slice(*self.bounds[together.rank : together.rank + 2])
        self.master = self._moved(self.tensors)
        same = dtype == self.master.dtype
        self.compute = self.master if same else self.master.to(dtype)
        self.average: Tensor | None = None
        self._averages: list[nn.Parameter] = []
        self.pieces = list(self._pieces())
        self._gradients: Tensor | None = None

    def hold_average(self, averages: Sequence[nn.Parameter]) -> None:
        """Lay the moving averages of the tensors out in the same way."""
        self._averages = list(averages)
        self.average = self._moved(self._averages)

    def _moved(self, tensors: Sequence[nn.Parameter]) -> Tensor:
        """Memory that holds the values of all, of which they become views."""
        memory = tensors[0].new_zeros(self.bounds[-1], requires_grad=False)
        for tensor, offset in zip(tensors, self.offsets, strict=True):
            view = memory[offset : offset + tensor.numel()].as_strided(tensor.shape, tensor.stride())
            view.copy_(tensor.data)
            tensor.data = view
        return memory

    def _pieces(self) -> Iterator[Piece]:
        for index, (tensor, offset) in enumerate(zip(self.tensors, self.offsets, strict=True)):
            low, high = max(offset, self.mine.start), min(offset + tensor.numel(), self.mine.stop)
            if low < high:
                whole = high - low == tensor.numel()
                values = tensor.data if whole else self.master[low:high]
                yield Piece(index, low - offset, nn.Parameter(values), slice(low, high))

    def view(self, memory: Tensor, index: int) -> Tensor:
        """Tensor `index` in a memory laid out like the master; the sizes and strides are the tensor's."""
        tensor, offset = self.tensors[index], self.offsets[index]
        return memory[offset : offset + tensor.numel()].as_strided(tensor.shape, tensor.stride())

    def owned(self, memory: Tensor) -> Tensor:
        """This process's share of a memory laid out like the master."""
        return memory[self.mine]

    def sum_gradients(self, gradients: Sequence[Tensor | None]) -> None:
        """Give each piece the gradient's sum over all processes; gradients: of the tensors, this process's."""
        if self._gradients is None:
            self._gradients = torch.zeros_like(self.compute)
        memory = self._gradients
        for index, gradient in enumerate(gradients):
            place = self.view(memory, index)
            place.zero_() if gradient is None else place.copy_(gradient)
        if self.equal:
            share = self.together.scattered(memory, "gradients")
        else:
            self.together.reduce_to(self._each(memory), "gradients")
            share = self.owned(memory)
        for piece in self.pieces:
            own = share[piece.place.start - self.mine.start : piece.place.stop - self.mine.start]
            piece.values.grad = own.as_strided(piece.values.shape, piece.values.stride()).to(self.master.dtype)

    def take_gradient(self, gradient: Tensor | None) -> None:
        """Give the one piece of a tensor that is not exchanged its gradient, which is complete."""
        (piece,) = self.pieces
        assert gradient is not None
        piece.values.grad = gradient.to(self.master.dtype).reshape(piece.values.shape)

    def publish(self) -> None:
        """After a step: the values that compute, from every process's share."""
        if self.compute is not self.master:
            self.owned(self.compute).copy_(self.owned(self.master))
        if self.exchanged:
            self.gather(self.compute, "weights")

    def gather(self, memory: Tensor, purpose: str) -> None:
        """Fill a memory laid out like the master with the shares of all processes."""
        if self.equal:
            self.together.gather_into(memory, self.owned(memory), purpose)
        else:
            self.together.broadcast_from(self._each(memory), purpose)

    def _each(self, memory: Tensor) -> list[Tensor]:
        return [memory[low:high] for low, high in zip(self.bounds, self.bounds[1:], strict=False)]


def flat(tensor: Tensor) -> Tensor:
    """(n,): the values of a tensor without gaps, in their order of memory; a view."""
    return tensor.as_strided((tensor.numel(),), (1,))


def _in_order(sizes: Sequence[int], ranks: int) -> tuple[list[int], list[int]]:
    """Offsets of tensors one after the other, and K + 1 bounds of equal shares, the last one padded."""
    offsets = [sum(sizes[:index]) for index in range(len(sizes))]
    share = -(-sum(sizes) // ranks)
    return offsets, [share * rank for rank in range(ranks + 1)]


def _by_owner(sizes: Sequence[int], owners: Sequence[int], ranks: int) -> tuple[list[int], list[int]]:
    """Offsets of tensors that lie owner after owner, and K + 1 bounds between the owners' shares."""
    offsets, bounds, end = [0] * len(sizes), [0], 0
    for rank in range(ranks):
        for index, owner in enumerate(owners):
            if owner == rank:
                offsets[index], end = end, end + sizes[index]
        bounds.append(end)
    return offsets, bounds


def balanced(costs: Sequence[float], ranks: int) -> list[int]:
    """The owner of each tensor: the costliest first, each to whoever has the least so far (Graham 1969, LPT).

    The largest total is at most 4/3 of the best one possible.
    """
    totals, owners = [0.0] * ranks, [0] * len(costs)
    for index in sorted(range(len(costs)), key=lambda index: -costs[index]):
        owner = min(range(ranks), key=totals.__getitem__)
        owners[index] = owner
        totals[owner] += costs[index]
    return owners


def muon_cost(weight: Tensor, hidden: bool, towers: int = 1) -> float:
    """About what Muon's step of a weight takes, in multiply-adds.

    A matrix of r rows and c columns, r the smaller, takes about 2 r r c for its Gram matrix and the last product; every
    value takes as long as ELEMENTWISE of them beside, for it comes from memory.
    """
    if not hidden:
        return float(ELEMENTWISE * weight.numel())
    rows = weight.shape[-1] if weight.ndim == 3 else weight.shape[0] // towers
    matrices = weight.shape[0] if weight.ndim == 3 else towers
    columns = weight.numel() // (rows * matrices)
    return float(weight.numel() * (ELEMENTWISE + 2 * min(rows, columns)))
