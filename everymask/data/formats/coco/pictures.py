"""The pictures that a COCO file lists, and where they lie."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from everymask.data.formats.coco.objects import entry_id
from everymask.data.formats.finding.named import NamedFiles, folded, is_file, leads_away, path_ends, plain_path
from everymask.data.formats.folders import SPLIT_FOLDERS, files_in, folders_in
from everymask.data.issues import IssueLog
from everymask.data.pictures.headers import check_picture_size, read_headers
from everymask.data.records import Objects, Record

_PICTURE_FOLDERS = ("", "images", "data", "JPEGImages")


def splits_of(files: Sequence[Path]) -> list[str | None]:
    """The split that each annotation file is; one on its own only where its name says train."""
    splits: list[str | None] = [split_name(file) for file in files]
    return [None] if len(files) == 1 and splits != ["train"] else splits


def places_of(root: Path, images: str | Path | None, issues: IssueLog) -> Places:
    """Where the pictures of a COCO file or folder are looked for: in `images`, or around it."""
    given = None if images is None else Path(images)
    return Places(given, NamedFiles(given or (root if root.is_dir() else around(root)[-1]), issues))


def split_name(file: Path) -> str:
    """`instances_val2017.json` is val; `valid/_annotations.coco.json` is val; other names stand for themselves."""
    words = re.split(r"[^a-z]+", file.stem.lower())
    known = [SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS]
    folder = file.parent.name.lower()
    if known:
        return known[0]
    return SPLIT_FOLDERS.get(folder, folder) if file.stem.startswith("_annotations") else file.stem


@dataclass(frozen=True, slots=True)
class Places:
    """Where pictures are looked for: `images` where that is given, else around the annotation file; never elsewhere.

    `files` are those below the folder of the data.
    """

    images: Path | None
    files: NamedFiles

    def bases(self, file: Path) -> list[Path]:
        """The folders around an annotation file that names count from, the nearest first."""
        if self.images is not None:
            return [self.images]
        return around(file)


def around(file: Path) -> list[Path]:
    """The folder of an annotation file, and the one above where the file lies in one called annotations."""
    folder = file.parent
    return [folder, folder.parent] if folder.name.lower().startswith("annotation") else [folder]


def read_pictures(
    entries: Sequence[Any], file: Path, places: Places, issues: IssueLog, maps: Sequence[str] = ()
) -> tuple[dict[int, Record], set[int]]:
    """Image id -> record without annotations where entry and file are sound; and all ids that the file lists.

    Folders called as one of `maps` hold maps, which may be called as the pictures are: they are looked into last.
    """
    sound: dict[int, tuple[str, str, tuple[int, int]]] = {}
    seen: dict[int, str] = {}
    for index, entry in enumerate(entries):
        pointer = f"/images/{index}"
        number = entry_id(entry, (file, pointer), seen, issues)
        if number is None:
            continue
        named = entry.get("file_name", entry.get("coco_url"))  # LVIS has addresses alone
        name = _file_name(named, f"{pointer}/file_name", file, issues)
        height, width = entry.get("height"), entry.get("width")
        wrong = [side for side in ("height", "width") if type(entry.get(side)) is not int or entry[side] < 1]
        for side in wrong:
            message = "expected a whole number of pixels"
            issues.error("image-size", message, file=file, where=f"{pointer}/{side}", value=entry.get(side))
        if name is not None and not wrong:
            sound[number] = (pointer, name, (height, width))
    bases = [_picture_folder(file, [name for _, name, _ in sound.values()], places, maps), *places.bases(file)]
    found: dict[int, Path] = {}
    for number, (pointer, name, _) in sound.items():
        path = places.files.find(name, bases, file=file, where=f"{pointer}/file_name")
        if path is not None:
            found[number] = path
    where = {number: f"{file}:{sound[number][0]}" for number in found}
    headers = read_headers(list(found.values()), issues, where=[f"{place}/file_name" for place in where.values()])
    records = {}
    for (number, path), header in zip(found.items(), headers, strict=True):
        size = sound[number][2]
        if header is not None and check_picture_size(header, size, issues, file=path, where=where[number]):
            records[number] = Record("", path, size, Objects())
    return records, set(seen)


def _file_name(name: Any, where: str, file: Path, issues: IssueLog) -> str | None:
    hint = "write the name relative to the folder of pictures, with forward slashes"
    if not isinstance(name, str) or not name.strip():
        message = "expected the name of the picture file"
        issues.error("file-name", message, file=file, where=where, value=name, hint=hint)
        return None
    if "\0" in name:
        message = "expected a name below the folder of pictures"
        issues.error("file-name", message, file=file, where=where, value=name, hint=hint)
        return None
    return name


def _picture_folder(file: Path, names: Sequence[str], places: Places, maps: Sequence[str]) -> Path:
    """The folder around the annotation file that has most of the pictures (judged by up to 50 of them)."""
    stem = file.stem.removeprefix("instances_").removeprefix("person_keypoints_").removeprefix("labels_")
    stem = stem.removeprefix("panoptic_")
    split = split_name(file)
    bases = places.bases(file)
    tails = dict.fromkeys((stem, split, file.stem, *(word for word, name in SPLIT_FOLDERS.items() if name == split)))
    tried: list[Path] = []
    for base in bases:
        tops = [base] if places.images is not None else [base / name for name in _PICTURE_FOLDERS]
        tried += [place for top in tops for place in (top, *(top / tail for tail in tails))]
    tried += [sub for base in bases for top in (base, base / "images") if top.is_dir() for sub in folders_in(top)]
    tried.sort(key=lambda place: place.name in maps)
    sample = names[:: max(1, len(names) // 50)][:50]
    ways = (_has, _has_spelled) if sample else ()
    for has in ways:
        best, most = tried[0], 0
        for place in (place for place in dict.fromkeys(tried) if place.is_dir()):
            count = sum(has(place, name) for name in sample)
            if count > most:
                best, most = place, count
            if count == len(sample):
                break
        if most:
            return best
    return tried[0]


def _has(place: Path, name: str) -> bool:
    ends = path_ends(name) if leads_away(name) else (plain_path(name),)
    return any(is_file(place / end) for end in ends)


def _has_spelled(place: Path, name: str) -> bool:
    """Whether the folder has a file whose name differs at most in letter case and Unicode form."""
    return folded(plain_path(name).name) in {folded(path.name) for path in files_in((place / plain_path(name)).parent)}
