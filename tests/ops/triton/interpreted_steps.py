"""Checks of the kernels in Triton's interpreter, which a process must ask for before it imports them.

Prints JSON: by name of a check its figures. `test_update.py` and `test_views.py` judge them.
"""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

os.environ["TRITON_INTERPRET"] = "1"

import torch
from torch import Tensor, nn

from alexnet.bench.pictures import noise_store
from alexnet.data.augment import Augmentation
from alexnet.data.loader import Loader
from alexnet.data.preprocess import Preprocessing
from alexnet.data.resident import Resident
from alexnet.data.store import open_store
from alexnet.ops.gpu_views import Orders
from alexnet.ops.triton.update import RULES, Launch, Numbers, Tensors
from alexnet.ops.update import adam_step, average_step, momentum_step, move_step
from alexnet.ops.views import ColorMap, Mixing, Windows, mix, normals, render
from alexnet.training.launched import Launched, LaunchedAdam, LaunchedMomentum, LaunchedMuon
from alexnet.training.optimizer import Adam, Momentum, Muon, set_learning_rate
from alexnet.training.recipes import recipe
from alexnet.training.recorded import Recorded
from alexnet.training.supervised import build

SHAPES = [(1,), (2047,), (33, 125), (8, 5, 3, 3)]


def numbers_of(rule: str) -> Numbers:
    """Of a first step; Adam is decoupled: its decay is in `shrink`, 1 - rate * .2."""
    decay = 0.0 if rule == "adam" else 0.01
    return Numbers(0.1, 0.9, 0.99, 1e-6, decay, 0.98, 1 / (1 - 0.9), 1 / (1 - 0.99), 0.3)


def relative(found: Tensor, right: Tensor) -> float:
    """The largest difference by the largest value."""
    return float((found.double() - right.double()).abs().max() / right.double().abs().max())


def close(copy: Tensor, w: Tensor) -> bool:
    """Whether a copy is its weight, rounded; the interpreter rounds to bfloat16 towards zero."""
    if copy.dtype == torch.float32:
        return torch.equal(copy, w)
    return bool(((copy.float() - w).abs() <= 2**-7 * w.abs()).all())


def drawn(shape: Sequence[int], seed: int, dtype: torch.dtype = torch.float32, shifted: bool = False) -> Tensor:
    """Normal values, weights of convolutions channels last. shifted: at an address that is no multiple of 16."""
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    values = values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values
    memory = torch.empty(values.numel() + 1, dtype=dtype)[1:] if shifted else torch.empty(values.numel(), dtype=dtype)
    return memory.as_strided(values.shape, values.stride()).copy_(values)


# --- single launches ---


def job(rule: str, shape: Sequence[int], kind: torch.dtype, shifted: bool) -> Tensors:
    """What the rule needs of a weight of this shape, with a copy of this type."""
    w, m, s, average = (drawn(shape, seed, shifted=shifted) for seed in range(4))
    copy = torch.empty_like(w, dtype=kind)
    if rule in ("ahead", "move"):
        return Tensors(w, copy=copy, average=None if rule == "ahead" else average)
    return Tensors(w, m, s.abs() if rule == "adam" else None, copy, average)


def by_formula(rule: str, each: Tensors, g: Tensor) -> list[Tensor]:
    """The tensors but the copy after the step, in float64, and what "ahead" gives."""
    w, m, s, _, average = (None if tensor is None else tensor.double() for tensor in each)
    numbers, exact = numbers_of(rule), g.double()
    assert w is not None
    if rule == "ahead":
        return [w, average_step(w, exact, numbers.momentum)]
    if rule == "move":
        move_step(w, exact, None, numbers.rate, numbers.shrink)
    elif rule == "adam":
        assert m is not None
        assert s is not None
        adam_step(w, m, s, exact, None, 1, numbers.rate, (0.9, 0.99), numbers.eps, 0.2, True)
    else:
        assert m is not None
        momentum_step(w, m, exact, None, rule, numbers.rate, numbers.momentum, numbers.decay)
    assert average is not None
    return [each for each in (w, m, s, average.lerp(w, numbers.follow)) if each is not None]


def launch(rule: str, shifted: bool) -> dict[str, Any]:
    """One launch over tensors of all shapes and types beside the formula, tensor by tensor."""
    kinds = [(shape, kind) for shape in SHAPES for kind in (torch.float32, torch.bfloat16)]
    jobs = [job(rule, shape, kind, shifted) for shape, kind in kinds]
    gradients = [drawn(shape, 9, kind, shifted) for shape, kind in kinds]
    right = [by_formula(rule, each, g) for each, g in zip(jobs, gradients, strict=True)]
    idle = job(rule, (5,), torch.float32, shifted)  # has no gradient
    before = idle.w.clone()
    launched = Launch(rule, [*jobs, idle])
    launched.set([numbers_of(rule)] * (len(jobs) + 1))
    launched([*gradients, None])
    errors, rounded = [], []
    for each, wanted in zip(jobs, right, strict=True):
        assert each.copy is not None
        found = [each.w, each.copy] if rule == "ahead" else [each.w, each.m, each.s, each.average]
        pairs = zip([tensor for tensor in found if tensor is not None], wanted, strict=True)
        errors += [relative(one, other.to(one.dtype)) for one, other in pairs]
        rounded.append(rule == "ahead" or close(each.copy, each.w))
    return {"error": max(errors), "copies": all(rounded), "idle": torch.equal(idle.w, before)}


# --- optimisers ---


def network() -> nn.Sequential:
    """Two towers, two matrices of one shape, a bias, a normalisation."""
    torch.manual_seed(0)
    layers = nn.Conv2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(24, 24, bias=False)
    made = nn.Sequential(*layers, nn.Linear(24, 24, bias=False), nn.Linear(24, 3))
    return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def groups_of(made: nn.Sequential, muon: bool) -> list[dict[str, Any]]:
    """Hidden weights, then the others at another rate."""
    hidden = [made[place].weight for place in (0, 3, 4)]
    others = [each for each in made.parameters() if all(each is not one for one in hidden)]
    first = {"params": hidden, "weight_decay": 0.1, "factor": 1.0, **({"hidden": True} if muon else {})}
    return [first, {"params": others, "weight_decay": 0.0, "factor": 0.5}]


OPTIMIZERS: dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]] = {
    "velocity": (Momentum, LaunchedMomentum, {"rule": "velocity"}),
    "nesterov": (Momentum, LaunchedMomentum, {"rule": "nesterov"}),
    "adam": (Adam, LaunchedAdam, {"betas": (0.9, 0.99), "decoupled": False}),
    "adamw": (Adam, LaunchedAdam, {"betas": (0.9, 0.99), "decoupled": True}),
    "muon": (Muon, LaunchedMuon, {}),
}


def optimizer(name: str) -> dict[str, Any]:
    """Three steps at three rates, with a moving average, beside the same optimiser of the processor's."""
    usual, launched, settings = OPTIMIZERS[name]
    found = []
    for kind in (usual, launched):
        made = network()
        average = network()
        towers = {"towers": {made[0].weight: 2}} if name == "muon" else {}
        optimizer = kind(groups_of(made, name == "muon"), 0.01, **settings, **towers)
        if isinstance(optimizer, Launched):
            optimizer.averages = dict(zip(made.parameters(), average.parameters(), strict=True))
        for number in range(3):
            set_learning_rate(optimizer, 0.01 * (number + 1))
            for seed, weight in enumerate(made.parameters()):
                weight.grad = drawn(weight.shape, 10 * number + seed)
            if isinstance(optimizer, Launched):
                optimizer.follow = 1 / (number + 2)
                optimizer.step()
            else:
                optimizer.step()
                for mean, weight in zip(average.parameters(), made.parameters(), strict=True):
                    mean.data.lerp_(weight.data, 1 / (number + 2))
        states = [tensor for state in optimizer.state.values() for tensor in state.values()]
        every = [*made.parameters(), *average.parameters(), *states]
        found.append(
            (
                torch.cat([each.detach().flatten() for each in every]),
                [sorted(each) for each in optimizer.state.values()],
            )
        )
    return {"error": relative(found[1][0], found[0][0]), "same state": found[0][1] == found[1][1]}


class Played:
    """In the place of a CUDA graph: does again what was recorded."""

    def __init__(self, function: Callable[[], Tensor]) -> None:
        self._function, self.result = function, torch.zeros(0)

    def replay(self) -> None:
        found = self._function()
        self.result.resize_(found.shape).copy_(found)


def record(function: Callable[[], Tensor]) -> tuple[Played, Tensor]:
    """As `alexnet.training.recorded.record`."""
    played = Played(function)
    return played, played.result


def recorded(replays: bool) -> tuple[list[float], Tensor]:
    """Losses and weights of six steps of AdamW, of two sizes, at rates that rise."""
    made = network()
    optimizer = LaunchedAdam(groups_of(made, False), 0.01, betas=(0.9, 0.99), decoupled=True)

    def work(images: Tensor, targets: Tensor) -> Tensor:
        made.zero_grad()
        loss = (made(images) - targets).square().mean()
        loss.backward()
        optimizer.launch()
        return loss.detach().view(1)

    repeated = Recorded(work, optimizer, made.zero_grad, record)
    losses = []
    for number in range(6):
        count = 2 if number < 4 else 3
        set_learning_rate(optimizer, 0.01 * (number + 1))
        optimizer.prepare()
        images, targets = drawn((count, 4, 4, 4), number), drawn((count, 3), 50 + number)
        found = (repeated if replays else work)(images, targets)
        optimizer.replayed()
        losses.append(float(found))
    return losses, torch.cat([each.detach().flatten() for each in made.parameters()])


def recording() -> dict[str, Any]:
    """Steps that are replayed beside steps that are not: equal to the bit."""
    one, other = recorded(False), recorded(True)
    return {"losses": one[0] == other[0], "weights": torch.equal(one[1], other[1])}


def whole(launches: bool) -> tuple[list[float], Tensor]:
    """Losses, and the moving average, of six steps of a run as `alexnet train` takes them."""
    settings = {"batch_size": 4, "epochs": 2, "ema": 0.9, "validation": 0.0, "test": 0.0, "precision": "float32"}
    settings |= {"input_size": 16, "store_size": 16, "resize": 16, "augment": "", "dropout": 0.5, "device": "cpu"}
    with TemporaryDirectory() as folder, ExitStack() as patches:
        if launches:
            kinds = (LaunchedMomentum, LaunchedAdam, LaunchedMuon)
            patches.enter_context(patch("alexnet.training.optimizer.kinds", lambda device: kinds))
            patches.enter_context(patch("alexnet.training.supervised.records", lambda *given: True))
            recording = partial(Recorded, record=record)
            patches.enter_context(patch("alexnet.training.supervised.Recorded", recording))
        store = open_store(noise_store(Path(folder), 12, 3, size=16))
        task = build(store, recipe("cifar-80sec", optimizer="nesterov", **settings))
        losses = [
            float(task.step(batch, epoch, step)[0])
            for epoch in range(2)
            for step, batch in enumerate(task.state.loader.batches(epoch))
        ]
    return losses, torch.cat([each.detach().flatten() for each in task.kept.parameters()])


def training() -> dict[str, Any]:
    """Launched and replayed, beside a processor's run."""
    right, found = whole(False), whole(True)
    losses = relative(torch.tensor(found[0]), torch.tensor(right[0]))
    return {"losses": losses, "steps": len(found[0]), "average": relative(found[1], right[1])}


# --- views ---

COUNT, SIDE, SIZE = 4, 37, 21


def windows() -> dict[str, Windows]:
    """Copied, shrunk and enlarged parts, within their crops and beyond."""
    parts = torch.tensor([[0.0, 0, SIDE, SIDE], [3, 5, 20, 11], [2, 2, 33, 4], [36, 0, 1, 1]])
    return {
        "copied": Windows.square([2, 0, 16, 5], [4, 16, 0, 3], SIZE),
        "resized": Windows(parts, True, torch.tensor([True, False, True, False])),
        "beyond": Windows.square([SIDE / 23 * 3] * COUNT, [SIDE / 23 * 9] * COUNT, SIDE / 23 * 12),
    }


def views(name: str, colored: bool, noisy: bool, mixed: bool, dtype: torch.dtype) -> dict[str, Any]:
    """A batch beside the processor's."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (COUNT + 2, SIDE, SIDE, 3), dtype=torch.uint8, generator=random)
    rows = torch.tensor([5, 0, 2, 2])
    made = (torch.randn(COUNT, *shape, generator=random) / 10 for shape in ((3, 3), (3,), (3,)))
    colors = ColorMap(*made) if colored else ColorMap.identity(COUNT)
    noise = (torch.tensor([0, 1, -1, -(2**63)]), torch.tensor([0.5, 1.0, 2.0])) if noisy else None
    box = torch.tensor([[0, 0, 0, 0], [2, 9, 3, 19], [0, 21, 0, 21], [5, 6, 0, 1]], dtype=torch.int32)
    how = Mixing(torch.tensor([0.3, 1.0, 0.5, 0.75]), box) if mixed else None
    shown = windows()[name]
    right = render(images[rows], shown, colors, SIZE, dtype, noise=noise)
    right = right if how is None else mix(right, how)
    found = Orders.of(shown, colors, SIZE, noise, how).render(images, rows, dtype)
    return {
        "error": relative(found, right),
        "channels last": found.is_contiguous(memory_format=torch.channels_last),
        "equal": torch.equal(found, right),
    }


def loaded(kept: bool) -> dict[str, Any]:
    """Batches as a GPU would render them, of images that it holds or is sent, beside the processor's."""
    with TemporaryDirectory() as folder:
        store = open_store(noise_store(Path(folder), 9, 3, size=32))
        augmentation = Augmentation(("resized_crop", "flip", "color", "gaussian"), mixup=0.4, cutmix=1.0)
        preprocessing = Preprocessing(16, 16, (100.0, 110.0, 120.0), (50.0, 60.0, 70.0), 32)
        rows = torch.tensor([8, 1, 4, 2, 0, 6]).numpy()
        loader = Loader(store, rows, 3, preprocessing, augmentation)
        loader.__dict__["resident"] = Resident(store, rows, torch.device("cpu")) if kept else None
        given = {"epoch": 1, "order": loader.order(1), "size": 16, "mix": True}
        errors, equal = [], []
        ordered = loader._ordered(range(len(loader)), **given)
        for step, right in enumerate(loader.batches(1)):
            found = loader._rendered(ordered, 3 * step)
            errors.append(relative(found.images, right.images))
            equal += [torch.equal(found.targets, right.targets), torch.equal(found.labels, right.labels)]
    return {"error": max(errors), "others": all(equal), "batches": len(errors)}


def noise() -> dict[str, Any]:
    """Noise alone, of a size whose quarters are not whole."""
    shown, keys = Windows.square([0.0], [0.0], 5), torch.tensor([123456789123456789])
    images = torch.zeros(1, 5, 5, 3, dtype=torch.uint8)
    orders = Orders.of(shown, ColorMap.identity(1), 5, (keys, torch.ones(3)))
    found = orders.render(images, torch.tensor([0]), torch.float32)
    return {"error": relative(found.permute(0, 2, 3, 1).flatten(1), normals(keys, 75))}


def checks() -> dict[str, Callable[[], dict[str, Any]]]:
    """Every check by its name."""
    found: dict[str, Callable[[], dict[str, Any]]] = {}
    for rule in RULES:
        found[f"launch {rule}"] = lambda rule=rule: launch(rule, False)
    found["launch shifted"] = lambda: launch("nesterov", True)
    for name in OPTIMIZERS:
        found[f"optimizer {name}"] = lambda name=name: optimizer(name)
    single = torch.float32
    cases = {
        "copied": ("copied", False, False, False, single),
        "resized": ("resized", True, True, True, single),
        "beyond": ("beyond", False, False, True, single),
        "bfloat16": ("resized", True, False, True, torch.bfloat16),
    }
    for name, case in cases.items():
        found[f"views {name}"] = lambda case=case: views(*case)
    found |= {"loaded kept": lambda: loaded(True), "loaded sent": lambda: loaded(False)}
    return found | {"recording": recording, "training": training, "noise": noise}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps({name: check() for name, check in checks().items()}))
