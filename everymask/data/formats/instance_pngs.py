"""A picture and a label map of the same name whose pixels hold the number of the object, as in Penn-Fudan.

    PNGImages/X.png + PedMasks/X_mask.png      one class, `pedestrian`
    images/X.jpg    + masks/X.png              one class, `object`, or the name in `classes.txt`

and every other layout of `pairs`. 0 is background, every other number one object; 8, 16 or 32 bits, palette files count
by index. In an 8-bit map that holds 255 but not 254, 255 is void, as in Pascal VOC; in 16 bits 65535. Several classes
need `labels.json` in the root (or above it, where it is a split of a set): {"X": {"1": "cat", "2": "dog"}}, picture by
picture, and optionally `classes.txt` for
their order.

A folder of class maps (semantic segmentation) has the same layouts. `readings` tells them apart; a folder of class maps
is not recognised as this format, and read only with a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from everymask.core.arrays import IntArray
from everymask.core.files import write_json, write_text
from everymask.core.labels import labels_of
from everymask.data.dataset import Dataset
from everymask.data.formats.drawn.writing import report_ignored
from everymask.data.formats.folders import (
    copy_picture,
    file_stem,
    names_text,
    object_ids,
    read_map,
    read_names,
    unique_ids,
)
from everymask.data.formats.labelmaps.ade20k import looks_like_ade20k
from everymask.data.formats.labelmaps.cityscapes import looks_like_cityscapes
from everymask.data.formats.pair_lists import find_pairs, has_pairs
from everymask.data.formats.pairs import Pair, shared_maps
from everymask.data.formats.readings import SAMPLED, judge, judge_maps, objects_table, void_number
from everymask.data.formats.stacks.recognition import looks_like_tiff_stacks
from everymask.data.issues import IssueLog, Policy
from everymask.data.pictures.headers import read_headers
from everymask.data.pictures.read import write_image
from everymask.data.records import Annotation, BoxOnly, MaskFile, Objects, Record
from everymask.data.strict.json_files import escape, read_strict_json
from everymask.errors import DataError

Table: TypeAlias = dict[str, dict[str, str]]
"""The class of each object: {stem of the picture: {number: class}}."""


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes, and in which `file` a `table` says which of them each object is; None where there is one class."""

    names: tuple[str, ...]
    table: Table | None
    file: Path


def looks_like_instance_pngs(path: Path) -> bool:
    """Whether the folder holds pictures with label maps that hold objects or may do so, in no layout of class maps."""
    named = (looks_like_cityscapes, looks_like_ade20k, looks_like_tiff_stacks)
    if not has_pairs(path) or any(looks_like(path) for looks_like in named):
        return False
    return judge(path, find_pairs(path, IssueLog("skip"))).best != "classes"


def read_instance_pngs(path: str | Path, *, policy: Policy = "strict", masks: str | Path | None = None) -> Dataset:
    """The data set in a folder of pictures and label maps; the layout is described in this module's text.

    Every map is decoded once to find its objects. Raises `DataError` with all defects under the strict policy; with
    `"skip"` defective pairs and objects are left out. `masks` names the folder of the label maps where there are
    several.
    """
    root = Path(path)
    issues = IssueLog(policy)
    pairs = find_pairs(root, issues, masks)
    if not pairs and not issues.total("error"):
        hint = "name the folders images and masks, or the label maps like their pictures with _mask at the end"
        issues.error("no-pictures", "expected pictures with label maps", file=root, hint=hint)
    shared = shared_maps(pairs, issues)
    pairs = [pair for pair in pairs if pair.map not in shared]
    classes = classes_of(root, pairs, issues)
    records: list[Record] = []
    sampled: list[IntArray] = []
    pictures = [pair.picture for pair in pairs]
    for pair, name, header in zip(pairs, unique_ids(pictures, root), read_headers(pictures, issues), strict=True):
        ids = None if header is None else read_map(pair.map, header.size, issues)
        if header is None or ids is None:
            continue
        values = _object_values(ids, pair.map, issues)
        if len(sampled) < SAMPLED:
            sampled.append(ids)
        objects = tuple(numbered(pair, values, classes, issues))
        records.append(Record(name, pair.picture, header.size, Objects(objects), pair.split))
    if sampled and classes.table is None and not judge_maps(sampled).fits("objects"):
        message = "the label maps look like classes (semantic segmentation), but every number is read as one object"
        issues.warn("looks-semantic", message, file=root, hint="look at a few pictures before training")
    found = issues.finish(f"instance PNGs in {root}")
    return Dataset(labels_of(classes.names), tuple(records), "instance-pngs", root, found)


def write_instance_pngs(folder: str | Path, dataset: Dataset) -> None:
    """Write pictures and 8- or 16-bit label maps, and the classes as `classes.txt` and `labels.json`.

    Objects are numbered 1, 2, ... in each picture; `labels.json` also says that the numbers are objects. Raises
    `DataError` for what a label map cannot hold: objects without a mask, crowds, objects that overlap, more than 65,535
    objects.
    """
    root, names = Path(folder), dataset.labels.names
    listing = names_text(names)
    check_paintable(dataset)
    table: Table = {}
    for index, record in enumerate(dataset.records):
        base = root / (record.split or "")
        ids = paint_objects(dataset, index)
        copy_picture(record, base / "images")
        write_image(base / "masks" / f"{file_stem(record)}.png", ids)
        class_ids = dataset.objects(index).class_ids.tolist()
        table[file_stem(record)] = {str(number): names[class_id] for number, class_id in enumerate(class_ids, 1)}
    write_text(root / "classes.txt", listing)
    write_json(root / "labels.json", dict(sorted(table.items())), indent=1)
    report_ignored(root, dataset)


def check_paintable(dataset: Dataset, limit: int = 65_535) -> None:
    """Raise `DataError` before anything is written if a picture's objects do not fit a label map, or exceed `limit`."""
    for index, record in enumerate(dataset.records):
        if len(record.objects.annotations) > limit:
            message = f"{record.id}: a label map holds {limit} objects, but there are {len(record.objects.annotations)}"
            raise DataError(message, hint="write the data set as COCO")
        paint_objects(dataset, index)


def paint_objects(dataset: Dataset, index: int) -> IntArray:
    """The objects of one picture numbered from 1 in a map [H, W], uint8 up to 254 objects, else uint16.

    Raises `DataError` where one map cannot hold them.
    """
    record = dataset.records[index]
    if any(isinstance(annotation.shape, BoxOnly) or annotation.crowd for annotation in record.objects.annotations):
        raise DataError(
            f"{record.id}: expected a mask for every object and no crowds", hint="write the data set as COCO"
        )
    masks = dataset.objects(index).masks
    if masks is None:
        return np.zeros(record.size, np.uint8)
    count = len(masks)
    ids = np.zeros(record.size, np.uint8 if count <= 254 else np.uint16)
    for number in range(count):
        x1, y1, x2, y2 = masks.windows[number].tolist()
        window, crop = ids[y1:y2, x1:x2], masks.crop(number)
        if window[crop].any():
            other = int(window[crop].max())
            message = f"{record.id}: objects {other} and {number + 1} overlap, and a label map cannot hold both"
            raise DataError(message, hint="write the data set as COCO")
        window[crop] = number + 1
    return ids


def _object_values(ids: IntArray, file: Path, issues: IssueLog) -> list[int]:
    values = object_ids(ids)
    if values == [255]:
        hint = "number the objects 1, 2, ..., or give each object a file of its own (<id>/images, <id>/masks)"
        issues.error(
            "binary-mask", "expected a number per object, but the map holds only 0 and 255", file=file, hint=hint
        )
        return []
    void = void_number(ids, values)
    if void is not None:
        issues.warn("void", f"{void} is read as void, and belongs to no object", file=file)
        values.remove(void)
    return values


def _read_table(file: Path, issues: IssueLog) -> Table | None:
    found = read_strict_json(file, issues) if file.is_file() else None
    if found is None:
        return None
    if not isinstance(found, dict):
        issues.error("labels-table", "expected an object of pictures", file=file, value=found)
        return None
    table: Table = {}
    for stem, entries in found.items():
        if isinstance(entries, dict) and all(isinstance(name, str) and name.strip() for name in entries.values()):
            table[stem] = entries
        else:
            message = 'expected an object such as {"1": "cat", "2": "dog"}'
            issues.error("labels-table", message, file=file, where=f"/{escape(stem)}", value=entries)
    return table


def _class_names(root: Path, pairs: list[Pair], table: Table | None, issues: IssueLog) -> tuple[str, ...]:
    file = root / "classes.txt"
    used = sorted({name for entries in (table or {}).values() for name in entries.values()})
    if file.is_file():
        names = read_names(file, issues)
        if table is None and len(names) != 1:
            message = (
                f"expected one class, or labels.json that says the class of each object, but got {len(names)} classes"
            )
            issues.error("class-missing", message, file=file, hint='{"picture": {"1": "cat", "2": "dog"}, ...}')
        return names or ("object",)
    pedestrians = bool(pairs) and pairs[0].map.parent.name == "PedMasks"
    return tuple(used) or (("pedestrian",) if pedestrians else ("object",))


def classes_of(root: Path, pairs: list[Pair], issues: IssueLog) -> Classes:
    """The classes of a data set of numbered objects, by `labels.json` and `classes.txt`."""
    listing = objects_table(root)
    table = _read_table(listing, issues)
    return Classes(_class_names(listing.parent, pairs, table, issues), table, listing)


def numbered(pair: Pair, values: list[int], classes: Classes, issues: IssueLog) -> Iterator[Annotation]:
    """The objects that have these numbers in the map of a pair; of those without a class `issues` is told."""
    if classes.table is None:
        if len(classes.names) == 1:
            yield from (Annotation(0, MaskFile(pair.map, value), id=value) for value in values)
        return
    entries = classes.table.get(pair.picture.stem, classes.table.get(pair.map.stem, {}))
    for value in values:
        where, name = f"/{escape(pair.picture.stem)}/{value}", entries.get(str(value))
        if name is None:
            message = f"object {value} of {pair.map.name} has no class"
            issues.error("class-missing", message, file=classes.file, where=where)
        elif name not in classes.names:
            message, hint = "expected a class that classes.txt lists", "add it to classes.txt"
            issues.error("unknown-class", message, file=classes.file, where=where, value=name, hint=hint)
        else:
            yield Annotation(classes.names.index(name), MaskFile(pair.map, value), id=value)
