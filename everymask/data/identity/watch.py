"""Records whose files are compared, whenever one is asked for, with what they held when they were first read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import overload

import numpy as np

from everymask.core.arrays import Array, IntArray
from everymask.data.dataset import Dataset
from everymask.data.identity.content import files_of
from everymask.data.identity.files import Mark, Seen, digest_of, mark_of
from everymask.data.pictures.kinds import open_regular
from everymask.data.pictures.opening import picture_errors
from everymask.data.records import Record
from everymask.errors import DataError, printable


def watched(dataset: Dataset, seen: Mapping[Path, Seen], *, hint: str = "") -> Dataset:
    """The same data set, which refuses to give a picture whose files hold something else than when they were `seen`."""
    return replace(dataset, records=WatchedRecords(dataset.records, seen, hint))


class WatchedRecords(Sequence[Record]):
    """The same records; `DataError` for one whose files hold something else than when they were `seen`.

    A file that has its mark still is not read, where the mark says enough. To go through all records asks for none;
    some of them, taken as a slice, are watched too. All that is known of the files is kept in arrays, which processes
    share.
    """

    def __init__(self, records: Sequence[Record], seen: Mapping[Path, Seen], hint: str = "") -> None:
        self.records = records
        self._rows = range(len(records))
        self._hint = hint
        files = [files_of(record) for record in records]
        flat = [file for several in files for file in several]
        self._starts: IntArray = np.cumsum([0, *map(len, files)], dtype=np.int64)
        self._names: Array = np.array([os.fsencode(file) for file in flat], np.bytes_)
        found = [seen[file] for file in flat]
        self._marks: Array = np.array([item.mark for item in found], np.int64).reshape(-1, 4)
        self._digests: Array = np.array([bytes.fromhex(item.digest) for item in found], np.void)
        self._lasting: Array = np.array([item.lasting for item in found], np.bool_)

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Record]:
        return map(self.records.__getitem__, self._rows)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        if isinstance(index, int):
            records, row = self.checked(index)
            return records[row]
        part = copy(self)
        part._rows = self._rows[index]
        return part

    def checked(self, index: int) -> tuple[Sequence[Record], int]:
        """The records behind, and which of them this one is; `DataError` names its file that holds something else."""
        row = self._rows[index]
        for place in range(*self._starts[row : row + 2].tolist()):
            file = Path(os.fsdecode(self._names[place]))
            if self._is_same(file, place):
                continue
            raise DataError(
                f"{printable(file)}: the file was changed since it was read first, and nothing was learned from it",
                hint=self._hint,
            )
        return self.records, row

    def _is_same(self, file: Path, place: int) -> bool:
        with picture_errors(file):
            if self._lasting[place] and mark_of(file) == Mark(*self._marks[place].tolist()):
                return True
            with open_regular(file) as stream:
                return digest_of(stream) == bytes(self._digests[place]).hex()
