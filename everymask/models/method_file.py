"""Model files of methods without a network: as those of networks, read and written without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from everymask.classical.bases import Method, MethodSpec
from everymask.classical.forest import Forest, num_features
from everymask.classical.named import METHODS
from everymask.classical.specs import PixelForest
from everymask.core.arrays import Array
from everymask.core.files import write_bytes
from everymask.errors import WeightsError
from everymask.models.card import Card
from everymask.models.header import KEY, card_of, digest_of, header_of


def save_method(path: str | Path, card: Card, forest: Forest | None = None) -> None:
    """Write the card of a method, and the trees where it has some: the whole file, or none."""
    arrays = {} if forest is None else forest.arrays()
    write_bytes(path, save(arrays, header_of(card, _digest(arrays))))


def load_method(path: str | Path) -> tuple[Method, Card, Forest | None] | None:
    """The method and its card in a file that `save_method` wrote, checked against its hashes, with its trees.

    None where the file is none of a method, but perhaps one of a network. `WeightsError` where it is one of a method
    and damaged.
    """
    try:
        with safe_open(path, framework="numpy") as stream:
            text = (stream.metadata() or {}).get(KEY, "")
            # Whether it is a network's is seen before its weights are read, in types that numpy may not have.
            if not _names_method(text):
                return None
            arrays = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError):
        return None  # which the reader of networks' files will say
    card = card_of(text, _digest(arrays), path)
    if not isinstance(card.spec, MethodSpec):
        return None
    return card.spec, card, _forest(card, arrays, path)


def _names_method(text: str) -> bool:
    try:
        return json.loads(text)["spec"]["kind"] in METHODS
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def _forest(card: Card, arrays: Mapping[str, Array], path: str | Path) -> Forest | None:
    spec = card.spec
    if isinstance(spec, PixelForest):
        if spec.classes != len(card.labels):
            raise WeightsError(f"{path}: its forest knows {spec.classes} classes, but {len(card.labels)} have names")
        return Forest.from_arrays(arrays, num_features(spec, card.preprocess.channels), spec.classes)
    if arrays:
        raise WeightsError(f"{path} holds arrays that {type(spec).__name__} has no use for")
    return None


def _digest(arrays: Mapping[str, Array]) -> str:
    # Types are called as PyTorch does, so that either can check the other's files.
    return digest_of(
        (name, f"torch.{array.dtype}", list(array.shape), np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        for name, array in arrays.items()
    )
