"""Pictures with their label maps: as lists of pairs or of names say, and else the names of folders and files."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from everymask.data.formats.finding.named import is_file
from everymask.data.formats.folders import SPLIT_FOLDERS, files_in, read_lines
from everymask.data.formats.pairs import Pair, chosen_pairs, named_pairs
from everymask.data.issues import IssueLog
from everymask.data.pictures.read import pictures_among

_LIST_SUFFIXES = (".txt", ".lst", ".csv")


def find_pairs(root: Path, issues: IssueLog, masks: str | Path | None = None) -> list[Pair]:
    """The pictures below `root` with their label maps; `issues` is told about files that stay alone.

    Lists with a picture and a label map per line go first; else the names of folders and files tell (see `pairs`), and
    lists of names the splits. `masks` is the folder of label maps, or its name, where there are several; `DataError`
    where there is none.
    """
    listed = find_listed_pairs(root, issues) if masks is None else []
    if listed:
        return listed
    pairs = named_pairs(root, issues) if masks is None else chosen_pairs(root, masks, issues)
    return split_by_lists(root, pairs, issues) if not any(pair.split for pair in pairs) else pairs


def has_pairs(root: Path) -> bool:
    """Whether the folder holds pictures with label maps in one of the layouts, judged by names."""
    issues = IssueLog("skip")
    pairs = find_pairs(root, issues) if root.is_dir() else []
    return bool(pairs) and len(pairs) >= issues.total("error")


def find_listed_pairs(root: Path, issues: IssueLog) -> list[Pair]:
    """The pairs in the lists in `root` that have two paths per line; a list's name says the split."""
    pairs: list[Pair] = []
    owners: dict[Path, str] = {}
    files = files_in(root, _LIST_SUFFIXES)
    for file in sorted(files, key=lambda file: (file.stem.lower() not in SPLIT_FOLDERS, file.name)):
        lines = [(number, re.split(r"[\s,;]+", line)) for number, line in read_lines(file, IssueLog("skip")) or ()]
        if not lines or not all(len(words) == 2 and _is_file_name(words) for _, words in lines):
            continue
        read_lines(file, issues)
        split = SPLIT_FOLDERS.get(file.stem.lower())
        for number, words in lines:
            where = f"line {number}"
            picture, label_map = (_below(root, word, file, where, issues) for word in words)
            if picture is None or label_map is None:
                continue
            if picture in owners and split is None:
                continue  # trainval.txt and the like repeat other lists
            if picture in owners:
                same = owners[picture] == file.name
                message = "the picture stands twice in the list" if same else f"the picture is in {owners[picture]} too"
                code, hint = ("list-repeated", "") if same else ("split-leak", "remove it from one of the lists")
                issues.error(code, message, file=file, where=where, value=words[0], hint=hint)
                continue
            owners[picture] = file.name
            pairs.append(Pair(picture, label_map, split))
    return pairs


def _is_file_name(words: list[str]) -> bool:
    return all(_is_picture(Path(word)) for word in words)


def _is_picture(file: Path) -> bool:
    return bool(pictures_among([file]))


def _below(root: Path, word: str, file: Path, where: str, issues: IssueLog) -> Path | None:
    """The file that a list names; where a list was written on another machine, the end of the path is looked for."""
    path = PurePosixPath(word.replace("\\", "/"))
    parts = path.parts
    if not path.is_absolute() and ".." not in parts and not re.match(r"[A-Za-z]:", word):
        if is_file(root / path):
            return root / path
        issues.error("picture-missing", "the list names a file that is not there", file=file, where=where, value=word)
        return None
    for start in range(1, len(parts)) if ".." not in parts else ():
        tail = PurePosixPath(*parts[start:])
        if is_file(root / tail):
            message = "{count} paths in lists lead elsewhere; the files of these names in this folder are taken"
            issues.warn_shared("list-path", message, file=file)
            return root / tail
    hint = "write paths relative to the list's folder"
    issues.error("list-path", "expected a path below this folder", file=file, where=where, value=word, hint=hint)
    return None


def split_by_lists(root: Path, pairs: list[Pair], issues: IssueLog) -> list[Pair]:
    """The pairs with the splits that lists of names (train.txt, val.txt, ...) give, where there are such lists."""
    names = {pair.picture.stem: place for place, pair in enumerate(pairs)}
    owners: dict[int, str] = {}
    for folder in (root, root / "list", root / "splits", root / "ImageSets" / "Segmentation"):
        for file in files_in(folder):
            split = SPLIT_FOLDERS.get(file.stem.lower())
            if file.suffix.lower() not in _LIST_SUFFIXES or split is None:
                continue
            for number, line in read_lines(file, issues) or ():
                stem = PurePosixPath(line.replace("\\", "/")).name
                stem = Path(stem).stem if _is_picture(Path(stem)) else stem
                place, where = names.get(stem), f"line {number}"
                if place is None:
                    message = "the list names a picture that is not there"
                    issues.error("picture-missing", message, file=file, where=where, value=line)
                elif place in owners:
                    same = owners[place] == split
                    message = f"the picture stands in {owners[place]} already"
                    code = "list-repeated" if same else "split-leak"
                    issues.error(code, message, file=file, where=where, value=line, hint="remove one of the lines")
                else:
                    owners[place] = split
    if not owners:
        return pairs
    left_out = [pair.picture for place, pair in enumerate(pairs) if place not in owners]
    if left_out:
        message = f"{len(left_out)} pictures are left out: no list names them"
        issues.warn("not-listed", message, file=root, value=left_out[0])
    return [Pair(pair.picture, pair.map, owners[place]) for place, pair in enumerate(pairs) if place in owners]
