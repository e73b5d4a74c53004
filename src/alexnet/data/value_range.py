"""Ranges of file values as people write them: "0,4095". Imported by settings, so it needs nothing but Python."""

import math
from typing import Literal, TypeAlias

from alexnet.errors import UsageError

AUTO: Literal["auto"] = "auto"
Given: TypeAlias = tuple[float, float] | Literal["auto"]


def read_range(text: str) -> Given:
    """ "0,4095" -> (0.0, 4095.0); "auto" stays; UsageError for anything else."""
    if text.strip().lower() == AUTO:
        return AUTO
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise _wrong(text) from None
    return check_range((low, high))


def range_text(values: tuple[float, float], between: str = ",") -> str:
    """(0.0, 4095.0) -> "0,4095", as `read_range` reads it."""
    return between.join(repr(float(value)).removesuffix(".0") for value in values)  # exactly, for a resume


def check_range(values: tuple[float, float]) -> tuple[float, float]:
    """The range; UsageError unless it is of finite numbers, the lower one first."""
    low, high = values
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise _wrong(range_text(values))
    return values


def _wrong(text: str) -> UsageError:
    return UsageError(
        f"value_range is {text!r}; it takes LOW,HIGH, the files' values for black and white, such as 0,4095, or auto"
    )
