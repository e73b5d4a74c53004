"""Fields of a settings record: default, help text and limits in one place.

A record is a frozen dataclass; its `__post_init__` calls `convert`, which has pydantic check each value. The record is
not a pydantic dataclass itself, because importing pydantic takes as long as all the rest of `alexnet --help`.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

logger = logging.getLogger(__name__)

NAMES = "names, as a list or separated by commas"
PAIRS = "name=value, as a table or separated by commas"
RANGE = "LOW,HIGH, or auto"


def setting(
    default: Any, help: str, form: str | None = None, check: Callable[[str], None] | None = None, **limits: float
) -> Any:
    """A field of a settings record.

    form: of a string that holds several values, NAMES, PAIRS or RANGE; settings files may write a list or a table.
    check: called with the string; it raises UsageError for a wrong one.
    limits: gt, ge, lt and le, as in pydantic, of the number or of each number of a tuple.
    """
    metadata = {"help": help, "form": form, "check": check, "limits": limits}
    return dataclasses.field(default=default, metadata=metadata)


def same_setting(record: type, name: str, **changes: Any) -> Any:
    """A field with the limits, default and help text that another record's field has, but for `changes` of these."""
    theirs = next(field for field in dataclasses.fields(record) if field.name == name)
    default = changes.pop("default", theirs.default)
    return dataclasses.field(default=default, metadata={**theirs.metadata, **changes})


def checked(record: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of some of a record's fields, converted to the fields' types.

    UsageError for a name that is not a field, a value of another type and a value outside the limits.
    """
    try:
        from alexnet.training.validation import validated
    except ModuleNotFoundError as error:
        if error.name != "pydantic":
            raise
        _warn_unchecked()
        return dict(values)
    return validated(record, values)


@cache
def _warn_unchecked() -> None:
    """Say once that a checkout without its dependencies takes settings as they are."""
    logger.warning("pydantic is not installed, so settings are not checked; install it with: pip install pydantic")


def convert(record: Any) -> None:
    """Convert the values of a frozen record in place; UsageError as in `checked`."""
    for name, value in checked(type(record), vars(record)).items():
        object.__setattr__(record, name, value)
