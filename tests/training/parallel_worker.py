"""What several processes compute, for test_parallel.py: python parallel_worker.py STORE FOLDER JOB-PROCESSES...

torch is imported once; then the processes of each job are forked. What a job finds goes into FOLDER/JOB-PROCESSES:
tensors as safetensors, numbers as JSON; what its processes say into text files beside.
"""

import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from alexnet import cli
from alexnet.data.loader import Batch
from alexnet.data.store import open_store
from alexnet.processes.place import this_process
from alexnet.processes.together import Together, meeting
from alexnet.runs.checkpoint import Progress, take_snapshot
from alexnet.training.loss import loss_value
from alexnet.training.parallel import divide
from alexnet.training.recipes import recipe
from alexnet.training.replica import ParallelWeights
from alexnet.training.run import train
from alexnet.training.supervised import Supervised, build

NETWORKS = {
    # BatchNorms over maps and, between dense layers that are split, over vectors; convolutions in groups; dropout
    "modern": {"input_size": 63, "differences": "width=0.0625", "dropout": 0.5},
    # normalisation within maps, an unshared layer, a single dense layer
    "cifar-13pct": {"input_size": 16},
    "cifar-80sec": {"input_size": 16, "dropout": 0.3, "freeze": "1"},
}
STEPS = {"sgd": "modern", "adamw": "cifar-80sec", "muon": "modern", "velocity": "cifar-13pct"}
SMALL = {
    **{"precision": "float32", "device": "cpu", "workers": 0, "batch_size": 8, "epochs": 2, "seed": 3},
    **{"mixup": 0.2, "cutmix": 1.0, "augment": "crop,flip,color", "store_size": 64, "resize": 72},
}
RUN = {
    **{
        "network": "cifar-80sec",
        "input_size": 16,
        "resize": 18,
        "dropout": 0.3,
        "ema": 0.9,
        "checkpoint_minutes": 1e-9,
    },
    **{"automatic": "", "test": 0.25, "validation": 0.0, "warmup_epochs": 0.0, "optimizer": "adamw", "lr": 0.01},
}


def settings(network: str, **changes: Any) -> dict[str, Any]:
    return {**SMALL, "network": network, **NETWORKS[network], **changes}


def built(data: Path, together: Together, double: bool = False, **changes: Any) -> Supervised:
    """A task, divided among the processes; double: in float64."""
    task = build(open_store(data), recipe("modern", None, **changes))
    if double:
        task.state.network.double()
        if task.state.average is not None:
            task.state.average.double()
    divide(task.state, together)
    return task


def gradients(task: Supervised) -> dict[str, Tensor]:
    """The gradients of the first step, whole."""
    state = task.state
    batch = next(state.loader.batches(0))
    task.begin_epoch(0)
    torch.manual_seed(5)
    loss = loss_value(state.recipe, state.working.forward(batch.images.double()), batch.targets.double(), None)
    state.working.backward(loss)
    named = {id(each): name for name, each in state.network.named_parameters()}
    if not isinstance(state.working, ParallelWeights):
        grads = {name: each.grad for name, each in state.network.named_parameters()}
        return {name: grad for name, grad in grads.items() if grad is not None}
    found = {}
    for shares in state.working.shares:
        memory = torch.zeros_like(shares.master)
        for piece in shares.pieces:
            piece.of(shares.view(memory, piece.index)).copy_(piece.values.grad)
        shares.gather(memory, "state")
        found |= {named[id(each)]: shares.view(memory, index).clone() for index, each in enumerate(shares.tensors)}
    return found


def steps(task: Supervised, count: int = 3) -> tuple[dict[str, Tensor], list[list[float]]]:
    """A checkpoint's tensors after some steps, and what these steps told."""
    task.begin_epoch(0)
    batches = islice(task.state.loader.batches(0), count)
    told = [task.step(_as(task, batch), 0, step).tolist() for step, batch in enumerate(batches)]
    state = task.state
    state.working.gather(optimizer=True)
    return take_snapshot(Progress(), state.network, state.average, state.optimizer).tensors, told


def _as(task: Supervised, batch: Batch) -> Batch:
    """The batch in the type of the network's weights."""
    dtype = next(task.state.network.parameters()).dtype
    return replace(batch, images=batch.images.to(dtype), targets=batch.targets.to(dtype))


def check(data: Path, folder: Path) -> None:
    """Gradients of each network by each scheme, and steps of each rule."""
    if this_process().first:
        folder.mkdir()
    told: dict[str, Any] = {}
    with meeting(this_process(), "cpu") as together:
        for name, scheme in [(name, scheme) for name in NETWORKS for scheme in ("data", "owt")]:
            task = built(data, together, double=True, **settings(name, parallel=scheme, optimizer="sgd"))
            together.sent.clear()
            found = gradients(task)
            told[f"sent {name} {scheme}"] = dict(together.sent)
            told[f"logged {name} {scheme}"] = sorted(getattr(task.state.working, "split", ()))
            _save(together, found, folder / f"gradients {name} {scheme}.safetensors")
        for rule, name in STEPS.items():
            for scheme in ("data",) if rule == "muon" else ("data", "owt"):
                chosen = settings(name, parallel=scheme, optimizer=rule, ema=0.9, lr=0.001)
                task = built(data, together, double=rule != "muon", **chosen)
                tensors, told[f"told {rule} {scheme}"] = steps(task, 1 if rule == "muon" else 3)
                _save(together, tensors, folder / f"steps {rule} {scheme}.safetensors")
        for scheme in ("data", "owt"):
            chosen = {**settings("cifar-80sec", parallel=scheme, optimizer="sgd"), "precision": "bfloat16"}
            task = built(data, together, **chosen)
            tensors, told[f"told bfloat16 {scheme}"] = steps(task)
            _save(together, tensors, folder / f"steps bfloat16 {scheme}.safetensors")
            shared = [each for each in getattr(task.state.working, "shares", ()) if each.exchanged]
            alike = all(torch.equal(each.compute, each.master.to(each.compute.dtype)) for each in shared)
            told[f"rounded {scheme}"] = all(together.told(alike))
        told["agreed"] = together.agreed(together.rank == together.ranks - 1, False)
        if together.first:
            (folder / "told.json").write_text(json.dumps(told))


def _save(together: Together, tensors: dict[str, Tensor], file: Path) -> None:
    if together.first:
        save_file({name: each.contiguous() for name, each in tensors.items()}, file)


def run(data: Path, folder: Path) -> None:
    """A run from its beginning to its end."""
    train(str(data), recipe("modern", None, **{**SMALL, **RUN}), folder)


def lose(data: Path, folder: Path) -> None:
    """A run whose last process is killed at the second epoch's second step, after a checkpoint of the first."""
    step = Supervised.step

    def fatal(task: Supervised, batch: Any, epoch: int, number: int) -> Tensor:
        if (epoch, number) == (1, 1) and not this_process().restarts:
            task.state.together.wait()
            if not task.state.together.first:
                os.kill(os.getpid(), signal.SIGKILL)
        return step(task, batch, epoch, number)

    Supervised.step = fatal  # type: ignore[method-assign]
    options = [f"--{name.replace('_', '-')}={value}" for name, value in {**SMALL, **RUN}.items()]
    sys.exit(cli.main(["train", str(data), *options, "--out", str(folder)]))


def interrupt(data: Path, folder: Path) -> None:
    """A run of which one process, not the first, gets Ctrl-C in the first epoch's second step."""
    step = Supervised.step

    def interrupted(task: Supervised, batch: Any, epoch: int, number: int) -> Tensor:
        if (epoch, number) == (0, 1) and not task.state.together.first:
            os.kill(os.getpid(), signal.SIGINT)
        return step(task, batch, epoch, number)

    Supervised.step = interrupted  # type: ignore[method-assign]
    options = [f"--{name.replace('_', '-')}={value}" for name, value in {**SMALL, **RUN}.items()]
    sys.exit(cli.main(["train", str(data), *options, "--out", str(folder)]))


def resume(data: Path, folder: Path) -> None:
    """The run resumed on the command line."""
    sys.exit(cli.main(["train", "--resume", str(folder)]))


def refused(data: Path, folder: Path) -> None:
    """A batch that the processes cannot share, and a command for one process."""
    code = cli.main(["train", str(data), "--batch-size", "6", "--out", str(folder)])
    sys.exit(10 * code + cli.main(["summary"]))


def models(data: Path, folder: Path) -> None:
    """`alexnet evaluate` and `alexnet predict` of the run that lies beside."""
    model, image = str(folder.parent / "run-1"), str(folder.parent / "images")
    evaluation = [*("--split", "all"), *("--batch-size", "8"), *("--out", f"{folder}-evaluation"), "--json"]
    code = cli.main(["evaluate", model, str(data), *evaluation])
    sys.exit(10 * code + cli.main(["predict", model, image, "--csv", "--views", "10"]))


def group(ranks: int, work: Callable[[Path, Path], None], data: Path, folder: Path, name: str) -> list[int]:
    """Fork the processes of a group; their exit codes, -n for signal n. What they say goes to <name>-<rank>.txt."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(ranks):
        process = os.fork()
        if not process:
            _child(rank, ranks, port, work, data, folder, folder.parent / f"{name}-{rank}.txt")
        processes.append(process)
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]


def _child(rank: int, ranks: int, port: int, work: Any, data: Path, folder: Path, log: Path) -> None:
    """Work as one process of a group, and end."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank), "MASTER_PORT": str(port)}
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    code = 1
    with log.open("w") as file, suppress(BaseException):
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            work(data, folder)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            import traceback

            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def main(data: Path, folder: Path, *jobs: str) -> None:
    """Do the jobs one after the other, "check-2" by two processes; exit codes go to codes.json."""
    codes = {}
    for job in jobs:
        name, _, ranks = job.partition("-")
        if name == "resume":
            shutil.copytree(folder / "lose-2", folder / job)
        codes[job] = group(int(ranks), JOBS[name], data, folder / job, job)
    (folder / "codes.json").write_text(json.dumps(codes))


JOBS = {each.__name__: each for each in (check, run, lose, resume, interrupt, refused, models)}

if __name__ == "__main__":
    if sys.argv[3:] == ["restarted"]:  # by torchrun
        lose(Path(sys.argv[1]), Path(sys.argv[2], "run"))
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
