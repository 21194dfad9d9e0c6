"""Datumaro's data sets, as Datumaro and CVAT write them: a JSON file for each subset, with the pictures beside.

    annotations/<subset>.json      images/<subset>/X.png, or images/X.png, or elsewhere below
    annotations/default.json       no split

Read are polygons, masks, boxes and ellipses; of the last two CVAT may have turned some (`attributes`, `rotation`).
Shapes of one label and `group` (unless that is 0) are one object, and the attribute `is_crowd` marks a group of many.
Points, lines, cuboids, labels of whole pictures and the like cover no area and are left out, with a warning that counts
them; so are items that are videos, their frames, or point clouds. Classes are the labels in the order of the files.
An item without annotations shows no objects. What Datumaro's binary files (.datum) hold is not read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from everymask.core.files import write_json
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.objects import Place
from everymask.data.formats.datumaro.annotations import read_annotation, written_annotations
from everymask.data.formats.datumaro.recognition import is_datumaro
from everymask.data.formats.drawn.pictures import Pictures, files_of_kind
from everymask.data.formats.drawn.reading import Listed, annotation_files, drawn_dataset, split_name
from everymask.data.formats.drawn.shapes import Drawn
from everymask.data.formats.drawn.writing import pieces, report_lost
from everymask.data.formats.folders import copy_picture, files_in
from everymask.data.issues import IssueLog, Policy
from everymask.data.records import Record
from everymask.data.strict.json_files import read_strict_json
from everymask.errors import printable

_ANNOTATIONS, _DEFAULT = "annotations", "default"
_OTHER_MEDIA = ("video", "video_frame", "point_cloud")
_FORMAT_VERSION, _IMAGES = "1.0", 2


def looks_like_datumaro(path: Path) -> bool:
    """Whether this is a JSON file of Datumaro, or a folder that holds some, itself or in `annotations/`."""
    return bool(_annotation_files(path))


def read_datumaro(path: str | Path, images: str | Path | None = None, *, policy: Policy = "strict") -> Dataset:
    """The data set of a JSON file of Datumaro, or of a folder with some; this module's text says how they are read.

    `images` is the folder of the pictures, where they are not below that of the annotations. Raises `DataError` with
    all defects under the strict policy; with `"skip"` defective shapes and pictures are left out.
    """
    given = Path(path)
    hint = "name the folder that has annotations/ and images/, or a .json file in annotations/"
    files, place = annotation_files(given, _annotation_files, "a JSON file of Datumaro", hint)
    root = place.parent if place.name == _ANNOTATIONS else place
    issues = IssueLog(policy)
    pictures = Pictures(root if images is None else Path(images))
    splits = [split_name(file.stem) for file in files]
    splits = splits if splits == ["train"] or len(files) > 1 else [None]
    listed: list[Listed] = []
    names: dict[str, None] = {}
    for file, split in zip(files, splits, strict=True):
        document = read_strict_json(file, issues)
        if document is None:
            continue
        items = document.get("items") if isinstance(document, dict) else None
        if not isinstance(items, list):
            issues.error("datumaro-top", "expected an object with a list called items", file=file, where="/items")
            continue
        labels = _labels(document.get("categories"), file, issues)
        names.update(dict.fromkeys(labels))
        listed += _listed(items, labels, file, pictures, split, issues)
    what = f"Datumaro's files in {printable(given)}"
    return drawn_dataset(listed, format="datumaro", root=root, issues=issues, names=tuple(names), what=what)


def write_datumaro(folder: str | Path, dataset: Dataset) -> None:
    """Write `annotations/<split>.json`, and copies of the pictures in `images/<split>/`; `default` is no split.

    Outlines stay outlines, joined by a `group` where an object has several; boxes stay boxes, everything else becomes a
    mask. Left out with a logged warning that counts them are objects without a pixel and regions without truth; areas,
    ids, and boxes beside masks are not kept.
    """
    root, lost = Path(folder), Counter[str]()
    items: dict[str, list[dict[str, Any]]] = {}
    for index, record in enumerate(dataset.records):
        subset = record.split or _DEFAULT
        picture = copy_picture(record, root / "images" / subset)
        entries: list[dict[str, Any]] = []
        for piece in pieces(dataset, index, lost):
            class_id = record.objects.annotations[piece.row].class_id
            entries += written_annotations(piece, class_id, record.size, len(entries) + 1)
        items.setdefault(subset, []).append(_item(record, picture, entries))
    for subset, rows in items.items():
        write_json(root / _ANNOTATIONS / f"{subset}.json", _document(dataset, rows))
    report_lost(root, lost)


def _annotation_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() == ".json" and is_datumaro(path) else []
    for place in (path, path / _ANNOTATIONS):
        found = files_of_kind(files_in(place, (".json",)), is_datumaro)
        if found:
            return found
    return []


def _labels(categories: Any, file: Path, issues: IssueLog) -> tuple[str, ...]:
    """The labels by their numbers. One without a name has none, so that objects of it are defects."""
    kinds = categories if isinstance(categories, dict) else {}
    label = kinds.get("label") if isinstance(kinds.get("label"), dict) else {}
    entries = label.get("labels", []) if isinstance(label, dict) else []
    names: list[str] = []
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        name, where = entry.get("name") if isinstance(entry, dict) else None, f"/categories/label/labels/{index}/name"
        if not isinstance(name, str) or not name.strip():
            issues.error("category-name", "expected a name", file=file, where=where, value=name)
            return ()
        if name in names:
            message, hint = "the name stands there twice", "give the classes different names"
            issues.error("repeated-class", message, file=file, where=where, value=name, hint=hint)
        names.append(name)
    return tuple(names)


def _listed(
    items: Sequence[Any], labels: tuple[str, ...], file: Path, pictures: Pictures, split: str | None, issues: IssueLog
) -> Iterator[Listed]:
    for index, item in enumerate(items):
        where = f"/items/{index}"
        if not isinstance(item, dict) or not isinstance(item.get("id"), str):
            issues.error("item", "expected an object with an id and annotations", file=file, where=where, value=item)
            continue
        if any(kind in item for kind in _OTHER_MEDIA):
            message = "{count} items are videos, their frames or point clouds, and are left out"
            issues.warn_shared("passed-over", message, file=file, hint="export the frames as pictures")
            continue
        entries = item.get("annotations", [])
        if not isinstance(entries, list):
            message = "expected a list of annotations"
            issues.error("annotations", message, file=file, where=f"{where}/annotations", value=entries)
            continue
        image = item["image"] if isinstance(item.get("image"), dict) else {}
        size = image.get("size")
        if size is not None and not _is_size(size):
            message = "expected height and width as whole numbers"
            issues.error("image-size", message, file=file, where=f"{where}/image/size", value=size)
            continue
        picture = _find(item["id"], image.get("path"), pictures, file, where, issues)
        if picture is not None:
            stated = None if size is None else (size[0], size[1])
            yield Listed(picture, file, where, partial(_draw, entries, labels), stated, split)


def _is_size(found: Any) -> bool:
    return isinstance(found, list) and len(found) == 2 and all(type(side) is int and side > 0 for side in found)


def _find(name: str, path: Any, pictures: Pictures, file: Path, where: str, issues: IssueLog) -> Path | None:
    """The picture in the subset's folder, by its path or else by the item's id, which is its name without ending."""
    if isinstance(path, str) and path.strip():
        return pictures.find(f"{file.stem}/{path}", issues, file=file, where=f"{where}/image/path")
    return pictures.find(f"{file.stem}/{name}", issues, file=file, where=f"{where}/id", stem=True)


def _draw(entries: Sequence[Any], labels: Sequence[str], place: Place) -> Iterator[Drawn]:
    for index, entry in enumerate(entries):
        drawn = read_annotation(entry, labels, place, f"/annotations/{index}")
        if drawn is not None:
            yield drawn


def _item(record: Record, picture: Path, entries: list[dict[str, Any]]) -> dict[str, Any]:
    image = {"path": picture.name, "size": list(record.size)}
    return {"id": picture.stem, "annotations": entries, "attr": {}, "image": image}


def _document(dataset: Dataset, items: list[dict[str, Any]]) -> dict[str, Any]:
    labels = [{"name": name, "parent": "", "attributes": []} for name in dataset.labels.names]
    colours = [
        {"label_id": row, "r": red, "g": green, "b": blue}
        for row, (red, green, blue) in enumerate(dataset.labels.colours)
    ]
    label = {"labels": labels, "label_groups": [], "attributes": []}
    categories = {"label": label, "mask": {"colormap": colours}}
    return {
        "dm_format_version": _FORMAT_VERSION,
        "media_type": _IMAGES,
        "infos": {},
        "categories": categories,
        "items": items,
    }
