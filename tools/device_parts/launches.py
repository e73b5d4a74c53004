"""What stands beside the network in a step on a GPU: the optimiser's launches, views, CUDA graphs, resident images."""

import contextlib
import copy
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alexnet.bench.ceilings import copy_of_buffer
from alexnet.bench.pictures import noise_store
from alexnet.bench.train import PAPER, epochs, prepared, step
from alexnet.bench.worker import Work, repeated
from alexnet.networks import create
from alexnet.ops.gpu_views import Orders, over_tensors
from alexnet.ops.views import ColorMap, Mixing, Windows, mix, render
from alexnet.training.launched import trusted
from alexnet.training.optimizer import build_optimizer
from alexnet.training.recipes import recipe
from alexnet.training.recorded import VARIABLE
from alexnet.training.settings import Recipe
from alexnet.training.supervised import Supervised
from alexnet.training.working import WorkingWeights
from device_parts import comparisons
from device_parts.record import Record, forget, in_rounds

NOT_HERE = "not measured on a GPU: none is at hand"
SECONDS, ROUNDS = 0.1, 5
MOST = 1.4  # times the time that a copy of as many bytes takes
RULES = ("sgd", "nesterov", "velocity", "adam", "adamw", "muon")
VIEWS = {"bvlc, the paper's augmentation": ("bvlc", {"augment": PAPER}), "recipe modern, 96 px": ("modern", {})}


def run(record: Record) -> None:
    """Right first, then fast."""
    if record.small:
        for what in ("optimisers", "views", "steps recorded as CUDA graphs", "images kept on the GPU"):
            record.missing(what, "", NOT_HERE)
        return
    if not trusted(torch.device("cuda")):
        record.missing("kernels", "", "they are not used on this machine; what the part says tells why")
    right_optimisers(record)
    right_views(record)
    with tempfile.TemporaryDirectory() as folder:
        graphs(record, comparisons.store(Path(folder) / "small"))
        optimisers(record)
        store = noise_store(Path(folder) / "large", 2048, 1000)
        views(record, store)
        steps(record, store)
        resident(record, store)


def right_optimisers(record: Record) -> None:
    """Three steps of every rule beside the same rule on the processor, in float32."""
    for rule in RULES:
        errors = []
        for there in ("cpu", "cuda"):
            torch.manual_seed(0)
            network = create("modern", 10, 64).to(there, memory_format=torch.channels_last)  # type: ignore[call-overload]
            errors.append(stepped(network, recipe("modern", optimizer=rule, device=there)))
        found, right = (torch.cat([each.cpu().flatten() for each in every]) for every in errors[::-1])
        # Muon's products in bfloat16 round in another order; a step is lr .001 of weights of about .05.
        limit = 1e-3 if rule == "muon" else 1e-6
        record.add(f"{rule}: weights after three steps", "error", comparisons.relative(found, right), at_most=limit)


def stepped(network: torch.nn.Module, settings: Recipe) -> list[Tensor]:
    """The weights after three steps of gradients that are the same on every device."""
    optimizer, random = build_optimizer(network, settings), torch.Generator().manual_seed(0)
    for number in range(3):
        for group in optimizer.param_groups:
            group["lr"] = 0.001 * (number + 1) * group["factor"]
        for weight in network.parameters():
            values = torch.randn(weight.shape, generator=random) * 0.01
            weight.grad = torch.empty_like(weight).copy_(values)
        optimizer.step()
    return [weight.detach() for weight in network.parameters()]


def right_views(record: Record) -> None:
    """Beside the processor's, in both types: resized, mirrored, coloured, noisy, mixed."""
    torch.manual_seed(0)
    images = torch.randint(0, 256, (64, 256, 256, 3), dtype=torch.uint8)
    extent = 40 + 216 * torch.rand(64, 2)
    parts = torch.cat([(torch.rand(64, 2) * (256 - extent)).floor(), extent.floor()], 1)
    shown = Windows(parts, True, torch.rand(64) < 0.5)
    colors = ColorMap(torch.eye(3) + 0.1 * torch.randn(64, 3, 3), torch.randn(64, 3), 0.1 * torch.rand(64, 3))
    noise = (torch.randint(2**62, (64,)), torch.tensor([1.0, 2.0, 3.0]))
    box = torch.tensor([[20, 60, 5, 90], [0, 0, 0, 0]], dtype=torch.int32).repeat(32, 1)
    how = Mixing(torch.rand(64), box)
    for dtype, limit in ((torch.float32, 1e-5), (torch.bfloat16, 5e-3)):
        right = mix(render(images, shown, colors, 112, dtype, noise=noise), how)
        orders = over_tensors(Orders.of(shown, colors, 112, noise, how), Tensor.cuda)
        found = orders.render(images.cuda(), torch.arange(64, device="cuda"), dtype)
        error = comparisons.relative(found, right)
        record.add(f"views, {str(dtype).removeprefix('torch.')}", "error", error, at_most=limit)


def graphs(record: Record, store: str) -> None:
    """Eight steps recorded and repeated, and as they are: the same weights to the bit."""
    for network in ("bvlc", "modern"):
        found = []
        with comparisons.deterministic():
            for setting in ("off", "on"):
                with environment(VARIABLE, setting):
                    changes = {"dropout": 0.5, "lr": 0.01, "precision": "bfloat16", "ema": 0.9}
                    task = comparisons.short_run(store, "cuda", network, **changes)
                    found.append(eight_steps(task))
        differing = sum(not torch.equal(one, other) for one, other in zip(*found, strict=True))
        what = f"{network}: tensors that differ where steps are replayed"
        record.add(what, "tensors", differing, at_most=0)


def eight_steps(task: Supervised) -> list[Tensor]:
    """The losses and the weights after two epochs of four steps."""
    losses = []
    for epoch in range(2):
        task.begin_epoch(epoch)
        losses += [task.step(batch, epoch, number) for number, batch in enumerate(task.state.loader.batches(epoch))]
    return [torch.stack(losses), *(each.detach().clone() for each in task.kept.state_dict().values())]


def optimisers(record: Record) -> None:
    """The step of bvlc's 61 million weights, as a multiple of the time that a copy of its bytes takes."""
    network = create("bvlc").to("cuda", memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights = sum(each.numel() for each in network.parameters())
    size = 256 * 2**20
    speed = copy_of_buffer(SECONDS, "cuda", size)
    for title, average, each in (("", False, 20), (", moving average", True, 28)):
        working, optimizer = launched(network, copy.deepcopy(network) if average else None)
        work = repeated(partial(take, working, optimizer), 1, SECONDS, "cuda")
        found = in_rounds({"step": work, "copy": speed}, ROUNDS)
        moved = statistics.median(found["copy"])
        times = [seconds / (weights * each * moved) for seconds in found["step"]]
        note = f"{1e6 * statistics.median(found['step']):.0f} us, {weights * each / 1e9:.2f} GB"
        record.add(f"nesterov, bvlc{title}: time by that of its bytes", "times", *times, at_most=MOST, note=note)
    muon(record)
    forget()


def launched(network: torch.nn.Module, average: torch.nn.Module | None) -> tuple[WorkingWeights, torch.optim.Optimizer]:
    """Working weights and an optimiser, with gradients in place."""
    working = WorkingWeights(network, torch.device("cuda"), torch.bfloat16)
    optimizer = build_optimizer(network, recipe("bvlc", optimizer="nesterov", device="cuda"))
    working.attach(optimizer, average)
    for weight in network.parameters():
        weight.grad = torch.randn_like(working.copies.get(weight, weight)).mul_(1e-3)
    return working, optimizer


def take(working: WorkingWeights, optimizer: torch.optim.Optimizer) -> None:
    """One step of it."""
    working.prepare(optimizer, 0.99, 10)
    working.step(optimizer)


def muon(record: Record) -> None:
    """Muon's step of modern, asked for by Python."""
    network = create("modern").to("cuda", memory_format=torch.channels_last)  # type: ignore[call-overload]
    for weight in network.parameters():
        weight.grad = 1e-3 * torch.randn_like(weight)
    optimizer = build_optimizer(network, recipe("modern", device="cuda"))
    found = in_rounds({"": repeated(optimizer.step, 1, SECONDS, "cuda")}, ROUNDS)[""]
    record.add("muon, modern: a step", "us", *(1e6 * each for each in found))


def views(record: Record, store: str) -> None:
    """Views of a batch of 128 whose images lie on the GPU, and what the processor draws for it."""
    for title, (name, changes) in VIEWS.items():
        task = prepared(store, name, {"batch_size": 128, "precision": "bfloat16", **changes}, "cuda")
        loader, size = task.state.loader, task.image_size(0)
        given: dict[str, Any] = {"epoch": 0, "order": loader.order(0), "size": size, "mix": True}
        ordered = over_tensors(loader._ordered(range(1), **given), Tensor.cuda)
        works = {
            "rendered": repeated(partial(loader._rendered, ordered), 128, SECONDS, "cuda"),
            "drawn, one thread": repeated(partial(loader._ordered, range(8), **given), 8 * 128, SECONDS, "cuda"),
        }
        for what, seconds in in_rounds(works, ROUNDS).items():
            record.add(f"views, batch 128, {title}: {what}", "images/s", *(1 / each for each in seconds))


def steps(record: Record, store: str) -> None:
    """Steps as Python asks for them, and repeated from a recording."""
    for network, name in {"bvlc": "bvlc", "modern": "modern"}.items():
        for batch_size in (128, 512):
            works = {}
            for title, setting in (("as they are", "off"), ("recorded", "on")):
                changes = {"batch_size": batch_size, "precision": "bfloat16", "workers": 0}
                with environment(VARIABLE, setting):
                    works[title] = warmed(lambda: step(store, name, changes, SECONDS, "cuda"))  # noqa: B023
            for title, seconds in in_rounds(works, ROUNDS).items():
                what = f"{network}, batch {batch_size}: steps {title}"
                record.add(what, "images/s", *(1 / each for each in seconds))
            works.clear()
            forget()


def warmed(build: Callable[[], Work]) -> Work:
    """The work, once it has recorded its steps."""
    work = build()
    work()
    return work


def resident(record: Record, store: str) -> None:
    """Training from the store, the images on the GPU and sent batch by batch."""
    for title, (name, changes) in VIEWS.items():
        for where, kept in (("kept on the GPU", True), ("sent batch by batch", False)):
            with without_residents(not kept):
                work = epochs(store, name, {"batch_size": 128, "precision": "bfloat16", **changes}, "cuda")
                seconds = in_rounds({where: work}, 3)[where]
            record.add(f"training, batch 128, {title}, images {where}", "images/s", *(1 / each for each in seconds))
            forget()


@contextlib.contextmanager
def without_residents(wanted: bool) -> Iterator[None]:
    """Inside the block no images are kept on the GPU."""
    from alexnet.data import resident as module

    before = module.SHARE
    module.SHARE = 0.0 if wanted else before
    try:
        yield
    finally:
        module.SHARE = before


@contextlib.contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """A variable of the environment, inside the block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
