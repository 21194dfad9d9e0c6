"""The words of a command line before they are parsed: choices are checked, numbers kept from taking other words, and an
option before several paths stands before each.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from everymask.commands.options import Format
from everymask.errors import unknown


def check_choices(verb: type[Any], words: Sequence[str]) -> None:
    """`ConfigError` names the nearest where an option of `verb` is given a value that is none of its choices."""
    choices = {name: _choices(kind) for name, kind in _options(verb)}
    for word, following in pairwise([*words, ""]):
        option, equals, value = word.partition("=")
        allowed = choices.get(option.replace("_", "-"), ())
        given = value if equals else following
        if allowed and given not in (*allowed, "None") and not given.startswith("--"):
            raise unknown(option, given, allowed)


def numbers_last(verb: type[Any], words: Sequence[str]) -> list[str]:
    """The words with the options that take several numbers moved behind all others.

    There the number of their values is clear; in between, a parser takes the word behind the last number, which is
    DATA, for one more.
    """
    several = {name for name, kind in _options(verb) if _takes_several(kind, int, float)}
    kept: list[str] = []
    moved: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.replace("_", "-") not in several:
            kept.append(word)
            continue
        moved.append(word)
        while rest and _is_number(rest[0]):
            moved.append(rest.pop(0))
    return kept + moved


def one_by_one(verb: type[Any], words: Sequence[str]) -> list[str]:
    """The words with an option that takes several paths in front of each: `--merge a b` as `--merge a --merge b`.

    So it can be repeated too. All words up to the next option are its paths.
    """
    several = {name for name, kind in _options(verb) if _takes_several(kind, Path)}
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


def _takes_several(kind: Any, *members: type) -> bool:
    """Whether values of the type can be of several `members`."""
    return any(get_origin(part) is tuple and get_args(part)[0] in members for part in _parts(kind))


def _parts(kind: Any) -> list[Any]:
    """The members of a union but None, or the type alone."""
    members = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return [member for member in members if member is not type(None)]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
