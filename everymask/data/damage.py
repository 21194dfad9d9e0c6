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

    `progress(done, total)` is called after every picture. Raises `MachineError` when the disk or the memory refuses.
    """
    kept = []
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        files = [record.image for record in dataset.records]
        for row, error in enumerate(pool.map(_damage, files)):
            if error is None:
                kept.append(row)
            else:
                message = error.message.removeprefix(f"{printable(files[row])}: ")
                issues.error("picture", message, file=files[row], hint=error.hint)
            if progress is not None:
                progress(row + 1, len(files))
    return dataset if len(kept) == len(dataset) else dataset.subset(kept)


def _damage(file: Path) -> DataError | None:
    try:
        check_image(file)
    except DataError as error:
        return error
    return None
