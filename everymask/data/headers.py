"""Checking many picture files at once by their headers."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from everymask.data.images import Header, read_header
from everymask.data.issues import IssueLog
from everymask.errors import DataError, printable

_THREADS = 8


def read_headers(files: Sequence[Path], issues: IssueLog, *, where: Sequence[str] = ()) -> list[Header | None]:
    """The header of each picture, or None where `issues` was told why it cannot be used.

    `where` says for each picture which entry of the annotations names it. Files whose ending belongs to another format
    are noted once, with their number. Raises `MachineError` when the disk refuses.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(_header, files))
    headers: list[Header | None] = []
    misnamed = []
    for row, (file, header) in enumerate(zip(files, found, strict=True)):
        if isinstance(header, DataError):
            missing = "there is no such file" in header.message
            message = header.message.removeprefix(f"{printable(file)}: ")
            place = where[row] if where else ""
            issues.error("picture-missing" if missing else "picture", message, file=file, where=place, hint=header.hint)
            headers.append(None)
            continue
        if not header.fits_name(file):
            misnamed.append(file)
        headers.append(header)
    if misnamed:
        issues.warn(
            "picture-name",
            f"{len(misnamed)} pictures have the ending of another format; they are read by their content",
            file=misnamed[0],
        )
    return headers


def check_picture_size(
    header: Header, size: tuple[int, int], issues: IssueLog, *, file: object, where: str = ""
) -> bool:
    """Whether annotations made for `size` (H, W) fit the picture; if not, `issues` is told why."""
    if header.size == size:
        return True
    hint = "the picture was changed after it was annotated: use the original, or correct the size"
    if header.stored_size == size:
        hint = (
            f"the picture's EXIF orientation is {header.orientation} and the annotations do not follow it: save the "
            "picture upright, or annotate it as displayed"
        )
    elif header.size == size[::-1]:
        hint = "width and height are swapped, in the annotations or by an EXIF orientation that was lost"
    issues.error(
        "picture-size",
        f"expected a picture of {size[1]} x {size[0]} pixels, but the file has {header.size[1]} x {header.size[0]}",
        file=file,
        where=where,
        hint=hint,
    )
    return False


def _header(file: Path) -> Header | DataError:
    try:
        return read_header(file)
    except DataError as error:
        return error
