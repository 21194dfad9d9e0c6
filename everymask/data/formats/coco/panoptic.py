"""COCO panoptic: a JSON file per split, a PNG of segment numbers for each picture (https://cocodataset.org/#format-data).

    annotations/panoptic_val.json     which segments each picture has, and of which category each is
    annotations/panoptic_val/X.png    R + 256 G + 65536 B is the number of a pixel's segment, 0 where there is no truth
    images/val/X.jpg

Classes are the categories in the order of their ids; `isthing` says which of them are things. Maps of two channels say
by themselves what each pixel is (see `two_channels`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from everymask.core.labels import Colour, Labels
from everymask.core.memory import many_objects
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.instances import read_categories
from everymask.data.formats.coco.objects import is_id
from everymask.data.formats.coco.panoptic_entries import Listed, has_segments, read_entries
from everymask.data.formats.coco.panoptic_maps import MAP_FOLDERS, with_maps
from everymask.data.formats.coco.pictures import Places, places_of, read_pictures, splits_of
from everymask.data.formats.coco.two_channels import CATEGORIES, lists_pictures, with_channels
from everymask.data.formats.folders import SPLIT_FOLDERS, files_in, folders_in, unique_ids
from everymask.data.issues import IssueLog, Policy
from everymask.data.panoptic import PanopticCoding
from everymask.data.records import Record
from everymask.data.strict.json_files import read_strict_json
from everymask.errors import DataError, printable

_KEYS = ("images", "categories", "annotations")


def looks_like_coco_panoptic(path: Path) -> bool:
    """Whether this is a COCO file with segments, or a folder that holds some in one of the usual places."""
    return bool(panoptic_files(path))


@many_objects()
def read_coco_panoptic(
    path: str | Path, images: str | Path | None = None, *, policy: Policy = "strict", decode: bool = True
) -> Dataset:
    """Read a COCO panoptic file, or a folder with one or several, each of which becomes a split named after it.

    Pictures are looked for as for `read_coco`, maps in the folder that is called as the JSON file, in `panoptic/` or
    `masks/`, or beside the file. With `decode` every map is decoded once: segments of the map that are not listed and
    listed ones that the map lacks are defects, areas that disagree are warned of. Without it only the headers are read,
    and what is wrong with a map is found when it is used. A number that is listed twice, a category that there is not,
    maps that are no 8-bit colours or of another size than the picture are defects; two segments of one stuff class are
    warned of, and stay two.

    Raises `DataError` that lists all defects with their JSON pointers; with `policy="skip"` pictures with a defect are
    left out instead.
    """
    root = Path(path)
    files = panoptic_files(root) or ([root] if root.is_file() else [])
    if not files:
        raise DataError(
            f"{printable(root)}: expected a COCO panoptic file or a folder with some, but found none",
            hint="name the .json file whose annotations have 'segments_info'",
        )
    issues = IssueLog(policy)
    splits, places = splits_of(files), places_of(root, images, issues)
    read = [_read_file(file, split, places, issues, decode=decode) for file, split in zip(files, splits, strict=True)]
    parts = [part for part in read if part is not None]
    labels = parts[0].labels if parts else Labels(())
    for part in parts:
        if part.labels != labels:
            hint = "give all files the same list of categories"
            message = f"the categories are not those of {parts[0].file.name}"
            issues.error("other-classes", message, file=part.file, where="/categories", hint=hint)
    records = [record for part in parts if part.labels == labels for record in part.records]
    base = root if root.is_dir() else root.parent
    ids = unique_ids([record.image for record in records], base)
    named = tuple(replace(record, id=name) for record, name in zip(records, ids, strict=True))
    noted = issues.finish(printable(root))
    return Dataset(labels, named, "coco-panoptic", base, noted, coding=PanopticCoding())


def panoptic_files(path: Path) -> list[Path]:
    """The COCO panoptic files that a path stands for: itself, or those in a folder."""
    if path.is_file():
        return [path] if path.suffix.lower() == ".json" and _is_panoptic(path) else []
    if not path.is_dir():
        return []
    split_folders = [place for place in folders_in(path) if place.name.lower() in SPLIT_FOLDERS]
    for places in ([path], [path / "annotations"], split_folders):
        found = [file for place in places for file in files_in(place, (".json",)) if _is_panoptic(file)]
        if found:
            return found
    return []


def _is_panoptic(file: Path) -> bool:
    """Whether a file lists segments, or the pictures of maps that do not need that."""
    return has_segments(file) or lists_pictures(file)


@dataclass(frozen=True, slots=True)
class _Part:
    """One annotation file."""

    file: Path
    labels: Labels
    records: tuple[Record, ...]


def _read_file(file: Path, split: str | None, places: Places, issues: IssueLog, *, decode: bool) -> _Part | None:
    """What a file holds; None where `issues` was told that it is none."""
    document = read_strict_json(file, issues)
    if not isinstance(document, dict):
        if document is not None:
            issues.error("coco-top", "expected an object with images, annotations and categories", file=file)
        return None
    channels = lists_pictures(file)
    if channels:
        document = _with_categories(document, file, issues)
    missing = [key for key in _KEYS[: 2 if channels else 3] if not isinstance(document.get(key), list)]
    for key in missing:
        issues.error("coco-field", f"expected a list called {key}", file=file, where=f"/{key}")
    if missing:
        return None
    classes, names = read_categories(document["categories"], file, issues)
    labels = _labels(document["categories"], classes, names, file, issues)
    pictures, image_ids = read_pictures(document["images"], file, places, issues, (file.stem, *MAP_FOLDERS))
    if channels:
        records = with_channels(list(pictures.values()), classes, file, places.files, issues)
        return _Part(file, labels, tuple(replace(record, split=split) for record in records))
    known = Listed(file, classes, labels.things, pictures, image_ids, issues)
    listed = read_entries(document["annotations"], known)
    for number in pictures.keys() - known.seen.keys():
        message = "the picture has no annotation with segments; it is left out"
        issues.warn("unlabelled", message, file=pictures[number].image)
    records = with_maps(listed, file, places.files, issues, decode=decode)
    return _Part(file, labels, tuple(replace(record, split=split) for record in records))


def _with_categories(document: dict[str, Any], file: Path, issues: IssueLog) -> dict[str, Any]:
    """The document with the categories of the file beside it, where it says of none what it is."""
    beside, own = file.with_name(CATEGORIES), document.get("categories")
    if isinstance(own, list) and any(isinstance(entry, dict) and "isthing" in entry for entry in own):
        return document
    return document | {"categories": read_strict_json(beside, issues)} if beside.is_file() else document


def _labels(
    entries: Sequence[Any], classes: Mapping[int, int], names: tuple[str, ...], file: Path, issues: IssueLog
) -> Labels:
    """The classes, which of them are things, and their colours where each has one of its own."""
    things: set[int] = set()
    colours: dict[int, Colour] = {}
    for index, entry in enumerate(entries):
        row = classes.get(entry["id"]) if isinstance(entry, dict) and is_id(entry.get("id")) else None
        if row is None:
            continue
        thing = entry.get("isthing")
        if thing not in (0, 1) or isinstance(thing, float):
            hint = "write 1 for classes that are counted one by one, 0 for stuff such as sky"
            where = f"/categories/{index}/isthing"
            issues.error("isthing", "expected 0 or 1", file=file, where=where, value=thing, hint=hint)
        elif thing:
            things.add(row)
        match entry.get("color"):
            case [int() as red, int() as green, int() as blue] if all(0 <= v <= 255 for v in (red, green, blue)):
                colours[row] = red, green, blue
    repeated = len(colours) - len(set(colours.values()))
    if repeated:
        message = f"{repeated} categories have a color that another one has; they are drawn in colours of our own"
        issues.warn("repeated-colour", message, file=file, where="/categories")
    if repeated or len(colours) < len(names):
        return Labels(names, things=frozenset(things))
    return Labels(names, tuple(colours[row] for row in range(len(names))), frozenset(things))
