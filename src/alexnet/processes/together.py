"""What several processes do together: sums, exchanges and decisions, on torch.distributed; nothing for one process.

Gloo carries tensors of processors and the decisions, NCCL those of CUDA GPUs. Every call below is made by all
processes in the same order. Bytes are counted as a ring sends them (`Together.sent`): of K processes each sends K - 1
times its share of what is gathered, and (K - 1) / K of what is reduced and scattered.
"""

import contextlib
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import count, pairwise
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from alexnet.errors import AlexNetError, ElsewhereFailed, UsageError
from alexnet.processes.place import Place
from alexnet.processes.shards import ends_of_parts

T = TypeVar("T")

logger = logging.getLogger(__name__)
_meetings = count()  # of this process

MEETING = timedelta(minutes=15)  # for all processes to start
BATCH = 64  # images that are evaluated at once: `alexnet.evaluation.predict`
WAITING = timedelta(days=7)  # for another process, which may be packing data


class Together:
    """One of several processes that train a model, or the only one.

    sent: by purpose ("gradients", "weights", "activations", "norm", "state", "numbers") the bytes that this process
    sent, counted as a ring sends them; where shares differ, its mean over the processes.
    """

    def __init__(self, rank: int = 0, ranks: int = 1) -> None:
        self.rank, self.ranks = rank, ranks
        self.sent: Counter[str] = Counter()

    def __deepcopy__(self, memo: Any) -> "Together":
        return self  # modules hold it, and they are copied

    @property
    def first(self) -> bool:
        """Whether this process writes and talks."""
        return self.rank == 0

    def gathered(self, share: Tensor, purpose: str) -> Tensor:
        """Shares (n, ...) of one shape -> (K n, ...), rank after rank."""
        whole = share.new_empty(self.ranks * share.shape[0], *share.shape[1:])
        self.gather_into(whole, share.contiguous(), purpose)
        return whole

    def gather_into(self, whole: Tensor, share: Tensor, purpose: str) -> None:
        """Fill `whole`, of K times as many values, with all shares; a share may be its own place in it."""
        self.sent[purpose] += (self.ranks - 1) * share.nbytes
        if self.ranks == 1:
            whole.copy_(share)
        else:
            with _explained():
                dist.all_gather_into_tensor(whole.view(-1), share.reshape(-1))

    def scattered(self, whole: Tensor, purpose: str) -> Tensor:
        """(K n, ...) -> (n, ...): the sum over the processes of this process's part."""
        share = whole.new_empty(whole.shape[0] // self.ranks, *whole.shape[1:])
        self.sent[purpose] += (self.ranks - 1) * share.nbytes
        if self.ranks == 1:
            return share.copy_(whole)
        with _explained():
            dist.reduce_scatter_tensor(share.view(-1), whole.reshape(-1))
        return share

    def exchanged(self, blocks: Tensor, purpose: str) -> Tensor:
        """(K, ...) -> (K, ...): block i goes to process i, block i of the result came from it."""
        got = torch.empty_like(blocks, memory_format=torch.contiguous_format)
        self.sent[purpose] += (self.ranks - 1) * blocks[0].nbytes
        if self.ranks == 1:
            return got.copy_(blocks)
        with _explained():
            dist.all_to_all_single(got.view(-1), blocks.reshape(-1))
        return got

    def reduce_to(self, owners: Sequence[Tensor], purpose: str) -> None:
        """Sum tensor i over all processes into that of process i, in place; what the others hold then is undefined."""
        self._to_each(dist.reduce, owners, purpose)

    def broadcast_from(self, owners: Sequence[Tensor], purpose: str) -> None:
        """Overwrite tensor i with that of process i."""
        self._to_each(dist.broadcast, owners, purpose)

    def _to_each(self, operation: Callable[..., Any], owners: Sequence[Tensor], purpose: str) -> None:
        self.sent[purpose] += sum(each.nbytes for each in owners) * (self.ranks - 1) // self.ranks
        if self.ranks > 1:
            with _explained():
                works = [operation(each, owner, async_op=True) for owner, each in enumerate(owners) if each.numel()]
                for work in works:
                    work.wait()

    def summed(self, numbers: Tensor, purpose: str = "numbers") -> Tensor:
        """The sum over all processes, in place; the same to the last bit in each of them."""
        self.sent[purpose] += 2 * numbers.nbytes * (self.ranks - 1) // self.ranks
        if self.ranks > 1:
            with _explained():
                dist.all_reduce(numbers)
        return numbers

    def agreed(self, *asked: bool) -> tuple[bool, ...]:
        """For each question whether any process says yes; one process's answers are its own."""
        if self.ranks == 1:
            return asked
        answers = torch.tensor(asked, dtype=torch.int32)
        with _explained():
            dist.all_reduce(answers, dist.ReduceOp.MAX)
        return tuple(bool(answer) for answer in answers.tolist())

    def told(self, value: Any) -> list[Any]:
        """What each process has to tell, as JSON, rank after rank."""
        if self.ranks == 1:
            return [json.loads(json.dumps(value))]
        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        sizes = self.gathered(torch.tensor([text.numel()]), "numbers").tolist()
        padded = torch.zeros(max(sizes), dtype=torch.uint8)
        padded[: text.numel()] = text
        rows = self.gathered(padded[None], "numbers")
        return [json.loads(bytes(row[:size].tolist())) for row, size in zip(rows, sizes, strict=True)]

    def wait(self) -> None:
        """Until all processes are here."""
        self.agreed(False)


def shared_rows(
    rows: NDArray[np.int64], answer: Callable[[NDArray[np.int64]], Tensor], together: Together, batch: int = BATCH
) -> Tensor:
    """float32 (len(rows), K) by `answer`, which each process asks for its part of the rows; all get all answers.

    Parts are of whole batches, as one process would compute them, so that the answers are the same to the last bit.
    """
    if together.ranks == 1:
        return answer(rows)
    ends = ends_of_parts(len(rows), batch, together.ranks)
    low, high = ends[together.rank : together.rank + 2]
    mine = answer(rows[low:high]) if low < high else torch.empty(0, 0)
    columns = max(together.told(mine.shape[1]))
    padded = torch.zeros(max(b - a for a, b in pairwise(ends)), columns)
    if low < high:
        padded[: high - low] = mine
    parts = together.gathered(padded[None], "numbers")
    return torch.cat([part[: b - a] for part, (a, b) in zip(parts, pairwise(ends), strict=True)])


def led(
    together: Together, begin: Callable[[], T], join: Callable[[Any], T], tell: Callable[[T], Any] = lambda _: None
) -> T:
    """What the first process begins and the others join, by what `tell` makes of it, a value of JSON.

    ElsewhereFailed in the others where the first could not.
    """
    if not together.first:
        told = together.told(None)[0]
        if told["code"]:
            raise ElsewhereFailed(told["code"])
        return join(told["begun"])
    try:
        begun = begin()
    except BaseException as error:
        if together.ranks > 1:
            with contextlib.suppress(AlexNetError):  # the others may be gone too
                together.told({"code": getattr(error, "exit_code", 1)})
        raise
    together.told({"code": 0, "begun": tell(begun)})
    return begun


@contextlib.contextmanager
def meeting(place: Place, device: str) -> Iterator[Together]:
    """All processes of the run, met; for one process nothing is started.

    device: the recipe's; a CUDA GPU is the process's own, by its number on this machine. AlexNetError where the others
    do not come.
    """
    if place.ranks == 1:
        yield Together()
        return
    on_gpu = _own_gpu(place, device)
    logger.info("process 0 of %d: waiting for the others at %s:%d", place.ranks, place.host, place.port)
    _meet(place, "cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    try:
        yield Together(place.rank, place.ranks)
    finally:
        with contextlib.suppress(Exception):  # another process may be gone, and this one has said what it had to
            dist.destroy_process_group()


def _own_gpu(place: Place, device: str) -> bool:
    """Take the GPU of the process's number on its machine; False where the processor computes."""
    if device not in ("auto", "cuda") or not torch.cuda.is_available():
        if device not in ("auto", "cpu"):
            raise UsageError(f"device {device!r} with {place.ranks} processes; take cuda, each on its own GPU, or cpu")
        return False
    if place.local >= torch.cuda.device_count():
        raise UsageError(
            f"process {place.local} of this machine has no GPU of its own, for there are {torch.cuda.device_count()}; "
            "start as many processes as GPUs, or take --device cpu"
        )
    torch.cuda.set_device(place.local)
    return True


def _meet(place: Place, backend: str) -> None:
    """Make the process group; a call that waits for the others waits MEETING at most.

    torchrun has a store of its own, which its environment names, and keeps it when it starts processes again: each
    start has names of its own there. Else the first process opens one, at another port for each meeting, so that nobody
    finds the store of the last one.
    """
    number = next(_meetings)
    method = "env://" if dist.is_torchelastic_launched() else f"tcp://{place.host}:{place.port + number}"
    try:
        store, rank, ranks = next(rendezvous(method, place.rank, place.ranks, timeout=MEETING))
        store = PrefixStore(f"alexnet-{place.restarts}-{ranks}-{number}", store)
        store.set(f"here-{rank}", "yes")
        store.wait([f"here-{each}" for each in range(ranks)], MEETING)
        dist.init_process_group(backend, store=store, rank=rank, world_size=ranks, timeout=WAITING)
    except (RuntimeError, ValueError) as error:
        raise AlexNetError(
            f"process {place.rank} of {place.ranks} did not meet the others at {place.host}:{place.port} "
            f"({_line(error)}); start all of them by torchrun or srun, or unset RANK and WORLD_SIZE (SLURM_NTASKS)"
        ) from error


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """One line for an exchange that another process's end broke off."""
    try:
        yield
    except RuntimeError as error:
        raise AlexNetError(
            f"another process was lost, and with it the exchange ({_line(error)}); go on with alexnet train --resume "
            "RUN, or let torchrun --max-restarts do it"
        ) from error


def _line(error: Exception) -> str:
    """What an error of gloo or NCCL says, without the place in their source and the advice."""
    line = re.sub(r"\[/\S+:\d+\] ", "", str(error).strip().split("\n")[0])
    return line.split(". ")[0][:200]
