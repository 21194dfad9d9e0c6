"""The pages of a stack of pictures as files in the user's cache folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from everymask.core.files import whole_folder
from everymask.data.identity.copies import copies_of
from everymask.data.issues import IssueLog
from everymask.data.pictures.pages import pages_of
from everymask.data.pictures.read import read_image, write_image
from everymask.errors import printable

_LONGEST = 60


def unpacked_pages(file: Path, issues: IssueLog) -> list[Path]:
    """A file for each page, in their order, which are written once for the same file, by its path, size and times.

    `issues` is told about it. Raises what `read_image` does for a page; `MachineError` where there is no place.
    """
    cure = "save each page as a file of its own"
    place, known = copies_of(file, "stacks", what="write its pages to", cure=cure)
    target = place / known[:32]
    if not target.exists():
        with whole_folder(target) as folder:
            for number, data in enumerate(pages_of(file), 1):
                _write_page(folder / f"{file.stem[:_LONGEST]}_{number:04}", data)
    message = "{count} TIFF files are stacks of pictures; their pages are written to the cache folder, and read there"
    hint = f"the copies are made again when they are needed: you may delete them in {printable(place)}"
    issues.warn_shared("stack", message, file=file, hint=hint)
    return sorted(target.iterdir())


def _write_page(stem: Path, data: bytes) -> None:
    pixels = read_image(data)
    if (pixels.dtype.name, pixels.shape[2]) in (("uint8", 1), ("uint8", 3), ("uint16", 1)):
        write_image(stem.with_name(f"{stem.name}.png"), pixels)
    else:
        with stem.with_name(f"{stem.name}.npy").open("wb") as stream:
            np.save(stream, pixels)
