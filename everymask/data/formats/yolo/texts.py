"""The text file of a picture: in a folder called labels where the picture's is called images, or beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from everymask.data.formats.finding.named import folded
from everymask.data.formats.folders import SPLIT_FOLDERS, files_in, read_lines
from everymask.data.issues import IssueLog
from everymask.data.pictures.read import pictures_among

NAME_FILES = ("classes.txt", "obj.names", "names.txt", "classes.names", "_darknet.labels")
_LOOKED_AT = 5


def label_folders(pictures: Path, root: Path) -> list[Path]:
    """Where the text files of a folder of pictures may lie, the likeliest first; the folder itself is the last.

    One part below `root` called images is called labels, the last one first, or all are; letter case as in its name.
    """
    parts = list(pictures.parts)
    start = len(root.parts) if pictures.is_relative_to(root) else 0
    places = [place for place, part in enumerate(parts) if part.lower() == "images" and place >= start]
    found: list[Path] = []
    for chosen in (*([place] for place in reversed(places)), places):
        for like in (True, False):
            renamed = [_labels(part, like) if place in chosen else part for place, part in enumerate(parts)]
            found += [Path(*renamed)] if chosen else []
    return list(dict.fromkeys((*found, pictures)))


def find_texts(pictures: Sequence[Path], root: Path, issues: IssueLog) -> list[Path | None]:
    """The text file of each picture, or None where there is none; `issues` is told what is unusual about them."""
    listings: dict[Path, dict[str, list[Path]]] = {}
    places = {folder: label_folders(folder, root) for folder in {picture.parent for picture in pictures}}
    found = []
    for picture in pictures:
        folders = places[picture.parent]
        text = next((text for folder in folders if (text := _text(picture, folder, listings))), None)
        if text is not None and text.parent == picture.parent and len(folders) > 1:
            message = "{count} text files lie beside their pictures, and not in labels/; they are used"
            issues.warn_shared("labels-beside", message, file=text)
        if text is not None and text.stem != picture.stem:
            message = (
                "{count} text files are named as their pictures but for letter case or Unicode form; they are used"
            )
            issues.warn_shared("name-spelling", message, file=text)
        found.append(text)
    return found


def is_text_of_rows(file: Path) -> bool:
    """Whether a file may belong to a picture, by its name."""
    listing = file.name in NAME_FILES or file.stem.lower() in SPLIT_FOLDERS
    return file.suffix.lower() == ".txt" and not listing


def looks_like_rows(file: Path) -> bool:
    """Whether the first line of a text file, if it has any, is one of numbers: a class, then at least four."""
    try:
        lines = read_lines(file, IssueLog("skip"))
        return not lines or (len(lines[0][1].split()) >= 5 and all(map(_is_number, lines[0][1].split())))
    except OSError:
        return False


def has_rows_beside(folder: Path) -> bool:
    """Whether most pictures of a folder have a text file beside them, and the first of these hold rows of numbers."""
    files = files_in(folder)
    stems = {folded(file.stem) for file in pictures_among(files)}
    texts = [file for file in files if is_text_of_rows(file) and folded(file.stem) in stems]
    some = texts[:_LOOKED_AT]
    filled = [file for file in some if file.stat().st_size]
    return 2 * len(texts) > len(stems) and bool(filled) and all(map(looks_like_rows, some))


def _text(picture: Path, folder: Path, listings: dict[Path, dict[str, list[Path]]]) -> Path | None:
    exact = folder / f"{picture.stem}.txt"
    if folder not in listings:
        listings[folder] = {}
        for file in files_in(folder):
            if file.suffix.lower() == ".txt":
                listings[folder].setdefault(folded(file.stem), []).append(file)
    alike = listings[folder].get(folded(picture.stem), [])
    return exact if exact in alike else alike[0] if len(alike) == 1 else None


def _labels(part: str, like: bool) -> str:
    if not like or part.islower():
        return "labels"
    return "LABELS" if part.isupper() else "Labels"


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
