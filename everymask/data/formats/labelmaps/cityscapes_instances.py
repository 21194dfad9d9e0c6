"""Cityscapes' things and stuff: one number per pixel that says both the class and which thing it is.

    leftImg8bit/train/<city>/X_leftImg8bit.png
    gtFine/train/<city>/X_gtFine_instanceIds.png      16 bits: below 1000 a label id, else 1000 times it and which thing

A thing's label id alone stands for a group, which is a crowd; label ids that do not train have no truth. Where there
are labelIds too, the folder is read as label maps unless panoptic maps are asked for. Source: Cordts et al. 2016, "The
Cityscapes dataset", and cityscapesScripts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from everymask.core.arrays import IntArray
from everymask.core.label_sets import CITYSCAPES
from everymask.core.labels import Labels
from everymask.core.segmentation import PanopticMap, Segment
from everymask.data.dataset import Dataset
from everymask.data.formats.folders import copy_picture, file_stem, unique_ids
from everymask.data.formats.labelmaps.cityscapes import (
    ANNOTATIONS,
    LABEL_IDS,
    MOST_LABEL_ID,
    PICTURES,
    cityscapes_pairs,
    has_cityscapes,
    maps_of,
)
from everymask.data.formats.labelmaps.files import LabelledPicture, read_contents, refused
from everymask.data.formats.pairs import files_below
from everymask.data.formats.unannotated import loose_records
from everymask.data.issues import IssueLog, Policy
from everymask.data.panoptic import PanopticCoding
from everymask.data.pictures.read import pictures_among, write_image
from everymask.data.records import PanopticFile, Record
from everymask.errors import DataError, printable

KIND = "instanceIds"
LABELS = Labels(CITYSCAPES.names, CITYSCAPES.colours, frozenset(range(11, 19)))
_EACH = 1000
_FIRST_COUNTED = 24
"""The label id of the first class whose objects are numbered; all behind it are, those that do not train too."""


def looks_like_cityscapes_instances(path: Path) -> bool:
    """Whether the folder has instanceIds, and no other maps that are read."""
    return has_cityscapes_instances(path) and not any(has_cityscapes(path, kind) for kind in ANNOTATIONS)


def has_cityscapes_instances(path: Path) -> bool:
    """Whether the folder has instanceIds."""
    return has_cityscapes(path, KIND)


def read_cityscapes_instances(path: str | Path, *, policy: Policy = "strict") -> Dataset:
    """The panoptic data set in a folder of Cityscapes' layout; this module's text says how it is read.

    Every map is decoded once to find its things. Raises `DataError` with all defects under the strict policy, among
    them numbers that stand for nothing; with `"skip"` defective pairs are left out.
    """
    root = Path(path)
    issues = IssueLog(policy)
    maps = maps_of(root)
    pictures = pictures_among(list(files_below(root / PICTURES, 2)))
    found = [file for file in files_below(maps, 2) if file.stem.endswith(f"_{KIND}")]
    if not found:
        issues.error("no-pictures", f"expected {maps.name}/<split>/<city>/*_{KIND}.png", file=root)
        raise refused(root, issues)
    pairs, loose = cityscapes_pairs(root, pictures, found, KIND, issues)
    seen = read_contents(pairs, issues)
    ending = f"_{PICTURES}"
    files = [one.pair.picture for one in seen]
    ids = unique_ids([file.with_name(f"{file.stem.removesuffix(ending)}{file.suffix}") for file in files], root)
    records = []
    for one, name in zip(seen, ids, strict=True):
        segments = _segments(one, issues)
        if segments is not None:
            truth = PanopticFile(one.pair.map, segments)
            records.append(Record(name, one.pair.picture, one.header.size, truth, one.pair.split))
    records += loose_records(loose, ids, root, issues)
    noted = issues.finish(f"panoptic maps in {printable(root)}")
    return Dataset(LABELS, tuple(records), "cityscapes-instances", root, noted, coding=PanopticCoding(grey=True))


def write_cityscapes_instances(folder: str | Path, dataset: Dataset) -> None:
    """Write pictures and instanceIds; `DataError` unless the classes are Cityscapes', and for more than 1,000 things of
    a class in a picture. Several segments of a stuff class become one.

    The city is the part of a picture's id before the first `_`.
    """
    root = Path(folder)
    dataset.require("panoptic")
    if dataset.labels.names != LABELS.names or dataset.labels.things != LABELS.things:
        raise DataError(
            "Cityscapes' layout is for its own 19 classes, of which 8 are things",
            hint="write the data set as coco-panoptic",
        )
    for index, record in enumerate(dataset.records):
        stem = file_stem(record).removesuffix(f"_{PICTURES}")
        place = Path(record.split or "train") / stem.partition("_")[0]
        ids = _numbers(dataset.panoptic_map(index), record)
        copy_picture(replace(record, id=f"{stem}_{PICTURES}"), root / PICTURES / place)
        write_image(root / "gtFine" / place / f"{stem}_gtFine_{KIND}.png", ids)


def _segments(one: LabelledPicture, issues: IssueLog) -> tuple[Segment, ...] | None:
    """The segments by the numbers that a map holds; None where `issues` was told that it holds others."""
    pixels = one.content.pixels or {}
    wrong = [value for value in pixels if not _is_known(value)]
    if wrong or one.content.coloured:
        message = "expected label ids 0-33, or 1000 times one from 24 on and which thing it is"
        hint = "labelIds, trainIds and colours have other names: _labelIds, _labelTrainIds, _color"
        shown = "colours" if one.content.coloured else ", ".join(map(str, sorted(wrong)[:8]))
        issues.error("unknown-number", message, file=one.pair.map, value=shown, hint=hint)
        return None
    segments = []
    for value in sorted(pixels):
        label_id = value // _EACH if value >= _EACH else value
        if label_id in LABEL_IDS:
            class_id = LABEL_IDS.index(label_id)
            segments.append(Segment(value, class_id, crowd=value < _EACH and class_id in LABELS.things))
    return tuple(segments)


def _is_known(value: int) -> bool:
    if value < _EACH:
        return value <= MOST_LABEL_ID
    return _FIRST_COUNTED <= value // _EACH <= MOST_LABEL_ID


def _numbers(found: PanopticMap, record: Record) -> IntArray:
    """The map [H, W] uint16 as it is stored."""
    counts: Counter[int] = Counter()
    values = []
    for one in found.segments:
        label_id = LABEL_IDS[one.class_id]
        if one.class_id in LABELS.things and not one.crowd:
            values.append(_EACH * label_id + counts[label_id])
            counts[label_id] += 1
        else:
            values.append(label_id)
    if max(counts.values(), default=0) > _EACH:
        raise DataError(
            f"{printable(record.id)}: a map numbers 1,000 things of a class, but there are {max(counts.values()):,}"
        )
    ids: IntArray = found.looked_up(values, 0).astype(np.uint16)
    return ids
