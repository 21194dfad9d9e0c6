"""Pictures as networks have seen them: made once, kept for a while, stored in files."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from everymask.core.arrays import FloatArray
from everymask.core.files import write_bytes
from everymask.errors import DataError, printable
from everymask.infer.decoding.prompted import EmbeddingArrays

BUDGET = 1 << 28
_NETWORK, _PICTURE, _MAPS = "everymask.network", "everymask.picture", "everymask.maps"


class Looks:
    """The embeddings of the pictures that were looked at last, up to `budget` bytes in all; threads may share them.

    They are known by what the network was shown, and not by where it came from.
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self.budget = budget
        self._kept: OrderedDict[str, EmbeddingArrays] = OrderedDict()
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[Looks], tuple[int]]:
        """Copies begin without any."""
        return Looks, (self.budget,)

    def get(self, picture: str, encode: Callable[[], EmbeddingArrays]) -> EmbeddingArrays:
        """The embedding of the picture of that digest, made by `encode` where it is not kept."""
        with self._lock:
            if picture in self._kept:
                self._kept.move_to_end(picture)
                return self._kept[picture]
        found = encode()
        self.put(picture, found)
        return found

    def put(self, picture: str, seen: EmbeddingArrays) -> None:
        """Keep one, and of the others as many of the last as there is room for."""
        with self._lock:
            self._kept[picture] = seen
            self._kept.move_to_end(picture)
            while self._kept and sum(each.nbytes for each in self._kept.values()) > self.budget:
                self._kept.popitem(last=False)


def digest_of(image: FloatArray) -> str:
    """By what a picture [C, h, w], as a network is shown it, is known."""
    return _digest((image,))


def _digest(maps: Iterable[FloatArray]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for each in maps:
        digest.update(repr(each.shape).encode())
        digest.update(np.ascontiguousarray(each, np.float32).data)
    return digest.hexdigest()


def write_embedding(path: str | Path, seen: EmbeddingArrays, picture: str) -> None:
    """A .safetensors file with the maps, and digests of these, the picture and the network; whole or not at all."""
    maps = {f"map.{number}": np.ascontiguousarray(each) for number, each in enumerate(seen.maps)}
    write_bytes(path, save(maps, {_NETWORK: seen.network, _PICTURE: picture, _MAPS: _digest(seen.maps)}))


def read_embedding(path: str | Path, picture: str) -> EmbeddingArrays:
    """What `write_embedding` wrote for the picture of that digest; `DataError` where it is none, damaged, or of another
    picture.
    """
    try:
        with safe_open(path, framework="numpy") as stream:
            about = stream.metadata() or {}
            maps = tuple(stream.get_tensor(f"map.{number}") for number in range(len(list(stream.keys()))))
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{printable(path)} is not a whole file of an embedding: {error}") from error
    if not {_NETWORK, _PICTURE, _MAPS} <= about.keys():
        raise DataError(f"{printable(path)} is no embedding", hint="give a file that Session.save wrote")
    if about[_MAPS] != _digest(maps):
        raise DataError(f"{printable(path)} is damaged: its maps do not match their digest", hint="save it again")
    if about[_PICTURE] != picture:
        raise DataError(
            f"{printable(path)} is the embedding of another picture", hint="give the picture that it was saved of"
        )
    return EmbeddingArrays(maps, about[_NETWORK])
