"""The words of a command line before they are parsed: choices are checked, numbers kept from taking other words, and an
option before several paths stands before each.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NewType, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from everymask.commands.options import Format, Setting, Trained, rules
from everymask.errors import ConfigError, unknown

AnyVerb = TypeVar("AnyVerb")


Swept = NewType("Swept", str)
"""A setting and the values that it takes in turn: `lr=1e-3,3e-4`."""
Condition = NewType("Condition", str)
"""What must hold of a value: `lr=1e-3`, `score>0.5`."""


def check_choices(verb: type[Any], words: Sequence[str]) -> None:
    """`ConfigError` names the nearest where an option of `verb` is given a value that is none of its choices, or the
    option of which it is one.
    """
    choices = {name: _choices(kind) for name, kind in _options(verb)}
    for word, following in pairwise([*words, ""]):
        option, equals, value = word.partition("=")
        allowed = choices.get(option.replace("_", "-"), ())
        given = value if equals else following
        if allowed and given not in (*allowed, "None") and not given.startswith("--"):
            error = unknown(option, given, allowed)
            meant = next((name for name, values in choices.items() if given in values), None)
            raise ConfigError(error.message, hint=f"did you mean {meant} {given}?") if meant else error


def numbers_last(verb: type[Any], words: Sequence[str]) -> list[str]:
    """The words with the options that take several values moved behind all others, each once.

    There the number of their values is clear; in between, a parser takes the word behind the last value, which is
    DATA, for one more. `ConfigError` where an option that takes settings and their values has none.
    """
    several = {name: belongs for name, kind in _options(verb) if (belongs := _belongs(kind))}
    kept: list[str] = []
    moved: dict[str, list[str]] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        option, equals, value = word.partition("=")
        belongs = several.get(option.replace("_", "-"))
        if belongs is None or (equals and belongs is _is_number):
            kept.append(word)
            continue
        values = [value] if equals else []
        while rest and belongs(rest[0]):
            values.append(rest.pop(0))
        if belongs is _is_setting:
            if not values:
                raise ConfigError(f"{option} takes settings with their values", hint=f"such as {option} lr=1e-3,3e-4")
            values = [*moved.get(option, []), *values]
        moved[option] = values
    return [*kept, *(word for option, values in moved.items() for word in (option, *values))]


def model_first(verb: type[Any], words: Sequence[str]) -> list[str]:
    """The words with MODEL in front where it was written as `--model MODEL`, as `train` has it."""
    if get_type_hints(verb, include_extras=True).get("model") != Trained:
        return [*words]
    rest: list[str] = []
    named: list[str] = []
    waiting = iter(words)
    for word in waiting:
        option, equals, value = word.partition("=")
        if option != "--model":
            rest.append(word)
        elif named:
            raise ConfigError("--model is given twice", hint="one model predicts or is judged at a time")
        else:
            named = [value if equals else next(waiting, "")]
    if named == [""]:
        raise ConfigError("--model takes a model", hint="a run folder, a file, or a name of everymask models")
    return [*named, *rest]


def parse_again(verb: type[AnyVerb], name: str, words: Sequence[str]) -> AnyVerb:
    """The options of one verb from the words behind its name; errors as on the command line."""
    check_choices(verb, words)
    with rules:
        return tyro.cli(
            verb, prog=f"everymask {name}", args=numbers_last(verb, words), config=(tyro.conf.FlagCreatePairsOff,)
        )


def one_by_one(verb: type[Any], words: Sequence[str]) -> list[str]:
    """The words with an option that takes several paths in front of each: `--merge a b` as `--merge a --merge b`.

    So it can be repeated too. All words up to the next option are its paths.
    """
    several = {name for name, kind in _options(verb) if Path in _several(kind)}
    found: list[str] = []
    option = ""
    for word in words:
        if word.startswith("--"):
            option = word if word.replace("_", "-") in several else ""
        elif option and found[-1] != option:
            found.append(option)
        found.append(word)
    return found


def _options(verb: type[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"--{name.replace('_', '-')}", kind) for name, kind in get_type_hints(verb).items())


def _choices(kind: Any) -> tuple[str, ...]:
    """The values that a type allows, if it allows only some (or None)."""
    parts = _parts(kind)
    if parts == [Format]:
        return Format.names()
    if not all(get_origin(part) is Literal for part in parts):
        return ()
    return tuple(value for part in parts for value in get_args(part))


def _belongs(kind: Any) -> Callable[[str], bool] | None:
    """What tells of a word whether it is a value of the type, if it can have several."""
    several = _several(kind)
    if {Swept, Condition, Setting} & {*several}:
        return _is_setting
    return _is_number if any(part in (int, float) for part in several) else None


def _several(kind: Any) -> list[Any]:
    """What those of the type's values are that can be several."""
    return [get_args(part)[0] for part in _parts(kind) if get_origin(part) is tuple]


def _parts(kind: Any) -> list[Any]:
    """The members of a union but None, or the type alone."""
    members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return [member for member in members if member is not type(None)]


def _is_setting(word: str) -> bool:
    return any(sign in word for sign in "=<>") and not word.startswith("-")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
