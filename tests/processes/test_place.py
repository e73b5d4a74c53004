"""A process's place among several, from torchrun's and SLURM's environment."""

import pytest

from alexnet.errors import UsageError
from alexnet.processes.place import Place, first_host, this_process

TORCHRUN = {
    **{"RANK": "9", "WORLD_SIZE": "16", "LOCAL_RANK": "1", "MASTER_ADDR": "head", "MASTER_PORT": "29400"},
    **{"TORCHELASTIC_RESTART_COUNT": "1", "TORCHELASTIC_MAX_RESTARTS": "3"},
}
SLURM = {
    **{"SLURM_PROCID": "9", "SLURM_NTASKS": "16", "SLURM_LOCALID": "1", "SLURM_JOB_NODELIST": "gpu[03-04]"},
    **{"SLURM_JOB_ID": "4100012"},
}


def test_a_process_alone() -> None:
    assert this_process({}) == Place(rank=0, ranks=1)
    assert this_process({"RANK": "0", "WORLD_SIZE": "1"}).ranks == 1
    assert this_process({"SLURM_NTASKS": "16"}).ranks == 1  # an allocation in which nothing was started


def test_torchruns_variables() -> None:
    assert this_process(TORCHRUN) == Place(9, 16, 1, "head", 29400, restarts=1, may_restart=True)
    assert not this_process(TORCHRUN).first


def test_slurms_variables() -> None:
    assert this_process(SLURM) == Place(9, 16, 1, "gpu03", 40012)
    again = this_process({**SLURM, "SLURM_RESTART_COUNT": "2", "MASTER_ADDR": "head", "MASTER_PORT": "30000"})
    assert again == Place(9, 16, 1, "head", 30000, restarts=2, may_restart=True)


def test_torchrun_that_srun_started_stands() -> None:
    assert this_process({**SLURM, **TORCHRUN}).host == "head"


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu[03-05,9],cpu1", "gpu03"),
        ("node7", "node7"),
        ("a-1,b-2", "a-1"),
        ("r[1,4]-ib,b", "r1-ib"),
        ("n[12]", "n12"),
    ],
)
def test_the_first_host_of_a_list(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"RANK": "x"}, "RANK='x', no whole number"),
        ({"RANK": "16"}, "RANK=16 and WORLD_SIZE=16, and counts from 0"),
        ({"WORLD_SIZE": "-1"}, "WORLD_SIZE='-1'"),
    ],
)
def test_variables_that_make_no_sense(changed: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        this_process({**TORCHRUN, **changed})
