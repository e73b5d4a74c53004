"""A GPU's optimisers take the steps of the formulas: interpreted here, and compiled for a GPU that is not here."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from alexnet.ops.update import RULES as MOMENTUM

RULES = (*MOMENTUM, "adam", "ahead", "move")


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_one_launch_equals_the_formula_for_every_tensor(rule: str, interpreted: dict[str, dict[str, Any]]) -> None:
    found = interpreted[f"launch {rule}"]
    assert found["error"] <= (2**-7 if rule == "ahead" else 1e-6)  # ahead: its result is bfloat16
    assert found["copies"]
    assert found["idle"]


@pytest.mark.slow
def test_tensors_at_any_address_are_updated(interpreted: dict[str, dict[str, Any]]) -> None:
    assert interpreted["launch shifted"] == {"error": pytest.approx(0, abs=1e-6), "copies": True, "idle": True}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["velocity", "nesterov", "adam", "adamw", "muon"])
def test_launched_optimisers_equal_the_processors_and_keep_their_state(
    name: str, interpreted: dict[str, dict[str, Any]]
) -> None:
    found = interpreted[f"optimizer {name}"]
    assert found["error"] <= (2e-3 if name == "muon" else 1e-6)  # muon: products in bfloat16, which round otherwise
    assert found["same state"]


@pytest.mark.slow
def test_replayed_steps_equal_those_that_are_not(interpreted: dict[str, dict[str, Any]]) -> None:
    assert interpreted["recording"] == {"losses": True, "weights": True}


@pytest.mark.slow
@pytest.mark.parametrize("rule", range(len(RULES)), ids=RULES)
def test_compiled_for_an_h100_it_spills_nothing_and_moves_16_bytes_at_a_time(
    rule: int, compiled: Callable[..., Any]
) -> None:
    from alexnet.ops.triton.update import BLOCK, OPTIONS, update_kernel

    tables = {"tensors": "*i64", "gradients": "*i64", "numbers": "*fp32", "blocks": "*i32"}
    found = compiled(update_kernel, tables, {"RULE": rule, "ALIGNED": True, "BLOCK": BLOCK}, OPTIONS)
    assert found.spilled == 0
    assert found.registers <= 128
    assert found.accesses("ld.global.v4.b32") >= 2  # float32: the gradient or the weight, and the state
    assert found.accesses("st.global.v4.b32") >= 1
    assert re.search(r"cvt\.rn\.bf16", found.ptx)  # to the nearest, as torch rounds


@pytest.mark.slow
def test_a_run_of_launches_and_replays_is_the_processors(interpreted: dict[str, dict[str, Any]]) -> None:
    found = interpreted["training"]
    assert found["steps"] == 6
    assert found["losses"] <= 1e-5
    assert found["average"] <= 1e-5
