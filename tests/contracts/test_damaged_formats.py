"""Whatever happens to an annotation file, readers refuse it with an `EverymaskError` or give what can be drawn."""

from __future__ import annotations

import json
import logging
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from everymask.data.formats.table import FORMATS
from everymask.data.pictures.read import SUFFIXES
from everymask.errors import EverymaskError
from tests.contracts.test_formats import CASES, READERS, make_fake

# Each of the three kinds of damage 17 times for each format, and then 33 times more.
MUTATIONS = [range(51), pytest.param(range(51, 150), marks=pytest.mark.slow)]
STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 0.5, 1e308, 2**70, -(2**63), "", "x", " ", "\x00", "é", "../..", [], {}, [[]], [None], {"a": []},
    [[1, 2], [3, 4]], "9" * 5000, [1] * 7,
)  # fmt: skip
TOKENS = (
    "-1",
    "0",
    "",
    "1e308",
    "nan",
    "inf",
    "-0.5",
    "9" * 30,
    "9" * 5000,
    "x",
    "0x10",
    ";",
    ",",
    "1,2",
    "٣",
    "\ud7ff",
)


def damaged(data: bytes, suffix: str, seed: int) -> bytes:
    """One of three kinds of damage: a JSON value, a number or text between quotes, or bytes."""
    draw = random.Random(seed)
    kind = seed % 3
    if kind == 0 and suffix in (".json", ".geojson"):
        return json.dumps(_with_strange_value(json.loads(data), draw)).encode()
    if kind == 1:
        tokens = list(re.finditer(rb'-?\d+(\.\d+)?|"[^"\n]*"', data))
        if tokens:
            token = draw.choice(tokens)
            quote = b'"' if token[0].startswith(b'"') else b""
            return data[: token.start()] + quote + draw.choice(TOKENS).encode() + quote + data[token.end() :]
    return _with_other_bytes(data, draw)


def _with_strange_value(document: Any, draw: random.Random) -> Any:
    places = list(_places(document))
    if not places:
        return draw.choice(STRANGE)
    holder, key = draw.choice(places)
    action = draw.randrange(4)
    if action == 0:
        del holder[key]
    elif action == 1 and isinstance(holder[key], str):
        holder[key] = holder[key][: len(holder[key]) // 2]
    else:
        holder[key] = draw.choice(STRANGE)
    return document


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a JSON document as its holder and key."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield value, key
        yield from _places(inner)


def _with_other_bytes(data: bytes, draw: random.Random) -> bytes:
    at, length = draw.randrange(len(data) + 1), draw.choice((1, 1, 2, 4, 20))
    inserted = bytes(draw.randrange(256) for _ in range(length))
    match draw.randrange(4):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + data[at + length :]
        case 2:
            return data[:at] + inserted + data[at + length :]
        case _:
            return data[:at] + data[max(0, at - 30) : at] + data[at:]


@pytest.mark.parametrize("numbers", MUTATIONS, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_damage_is_refused_or_can_be_drawn(tmp_path, caplog, name, numbers):
    caplog.set_level(logging.CRITICAL)  # thousands of warnings about what is left out
    CASES[name].write(tmp_path / "out", make_fake(tmp_path / "in", crowd=CASES[name].crowd).subset([0]))
    looks_like = next(known.looks_like for known in FORMATS if known.name == name)
    files = [file for file in sorted((tmp_path / "out").rglob("*")) if file.is_file()]
    files = [file for file in files if file.suffix.lower() not in SUFFIXES or "mask" in str(file.parent).lower()]
    for number in numbers:
        file = files[number % len(files)]
        sound = file.read_bytes()
        file.write_bytes(damaged(sound, file.suffix, number))
        try:
            looks_like(tmp_path / "out")
            found = READERS[name](tmp_path / "out", policy="skip")
            for row in range(len(found)):
                found.truth(row)
        except EverymaskError:
            pass
        except Exception as error:
            pytest.fail(f"{file.name}, mutation {number}: {type(error).__name__}: {error}")
        finally:
            file.write_bytes(sound)
