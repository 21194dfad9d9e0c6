"""Panoptic data sets written as COCO's, and what of it predictions share: the entries of one picture's segments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from everymask.core.arrays import IntArray
from everymask.core.files import write_json
from everymask.core.labels import Labels
from everymask.core.segmentation import PanopticMap
from everymask.data.dataset import Dataset
from everymask.data.formats.folders import copy_picture
from everymask.data.panoptic import MOST_SEGMENT, colours_of
from everymask.data.pictures.map_strips import writing_colours
from everymask.errors import DataError, printable

_PIXELS_AT_ONCE = 1 << 18


def write_coco_panoptic(path: str | Path, dataset: Dataset) -> None:
    """Write a panoptic data set: `annotations/panoptic_<split>.json` beside a folder of maps called so, and copies of
    the pictures in `images/<split>/`.

    Segments keep their numbers; those without a pixel are left out. `ConfigError` for a data set of another kind,
    `DataError` for numbers of more than 24 bits.
    """
    root = Path(path)
    dataset.require("panoptic")
    for split in dict.fromkeys(record.split for record in dataset.records):
        stem = f"panoptic_{split}" if split else "panoptic"
        rows = [row for row, record in enumerate(dataset.records) if record.split == split]
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number, row in enumerate(rows, 1):
            record, found = dataset.records[row], dataset.panoptic_map(row)
            name = copy_picture(record, root / "images" / split if split else root / "images").name
            height, width = record.size
            images.append({"id": number, "file_name": name, "width": width, "height": height})
            map_name = f"{Path(name).stem}.png"
            write_segments(root / "annotations" / stem / map_name, found, str(record.image))
            annotations.append({"image_id": number, "file_name": map_name, "segments_info": segment_entries(found)})
        document = {"images": images, "annotations": annotations, "categories": categories_of(dataset.labels)}
        write_json(root / "annotations" / f"{stem}.json", document)


def write_segments(path: Path, found: PanopticMap, where: str) -> None:
    """Write the numbers of the segments as a PNG of colours; `DataError` names `where` they do not fit."""
    wrong = next((one.id for one in found.segments if not 0 < one.id <= MOST_SEGMENT), None)
    if wrong is not None:
        raise DataError(f"{printable(where)}: segments are numbered 1 to {MOST_SEGMENT:,}, but one is {wrong}")
    with writing_colours(path, found.size) as write:
        for rows in _strips(found.ids):
            write(colours_of(rows))


def categories_of(labels: Labels) -> list[dict[str, Any]]:
    """The classes as COCO's categories: class `k` is `k + 1`."""
    return [
        {"id": row + 1, "name": name, "supercategory": "", "isthing": int(row in labels.things), "color": list(colour)}
        for row, (name, colour) in enumerate(zip(labels.names, labels.colours, strict=True))
    ]


def segment_entries(found: PanopticMap) -> list[dict[str, Any]]:
    """The segments that have pixels: number, category, box xywh and area in pixels, and, of a prediction, the score."""
    boxes = _extents(found)
    entries: list[dict[str, Any]] = []
    for one in found.segments:
        if one.id in boxes:
            area, (x1, y1, x2, y2) = boxes[one.id]
            entry = {"id": one.id, "category_id": one.class_id + 1, "iscrowd": int(one.crowd), "area": area}
            score = {} if one.score is None else {"score": one.score}
            entries.append({**entry, "bbox": [x1, y1, x2 - x1, y2 - y1], **score})
    return entries


def _extents(found: PanopticMap) -> dict[int, tuple[int, tuple[int, int, int, int]]]:
    """The pixels and the box xyxy of each segment that has any, without an array as large as the map."""
    extents: dict[int, tuple[int, tuple[int, int, int, int]]] = {}
    top, width = 0, found.size[1]
    for rows in _strips(found.ids):
        flat = rows.reshape(-1)
        # Runs of pixels that are alike, each in one row.
        starts = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]) | (np.arange(flat.size) % width == 0))
        lengths = np.diff(np.append(starts, flat.size))
        numbers, place = np.unique(flat[starts], return_inverse=True)
        areas = np.bincount(place, lengths).astype(np.int64)
        y, x = np.divmod(starts, width)
        order = np.argsort(place, kind="stable")
        edges = np.flatnonzero(np.diff(place[order], prepend=-1))
        x1, y1 = (np.minimum.reduceat(ends[order], edges) for ends in (x, y + top))
        x2, y2 = (np.maximum.reduceat(ends[order], edges) for ends in (x + lengths, y + top + 1))
        for number, area, *box in zip(*(column.tolist() for column in (numbers, areas, x1, y1, x2, y2)), strict=True):
            seen, known = extents.get(number, (0, box))
            low, high = [*map(min, known[:2], box[:2])], [*map(max, known[2:], box[2:])]
            extents[number] = seen + area, (low[0], low[1], high[0], high[1])
        top += len(rows)
    extents.pop(0, None)
    return extents


def _strips(ids: IntArray) -> Iterator[IntArray]:
    """Some rows [n, W] at a time."""
    tall = max(1, _PIXELS_AT_ONCE // max(1, ids.shape[1]))
    return (ids[top : top + tall] for top in range(0, len(ids), tall))
