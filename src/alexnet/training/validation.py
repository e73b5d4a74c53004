"""Values of a settings record checked and converted by pydantic, and its errors as one plain line."""

import dataclasses
import reprlib
import typing
from collections.abc import Callable, Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from alexnet.errors import UsageError, unknown_name
from alexnet.training.fields import NAMES, PAIRS, RANGE

KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
LIMITS = {"gt": "above {}", "ge": "of at least {}", "lt": "below {}", "le": "at most {}"}
SHOWN = reprlib.Repr()  # which shortens long values
SHOWN.maxstring = SHOWN.maxother = 80


def validated(record: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The work of `alexnet.training.fields.checked`, which imports this module when it is first called."""
    fields = {field.name: field for field in dataclasses.fields(record)}
    for name in values:
        if name not in fields:
            raise unknown_name("setting", str(name), fields)
    found = _converted(record, {name: _native(value) for name, value in values.items()})
    for name, value in found.items():
        if check := fields[name].metadata["check"]:
            check(value)
    return found


def _converted(record: type, values: dict[str, Any]) -> dict[str, Any]:
    """The values as the types of their fields, by pydantic; its first error becomes a UsageError."""
    try:
        model = _model(record).model_validate(values)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]["loc"][0]
        field = next(field for field in dataclasses.fields(record) if field.name == wrong)
        raise _refused(field, _kinds(record)[field.name], values[field.name]) from None
    return {name: getattr(model, name) for name in values}


def _native(value: Any) -> Any:
    """NumPy's numbers and arrays as Python's."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


@cache
def _kinds(record: type) -> dict[str, Any]:
    """The type of each field by its name, `X` for `X | None`."""
    hints = typing.get_type_hints(record)
    return {name: typing.get_args(kind)[0] if is_union(kind) else kind for name, kind in hints.items()}


def is_union(kind: Any) -> bool:
    """Whether a type is `X | None`, which is of `typing.Union` where X is a Literal."""
    return typing.get_origin(kind) in (UnionType, typing.Union)


@cache
def _model(record: type) -> type[BaseModel]:
    """A pydantic model with the record's fields, their limits and the conversions below."""
    hints = typing.get_type_hints(record)
    fields: dict[str, Any] = {
        field.name: (_annotated(field, hints[field.name], _kinds(record)[field.name]), field.default)
        for field in dataclasses.fields(record)
    }
    return create_model(
        record.__name__, __config__=ConfigDict(allow_inf_nan=False, coerce_numbers_to_str=True), **fields
    )


def _annotated(field: dataclasses.Field[Any], hint: Any, kind: Any) -> Any:
    """The field's type for pydantic; the only tuples are of floats."""
    limits = Field(**field.metadata["limits"])
    if typing.get_origin(kind) is tuple:
        return Annotated[tuple[Annotated[float, limits, BeforeValidator(_number)], ...], BeforeValidator(_numbers)]
    before: dict[Any, Callable[[Any], Any]] = {int: _number, float: _number, bool: _truth, str: _text}
    convert = {NAMES: _names, PAIRS: _pairs, RANGE: _names}.get(field.metadata["form"], before.get(kind, _text))
    return Annotated[hint, limits, BeforeValidator(convert)]


def _number(value: Any) -> Any:
    """A number, from text too: "1e-3" is text in YAML. True and false are no numbers, though 1 and 0 to Python."""
    if isinstance(value, bool | bytes):
        raise ValueError
    return float(value) if isinstance(value, str) else value


def _numbers(value: Any) -> Any:
    """Several numbers from a list, a single number, or text."""
    if isinstance(value, str):
        return [part for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int | float) else value


def _truth(value: Any) -> Any:
    """True or false from their text, too, but from no number."""
    if not isinstance(value, bool | str | None):  # None where the field takes it
        raise ValueError
    return value


def _text(value: Any) -> Any:
    """Text, for which pydantic takes numbers, too."""
    if isinstance(value, bytes):
        raise ValueError
    return value


def _names(value: Any) -> Any:
    """A list of names as text with commas."""
    return ",".join(map(_word, value)) if isinstance(value, list | tuple) else _text(value)


def _pairs(value: Any) -> Any:
    """A table as text: {"a": 1, "b": "x"} -> "a=1,b=x"."""
    if isinstance(value, Mapping):
        return ",".join(f"{_word(name)}={_word(item)}" for name, item in value.items())
    return _names(value)


def _word(value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise ValueError
    return str(value)


def _refused(field: dataclasses.Field[Any], kind: Any, value: Any) -> UsageError:
    """The error for a value that a field does not take."""
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if isinstance(value, str):
            return unknown_name(field.name, value, choices)
        return UsageError(f"{field.name} is {SHOWN.repr(value)}; it takes one of {', '.join(choices)}")
    return UsageError(f"{field.name} is {SHOWN.repr(value)}; it takes {_accepted(field, kind)}")


def _accepted(field: dataclasses.Field[Any], kind: Any) -> str:
    """What a field takes, such as "a number above 0 and at most 1"."""
    limits = _range(field.metadata["limits"])
    if typing.get_origin(kind) is tuple:
        return " ".join(filter(None, ["numbers", limits])) + ", as a list or separated by commas"
    return field.metadata["form"] or " ".join(filter(None, [KINDS[kind], limits]))


def _range(limits: Mapping[str, float]) -> str:
    """The limits in words."""
    if limits.keys() == {"ge", "le"}:
        return f"from {limits['ge']} to {limits['le']}"
    return " and ".join(LIMITS[name].format(limit) for name, limit in limits.items())
