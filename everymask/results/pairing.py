"""Which picture of a data set a prediction that lies in a file belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Protocol

from everymask.core.labels import Labels
from everymask.core.segmentation import Segmentation
from everymask.data.dataset import Dataset
from everymask.errors import DataError, counted, printable


class FoundPictures(Protocol):
    """What was predicted for the pictures of a data set, of which nothing is decoded before it is asked for.

    `unknown` counts what belongs to no picture, and `masks` says whether objects have masks.
    """

    @property
    def labels(self) -> Labels:
        """The classes."""

    @property
    def unknown(self) -> int:
        """How many entries or files belong to no picture."""

    @property
    def masks(self) -> bool:
        """Whether all objects have masks."""

    def of(self, id_: str, size: tuple[int, int]) -> Segmentation:
        """What was predicted for the picture of that id, of `size` (H, W); `DataError` where it is damaged, of another
        size, or nothing and has to be something.
        """


def pair_names(names: Iterable[str], dataset: Dataset, source: object) -> dict[str, str]:
    """Name of a prediction -> id of the picture that it is of; names of no picture are left out.

    A name is a picture's path below the data set's folder, or its id, its file name, or either without its ending;
    whichever comes first in this order and is one picture's alone. `DataError` where no name is a picture's, or two
    names are of the same one; it calls the predictions `source`.
    """
    tables = _tables(dataset)
    found = {name: _lookup(_plain(name), tables) for name in names}
    paired = {name: id_ for name, id_ in found.items() if id_ is not None}
    if found and not paired:
        raise DataError(
            f"{printable(source)}: none of its {counted(len(found), 'picture')} is in the data set; the first is "
            f"{printable(next(iter(found)))}, that of the data set {printable(dataset.records[0].image.name)}",
            hint="predictions belong to pictures by their file names: choose the data set that was predicted",
        )
    for id_, count in Counter(paired.values()).items():
        if count > 1:
            both = ", ".join(printable(name) for name, other in paired.items() if other == id_)
            raise DataError(f"{printable(source)}: {both} are all predictions for the picture {printable(id_)}")
    return paired


def _tables(dataset: Dataset) -> list[dict[str, str]]:
    """What a picture may be called -> its id, without what several are called; the surest kinds of names first."""
    kinds: list[list[tuple[str, str]]] = [[], [], [], [], []]
    for record in dataset.records:
        path = record.image
        below = path.relative_to(dataset.root) if path.is_relative_to(dataset.root) else path
        called = below.as_posix(), record.id, path.name, below.with_suffix("").as_posix(), path.stem
        for names, name in zip(kinds, called, strict=True):
            names.append((name, record.id))
    tables = []
    for names in kinds:
        counts = Counter(name for name, _ in names)
        tables.append({name: id_ for name, id_ in names if counts[name] == 1})
    return tables


def _lookup(name: str, tables: list[dict[str, str]]) -> str | None:
    path = PurePosixPath(name)
    for spelling in (name, path.name, path.with_suffix("").as_posix(), path.stem):
        for table in tables:
            if spelling in table:
                return table[spelling]
    return None


def _plain(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")
