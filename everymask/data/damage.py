"""Pictures whose header is sound and whose data are not: found by decoding every one."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from everymask.data.dataset import Dataset
from everymask.data.issues import IssueLog
from everymask.data.pictures.read import check_image
from everymask.errors import DataError, printable

_THREADS = 8  # each holds a whole picture


def without_damaged(
    dataset: Dataset, issues: IssueLog, *, progress: Callable[[int, int], None] | None = None
) -> Dataset:
    """The data set without pictures that cannot be decoded to their end, each of which is noted as an error.

    Pictures that are not annotated are not looked at. `progress(done, total)` is called after every other. Raises
    `MachineError` where no file can be read.
    """
    rows = [row for row, record in enumerate(dataset.records) if record.annotated]
    damaged = set()
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        files = [dataset.records[row].image for row in rows]
        for done, (row, file, error) in enumerate(zip(rows, files, pool.map(_damage, files), strict=True), 1):
            if error is not None:
                damaged.add(row)
                message = error.message.removeprefix(f"{printable(file)}: ")
                issues.error("picture", message, file=file, hint=error.hint)
            if progress is not None:
                progress(done, len(files))
    return dataset.subset([row for row in range(len(dataset)) if row not in damaged]) if damaged else dataset


def _damage(file: Path) -> DataError | None:
    try:
        check_image(file)
    except DataError as error:
        return error
    return None
