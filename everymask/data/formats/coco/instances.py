"""COCO instances: one JSON file per split, pictures beside it (https://cocodataset.org/#format-data).

Classes are the categories in the order of their ids. Read are polygons, compressed and uncompressed RLE, crowds, and
files with boxes only; captions, keypoints and other keys are ignored.
"""

from __future__ import annotations

import mmap
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from everymask.core.files import write_json
from everymask.core.labels import Labels
from everymask.core.memory import many_objects
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.areas import Measured, confirmed_areas
from everymask.data.formats.coco.federated import note_federated
from everymask.data.formats.coco.objects import Place, compact, entry_id, is_id, read_object
from everymask.data.formats.coco.panoptic_entries import has_segments
from everymask.data.formats.coco.pictures import Places, places_of, read_pictures, splits_of
from everymask.data.formats.crowds import Crowds
from everymask.data.formats.datumaro.recognition import is_datumaro
from everymask.data.formats.drawn.writing import report_ignored
from everymask.data.formats.finding.named import folded as same_name
from everymask.data.formats.folders import SPLIT_FOLDERS, copy_picture, files_in, folders_in, unique_ids
from everymask.data.issues import IssueLog, Policy
from everymask.data.records import Annotation, MaskFile, Objects, Polygons, Record, Rle, check_shapes
from everymask.data.strict.json_files import read_strict_json
from everymask.errors import DataError, printable

_KEYS = ("images", "annotations", "categories")
_NO_OBJECTS = {"segments_info": "panoptic segments", "caption": "captions"}
_OTHER_KINDS = ("captions_", "panoptic_", "stuff_", "image_info_", "person_keypoints_", "labels_")
_TOGETHER = 20_000


def looks_like_coco(path: Path) -> bool:
    """Whether this is a COCO file, or a folder that holds some in one of the usual places."""
    return bool(annotation_files(path))


@many_objects()
def read_coco(
    path: str | Path, images: str | Path | None = None, *, policy: Policy = "strict", crowds: Crowds = "as-marked"
) -> Dataset:
    """Read a COCO file, or a folder with one file or several, each of which becomes a split named after it.

    A file on its own is a split only if its name says train: data for validation may be all that somebody trains on.
    A folder's files are looked for in it, in its `annotations/` and in folders called train, valid and so on. Pictures
    are looked for in `images`, or in the usual places around the annotation file; every picture's header is checked.

    A box without area is replaced by that of the mask, with a warning; where the mask has no area either, the object
    is a defect. So is a missing `iscrowd`, since a group taken for one object spoils training and scores; where no
    object of a file has one, it is 0, with a warning. With `crowds="as-objects"` it counts nowhere. Boxes that CVAT
    turned (`attributes`, `rotation`) become their outlines.
    Raises `DataError` that lists all defects with their JSON pointers; with `policy="skip"` the defective objects and
    pictures are left out instead, and a missing `iscrowd` is taken as 0.

    >>> read_coco("annotations/instances_val.json", images="val2017/")  # doctest: +SKIP
    """
    root = Path(path)
    files = annotation_files(root) or ([root] if root.is_file() else [])
    if not files:
        raise DataError(
            f"{printable(root)}: expected a COCO file or a folder with some, but found none",
            hint="name the .json file that has 'images', 'annotations' and 'categories'",
        )
    issues = IssueLog(policy)
    splits, places = splits_of(files), places_of(root, images, issues)
    parts = [_read_file(file, split, places, crowds, issues) for file, split in zip(files, splits, strict=True)]
    names, parts = _merge_names(parts, issues)
    folder = root if root.is_dir() else root.parent
    records = _check_repeats([record for part in parts for record in _with_classes(part, names)], issues)
    checked, boxes_only = check_shapes(_named(records, folder), issues, root)
    noted = issues.finish(printable(root))
    return Dataset(Labels(tuple(names)), checked, "coco", folder, noted, boxes_only)


def write_coco(path: str | Path, dataset: Dataset) -> None:
    """Write a data set as COCO: polygons and RLE as they are, mask files as RLE.

    Objects are numbered anew where ids are missing or repeat. Regions without truth are left out with a logged warning.
    A `path` that ends in `.json` receives the annotations alone, with file names below the pictures' common folder.
    Otherwise it is a folder: `annotations/instances_<split>.json` and copies of the pictures in `images/<split>/`.
    """
    target = Path(path)
    report_ignored(target, dataset)
    if target.suffix.lower() == ".json":
        folder = _common_folder(dataset.records, dataset.root)
        names = [record.image.relative_to(folder).as_posix() for record in dataset.records]
        write_json(target, _document(dataset, range(len(dataset)), names))
        return
    for split in dict.fromkeys(record.split for record in dataset.records):
        rows = [row for row, record in enumerate(dataset.records) if record.split == split]
        folder = target / "images" / split if split else target / "images"
        names = [copy_picture(dataset.records[row], folder).name for row in rows]
        stem = f"instances_{split}" if split else "instances"
        write_json(target / "annotations" / f"{stem}.json", _document(dataset, rows, names))


@dataclass(frozen=True, slots=True)
class _Part:
    """One annotation file: records whose class ids count in `names`."""

    file: Path
    names: tuple[str, ...]
    records: tuple[Record, ...]


def annotation_files(path: Path) -> list[Path]:
    """The COCO files that a path stands for: itself, or those in a folder; instances before other kinds."""
    if path.is_file():
        return [path] if path.suffix.lower() == ".json" and _is_coco(path) else []
    if not path.is_dir():
        return []
    split_folders = [place for place in folders_in(path) if place.name.lower() in SPLIT_FOLDERS]
    for places in ([path], [path / "annotations"], split_folders):
        found = [file for place in places for file in files_in(place, (".json",))]
        found = [file for file in found if _is_coco(file)]
        instances = [file for file in found if file.name.startswith("instances")]
        chosen = instances or [file for file in found if not file.name.startswith(_OTHER_KINDS)]
        if chosen:
            return chosen
        others = [file for file in found if file.name.startswith(("person_keypoints_", "labels_"))]
        if others:
            return others
    return []


def _is_coco(file: Path) -> bool:
    return _has_keys(file) and not is_datumaro(file) and not has_segments(file)


def _has_keys(file: Path) -> bool:
    """Whether at least two of COCO's three keys occur, without parsing the file."""
    try:
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[:64].lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0").startswith(b"["):
                return False  # a list: results, or another program's tasks
            encoding = "utf-16-le" if data[:2] == b"\xff\xfe" else "utf-16-be" if data[:2] == b"\xfe\xff" else "utf-8"
            return sum(data.find(f'"{key}"'.encode(encoding)) >= 0 for key in _KEYS) >= 2
    except (OSError, ValueError):
        return False


def _read_file(file: Path, split: str | None, places: Places, crowds: Crowds, issues: IssueLog) -> _Part:
    document = read_strict_json(file, issues, compact=compact)
    nothing = _Part(file, (), ())
    if document is None:
        return nothing
    if not isinstance(document, dict):
        hint = "a list is what results look like: name the file with the annotations"
        issues.error("coco-top", "expected an object with images, annotations and categories", file=file, hint=hint)
        return nothing
    lists: dict[str, list[Any]] = {}
    for key in _KEYS:
        if isinstance(document.get(key), list):
            lists[key] = document[key]
        else:
            issues.error("coco-field", f"expected a list called {key}", file=file, where=f"/{key}")
    if len(lists) < len(_KEYS):
        return nothing
    first = lists["annotations"][0] if lists["annotations"] else None
    for key in (key for key in _NO_OBJECTS if isinstance(first, dict) and key in first):
        message = f"the file holds {_NO_OBJECTS[key]}, and expected were objects"
        hint = "name the file of objects, such as instances_val.json"
        issues.error("coco-kind", message, file=file, where=f"/annotations/0/{key}", hint=hint)
        return nothing
    classes, names = read_categories(lists["categories"], file, issues)
    pictures, image_ids = read_pictures(lists["images"], file, places, issues)
    entries = lists["annotations"]
    unmarked = not any(isinstance(entry, dict) and "iscrowd" in entry for entry in entries)
    if unmarked and entries and crowds == "as-marked":
        message = "no object has iscrowd, so it counts as 0: every annotation is one object"
        issues.warn("crowd-missing", message, file=file, where="/annotations")
    outlined = any(isinstance(entry, dict) and entry.get("segmentation") not in (None, []) for entry in entries)
    known = _Known(file, classes, image_ids, pictures, {}, crowds, unmarked, outlined)
    objects: dict[int, list[Annotation]] = {number: [] for number in pictures}
    for begin in range(0, len(entries), _TOGETHER):
        # Taken out, so that the parsed file is freed while the data set grows.
        part = entries[begin : begin + _TOGETHER]
        entries[begin : begin + _TOGETHER] = [None] * len(part)
        for image_id, annotation in _read_annotations(part, begin, known, issues):
            objects[image_id].append(annotation)
    shown = {number: {annotation.class_id for annotation in found} for number, found in objects.items()}
    note_federated(lists["images"], shown, classes, file, issues)
    records = [replace(record, truth=Objects(tuple(objects[key])), split=split) for key, record in pictures.items()]
    return _Part(file, names, tuple(records))


def read_categories(entries: Sequence[Any], file: Path, issues: IssueLog) -> tuple[dict[int, int], tuple[str, ...]]:
    """Category id -> class id, and the names by class id, in the order of their ids."""
    names: dict[int, str] = {}
    seen: dict[int, str] = {}
    folded: dict[str, str] = {}
    for index, entry in enumerate(entries):
        pointer = f"/categories/{index}"
        number = entry_id(entry, (file, pointer), seen, issues)
        if number is None:
            continue
        name, where = entry.get("name"), f"{pointer}/name"
        if not isinstance(name, str) or not name.strip():
            issues.error("category-name", "expected a name", file=file, where=where, value=name)
        elif same_name(name) in folded:
            message = f"the name stands in {folded[same_name(name)]} already"
            hint = "give the classes different names, or join them under one id"
            issues.error("repeated-class", message, file=file, where=where, value=name, hint=hint)
        else:
            names[number] = name
            folded[same_name(name)] = where
    ordered = sorted(names)
    return {number: row for row, number in enumerate(ordered)}, tuple(names[number] for number in ordered)


@dataclass(frozen=True, slots=True)
class _Known:
    """What annotations of one file refer to; `seen` grows as they are read."""

    file: Path
    classes: dict[int, int]
    image_ids: set[int]
    pictures: dict[int, Record]
    seen: dict[int, str]
    crowds: Crowds
    unmarked: bool
    outlined: bool


def _read_annotations(
    entries: Sequence[Any], first: int, known: _Known, issues: IssueLog
) -> Iterable[tuple[int, Annotation]]:
    """The image ids and the annotations that can be used, of entries of which the first stands at place `first`."""
    found: list[tuple[int, Annotation]] = []
    masks: list[Measured] = []
    rows: list[int] = []
    for index, entry in enumerate(entries, first):
        read = _read_annotation(entry, index, known, issues)
        if read is None:
            continue
        image_id, annotation = read
        if isinstance(annotation.shape, Polygons | Rle):
            masks.append(Measured(annotation, f"/annotations/{index}", known.pictures[image_id].size))
            rows.append(len(found))
        found.append(read)
    for row, area in zip(rows, confirmed_areas(masks, known.file, issues), strict=True):
        image_id, annotation = found[row]
        if area != annotation.area:
            found[row] = image_id, replace(annotation, area=area)
    return found


def _read_annotation(entry: Any, index: int, known: _Known, issues: IssueLog) -> tuple[int, Annotation] | None:
    """The image id and the annotation, or None when the log was told why not, or the picture cannot be used."""
    pointer = f"/annotations/{index}"
    if entry_id(entry, (known.file, pointer), known.seen, issues) is None:
        return None
    image_id, category_id = entry.get("image_id"), entry.get("category_id")
    for key, value, ids in (("image", image_id, known.image_ids), ("category", category_id, known.classes)):
        if not is_id(value) or value not in ids:
            message = f"expected the id of a {key} that the file lists"
            where = f"{pointer}/{key}_id"
            issues.error(f"unknown-{key}", message, file=known.file, where=where, value=value)
            return None
    record = known.pictures.get(image_id)
    if record is None:
        return None
    place = Place(known.file, pointer, record.size, issues, known.crowds, known.unmarked, known.outlined)
    annotation = read_object(entry, known.classes[category_id], place)
    return None if annotation is None else (image_id, annotation)


def _merge_names(parts: Sequence[_Part], issues: IssueLog) -> tuple[list[str], list[_Part]]:
    """All class names in the order in which the files bring them, and the parts with these spellings.

    Names that differ only in Unicode form look alike, and are one.
    """
    spellings: dict[str, str] = {}
    for name in (name for part in parts for name in part.names):
        first = spellings.setdefault(unicodedata.normalize("NFC", name), name)
        if first != name:
            message = "{count} class names differ from another file's only in Unicode form; they are one class"
            issues.warn_shared("class-spelling", message, file=parts[0].file)
    parts = [
        replace(part, names=tuple(spellings[unicodedata.normalize("NFC", name)] for name in part.names))
        for part in parts
    ]
    names = list(spellings.values())
    for part in parts:
        missing = [name for name in names if name not in part.names]
        if missing and part.names:
            message = "classes that other files list are missing here"
            issues.warn("other-classes", message, file=part.file, where="/categories", value=missing)
    return names, parts


def _with_classes(part: _Part, names: Sequence[str]) -> Iterable[Record]:
    classes = [names.index(name) for name in part.names]
    if classes == list(range(len(classes))):
        return part.records
    return [
        replace(
            record,
            truth=Objects(tuple(replace(a, class_id=classes[a.class_id]) for a in record.objects.annotations)),
        )
        for record in part.records
    ]


def _check_repeats(records: Iterable[Record], issues: IssueLog) -> list[Record]:
    """The records without those whose picture is listed already, in the same split or in another."""
    kept: dict[Path, Record] = {}
    for record in records:
        path = record.image
        first = kept.setdefault(path, record)
        if first is not record:
            code, message = "repeated-picture", "the picture is listed twice"
            if first.split != record.split:
                code, message = "split-leak", f"the picture is in the splits {first.split} and {record.split}"
            issues.error(code, message, file=path, hint="list it once")
    return list(kept.values())


def _named(records: Sequence[Record], root: Path) -> list[Record]:
    ids = unique_ids([record.image for record in records], root)
    return [replace(record, id=name) for record, name in zip(records, ids, strict=True)]


def _common_folder(records: Sequence[Record], root: Path) -> Path:
    folders = {record.image.parent for record in records} or {root}
    common = next(iter(folders))
    while not all(folder.is_relative_to(common) for folder in folders):
        common = common.parent
    return common


def _document(dataset: Dataset, rows: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
    given = [a.id for row in rows for a in dataset.records[row].objects.annotations]
    numbered = None not in given and len(set(given)) == len(given)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (row, name) in enumerate(zip(rows, names, strict=True), 1):
        record = dataset.records[row]
        height, width = record.size
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for entry in _entries(dataset, row):
            number = entry["id"] if numbered else len(annotations) + 1
            annotations.append({**entry, "id": number, "image_id": image_id})
    categories = [{"id": row + 1, "name": name} for row, name in enumerate(dataset.labels.names)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _entries(dataset: Dataset, row: int) -> list[dict[str, Any]]:
    record, truth = dataset.records[row], dataset.objects(row)
    drawn = truth.masks.to_rle() if truth.masks is not None else []
    areas = truth.masks.areas().tolist() if truth.masks is not None else []
    entries = []
    for index, annotation in enumerate(record.objects.annotations):
        outline: Any = []
        match annotation.shape:
            case Polygons(rings) if not annotation.crowd:
                outline = [ring.ravel().tolist() for ring in rings]
            case Rle(counts):
                outline = {"size": list(record.size), "counts": counts.decode("ascii")}
            case Polygons() | MaskFile():
                outline = {"size": list(record.size), "counts": drawn[index].decode("ascii")}
        x1, y1, x2, y2 = annotation.box or truth.boxes[index].tolist()
        measured = areas[index] if areas else (x2 - x1) * (y2 - y1)
        entries.append(
            {
                "id": annotation.id,
                "category_id": annotation.class_id + 1,
                "segmentation": outline,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": measured if annotation.area is None else annotation.area,
                "iscrowd": int(annotation.crowd),
            }
        )
    return entries
