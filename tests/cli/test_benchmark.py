"""alexnet benchmark"""

import json
from collections.abc import Callable
from typing import Any

import pytest


@pytest.mark.slow
def test_benchmark_json_has_the_ceilings_the_rows_and_the_machine(run: Callable[..., Any]) -> None:
    done = run("benchmark", "data", "--quick", "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert answer.keys() == {"complete", "ceilings", "rows", "environment"}
    assert answer["complete"] is True
    assert {row["unit"] for row in answer["ceilings"]} == {"TFLOP/s", "GB/s"}
    assert all(row["value"] > 0 for row in answer["rows"])
    assert "pack: round 1 of 1" in done.err
