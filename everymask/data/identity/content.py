"""What a data set holds: a digest for every picture, and one for each part of its truth."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import assert_never

import numpy as np

from everymask.core.files import write_json
from everymask.core.json.sealed import read_sealed, sealed
from everymask.core.json.values import value_of
from everymask.data.dataset import Dataset
from everymask.data.identity.files import Mark, Seen, see_files
from everymask.data.records import Annotation, BoxOnly, MaskFile, Part, Polygons, Record, Rle, Shape, Truth

DATA = "data.json"
"""The file in a run folder that says what the data held."""
_VERSION = 1
_MOST = 2**31
_BYTES = 8


@dataclass(frozen=True, slots=True)
class Held:
    """The digest of a picture's file, and by name what its truth is made of: digests, and the number of objects."""

    picture: str
    truth: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Classes:
    """What the numbers in the truth stand for: class names, which of them are countable, the number for no truth, and
    what is `stored` in label maps, as JSON.
    """

    names: tuple[str, ...]
    things: tuple[int, ...]
    ignore: int
    stored: str


@dataclass(frozen=True, slots=True)
class Identity:
    """What a data set holds, wherever it lies.

    `classes` is what the numbers in the truth stand for, `held` what there is of each picture, by its id, in the
    order of the records.
    """

    classes: Classes
    held: Mapping[str, Held]

    @property
    def digest(self) -> str:
        """One digest of all that, whatever the order of the pictures."""
        rows = sorted([name, content.picture, dict(content.truth)] for name, content in self.held.items())
        text = json.dumps([asdict(self.classes), rows], sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def files_of(record: Record) -> tuple[Path, ...]:
    """The files that a picture and its truth are read from, each once; the picture's is the first."""
    return tuple(dict.fromkeys((record.image, *record.dates, *record.truth.files)))


def see_dataset(
    dataset: Dataset, known: Mapping[Mark, str], *, progress: Callable[[int, int], None] | None = None
) -> dict[Path, Seen]:
    """The digests of all files of a data set, as `see_files` finds them."""
    return see_files((file for record in dataset.records for file in files_of(record)), known, progress=progress)


def identity_of(dataset: Dataset, seen: Mapping[Path, Seen]) -> Identity:
    """What the data set holds, whose files were `seen`."""
    held = {record.id: _held(record, seen) for record in dataset.records}
    labels = dataset.labels
    stored = json.dumps(dataset.coding.stored if dataset.coding else "objects")
    return Identity(Classes(labels.names, tuple(sorted(labels.things)), labels.ignore, stored), held)


def write_identity(path: Path, identity: Identity, seen: Iterable[Seen]) -> None:
    """Write what a data set holds, and the marks of its files by which they are known again; whole or not at all."""
    rows = [[name, content.picture, dict(content.truth)] for name, content in identity.held.items()]
    marks = sorted({(*file.mark, file.digest) for file in seen if file.lasting})
    data = {"version": _VERSION, "classes": asdict(identity.classes), "pictures": rows, "files": list(map(list, marks))}
    write_json(path, sealed(data))


def read_identity(path: Path) -> tuple[Identity, dict[Mark, str]]:
    """What `write_identity` wrote; `ValueError` where the file is damaged, `OSError` where it cannot be read."""
    data = read_sealed(path)
    if data.get("version") != _VERSION:
        raise ValueError(f"its form is {data.get('version')!r}, but this version reads {_VERSION}")
    classes = value_of(Classes, data.get("classes"), "classes", most_values=_MOST)
    try:
        held = {name: Held(picture, truth) for name, picture, truth in data["pictures"]}
        known = {Mark(*mark): digest for *mark, digest in data["files"]}
        # A quick look, for there may be millions; a slip of its writer's the checksum would have shown.
        texts = {type(text) for item in held.values() for text in (item.picture, *item.truth.values())}
        numbers = {type(number) for mark in known for number in mark}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"it does not list pictures and files: {error}") from error
    if (texts | {*map(type, held), *map(type, known.values())}) - {str} or numbers - {int}:
        raise ValueError("it does not list pictures and files by texts and whole numbers")
    return Identity(classes, held), known


def _held(record: Record, seen: Mapping[Path, Seen]) -> Held:
    earlier = {} if record.before is None else {"picture of the earlier date": seen[record.before].digest}
    return Held(seen[record.image].digest, earlier | _parts(record.truth, seen))


def _parts(truth: Truth, seen: Mapping[Path, Seen]) -> dict[str, str]:
    """The digests of what a truth is made of, and numbers as they are."""
    return {name: _said(part, seen) for name, part in truth.parts.items()}


def _said(part: Part, seen: Mapping[Path, Seen]) -> str:
    if isinstance(part, int):
        return str(part)
    if isinstance(part, Path):
        return seen[part].digest
    return _digest(_bytes_of(item, seen) for item in part)


def _bytes_of(item: Annotation | Shape | tuple[int, int, bool], seen: Mapping[Path, Seen]) -> bytes:
    match item:
        case tuple():
            return struct.pack("<qq?", *item)
        case Annotation():
            return _outline_bytes(item, seen)
        case _:
            return _shape_bytes(item, seen)


def _digest(parts: Iterable[bytes]) -> str:
    whole = hashlib.blake2b(digest_size=_BYTES)
    for part in parts:
        whole.update(struct.pack("<q", len(part)))
        whole.update(part)
    return whole.hexdigest()


def _outline_bytes(annotation: Annotation, seen: Mapping[Path, Seen]) -> bytes:
    box = () if annotation.box is None else annotation.box
    area = () if annotation.area is None else (annotation.area,)
    numbers = struct.pack(f"<bb{len(box) + len(area)}d", len(box), len(area), *box, *area)
    return numbers + _shape_bytes(annotation.shape, seen)


def _shape_bytes(shape: Shape, seen: Mapping[Path, Seen]) -> bytes:
    match shape:
        case Polygons(rings):
            plain = [np.ascontiguousarray(ring, np.float64).tobytes() for ring in rings]
            return b"".join((b"polygons", struct.pack(f"<{len(plain)}q", *map(len, plain)), *plain))
        case Rle(counts):
            return b"rle" + counts
        case MaskFile(file, value, coloured):
            return f"mask {seen[file].digest} {value}{' coloured' if coloured else ''}".encode()
        case BoxOnly():
            return b"box"
        case _:
            assert_never(shape)
