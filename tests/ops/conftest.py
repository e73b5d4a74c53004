"""Fixtures for the tests of operators."""

from collections.abc import Iterator

import pytest

from alexnet.ops import native
from alexnet.ops.native.builder import instruction_sets


@pytest.fixture(params=["off", *instruction_sets()])
def instructions(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that this CPU supports, and "off" for plain torch."""
    names = list(instruction_sets())
    if request.param != "off" and names.index(request.param) < names.index(native.instruction_set() or "portable"):
        pytest.skip(f"this processor lacks {request.param}")
    with native.using(request.param):
        yield request.param
