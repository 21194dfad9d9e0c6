"""JSON that says whether it is still as it was written: a checksum of all of it stands in it, under `checksum`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SEAL, _MARK = "checksum", "sha256:"


def sealed(data: Mapping[str, Any]) -> dict[str, Any]:
    """The object with its checksum, which does not depend on spaces or on the order of names."""
    return {**data, _SEAL: _checksum(data)}


def unsealed(found: object) -> dict[str, Any]:
    """The object without its checksum, or as it is where it has none, as earlier versions wrote it.

    `ValueError` where it is not what `sealed` made.
    """
    whole = found if isinstance(found, dict) else {}
    data = {name: value for name, value in whole.items() if name != _SEAL}
    if not data:
        raise ValueError("it is no JSON object with anything in it")
    # A checksum under another name: it is the name that was damaged.
    renamed = any(isinstance(value, str) and value.startswith(_MARK) for value in data.values())
    if renamed or (_SEAL in whole and whole[_SEAL] != _checksum(data)):
        raise ValueError("it does not match its checksum")
    return data


def read_sealed(path: Path) -> dict[str, Any]:
    """The object in a JSON file; `ValueError` where it is damaged, `OSError` where it cannot be read."""
    try:
        return unsealed(json.loads(path.read_bytes()))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _checksum(data: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(data, allow_nan=False))
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return _MARK + hashlib.sha256(text.encode()).hexdigest()
