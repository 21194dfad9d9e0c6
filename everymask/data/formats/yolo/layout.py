"""Where a YOLO data set keeps what: its settings, class names, pictures and splits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from everymask.data.formats.finding.named import NamedFiles, exists, leads_away, path_ends, plain_path
from everymask.data.formats.folders import (
    SPLIT_FOLDERS,
    files_in,
    folders_in,
    pictures_in,
    read_lines,
    read_names,
    split_of,
)
from everymask.data.formats.yolo.texts import NAME_FILES, has_rows_beside, label_folders, looks_like_rows
from everymask.data.issues import IssueLog
from everymask.data.strict.yaml_files import read_strict_yaml
from everymask.errors import printable

_SPLITS = ("train", "val", "test")


def names_splits(file: Path) -> bool:
    """Whether a YAML or Darknet's .data file has names and one of train, val and test, without parsing it."""
    try:
        text = file.read_text("utf-8", errors="replace")[:100_000]
    except OSError:
        return False
    sign = "=" if file.suffix.lower() == ".data" else ":"
    keys = {line.partition(sign)[0].strip("'\" ") for line in text.splitlines() if not line.startswith((" ", "#", "-"))}
    return "names" in keys and bool(keys & set(_SPLITS))


def find_settings(root: Path) -> Path | None:
    """The folder's data.yaml, under whatever name, or Darknet's obj.data."""
    files = files_in(root, (".yaml", ".yml", ".data"))
    yaml = [file for file in files if file.suffix.lower() in (".yaml", ".yml")]
    preferred = sorted(yaml, key=lambda file: (file.stem not in ("data", "dataset"), file.name))
    darknet = [file for file in files if file.suffix.lower() == ".data"]
    return next((file for file in (*preferred, *darknet) if names_splits(file)), None)


def read_settings(file: Path, issues: IssueLog) -> dict[str, Any] | None:
    """What a data.yaml or Darknet's .data file says, or None where `issues` was told why it cannot be read.

    Darknet's lines (`train = data/train.txt`) become the keys that data.yaml has; `names` is a file there.
    """
    if file.suffix.lower() != ".data":
        return read_strict_yaml(file, issues)
    rows = [line.partition("=") for _, line in read_lines(file, issues) or ()]
    settings: dict[str, Any] = {key.strip(): value.strip() for key, _, value in rows}
    settings = {("val" if key == "valid" else key): value for key, value in settings.items()}
    listed = NamedFiles(file.parent, issues).find(settings.get("names", ""), [file.parent], file=file, where="names")
    names = read_names(listed, issues) if listed is not None else ()
    return {key: settings[key] for key in _SPLITS if key in settings} | {"names": list(names)}


def read_class_names(
    settings: dict[str, Any], file: Path | None, root: Path, issues: IssueLog
) -> tuple[str, ...] | None:
    """The names by class number; None where nothing tells them."""
    listed = settings.get("names")
    if file is None:
        found = next((root / name for name in NAME_FILES if (root / name).is_file()), None)
        return None if found is None else read_names(found, issues)
    if isinstance(listed, dict):
        # Some tools write the numbers as text.
        numbered = {int(key) if str(key).isdecimal() else key: name for key, name in listed.items()}
        numbers = list(range(len(listed)))
        if sorted(numbered, key=str) != sorted(numbers, key=str):
            message = f"expected the class numbers 0 to {len(listed) - 1} without gaps"
            issues.error("class-names", message, file=file, where="names", value=sorted(listed, key=str))
            return ()
        listed = [numbered[number] for number in numbers]
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
    if parts.get("train") and set(parts["train"]) == set(parts.get("val", ())):
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
    named = NamedFiles(file.parent, issues)
    for entry in entries:
        if not isinstance(entry, str) or not isinstance(base, str) or "\0" in entry + base:
            issues.error("yaml-path", "expected a path", file=file, where=split, value=entry)
            continue
        found = _place(base, entry, file, split, issues)
        if found is not None and found.is_file():
            bases = list(dict.fromkeys((found.parent, file.parent)))
            for number, line in read_lines(found, issues) or ():
                where = f"line {number}"
                picture = named.find(line, bases, file=found, where=where, code="list-path")
                pictures += [] if picture is None else [picture]
        elif found is not None:
            folders = [found, *(sub for sub in sorted(found.rglob("*")) if sub.is_dir())]
            pictures += [picture for folder in folders for picture in pictures_in(folder, issues).values()]
    return [Path(picture.as_posix()) for picture in pictures]


def _place(base: str, entry: str, file: Path, split: str, issues: IssueLog) -> Path | None:
    """The folder or list that an entry names below the folder of data.yaml; None where `issues` was told why not.

    A path that leads elsewhere is not followed: the longest end of it that is here is taken, and noted.
    """
    root = file.parent
    whole = entry if leads_away(entry) or not base else f"{base}/{entry}"
    meant = root / plain_path(whole)
    below = Path(os.path.normpath(meant.absolute())).is_relative_to(os.path.normpath(root.absolute()))
    if not leads_away(whole) and below and exists(meant):
        return Path(os.path.normpath(meant))
    absolute = Path(whole)
    if absolute.is_absolute() and absolute.is_relative_to(root.absolute()) and exists(absolute):
        return absolute
    tried = [root / plain_path(entry)] if not leads_away(entry) and ".." not in plain_path(entry).parts else []
    tried += [root / end for end in path_ends(whole)]
    found = next((place for place in tried if exists(place)), None)
    if found is not None:
        message = "{count} paths lead elsewhere (path, train, val, test); what lies beside the file is taken"
        issues.warn_shared("yaml-elsewhere", message, file=file)
        return found
    hint = f"looked for {', '.join(str(place) for place in dict.fromkeys((meant, *tried)) if below or place != meant)}"
    message = "there is no such folder or file"
    if not below or leads_away(whole):
        message = "the path leads out of the folder of this file, and nothing of that name lies beside it"
        hint += f"; put {printable(file.name)} into the folder of the data, and name that folder"
    issues.error("yaml-path", message, file=file, where=split, value=whole, hint=hint)
    return None


def picture_folders(root: Path) -> list[Path]:
    """The folders of pictures with labels: images/, images/<split>/ or <split>/images/, or any with texts beside."""
    splits = [place for place in folders_in(root) if place.name.lower() in SPLIT_FOLDERS]
    tops = [place for base in (root, *splits) for place in folders_in(base) if place.name.lower() == "images"]
    candidates = [place for top in tops for place in (top, *folders_in(top))]
    found = [place for place in candidates if _has_texts(place, root)]
    return found or [place for place in (root, *splits) if has_rows_beside(place)]


def _has_texts(pictures: Path, root: Path) -> bool:
    texts = (file for folder in label_folders(pictures, root) for file in files_in(folder, (".txt",)))
    return any(file.parent != pictures or looks_like_rows(file) for file in texts)


def _split_name(folder: Path, root: Path) -> str:
    below = [part for part in folder.relative_to(root).parts if part.lower() != "images"]
    name = below[-1] if below else "train"
    return SPLIT_FOLDERS.get(name.lower().rstrip("0123456789"), name)
