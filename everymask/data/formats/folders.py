"""What the readers of folder formats share: pictures by stem, splits by folder name, lists of names, sizes."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from everymask.core.arrays import IntArray
from everymask.core.files import whole_file
from everymask.data.issues import IssueLog
from everymask.data.pictures.read import pictures_among, read_stored_map
from everymask.data.records import Record
from everymask.data.strict.content import read_content
from everymask.errors import DataError, MachineError, printable

_MAX_BYTES = 1 << 30
SPLIT_FOLDERS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip
"""What a folder's lower-case name says about the split of the pictures in it."""


def files_in(folder: Path, endings: tuple[str, ...] = ("",)) -> list[Path]:
    """The files of a folder by name, without hidden ones and what file managers leave behind.

    With `endings`, lower case, only files whose names end so in whatever case: of a folder of many pictures the few
    that are asked for.
    """
    if not folder.is_dir():
        return []
    return [
        folder / entry.name
        for entry in _entries(folder, endings)
        if entry.name.lower() not in ("thumbs.db", "desktop.ini") and _is(entry.is_file)
    ]


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder by name, without hidden ones."""
    return [folder / entry.name for entry in _entries(folder) if _is(entry.is_dir)]


def _entries(folder: Path, endings: tuple[str, ...] = ("",)) -> list[os.DirEntry[str]]:
    """What is in a folder by name, without hidden ones; their kinds are known without asking the disk for each."""
    try:
        with os.scandir(folder) as found:
            kept = [entry for entry in found if not entry.name.startswith(".") and entry.name.lower().endswith(endings)]
    except OSError as error:
        raise MachineError(f"cannot read {folder}: {error.strerror or error}") from error
    return sorted(kept, key=lambda entry: os.path.normcase(entry.name))


def _is(kind: Callable[[], bool]) -> bool:
    """What the entry says; False for a link that leads in a circle."""
    try:
        return kind()
    except OSError:
        return False


def pictures_in(folder: Path, issues: IssueLog) -> dict[str, Path]:
    """The picture files of a folder by their stem; two pictures of one stem are an error, the first one is kept."""
    found: dict[str, Path] = {}
    for file in pictures_among(files_in(folder)):
        if file.stem in found:
            message = f"two pictures of one name: this and {found[file.stem].name}"
            issues.error("repeated-picture", message, file=file, hint="rename or remove one of them")
            continue
        found[file.stem] = file
    return found


def read_map(file: Path, size: tuple[int, int], issues: IssueLog, *, palette: bool = True) -> IntArray | None:
    """The numbers of a label map that belongs to a picture of `size` (H, W), or None when `issues` was told why not.

    Noted as warnings are three equal channels, alpha that varies, and a palette unless that is usual (`palette`).
    """
    try:
        found = read_stored_map(file)
    except DataError as error:
        message = error.message.removeprefix(f"{printable(file)}: ")
        issues.error("mask", message, file=file, hint=error.hint)
        return None
    height, width = found.ids.shape
    if (height, width) != size:
        report_size(file, (height, width), size, issues)
        return None
    if found.stored == "colours":
        note_equal_channels(file, issues)
    if found.stored == "palette" and not palette:
        message = "{count} masks are palette files; the numbers of the colours count, whatever the colours look like"
        hint = "if a mask comes out inverted, save it as grey PNG with 0 outside"
        issues.warn_shared("mask-palette", message, file=file, hint=hint)
    if found.alpha_varies:
        message = "{count} masks have an alpha channel that varies; it is dropped, and the colours count"
        hint = "if the mask is in the alpha channel, save it as grey PNG"
        issues.warn_shared("mask-alpha", message, file=file, hint=hint)
    return found.ids


def note_equal_channels(file: Path, issues: IssueLog) -> None:
    """Note that a mask stores the same number in three channels."""
    message = "{count} masks store three equal channels; one of them is read"
    issues.warn_shared("mask-channels", message, file=file, hint="save masks as grey or palette PNG")


def report_size(file: Path, found: tuple[int, int], size: tuple[int, int], issues: IssueLog) -> None:
    """Note that a mask of size `found` (H, W) belongs to a picture of another `size`."""
    hint = "the mask belongs to another picture, or one of them was resized: export it at the size of the picture"
    if found == size[::-1]:
        hint = "the sides are swapped: was the picture turned by its EXIF flag after it was annotated?"
    message = f"expected {size[1]} x {size[0]} pixels like the picture"
    issues.error("mask-size", message, file=file, value=f"{found[1]} x {found[0]}", hint=hint)


def object_ids(ids: IntArray) -> list[int]:
    """The numbers other than 0 that occur in a label map, ascending."""
    found = np.flatnonzero(np.bincount(ids.ravel())) if ids.dtype.itemsize <= 2 else np.unique(ids)
    return [int(value) for value in found if value]


def read_lines(file: Path, issues: IssueLog) -> list[tuple[int, str]] | None:
    """The lines of a UTF-8 text file with their numbers from 1, stripped; blank ones and `#` comments are left out.

    None where `issues` was told why it cannot be read, which is something else than a file without lines.
    """
    data = read_content(file, issues, most=_MAX_BYTES, code="text-too-large")
    if data is None:
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"byte {error.start}"
        issues.error("text-encoding", "expected UTF-8", file=file, where=where, hint="save the file as UTF-8")
        return None
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    if "\0" in text:
        issues.error("text-encoding", "expected UTF-8 without NUL characters", file=file, hint="save the file as UTF-8")
        return None
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def read_names(file: Path, issues: IssueLog) -> tuple[str, ...]:
    """The class names of a file with one name per line; a repeated name is an error and kept once."""
    names: list[str] = []
    for number, name in read_lines(file, issues) or ():
        if name in names:
            issues.error(
                "repeated-class", "a class name stands there twice", file=file, where=f"line {number}", value=name
            )
        else:
            names.append(name)
    return tuple(names)


def names_text(names: Iterable[str]) -> str:
    """The names as a file with one per line; raises `DataError` for a name that would not come back the same."""
    listed = list(names)
    for name in listed:
        if name != name.strip() or len(name.splitlines()) != 1 or name.startswith("#"):
            raise DataError(f"the class name {name!r} cannot stand in a file with one name per line")
    return "".join(f"{name}\n" for name in listed)


def unique_ids(pictures: Sequence[Path], root: Path) -> list[str]:
    """An id for each picture: its stem, or where stems repeat, its path below `root` with `-` between the parts.

    Ids that are still the same are numbered.
    """
    counts = Counter(picture.stem for picture in pictures)
    taken: set[str] = set()
    repeats: Counter[str] = Counter()
    ids = []
    for picture in pictures:
        name = picture.stem
        if counts[name] > 1:
            name = "-".join(picture.relative_to(root).with_suffix("").parts) if root in picture.parents else name
        free = name
        while free in taken:
            repeats[name] += 1
            free = f"{name}-{repeats[name] + 1}"
        taken.add(free)
        ids.append(free)
    return ids


def split_of(file: Path, root: Path) -> str | None:
    """The split that the nearest folder between `root` and the file is named after."""
    for part in reversed(file.relative_to(root).parts[:-1]):
        if part.lower() in SPLIT_FOLDERS:
            return SPLIT_FOLDERS[part.lower()]
    return None


def copy_picture(record: Record, folder: Path) -> Path:
    """Copy a record's picture as it is into `folder`, named after the record's id; the path of the copy."""
    target = folder / f"{file_stem(record)}{record.image.suffix}"
    if target.exists() and target.samefile(record.image):
        return target
    with whole_file(target) as temporary:
        shutil.copyfile(record.image, temporary)
    return target


def file_stem(record: Record) -> str:
    """The record's id as a file name."""
    return record.id.replace("/", "-").replace("\\", "-")
