"""Where a YOLO data set keeps what: its settings, class names, pictures and splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from everymask.data.formats.folders import (
    SPLIT_FOLDERS,
    files_in,
    folders_in,
    pictures_in,
    read_lines,
    read_names,
    split_of,
)
from everymask.data.issues import IssueLog

_SPLITS = ("train", "val", "test")
_NAME_FILES = ("classes.txt", "obj.names", "names.txt", "classes.names", "_darknet.labels")


def names_splits(file: Path) -> bool:
    """Whether a YAML file has names and at least one of train, val and test, without parsing it."""
    try:
        text = file.read_text("utf-8", errors="replace")[:100_000]
    except OSError:
        return False
    keys = {line.partition(":")[0].strip("'\" ") for line in text.splitlines() if not line.startswith((" ", "#", "-"))}
    return "names" in keys and bool(keys & set(_SPLITS))


def find_settings(root: Path) -> Path | None:
    """The folder's data.yaml, under whatever name."""
    files = [file for file in files_in(root) if file.suffix.lower() in (".yaml", ".yml")]
    preferred = sorted(files, key=lambda file: (file.stem not in ("data", "dataset"), file.name))
    return next((file for file in preferred if names_splits(file)), None)


def read_class_names(
    settings: dict[str, Any], file: Path | None, root: Path, issues: IssueLog
) -> tuple[str, ...] | None:
    """The names by class number; None where nothing tells them."""
    listed = settings.get("names")
    if file is None:
        found = next((root / name for name in _NAME_FILES if (root / name).is_file()), None)
        return None if found is None else read_names(found, issues)
    if isinstance(listed, dict):
        numbers = list(range(len(listed)))
        if sorted(listed, key=str) != sorted(numbers, key=str):
            message = f"expected the class numbers 0 to {len(listed) - 1} without gaps"
            issues.error("class-names", message, file=file, where="names", value=sorted(listed, key=str))
            return ()
        listed = [listed[number] for number in numbers]
    if not isinstance(listed, list) or not listed:
        if settings:
            issues.error("class-names", "expected a list of class names", file=file, where="names", value=listed)
        return ()
    names: list[str] = []
    for number, name in enumerate(listed):
        if isinstance(name, bool) or not isinstance(name, str | int) or not str(name).strip():
            hint = "put the name in quotes: YAML reads no, off and yes as truth values"
            issues.error("class-names", "expected a name", file=file, where=f"names/{number}", value=name, hint=hint)
        elif str(name).casefold() in (known.casefold() for known in names):
            issues.error(
                "repeated-class", "the name stands there twice", file=file, where=f"names/{number}", value=name
            )
        else:
            names.append(str(name))
    if settings.get("nc") is not None and settings["nc"] != len(listed):
        issues.error("class-count", f"names lists {len(listed)} classes", file=file, where="nc", value=settings["nc"])
    return tuple(names)


def list_pictures(
    settings: dict[str, Any], file: Path | None, root: Path, issues: IssueLog
) -> list[tuple[Path, str | None]]:
    """Every picture and its split."""
    if file is not None and any(settings.get(split) for split in _SPLITS):
        parts = {split: _listed(settings, split, file, issues) for split in _SPLITS if settings.get(split)}
    else:
        parts = {}
        for folder in picture_folders(root):
            parts.setdefault(_split_name(folder, root), []).extend(pictures_in(folder, issues).values())
    return _split_pictures({split: list(dict.fromkeys(pictures)) for split, pictures in parts.items()}, root, issues)


def _split_pictures(parts: dict[str, list[Path]], root: Path, issues: IssueLog) -> list[tuple[Path, str | None]]:
    if len(parts) < 2:
        pictures = [picture for pictures in parts.values() for picture in pictures]
        # `train` has to be listed, so that it says nothing; a folder of that name does.
        named = all(picture.is_relative_to(root) and split_of(picture, root) == "train" for picture in pictures)
        return [(picture, "train" if named else None) for picture in pictures]
    if set(parts.get("train", ())) == set(parts.get("val", [Path()])):
        issues.warn("same-splits", "train and val list the same pictures; the data set counts as one without splits")
        return [(picture, None) for picture in dict.fromkeys(p for pictures in parts.values() for p in pictures)]
    found: dict[Path, str | None] = {}
    for split, pictures in parts.items():
        for picture in pictures:
            if picture in found:
                message = f"the picture is in the splits {found[picture]} and {split}"
                issues.error("split-leak", message, file=picture, hint="list it once")
            found.setdefault(picture, split)
    return list(found.items())


def _listed(settings: dict[str, Any], split: str, file: Path, issues: IssueLog) -> list[Path]:
    """The pictures that an entry of data.yaml names: a folder, a text file with one picture per line, or several."""
    entries = settings[split] if isinstance(settings[split], list) else [settings[split]]
    base = settings.get("path") or ""
    pictures: list[Path] = []
    for entry in entries:
        if not isinstance(entry, str) or not isinstance(base, str) or "\0" in entry + base:
            issues.error("yaml-path", "expected a path", file=file, where=split, value=entry)
            continue
        # Some tools write paths relative to a folder inside that of data.yaml.
        near = entry
        while near.startswith("../"):
            near = near.removeprefix("../")
        tried = [file.parent / base / entry, file.parent / entry, file.parent / near]
        found = next((place for place in tried if place.exists()), None)
        if found is None:
            hint = f"looked for {', '.join(str(place) for place in dict.fromkeys(tried))}"
            issues.error("yaml-path", "there is no such folder or file", file=file, where=split, value=entry, hint=hint)
        elif found.is_file():
            pictures += [_line_path(line, found, file.parent) for _, line in read_lines(found, issues)]
        else:
            folders = [found, *(sub for sub in sorted(found.rglob("*")) if sub.is_dir())]
            pictures += [picture for folder in folders for picture in pictures_in(folder, issues).values()]
    return [Path(picture.as_posix()) for picture in pictures]


def _line_path(line: str, listing: Path, root: Path) -> Path:
    places = [listing.parent / line, root / line]
    return next((place for place in places if place.is_file()), places[0])


def picture_folders(root: Path) -> list[Path]:
    """The folders of pictures with labels: images/, images/<split>/ or <split>/images/."""
    splits = [place for place in folders_in(root) if place.name.lower() in SPLIT_FOLDERS]
    tops = [root / "images", *(place / "images" for place in splits)]
    candidates = [place for top in tops if top.is_dir() for place in (top, *folders_in(top))]
    return [place for place in candidates if any(f.suffix == ".txt" for f in files_in(label_folder(place)))]


def label_folder(pictures: Path) -> Path:
    """The folder in which the last part called images is called labels; without one, the same folder."""
    parts = list(pictures.parts)
    for place in range(len(parts) - 1, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            return Path(*parts)
    return pictures


def _split_name(folder: Path, root: Path) -> str:
    below = [part for part in folder.relative_to(root).parts if part != "images"]
    name = below[-1] if below else "train"
    return SPLIT_FOLDERS.get(name.lower().rstrip("0123456789"), name)
