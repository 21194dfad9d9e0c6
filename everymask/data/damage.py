"""Pictures whose header is sound and whose data are not: found by decoding every one."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeAlias

from everymask.data.dataset import Dataset
from everymask.data.issues import IssueLog
from everymask.data.pictures.read import check_image
from everymask.errors import DataError, printable

_THREADS = 8  # each holds a whole picture
Look: TypeAlias = Callable[[Path, tuple[int, int]], object]
"""What decodes all of a picture, of which the size (H, W) is known, in a thread; `DataError` where it is damaged."""


def decode(file: Path, size: tuple[int, int]) -> None:
    """The quickest `Look`."""
    check_image(file)


def without_damaged(
    dataset: Dataset,
    issues: IssueLog,
    *,
    look: Look = decode,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """The data set without pictures that cannot be decoded to their end, each of which is noted as an error.

    Pictures that are not annotated are not looked at. `progress(done, total)` is called after every other. Raises
    `MachineError` where no file can be read.
    """
    seen = [(row, file) for row, one in enumerate(dataset.records) if one.annotated for file in one.dates]
    rows, files = [row for row, _ in seen], [file for _, file in seen]
    damaged = set()
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        sizes = [dataset.records[row].size for row in rows]
        errors = pool.map(partial(_damage, look), files, sizes)
        for done, (row, file, error) in enumerate(zip(rows, files, errors, strict=True), 1):
            if error is not None:
                damaged.add(row)
                message = error.message.removeprefix(f"{printable(file)}: ")
                issues.error("picture", message, file=file, hint=error.hint)
            if progress is not None:
                progress(done, len(files))
    return dataset.subset([row for row in range(len(dataset)) if row not in damaged]) if damaged else dataset


def _damage(look: Look, file: Path, size: tuple[int, int]) -> DataError | None:
    try:
        look(file, size)
    except DataError as error:
        return error
    return None
