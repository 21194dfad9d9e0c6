"""Checking many picture files at once by their headers."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from everymask.data.issues import IssueLog
from everymask.data.pictures.read import Header, Remark, read_header
from everymask.errors import DataError, printable

_THREADS, _AT_ONCE = 8, 16
_REMARKS: dict[Remark, tuple[str, str, str]] = {
    "tail": ("picture-tail", "{count} JPEGs have something behind their end marker; it is not read", ""),
    "profile": (
        "picture-profile",
        "{count} pictures have a colour profile other than sRGB; it is not applied",
        "if colours matter, convert the pictures to sRGB",
    ),
}


def read_headers(files: Sequence[Path], issues: IssueLog, *, where: Sequence[str] = ()) -> list[Header | None]:
    """The header of each picture, or None where `issues` was told why it cannot be used.

    `where` says for each picture which entry of the annotations names it. Files whose ending belongs to another format,
    something behind the end of JPEGs and colour profiles are noted once each, with the number of pictures. Raises
    `MachineError` when the disk refuses.
    """
    # Handing over takes longer than reading one; and so does to begin threads.
    parts = [files[begin : begin + _AT_ONCE] for begin in range(0, len(files), _AT_ONCE)]
    if len(parts) > 1:
        with ThreadPoolExecutor(_THREADS) as pool:
            found = [header for part in pool.map(_headers, parts) for header in part]
    else:
        found = _headers(files)
    headers: list[Header | None] = []
    for row, (file, header) in enumerate(zip(files, found, strict=True)):
        if isinstance(header, DataError):
            missing = "there is no such file" in header.message
            message = header.message.removeprefix(f"{printable(file)}: ")
            place = where[row] if where else ""
            issues.error("picture-missing" if missing else "picture", message, file=file, where=place, hint=header.hint)
            headers.append(None)
            continue
        if not header.fits_name(file):
            message = "{count} pictures have the ending of another format; they are read by their content"
            issues.warn_shared("picture-name", message, file=file)
        for remark in header.remarks:
            code, message, hint = _REMARKS[remark]
            issues.warn_shared(code, message, file=file, hint=hint)
        headers.append(header)
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


def _headers(files: Sequence[Path]) -> list[Header | DataError]:
    return list(map(_header, files))


def _header(file: Path) -> Header | DataError:
    try:
        return read_header(file)
    except DataError as error:
        return error
