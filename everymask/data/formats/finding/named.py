r"""Files that annotations name: as they are spelled, as another machine spells them, or by their last parts alone.

A path in an annotation file is never followed out of the data set's folder. One that leads elsewhere (from the root of
a disk, `C:\`, `../`, an address) was written on another machine: the longest end of it that one file in the folder has
is taken, and noted. So is a name that differs from a file's only in letter case or in the Unicode form of its accents.
Where several files would do, none is taken.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from everymask.core.files import is_folder
from everymask.data.issues import IssueLog
from everymask.errors import printable

Key = TypeVar("Key", str, tuple[Path, str])
_MOST_FILES = 500_000
_SHOWN = 3
_ELSEWHERE = (
    "{count} paths are those of another machine, or lead out of the folder; the files of these names in it are taken"
)
SPELLING = "{count} names differ from the files' only in letter case or Unicode form; these files are taken"


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name too long for the disk, or one that leads through a file, is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; what `is_file` says of names holds here too."""
    return is_file(path) or is_folder(path)


def folded(name: str) -> str:
    """The name in the form in which spellings of one name are equal: letter case and Unicode form do not count."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def respelled(files: Mapping[Key, Path], names: Iterable[Key], issues: IssueLog) -> dict[Key, Path]:
    """The files by those `names` that differ from theirs only in letter case or Unicode form, else by their own.

    A name is a text or a tuple whose last part is one. `issues` is told how many names differ.
    """
    wanted: dict[object, list[Key]] = {}
    for name in dict.fromkeys(names):
        wanted.setdefault(_folded_key(name), []).append(name)
    alike: dict[object, list[Key]] = {}
    for name in files:
        alike.setdefault(_folded_key(name), []).append(name)
    found: dict[Key, Path] = {}
    for key, spelled in alike.items():
        others = [name for name in wanted.get(key, []) if name not in files]
        if len(spelled) == len(others) == 1 and spelled[0] not in wanted[key]:
            issues.warn_shared("name-spelling", SPELLING, file=files[spelled[0]])
            found[others[0]] = files[spelled[0]]
        else:
            found |= {name: files[name] for name in spelled}
    return found


def _folded_key(name: object) -> object:
    return (*name[:-1], folded(name[-1])) if isinstance(name, tuple) else folded(str(name))


def plain_path(name: str) -> PurePosixPath:
    """The path that a name on whatever machine means, with forward slashes, without address and drive."""
    text = name
    if "://" in text:
        try:
            text = unquote(urlsplit(text).path)
        except ValueError:
            text = text.split("://", 1)[1]
    _, marked, local = name.partition("local-files/?d=")  # Label Studio's pictures on its own disk
    return PurePosixPath(re.sub(r"^[A-Za-z]:", "", (unquote(local) if marked else text).replace("\\", "/")))


def leads_away(name: str) -> bool:
    """Whether a name is no path from here: it begins at the root of a disk, or is an address."""
    return "://" in name or re.match(r"[A-Za-z]:", name) is not None or plain_path(name).is_absolute()


def path_ends(name: str) -> Iterator[PurePosixPath]:
    """The ends of a path, the longest first and the bare name last, without what leads upwards."""
    parts = [part for part in plain_path(name).parts if part not in ("/", "//", "..", ".")]
    yield from (PurePosixPath(*parts[start:]) for start in range(len(parts)))


@dataclass(slots=True)
class NamedFiles:
    """The files below `root`, found by the names that annotation files give them; `issues` is told about the rest."""

    root: Path
    issues: IssueLog
    _index: dict[str, list[Path]] | None = field(default=None, init=False)

    def find(
        self, name: str, bases: Sequence[Path], *, file: Path, where: object = "", code: str = "file-name"
    ) -> Path | None:
        """The file that `name` means, written relative to one of `bases`; None where `issues` was told why none does.

        `file` and `where` are the annotation file and the place in it. A path that leads elsewhere and ends like no
        file here is an error with that `code`, any other a `picture-missing`.
        """
        path, below, alike = self._search(name, bases, file)
        if path is None:
            self._report(name, below, alike, file, where, code)
        return path

    def look(self, name: str, bases: Sequence[Path], *, file: Path) -> Path | None:
        """As `find`, but that there is no such file is no error."""
        return self._search(name, bases, file)[0]

    def _search(self, name: str, bases: Sequence[Path], file: Path) -> tuple[Path | None, list[Path], list[Path]]:
        """The file, else where it should be in the folder, and the files that are called so elsewhere in it."""
        if not name.startswith("/") and not any(sign in name for sign in ("\\", "..", ":")):
            usual = next((path for path in (base / name for base in bases) if is_file(path)), None)
            if usual is not None:
                return usual, [], []
        plain = plain_path(name)
        away = leads_away(name)
        below = [path for path in (base / plain for base in bases) if not away and self._is_below(path)]
        for base in () if away else bases:
            for path in dict.fromkeys((base / name, base / plain)):
                if self._is_below(path) and is_file(path):
                    if path != base / name:
                        self.issues.warn_shared("path-elsewhere", _ELSEWHERE, file=file)
                    return Path(os.path.normpath(path)) if ".." in plain.parts else path, below, []
        spelled = {found for path in below if (found := self._spelled(path)) is not None}
        if len(spelled) == 1:
            self.issues.warn_shared("name-spelling", SPELLING, file=file)
            return spelled.pop(), below, []
        relocated = ".." in plain.parts or not any(is_folder(path.parent) for path in below)
        alike = self._by_end(name, bases) if relocated else self._anywhere(plain.name)
        if relocated and len(alike) == 1:
            self.issues.warn_shared("path-elsewhere", _ELSEWHERE, file=file)
            return alike[0], below, []
        return None, below, alike

    def _is_below(self, path: Path) -> bool:
        root = os.path.normpath(self.root.absolute())
        return Path(os.path.normpath(path.absolute())).is_relative_to(root)

    def _spelled(self, path: Path) -> Path | None:
        """The one file whose path differs from `path` only in letter case or Unicode form."""
        wanted = folded(os.path.normpath(path.absolute()))
        found = [file for file in self._anywhere(path.name) if folded(os.path.normpath(file.absolute())) == wanted]
        return found[0] if len(found) == 1 else None

    def _by_end(self, name: str, bases: Sequence[Path]) -> list[Path]:
        """The files that end as the path does, as far as any does: those at `bases`, else those anywhere below."""
        ends = list(path_ends(name))
        for end in ends:
            near = [path for path in dict.fromkeys(base / end for base in (*bases, self.root)) if is_file(path)]
            if near and self._is_below(near[0]):
                return near[:1]
        for end in ends:
            wanted = [folded(part) for part in end.parts]
            all_found = self._anywhere(end.name)
            found = [path for path in all_found if [folded(part) for part in path.parts[-len(wanted) :]] == wanted]
            exact = [path for path in found if path.parts[-len(wanted) :] == end.parts]
            if found:
                return exact or found
        return []

    def _anywhere(self, name: str) -> list[Path]:
        if self._index is None:
            self._index = {}
            for path in _files_below(self.root):
                self._index.setdefault(folded(path.name), []).append(path)
        return self._index.get(folded(name), [])

    def _report(
        self, name: str, below: Sequence[Path], found: Sequence[Path], file: Path, where: object, code: str
    ) -> None:
        listed = ", ".join(printable(path.relative_to(self.root)) for path in found[:_SHOWN])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        hint = f"{listed}{more} in {printable(self.root)} would do: correct the path" if found else ""
        if below:
            hint = hint or f"put the picture at {printable(below[0])}, or correct the path"
            message = "there is no such file"
            self.issues.error("picture-missing", message, file=file, where=where, value=name, hint=hint)
            return
        message = "the path leads out of the folder of the data, and expected was the name of a file below the folder"
        if re.match(r"(?i)(https?|s3|gs|ftp)://", name):
            message = "the picture is at a web address, and expected was the name of a file below the folder"
            hint = hint or "download the pictures into the folder; files of these names are then found"
        hint = hint or f"put the picture into {printable(self.root)}, or name the folder that holds both"
        self.issues.error(code, message, file=file, where=where, value=name, hint=hint)


def _files_below(root: Path) -> Iterator[Path]:
    count = 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder) / name for name in sorted(names) if not name.startswith("."))
        count += len(names)
        if count > _MOST_FILES:
            return
