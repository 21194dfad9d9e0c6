"""What the header of a model file says: its card, with hashes of that and of all arrays. Torch-free."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from everymask.core.arrays import ByteArray
from everymask.core.json.sealed import sealed, unsealed
from everymask.errors import WeightsError
from everymask.models.card import Card, refuse_newer

KEY = "everymask"
_TENSORS = "sha256"
_DAMAGED = "copy or train it again"


def header_of(card: Card, digest: str) -> dict[str, str]:
    """The texts of the header of a file whose arrays have this `digest`."""
    return {KEY: json.dumps(sealed(card.to_json() | {_TENSORS: digest}), allow_nan=False)}


def card_of(text: str, digest: str, path: str | Path) -> Card:
    """What the header says, compared with its hashes: of the arrays, and of all else, which older files lack."""
    try:
        found = json.loads(text)
        if isinstance(found, dict):
            refuse_newer(found)
        description = unsealed(found)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: the description in the header is damaged: {error}", hint=_DAMAGED) from error
    if description.get(_TENSORS) != digest:
        raise WeightsError(f"{path} is damaged: its weights do not match their hash", hint=_DAMAGED)
    return Card.from_json(description)


def digest_of(arrays: Iterable[tuple[str, str, list[int], ByteArray]]) -> str:
    """SHA-256 over name, type, shape and bytes of each array, in the order of the names."""
    digest = hashlib.sha256()
    for name, kind, shape, content in sorted(arrays, key=lambda row: row[0]):
        digest.update(f"{name}|{kind}|{shape}|".encode())
        digest.update(content.data)
    return digest.hexdigest()
