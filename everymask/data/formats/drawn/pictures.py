"""Finding annotation files, and the pictures that they name, wherever below a folder they lie."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from everymask.data.formats.folders import files_in, folders_in
from everymask.data.formats.pairs import MAP_FOLDERS
from everymask.data.issues import IssueLog
from everymask.data.pictures.read import ARRAY_SUFFIX, SUFFIXES

_DEPTH = 6
_HINT = "put the picture there, or name the folder of pictures with --images"


_MANY = 200
_FIRST = 10


def files_of_kind(files: Sequence[Path], is_kind: Callable[[Path], bool]) -> list[Path]:
    """Those of the files that are of a kind; of more than 200 none, unless one of the first ten is.

    So many are one for each picture and of one kind, and looking into each of thousands would take minutes.
    """
    if len(files) > _MANY and not any(map(is_kind, files[:_FIRST])):
        return []
    return [file for file in files if is_kind(file)]


class Pictures:
    """The picture files below a folder by their names.

    Annotation programs know a picture by where it lay on their server, so that only the end of its path is sure: of
    the files with its name, the one whose path agrees farthest from its end is taken, and two that agree as far are an
    error. Names that differ only in how Unicode composes them are the same.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_name: dict[str, list[Path]] = {}
        self._by_stem: dict[str, list[Path]] = {}
        for file in _below(folder, _DEPTH):
            self._by_name.setdefault(_composed(file.name), []).append(file)
            self._by_stem.setdefault(_composed(file.stem), []).append(file)

    def find(self, name: str, issues: IssueLog, *, file: object, where: str, stem: bool = False) -> Path | None:
        """The picture called `name`, a path with any kind of slashes, or None when `issues` was told why not.

        With `stem` the name has no ending.
        """
        path = PurePosixPath(_composed(name.replace("\\", "/").replace("\0", "")))
        candidates = (self._by_stem if stem else self._by_name).get(path.name, [])
        if not candidates:
            message = f"there is no such picture below {self.folder}"
            issues.error("picture-missing", message, file=file, where=where, value=name, hint=_HINT)
            return None
        # Masks of another kind may have the pictures' names.
        candidates = [found for found in candidates if found.parent.name.lower() not in MAP_FOLDERS] or candidates
        agreeing = [_agreement(path.parent, candidate.parent) for candidate in candidates]
        best = [found for found, far in zip(candidates, agreeing, strict=True) if far == max(agreeing)]
        if len(best) > 1:
            message = f"two pictures may be meant: {best[0]} and {best[1]}"
            hint = "name the folder of pictures with --images, or remove the copy"
            issues.error("picture-ambiguous", message, file=file, where=where, value=name, hint=hint)
            return None
        return best[0]

    def has(self, name: str) -> bool:
        """Whether a picture has this name, without its folders."""
        return _composed(name) in self._by_name

    def has_stem(self, name: str) -> bool:
        """Whether a picture has this name, without folders and ending."""
        return _composed(name) in self._by_stem

    def __iter__(self) -> Iterator[Path]:
        return (file for files in self._by_name.values() for file in files)


def _below(folder: Path, depth: int) -> Iterator[Path]:
    yield from (file for file in files_in(folder) if file.suffix.lower() in (*SUFFIXES, ARRAY_SUFFIX))
    for inner in folders_in(folder) if depth and folder.is_dir() else []:
        yield from _below(inner, depth - 1)


def _agreement(named: PurePosixPath, found: Path) -> int:
    """How many folders above the picture have the same names, case apart, counted from the picture."""
    pairs = zip(reversed(named.parts), reversed(found.parts), strict=False)
    count = 0
    for ours, theirs in pairs:
        if ours.casefold() != _composed(theirs).casefold():
            break
        count += 1
    return count


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
