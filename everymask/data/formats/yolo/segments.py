"""YOLO segmentation folders: `data.yaml`, pictures in `images/`, one text file per picture in `labels/`.

A line of a text file is a class number and the outline's x and y as fractions of the picture's width and height; a line
with four numbers is a box (centre, width, height). Format: https://docs.ultralytics.com/datasets/segment/.

A picture whose text file is empty has no objects. One whose text file is missing counts as one without objects too,
with a warning. Where more than half are missing, these pictures count as not annotated: each of them is a defect.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from everymask.core.arrays import FloatArray
from everymask.core.files import write_text
from everymask.core.forms.polygons import ring_area
from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.data.dataset import Dataset
from everymask.data.formats.drawn.writing import bridged, report_ignored
from everymask.data.formats.finding.named import folded
from everymask.data.formats.folders import copy_picture, files_in, read_lines, unique_ids
from everymask.data.formats.yolo.layout import (
    find_settings,
    list_pictures,
    names_splits,
    picture_folders,
    read_class_names,
    read_settings,
)
from everymask.data.formats.yolo.texts import find_texts, is_text_of_rows, label_folders
from everymask.data.issues import IssueLog, Policy
from everymask.data.pictures.headers import read_headers
from everymask.data.pictures.read import pictures_among
from everymask.data.records import Annotation, BoxOnly, Objects, Polygons, Record
from everymask.errors import DataError, printable

_SLACK = 0.01  # of the picture's side that a coordinate may lie outside
_NOISE = 1e-4
_log = logging.getLogger(__name__)


def looks_like_yolo(path: Path) -> bool:
    """Whether this is a `data.yaml`, a folder with one, or a folder with `images` beside `labels`."""
    if path.is_file():
        return path.suffix.lower() in (".yaml", ".yml", ".data") and names_splits(path)
    return path.is_dir() and (find_settings(path) is not None or bool(picture_folders(path)))


def read_yolo(path: str | Path, *, policy: Policy = "strict") -> Dataset:
    """Read a YOLO folder or its `data.yaml`; objects are outlines, or all of them boxes.

    Without `data.yaml` the classes are read from `classes.txt`, `obj.names` or such, else they are called class_0,
    class_1, ... Splits are what `data.yaml` lists, or the folders' names; a single one counts as none unless its
    folder is called train, and so does a `val` that is the same as `train`. Coordinates up to 1 % outside are clipped.

    Raises `DataError` that lists all defects by file and line; with `policy="skip"` the defective lines and pictures
    are left out instead.
    """
    given = Path(path)
    if not given.exists():
        raise DataError(f"{printable(given)}: there is no such file or folder")
    issues = IssueLog(policy)
    settings_file = given if given.is_file() else find_settings(given)
    root = given if given.is_dir() else given.parent
    settings = read_settings(settings_file, issues) if settings_file is not None else {}
    names = read_class_names(settings or {}, settings_file, root, issues)
    pictures = list_pictures(settings or {}, settings_file, root, issues)
    if settings is not None and not pictures and not issues.total("error"):
        issues.error(
            "no-pictures", "found no pictures", file=root, hint="expected images/ beside labels/, or a data.yaml"
        )
    records = _records(pictures, root, None if names is None else len(names), issues)
    if names is None:
        count = 1 + max((a.class_id for record in records for a in record.objects.annotations), default=0)
        names = tuple(f"class_{row}" for row in range(count))
        issues.warn("class-names", f"no file names the classes; they are called {names[0]} to {names[-1]}", file=root)
    boxes_only = any(isinstance(a.shape, BoxOnly) for record in records for a in record.objects.annotations)
    return Dataset(Labels(names), records, "yolo", root, issues.finish(printable(given)), boxes_only)


def write_yolo(folder: str | Path, dataset: Dataset) -> None:
    """Write a data set as a YOLO folder with copies of the pictures.

    A text line holds one ring. Objects of several parts or with holes become one ring by bridges of no width, which
    fill no pixel under the even-odd rule. What YOLO cannot hold is left out with a logged warning that counts it:
    crowds and objects without a pixel. Ids, and boxes that differ from the outline's, are not kept.
    """
    root = Path(folder)
    settings: dict[str, Any] = {}
    lost = dict.fromkeys(("crowd regions left out", "objects without a pixel left out", "outlines changed"), 0)
    for row, record in enumerate(dataset.records):
        split = record.split or ""
        settings.setdefault(split or "train", f"images/{split}".rstrip("/"))
        picture = copy_picture(record, root / "images" / split)
        lines = _lines(dataset, row, lost)
        write_text(root / "labels" / split / f"{picture.stem}.txt", "".join(f"{line}\n" for line in lines))
    settings["names"] = dict(enumerate(dataset.labels.names))
    write_text(root / "data.yaml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    for what, count in lost.items():
        if count:
            _log.warning("%s: %d %s", root, count, what)
    report_ignored(root, dataset)


def _records(
    pictures: Sequence[tuple[Path, str | None]], root: Path, num_classes: int | None, issues: IssueLog
) -> tuple[Record, ...]:
    files = [picture for picture, _ in pictures]
    labels = find_texts(files, root, issues)
    unlabelled = _check_pairs(files, labels, root, issues)
    records, boxes = [], []
    rows = zip(pictures, labels, unique_ids(files, root), read_headers(files, issues), strict=True)
    for (picture, split), label, name, header in rows:
        lines = read_lines(label, issues) if label is not None else []
        if header is None or lines is None or picture in unlabelled:
            continue
        objects = []
        for number, line in lines:
            annotation = _read_line(line, _Line(label or root, number, header.size, num_classes, issues))
            if annotation is not None:
                objects.append(annotation)
                if isinstance(annotation.shape, BoxOnly):
                    boxes.append((label, number))
        records.append(Record(name, picture, header.size, Objects(tuple(objects)), split))
    outlines = sum(len(record.objects.annotations) for record in records) - len(boxes)
    if not boxes or not outlines:
        return tuple(records)
    if len(boxes) > outlines:
        message = f"{outlines} outlines among {len(boxes)} boxes; all objects are read as boxes"
        hint = "to learn masks, draw the outline of every object"
        issues.warn("mixed-lines", message, file=root, hint=hint)
        return tuple(_with_objects(record, map(_boxed, record.objects.annotations)) for record in records)
    for label, number in boxes:
        message = f"a box among outlines ({len(boxes)} of {len(boxes) + outlines} objects are boxes)"
        hint = "draw its outline, or remove the line"
        issues.error("mixed-lines", message, file=label, where=f"line {number}", hint=hint)
    return tuple(
        _with_objects(record, (a for a in record.objects.annotations if not isinstance(a.shape, BoxOnly)))
        for record in records
    )


def _with_objects(record: Record, annotations: Iterable[Annotation]) -> Record:
    return replace(record, truth=Objects(tuple(annotations)))


def _boxed(annotation: Annotation) -> Annotation:
    """The object by its box alone."""
    if not isinstance(annotation.shape, Polygons):
        return annotation
    return replace(annotation, shape=BoxOnly(), box=annotation.shape.extent)


def _check_pairs(files: Sequence[Path], labels: Sequence[Path | None], root: Path, issues: IssueLog) -> frozenset[Path]:
    """Note pictures without a text file, text files without a picture, and pictures that share a text file.

    Some may lack their other half, and are noted as warnings; more than half of them are an error. Returned are the
    pictures that cannot be used because of that.
    """
    missing = [file for file, label in zip(files, labels, strict=True) if label is None]
    most = len(missing) > len(files) / 2
    for file in missing:
        if most:
            message = f"{len(missing)} of {len(files)} pictures have no text file, so this one counts as not annotated"
            looked = " and ".join(dict.fromkeys(map(str, label_folders(file.parent, root))))
            hint = f"looked in {looked}; give pictures without objects an empty text file"
            issues.error("labels-missing", message, file=file, hint=hint)
        else:
            message = "no text file belongs to this picture; it counts as one without objects"
            issues.warn("label-missing", message, file=file)
    owners: dict[Path, Path] = {}
    for file, label in zip(files, labels, strict=True):
        if label is not None and owners.setdefault(label, file) != file:
            message = f"this and {owners[label].name} share one text file"
            issues.error("repeated-picture", message, file=file, hint="rename or remove one of them")
    _check_texts(files, labels, root, owners, issues)
    return frozenset(missing if most else ())


def _check_texts(
    files: Sequence[Path],
    labels: Sequence[Path | None],
    root: Path,
    owners: dict[Path, Path],
    issues: IssueLog,
) -> None:
    """Note the text files that belong to no picture."""
    folders = {
        (label.parent if label is not None else label_folders(file.parent, root)[0]): file.parent
        for file, label in zip(files, labels, strict=True)
    }
    for folder, pictures in folders.items():
        stems = {folded(file.stem) for file in pictures_among(files_in(pictures))}
        texts = [text for text in files_in(folder) if is_text_of_rows(text)]
        orphans = [text for text in texts if text not in owners and folded(text.stem) not in stems]
        for text in orphans:
            issues.warn("no-picture", "no picture belongs to this text file; it is not used", file=text)
        if len(orphans) > len(texts) / 2:
            message = f"{len(orphans)} of {len(texts)} text files have no picture"
            issues.error("pictures-missing", message, file=orphans[0], hint=f"looked in {pictures}")


@dataclass(frozen=True, slots=True)
class _Line:
    """Where a line stands, and what it must fit to."""

    file: Path
    number: int
    size: tuple[int, int]
    num_classes: int | None
    issues: IssueLog

    def error(self, code: str, message: str, value: object = None, hint: str = "") -> None:
        self.issues.error(code, message, file=self.file, where=f"line {self.number}", value=value, hint=hint)

    def warn(self, code: str, message: str, value: object = None) -> None:
        self.issues.warn(code, message, file=self.file, where=f"line {self.number}", value=value)


def _read_line(text: str, line: _Line) -> Annotation | None:
    values = []
    for token in text.split():
        try:
            values.append(float(token))
        except ValueError:
            hint = "separate numbers by spaces and write decimals with a point" if "," in token else ""
            line.error("number", "expected numbers", token, hint)
            return None
    if not np.isfinite(values).all():
        line.error("number", "expected finite numbers", text)
        return None
    class_id, points = values[0], np.array(values[1:], np.float64)
    if class_id != int(class_id) or class_id < 0:
        line.error("class-number", "expected a whole class number from 0", text.split(maxsplit=1)[0])
        return None
    if line.num_classes is not None and class_id >= line.num_classes:
        message = f"expected a class number below {line.num_classes}, the number of names"
        line.error("class-number", message, int(class_id))
        return None
    if points.size % 2 or points.size < 4:
        message = f"expected x and y of at least 3 points, or a box of 4 numbers, but found {points.size} numbers"
        line.error("points", message, text)
        return None
    if points.size == 4:
        x, y, width, height = points
        points = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
        if width <= 0 or height <= 0:
            line.error("box-empty", "expected a box with area", text, "remove the line")
            return None
    outside = float(max(-points.min(), points.max() - 1))
    if outside > _SLACK:
        hint = "divide x by the picture's width and y by its height" if outside > 1 else ""
        line.error("outside", "expected fractions from 0 to 1", points[np.abs(points - 0.5).argmax()].item(), hint)
        return None
    if outside > _NOISE:
        line.warn("clipped", "the object reaches up to 1 % outside the picture; clipped", text)
    height, width = line.size
    # Files with fractions of 6 to 17 digits give back the pixels they were made from.
    corners = np.round(points.clip(0, 1).reshape(-1, 2) * (width, height), 6)
    if len(corners) == 2:
        x1, y1, x2, y2 = corners.ravel().tolist()
        return Annotation(int(class_id), BoxOnly(), (x1, y1, x2, y2))
    if ring_area(corners) == 0:
        line.warn("polygon-empty", "the outline encloses no area", text)
    return Annotation(int(class_id), Polygons((corners,)))


def _lines(dataset: Dataset, row: int, lost: dict[str, int]) -> list[str]:
    record, truth = dataset.records[row], dataset.objects(row)
    height, width = record.size
    lines = []
    for index, annotation in enumerate(record.objects.annotations):
        if annotation.crowd:
            lost["crowd regions left out"] += 1
            continue
        if truth.masks is None:
            x1, y1, x2, y2 = truth.boxes[index].tolist()
            numbers = np.array([(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height])
        else:
            ring = _one_ring(annotation, truth.masks, index)
            if ring is None:
                lost["objects without a pixel left out"] += 1
                continue
            again = Masks.from_polygons([[np.round(ring, 6)]], record.size)
            lost["outlines changed"] += int(again.to_rle() != truth.masks[index : index + 1].to_rle())
            numbers = (ring / (width, height)).ravel()
        lines.append(" ".join([str(annotation.class_id), *(f"{value:.12g}" for value in numbers)]))
    return lines


def _one_ring(annotation: Annotation, masks: Masks, index: int) -> FloatArray | None:
    """The object's only ring where it lies in the picture; else the rings of its pixels, joined by bridges."""
    height, width = masks.size
    match annotation.shape:
        case Polygons((ring,)) if ring.min() >= 0 and (ring <= (width, height)).all():
            return ring
    rings = [ring for part in masks.to_polygons(index) for ring in part]
    return bridged(rings) if rings else None
