"""Which things are of which part."""

from itertools import pairwise

import pytest

from alexnet.errors import UsageError
from alexnet.processes.shards import Shard, read_shard


@pytest.mark.parametrize("things", [0, 1, 5, 64, 100, 1000])
@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("unit", [1, 6, 64])
def test_parts_follow_each_other_without_gaps_in_whole_units(things: int, count: int, unit: int) -> None:
    bounds = [Shard(number, count).bounds(things, unit) for number in range(1, count + 1)]
    assert (bounds[0][0], bounds[-1][1]) == (0, things)
    assert all(before[1] == after[0] for before, after in pairwise(bounds))
    assert all(low <= high and (low % unit == 0 or low == things) for low, high in bounds)


def test_a_shard_is_read_as_it_is_written() -> None:
    assert read_shard(" 2/8 ") == Shard(2, 8)
    assert str(Shard(2, 8)) == "2/8"


@pytest.mark.parametrize("text", ["0/8", "9/8", "2", "2/8/1", "-1/8", "a/b", "1/0", "", "1/100000"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="it takes I/N, counted from 1, such as 2/8"):
        read_shard(text)
