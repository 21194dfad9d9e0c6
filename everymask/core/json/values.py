"""Values out of JSON, taken for what they are meant to be or not at all: no text for a number, no 2.7 for a count."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from everymask.errors import printable

MOST = 2**31
MOST_VALUES = 100


def value_of(kind: Any, value: Any, where: str, *, most: int = MOST, most_values: int = MOST_VALUES) -> Any:
    """`value`, which JSON gave, as the annotation `kind` says; `ValueError` names the place `where` it is not that.

    Kinds are bool, str, int (up to `most`), float (finite), None, `Literal`, unions, tuples (up to `most_values`),
    `Mapping[str, ...]`, and dataclasses of all these, of which fields with defaults may be missing.
    """
    inner = {"most": most, "most_values": most_values}
    if is_dataclass(kind):
        return _instance(kind, value, where, inner)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        if any(type(value) is type(choice) and value == choice for choice in arguments):
            return value
        raise _wrong(where, f"one of {', '.join(map(str, arguments))}", value)
    if origin in (UnionType, Union):
        return _one_of(arguments, value, where, inner)
    if origin is tuple:
        return _tuple(arguments, value, where, inner)
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict) or len(value) > most_values:
            raise _wrong(where, f"an object of up to {most_values} entries", value)
        return {name: value_of(arguments[1], entry, f"{where}.{name}", **inner) for name, entry in value.items()}
    return _plain(kind, value, where, most)


def _plain(kind: Any, value: Any, where: str, most: int) -> Any:
    if kind is int and type(value) is int and abs(value) <= most:
        return value
    if kind is float and type(value) in (int, float) and abs(value) <= 1e300 and math.isfinite(value):
        return float(value)
    if (kind in (bool, str) and type(value) is kind) or (kind in (None, type(None)) and value is None):
        return value
    names = {int: f"a whole number up to {most:,}", float: "a finite number", bool: "true or false", str: "text"}
    raise _wrong(where, names.get(kind, "null"), value)


def _instance(cls: Any, value: Any, where: str, inner: dict[str, int]) -> Any:
    kinds, names = get_type_hints(cls), [column.name for column in fields(cls)]
    if not isinstance(value, dict) or not set(value) <= set(names):
        raise _wrong(where, f"an object with {', '.join(names)}", value)
    try:
        return cls(**{name: value_of(kinds[name], entry, f"{where}.{name}", **inner) for name, entry in value.items()})
    except TypeError as error:
        raise ValueError(f"{where} is not complete: {error}") from error


def _one_of(kinds: tuple[Any, ...], value: Any, where: str, inner: dict[str, int]) -> Any:
    found = None
    for kind in kinds:
        try:
            return value_of(kind, value, where, **inner)
        except ValueError as error:
            found = found or error
    raise found or _wrong(where, "something else", value)


def _tuple(kinds: tuple[Any, ...], value: Any, where: str, inner: dict[str, int]) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)) or len(value) > inner["most_values"]:
        raise _wrong(where, f"a list of up to {inner['most_values']} values", value)
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        raise _wrong(where, f"{len(kinds)} values", value)
    return tuple(
        value_of(kind, entry, f"{where}.{k}", **inner) for k, (kind, entry) in enumerate(zip(kinds, value, strict=True))
    )


def _wrong(where: str, expected: str, value: Any) -> ValueError:
    return ValueError(f"{where} must be {expected}, but is {printable(repr(value)[:200], 80)}")
