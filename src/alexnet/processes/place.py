"""Which of several processes this one is, as torchrun or SLURM tells it in the environment. Imports no torch.

torchrun: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT, TORCHELASTIC_RESTART_COUNT and
TORCHELASTIC_MAX_RESTARTS. SLURM (`srun`): SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID, the first host of
SLURM_JOB_NODELIST or SLURM_NODELIST, SLURM_JOB_ID and SLURM_RESTART_COUNT. Where both are there, torchrun's stand: it
was started by `srun`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from alexnet.errors import UsageError

FIRST_PORT, PORTS = 20000, 40000
"""Of SLURM's jobs: a port by the job's number, so that two jobs on one machine do not meet."""


@dataclass(frozen=True)
class Place:
    """One process of those that train a model."""

    rank: int = 0  # 0 ... ranks - 1; the first writes and talks
    ranks: int = 1
    local: int = 0  # among the processes of this machine: the number of its GPU
    host: str = "127.0.0.1"  # of the first process
    port: int = 29500
    restarts: int = 0  # times that these processes were started again after one was lost
    may_restart: bool = False  # whether they are started again

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and talks."""
        return self.rank == 0


def this_process(environment: Mapping[str, str] | None = None) -> Place:
    """This process's place; UsageError for variables that contradict each other or are no numbers."""
    found = os.environ if environment is None else environment
    if "RANK" in found and "WORLD_SIZE" in found:
        return _checked(_torchrun(found), "RANK", "WORLD_SIZE")
    if "SLURM_PROCID" in found and "SLURM_NTASKS" in found:
        return _checked(_slurm(found), "SLURM_PROCID", "SLURM_NTASKS")
    return Place()


def _torchrun(found: Mapping[str, str]) -> Place:
    rank = _number(found, "RANK")
    return Place(
        rank=rank,
        ranks=_number(found, "WORLD_SIZE"),
        local=_number(found, "LOCAL_RANK", rank),
        host=found.get("MASTER_ADDR", Place.host),
        port=_number(found, "MASTER_PORT", Place.port),
        restarts=_number(found, "TORCHELASTIC_RESTART_COUNT", 0),
        may_restart=_number(found, "TORCHELASTIC_MAX_RESTARTS", 0) > 0,
    )


def _slurm(found: Mapping[str, str]) -> Place:
    rank, restarts = _number(found, "SLURM_PROCID"), _number(found, "SLURM_RESTART_COUNT", 0)
    nodes = found.get("SLURM_JOB_NODELIST") or found.get("SLURM_NODELIST") or Place.host
    return Place(
        rank=rank,
        ranks=_number(found, "SLURM_NTASKS"),
        local=_number(found, "SLURM_LOCALID", rank),
        host=found.get("MASTER_ADDR") or first_host(nodes),
        port=_number(found, "MASTER_PORT", FIRST_PORT + _number(found, "SLURM_JOB_ID", 0) % PORTS),
        restarts=restarts,
        may_restart=restarts > 0,
    )


def first_host(nodes: str) -> str:
    """The first host of SLURM's list: "gpu[03-05,9],cpu1" -> "gpu03"."""
    found = re.match(r"([^,\[]+)(?:\[([^\],-]+)[^\]]*\]([^,\[]*))?", nodes.strip())
    if not found:
        raise UsageError(f"SLURM's list of nodes is {nodes!r}, which names no host; set MASTER_ADDR to the first one")
    return "".join(part or "" for part in found.groups())


def _number(found: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = found.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.strip().isdecimal():
        raise UsageError(f"the environment has {name}={text!r}, no whole number; start by torchrun or srun")
    return int(text)


def _checked(place: Place, rank: str, ranks: str) -> Place:
    if place.rank >= place.ranks:
        raise UsageError(
            f"the environment has {rank}={place.rank} and {ranks}={place.ranks}, and counts from 0; "
            "start by torchrun or srun, or unset both"
        )
    return place
