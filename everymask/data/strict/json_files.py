"""JSON files as the standard defines them: what `json` lets pass silently is a defect here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from everymask.data.issues import IssueLog
from everymask.data.strict.content import read_content

MAX_BYTES = 2 << 30
"""The largest file that is read: its text is held in memory while it is parsed."""
MAX_DEPTH = 64
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_LARGE = (b"e000", b"e+000", b"0" * 200)
_ZEROS = bytes.maketrans(b"E123456789", b"e000000000")
_HINT = "save the file as UTF-8 JSON without a byte order mark"


def read_strict_json(
    path: Path, issues: IssueLog, *, compact: Callable[[dict[str, Any]], dict[str, Any]] | None = None
) -> Any:
    """The content of a JSON file (an object or a list), or None when `issues` was told why it cannot be used.

    `compact` is applied to each object as soon as it is complete, and may replace its values by smaller ones; lists
    that hold text, or numbers of a class of their own, must stay.

    Refused are, each with the byte and line or the JSON pointer: a byte order mark, UTF-16, text that is not UTF-8, bad
    syntax, a truncated file, numbers that are not finite, keys that stand twice in one object, nesting deeper than 64,
    files above 2 GiB, and what `read_content` refuses; raises what that raises.
    """
    if not path.exists():
        issues.error("file-missing", "the file does not exist", file=path)
        return None
    if not path.is_file():
        issues.error("not-a-file", "expected a regular file", file=path)
        return None
    data = read_content(path, issues, most=MAX_BYTES, code="json-too-large", hint="split it into several files")
    return None if data is None else parse_strict_json(data, path, issues, compact=compact)


def parse_strict_json(
    data: bytes,
    file: object,
    issues: IssueLog,
    *,
    compact: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Any:
    """As `read_strict_json`, for bytes already in memory; `file` is the name for messages."""
    text = _decode(data, file, issues)
    if text is None:
        return None
    marks = _Marks(compact)
    number = marks.number if _may_overflow(data) else None  # which saves a call for every number
    try:
        found = json.loads(
            text, parse_float=number, parse_constant=marks.constant, object_pairs_hook=marks.without_repeats
        )
    except json.JSONDecodeError as error:
        _report_syntax(text, error, file, issues)
        return None
    except RecursionError:
        issues.error("json-depth", f"nested too deep: expected at most {MAX_DEPTH} levels", file=file)
        return None
    except ValueError:  # Python refuses to convert integers of more than 4300 digits
        issues.error("json-number", "an integer has too many digits", file=file)
        return None
    if not isinstance(found, dict | list):
        issues.error("json-type", "expected an object or a list at the top", file=file, value=found)
        return None
    bad = False
    if _depth_bound(data) > MAX_DEPTH:
        deep = next((pointer for pointer, _ in _walk(found) if pointer.count("/") >= MAX_DEPTH), None)
        if deep is not None:
            issues.error("json-depth", f"nested too deep: expected at most {MAX_DEPTH} levels", file=file, where=deep)
            bad = True
    if marks.repeats or marks.numbers:
        _report_marks(found, marks, file, issues)
        bad = True
    return None if bad else found


def _may_overflow(data: bytes) -> bool:
    """Whether a number may be too large for a float: there is an exponent of three digits, or a run of 200 digits."""
    digits = data.translate(_ZEROS)
    return any(large in digits for large in _LARGE)


class _Number(float):
    """A number that is not finite, with its spelling in the file."""

    spelling: str


class _Marks:
    """What the parser met that `json` would let pass; the parser's hooks know no position, so objects are marked."""

    def __init__(self, compact: Callable[[dict[str, Any]], dict[str, Any]] | None) -> None:
        self.compact = compact
        self.repeats: dict[int, tuple[dict[str, Any], list[str]]] = {}
        self.numbers = 0

    def number(self, text: str) -> float:
        value = float(text)
        return value if math.isfinite(value) else self.constant(text)

    def constant(self, text: str) -> float:
        self.numbers += 1
        value = _Number("nan")
        value.spelling = text
        return value

    def without_repeats(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = sorted({name for name in names if names.count(name) > 1})
            self.repeats[id(found)] = (found, twice)
        return found if self.compact is None else self.compact(found)


def _decode(data: bytes, file: object, issues: IssueLog) -> str | None:
    if not data.strip():
        issues.error("empty-file", "the file is empty", file=file)
        return None
    if data.startswith(b"\xef\xbb\xbf"):
        issues.error("json-encoding", "expected UTF-8 without a byte order mark", file=file, where="byte 0", hint=_HINT)
        return None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:4]:
        issues.error(
            "json-encoding", "expected UTF-8, but found UTF-16 or UTF-32", file=file, where="byte 0", hint=_HINT
        )
        return None
    if data.startswith(b"version https://git-lfs"):
        hint = "fetch the content with: git lfs pull"
        issues.error("lfs-pointer", "the file is a Git LFS pointer, not the content", file=file, hint=hint)
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        place = f"line {line}, byte {error.start}"
        found = data[error.start : error.start + 1]
        issues.error("json-encoding", "expected UTF-8", file=file, where=place, value=found, hint=_HINT)
        return None


def _report_syntax(text: str, error: json.JSONDecodeError, file: object, issues: IssueLog) -> None:
    byte = len(text[: error.pos].encode())
    place = f"line {error.lineno}, byte {byte}"
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        hint = "the file seems truncated: copy or export it again"
        issues.error("json-truncated", "the file ends in the middle", file=file, where=place, hint=hint)
        return
    found = text[error.pos : error.pos + 20]
    hint = "JSON allows no comma after the last element" if _after_comma(text, error.pos) else "export the file again"
    issues.error("json-syntax", f"not JSON: {error.msg}", file=file, where=place, value=found, hint=hint)


def _after_comma(text: str, position: int) -> bool:
    """Newer parsers point at the surplus comma, older ones behind it."""
    before, rest = text[:position].rstrip()[-1:], text[position : position + 200].lstrip(", \t\r\n")
    return (before == "," or text[position] == ",") and rest[:1] in ("]", "}")


def _depth_bound(data: bytes) -> int:
    """The greatest depth if no text held brackets: cheap, and too small only for texts that close what they opened."""
    brackets = np.frombuffer(data.translate(None, _NOT_BRACKETS), np.uint8)
    steps = np.where((brackets == ord("[")) | (brackets == ord("{")), 1, -1)
    return int(np.cumsum(steps).max(initial=0))


def _report_marks(found: Any, marks: _Marks, file: object, issues: IssueLog) -> None:
    for pointer, value in _walk(found):
        if isinstance(value, _Number):
            hint = "write a finite number, or leave the key out"
            issues.error(
                "json-number", "expected a finite number", file=file, where=pointer, value=value.spelling, hint=hint
            )
        elif id(value) in marks.repeats:
            twice = ", ".join(map(repr, marks.repeats[id(value)][1]))
            message = "a key stands more than once in an object"
            where = pointer or "/"
            issues.error("json-repeated-key", message, file=file, where=where, value=twice, hint="keep one of them")


def _walk(found: Any) -> Iterator[tuple[str, Any]]:
    """Every value with its JSON pointer, in the order of the file, without recursion."""
    stack: list[tuple[str, Any]] = [("", found)]
    while stack:
        pointer, value = stack.pop()
        yield pointer, value
        if isinstance(value, dict):
            stack += [(f"{pointer}/{escape(key)}", item) for key, item in reversed(value.items())]
        elif isinstance(value, list):
            stack += [(f"{pointer}/{index}", value[index]) for index in range(len(value) - 1, -1, -1)]


def escape(key: str) -> str:
    """The key as a step of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")
