"""Pascal VOC folders, and what labelme's converter and CVAT write in that layout.

    JPEGImages/X.jpg
    SegmentationObject/X.png     0 background, 1, 2, ... the objects, 255 void
    SegmentationClass/X.png      0 background, 1, 2, ... the classes, 255 void
    Annotations/X.xml            boxes; read where there is no SegmentationObject
    ImageSets/Segmentation/train.txt, val.txt, ...     (boxes: ImageSets/Main)

The root or a folder in it (VOCdevkit/VOC2012) may be named. An object's class is what most of its pixels hold in
SegmentationClass. Maps may be palette or grey PNG, or RGB in VOC's colours (objects) and those of `labelmap.txt` or VOC
(classes). Class names come from `class_names.txt` or `labelmap.txt` (background first); else they are VOC's twenty, or,
for boxes of other names, those in the XML files by name.

The lists in ImageSets say which pictures belong to the data set and to which split. `trainval` and `default` are not
splits. Pictures that only a test list names and that have no annotation are left out with a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from everymask.core.arrays import IntArray
from everymask.core.files import write_text
from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.data.dataset import Dataset
from everymask.data.formats.drawn.writing import report_ignored
from everymask.data.formats.finding.named import respelled
from everymask.data.formats.folders import copy_picture, file_stem, folders_in, pictures_in
from everymask.data.formats.instance_pngs import check_paintable, paint_objects
from everymask.data.formats.unannotated import Loose, loose_records
from everymask.data.formats.voc.classes import (
    VOID,
    Classes,
    names_list,
    read_class_map,
    read_classes,
    read_object_map,
    write_palette,
)
from everymask.data.formats.voc.lists import Entry, read_lists, spelled_as
from everymask.data.formats.voc.xml import XmlObject, read_voc_xml, to_annotation, write_voc_xml
from everymask.data.issues import IssueLog, Policy
from everymask.data.pictures.headers import read_headers
from everymask.data.records import Annotation, MaskFile, Objects, Record, Rle
from everymask.errors import DataError


def looks_like_voc(path: Path) -> bool:
    """Whether the folder, or one in it, has VOC's folders with object maps or XML files."""
    return path.is_dir() and any(map(_has_objects, _roots(path)))


def read_voc(path: str | Path, *, policy: Policy = "strict") -> Dataset:
    """The data set in a VOC folder; the layout is described in this module's text.

    With SegmentationObject every object has a mask; each map is decoded once to find the objects. Without it the data
    set has boxes only, from the XML files, and what these mark as difficult becomes a crowd. Raises `DataError` with
    all defects under the strict policy, and for a folder of class maps alone; `"skip"` leaves out what is defective.
    """
    roots = _roots(Path(path))
    if len(roots) != 1:
        found = ", ".join(str(root.name) for root in roots) or "none"
        raise DataError(f"{path}: expected one folder in VOC's layout, but found {found}", hint="name one of them")
    root = roots[0]
    issues = IssueLog(policy)
    pictures = pictures_in(root / "JPEGImages", issues)
    loose: list[Loose] = []
    boxes_only = not (root / "SegmentationObject").is_dir()
    if boxes_only and not (root / "Annotations").is_dir():
        raise DataError(
            f"{root}: expected SegmentationObject or Annotations, but found only SegmentationClass",
            hint="class maps do not say where one object ends and the next begins: read them as voc-semantic",
        )
    if boxes_only:
        classes, records = _read_boxes(root, pictures, loose, issues)
    else:
        classes = read_classes(root, issues) or Classes.of_voc()
        records = list(_read_masks(root, pictures, classes, loose, issues))
    if not records and not issues.total("error"):
        issues.error("no-pictures", "no picture in the folder has annotations", file=root)
    records += loose_records(loose, [record.id for record in records], root, issues)
    found_issues = issues.finish(f"Pascal VOC data in {root}")
    return Dataset(labels_of(classes.names), tuple(records), "voc", root, found_issues, boxes_only)


def write_voc(folder: str | Path, dataset: Dataset) -> None:
    """Write pictures, palette PNGs of objects and classes (or XML files for boxes), lists and `class_names.txt`.

    Raises `DataError` for what the object maps cannot hold: objects that overlap, more than 254 of them, crowds.
    """
    root, names = Path(folder), dataset.labels.names
    if len(names) > 254:
        raise DataError(
            f"VOC's class maps hold 254 classes, but there are {len(names)}", hint="write the data set as COCO"
        )
    listing = names_list(("_background_", *names))
    if not dataset.boxes_only:
        check_paintable(dataset, 254)
    for index, record in enumerate(dataset.records):
        stem = file_stem(record)
        if dataset.boxes_only:
            target = root / "Annotations" / f"{stem}.xml"
            picture = copy_picture(record, root / "JPEGImages")
            write_voc_xml(target, picture.name, record.size, record.objects.annotations, names)
            continue
        ids = paint_objects(dataset, index)
        copy_picture(record, root / "JPEGImages")
        class_of = np.append(0, dataset.objects(index).class_ids + 1).astype(np.uint8)
        write_palette(root / "SegmentationObject" / f"{stem}.png", ids)
        write_palette(root / "SegmentationClass" / f"{stem}.png", class_of[ids])
    lists: dict[str, list[str]] = {}
    for record in dataset.records:
        lists.setdefault(record.split or "trainval", []).append(file_stem(record))
    for split, stems in lists.items():
        text = "".join(f"{stem}\n" for stem in stems)
        write_text(root / "ImageSets" / ("Main" if dataset.boxes_only else "Segmentation") / f"{split}.txt", text)
    write_text(root / "class_names.txt", listing)
    report_ignored(root, dataset)


def _roots(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    if _is_root(path):
        return [path]
    devkit = path / "VOCdevkit"
    return [folder for folder in folders_in(devkit if devkit.is_dir() else path) if _is_root(folder)]


def _has_objects(root: Path) -> bool:
    return (root / "SegmentationObject").is_dir() or any((root / "Annotations").glob("*.xml"))


def _is_root(path: Path) -> bool:
    if (path / "SegmentationObject").is_dir() or (path / "SegmentationClass").is_dir():
        return (path / "JPEGImages").is_dir()
    xml = path / "Annotations"
    return ((path / "JPEGImages").is_dir() or (path / "ImageSets").is_dir()) and any(xml.glob("*.xml"))


@dataclass(frozen=True, slots=True)
class _Pair:
    """A picture with its annotation file."""

    entry: Entry
    picture: Path
    annotation: Path


def _pairs(
    root: Path, pictures: dict[str, Path], kind: str, found: dict[str, Path], loose: list[Loose], issues: IssueLog
) -> Iterator[_Pair]:
    """The pictures of the lists in ImageSets/`kind`, or all that have an annotation where there are no lists.

    Pictures that are not annotated go to `loose`.
    """
    found = respelled(found, pictures, issues)
    entries = spelled_as(read_lists(root / "ImageSets" / kind, issues), pictures)
    listed = bool(entries)
    for entry in entries or [Entry(stem, None, "") for stem in found]:
        if entry.stem not in found:
            if entry.split == "test" and entry.stem in pictures:
                issues.warn("unlabelled", "a test picture without annotation is left out", file=pictures[entry.stem])
                loose.append(Loose(pictures[entry.stem], entry.split))
            else:
                message = f"{entry.stem} has no file in {'Annotations' if kind == 'Main' else 'SegmentationObject'}/"
                issues.error("annotation-missing", message, file=root, where=entry.where, value=entry.stem)
        elif entry.stem not in pictures:
            message, where = f"{entry.stem} has no picture in JPEGImages/", entry.where
            issues.error("picture-missing", message, file=found[entry.stem], where=where, value=entry.stem)
        else:
            yield _Pair(entry, pictures[entry.stem], found[entry.stem])
    known = {entry.stem for entry in entries}
    left_out = [stem for stem in (found if listed else pictures) if stem not in (known if listed else found)]
    if left_out:
        why = "no list in ImageSets names them" if listed else "they have no annotation"
        issues.warn("not-listed", f"{len(left_out)} pictures are left out: {why}", file=root, value=left_out[0])
        loose += [] if listed else [Loose(pictures[stem]) for stem in left_out]


def _read_masks(
    root: Path, pictures: dict[str, Path], classes: Classes, loose: list[Loose], issues: IssueLog
) -> Iterator[Record]:
    maps = pictures_in(root / "SegmentationObject", issues)
    class_maps = respelled(pictures_in(root / "SegmentationClass", issues), pictures, issues)
    pairs = list(_pairs(root, pictures, "Segmentation", maps, loose, issues))
    for pair, header in zip(pairs, read_headers([pair.picture for pair in pairs], issues), strict=True):
        stem = pair.entry.stem
        if header is None:
            continue
        if stem not in class_maps:
            message = "the object map has no class map in SegmentationClass/"
            issues.error("annotation-missing", message, file=pair.annotation)
            continue
        found = read_object_map(pair.annotation, header.size, issues)
        class_map = read_class_map(class_maps[stem], header.size, classes, issues)
        if found is None or class_map is None:
            continue
        ids, painted = found
        if ids.dtype == np.uint8 and (ids == VOID).all():
            message = "{count} pictures are void all over; they are left out, since nothing can be learned from them"
            issues.warn_shared("all-void", message, file=pair.annotation)
            continue
        objects = tuple(_mask_objects(pair.annotation, ids, painted, class_map, issues))
        yield Record(stem, pair.picture, header.size, Objects(objects), pair.entry.split)


def _mask_objects(
    file: Path, ids: IntArray, painted: bool, class_map: IntArray, issues: IssueLog
) -> Iterator[Annotation]:
    """The objects of one map; `painted` says that it stores colours, so that its numbers are not in the file."""
    inside = (ids != 0) & ((ids != VOID) | (ids.dtype != np.uint8))
    pairs, counts = np.unique(np.stack([ids[inside], class_map[inside]]).astype(np.int64), axis=1, return_counts=True)
    for value in np.unique(pairs[0]).tolist():
        rows = np.flatnonzero((pairs[0] == value) & (pairs[1] != 0) & (pairs[1] != VOID))
        if not len(rows):
            message = "the class map is background or void under the whole object"
            issues.error("class-missing", message, file=file, where=f"object {value}", hint="paint its class")
            continue
        best = rows[np.argmax(counts[rows])]
        share = counts[best] / counts[rows].sum()
        if share < 0.9:
            message = f"the class map has several classes under one object; the one of {share:.0%} of it is taken"
            issues.warn("mixed-classes", message, file=file, where=f"object {value}")
        shape = Rle(Masks.from_dense((ids == value)[None]).to_rle()[0]) if painted else MaskFile(file, value)
        yield Annotation(int(pairs[1][best]) - 1, shape, id=value)


def _read_boxes(
    root: Path, pictures: dict[str, Path], loose: list[Loose], issues: IssueLog
) -> tuple[Classes, list[Record]]:
    files = {file.stem: file for file in sorted((root / "Annotations").glob("*.xml"))}
    found: list[tuple[_Pair, tuple[int, int], list[XmlObject]]] = []
    pairs = list(_pairs(root, pictures, "Main", files, loose, issues))
    for pair, header in zip(pairs, read_headers([pair.picture for pair in pairs], issues), strict=True):
        objects = read_voc_xml(pair.annotation, header, issues)
        if header is not None and objects is not None:
            found.append((pair, header.size, objects))
    used = {item.name for _, _, objects in found for item in objects}
    classes = read_classes(root, issues) or Classes.of_voc()
    if not classes.file and not used <= set(classes.names):
        classes = Classes(tuple(sorted(used)))
    records = []
    for pair, size, objects in found:
        for item in objects:
            if item.name not in classes.names:
                where, message = f"{item.where}/name", f"expected a class that {classes.file} lists"
                issues.error("unknown-class", message, file=pair.annotation, where=where, value=item.name)
        kept = [item for item in objects if item.name in classes.names]
        annotations = tuple(to_annotation(item, classes.names, number) for number, item in enumerate(kept, 1))
        records.append(Record(pair.entry.stem, pair.picture, size, Objects(annotations), pair.entry.split))
    return classes, records
