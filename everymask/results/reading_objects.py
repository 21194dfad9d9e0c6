"""Objects that were found elsewhere, read from COCO results (https://cocodataset.org/#format-results)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.instances import annotation_files
from everymask.data.formats.coco.objects import compact
from everymask.data.issues import IssueLog
from everymask.data.strict.json_files import read_strict_json
from everymask.errors import DataError, printable
from everymask.results.pairing import pair_names

_SIDES = 4


@dataclass(frozen=True, slots=True)
class FoundObjects:
    """The entries of a results file by the id of the picture that they are of.

    `unknown` entries are of pictures that the data set does not have. `masks` says whether every entry has one.
    """

    file: Path
    labels: Labels
    entries: Mapping[str, Sequence[tuple[int, Mapping[str, Any]]]]
    classes: Mapping[Any, int]
    unknown: int
    masks: bool

    @property
    def most(self) -> int:
        """How many objects the picture with the most has."""
        return max(map(len, self.entries.values()), default=0)

    def of(self, id_: str, size: tuple[int, int]) -> InstanceSet:
        """The objects of a picture of `size` (H, W); none where nothing was found in it. `DataError` names an entry
        that is no object.
        """
        rows = self.entries.get(id_, ())
        if not rows:
            return InstanceSet.empty(size, scored=True)
        masks = Masks.concatenate([self._mask(entry, row, size) for row, entry in rows]) if self.masks else None
        boxes = [self._box(entry, row) for row, entry in rows]
        if masks is not None and None in boxes:
            measured = masks.boxes().tolist()
            boxes = [own if box is None else box for box, own in zip(boxes, measured, strict=True)]
        return InstanceSet(
            boxes=np.array(boxes, np.float32).reshape(-1, _SIDES),
            class_ids=np.array([self._class_id(entry, row) for row, entry in rows], np.int64),
            scores=np.array([self._score(entry, row) for row, entry in rows], np.float32),
            masks=masks,
        )

    def _mask(self, entry: Mapping[str, Any], row: int, size: tuple[int, int]) -> Masks:
        outline = entry["segmentation"]
        try:
            if isinstance(outline, dict):
                if tuple(outline["size"]) != size:
                    raise self._error(row, "segmentation/size", f"the picture's {list(size)}", outline["size"])
                return Masks.from_rle([outline["counts"]], size)
            return Masks.from_polygons([outline], size)
        except (DataError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, DataError) and error.message.startswith(printable(self.file)):
                raise
            raise self._error(row, "segmentation", "polygons, or run lengths with size and counts", error) from error

    def _box(self, entry: Mapping[str, Any], row: int) -> list[float] | None:
        box = entry.get("bbox")
        if box is None and self.masks:
            return None
        if not isinstance(box, list) or len(box) != _SIDES or not all(map(_is_number, box)):
            raise self._error(row, "bbox", "four numbers: x, y, width, height", box)
        x, y, width, height = box
        return [x, y, x + width, y + height]

    def _score(self, entry: Mapping[str, Any], row: int) -> float:
        score = entry.get("score")
        if not _is_number(score):
            raise self._error(row, "score", "a number: how sure the model is of the object", score)
        return float(score)  # type: ignore[arg-type]

    def _class_id(self, entry: Mapping[str, Any], row: int) -> int:
        category = entry.get("category_id")
        if category not in self.classes:
            listed = ", ".join(map(str, list(self.classes)[:10]))
            raise self._error(row, "category_id", f"the id of a category ({listed})", category)
        return self.classes[category]

    def _error(self, row: int, field: str, expected: str, found: object) -> DataError:
        shown = printable(repr(found), 80) if not isinstance(found, Exception) else printable(str(found), 200)
        return DataError(f"{printable(self.file)}: /{row}/{field}: expected {expected}, but got {shown}")


def read_objects(file: Path, dataset: Dataset) -> FoundObjects:
    """Results for the pictures of a data set: a list of entries, or a file with images, categories and annotations.

    A list has the ids of the data set's own COCO file; where the data set is none, pictures go by their ids and
    categories count from 1 in the order of the data set's classes. `DataError` for what is neither, and where its
    pictures are others.
    """
    issues = IssueLog("strict")
    document = read_strict_json(file, issues, compact=compact)
    issues.finish(printable(file))
    if isinstance(document, dict) and isinstance(document.get("annotations"), list):
        entries, images, categories = document["annotations"], document.get("images"), document.get("categories")
    elif isinstance(document, list):
        entries, (images, categories) = document, _known_to(dataset)
    else:
        raise DataError(
            f"{printable(file)}: expected COCO results: a list of objects with image_id, category_id, score and bbox "
            "or segmentation, or a file with images, categories and annotations",
        )
    names = _column(images, "file_name", file)
    named = _column(categories, "name", file)
    labels = Labels(tuple(str(name) for name in named.values()))
    paired = pair_names(map(str, names.values()), dataset, file)
    ids = {image_id: paired.get(str(name)) for image_id, name in names.items()}
    grouped: defaultdict[str, list[tuple[int, Mapping[str, Any]]]] = defaultdict(list)
    unknown = 0
    for row, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("image_id"), int | str):
            raise DataError(f"{printable(file)}: /{row}: expected an object with an image_id, but got {entry!r:.80}")
        id_ = ids.get(entry["image_id"])
        if id_ is None:
            unknown += 1
        else:
            grouped[id_].append((row, entry))
    if entries and not grouped:
        raise DataError(
            f"{printable(file)}: none of its {len(entries):,} objects is of a picture of the data set",
            hint="the image_id of results are those of the annotation file: choose the data set that was predicted",
        )
    masks = all(_has_outline(entry) for rows in grouped.values() for _, entry in rows)
    classes = {number: row for row, number in enumerate(named)}
    return FoundObjects(file, labels, grouped, classes, unknown, masks and bool(grouped))


def _known_to(dataset: Dataset) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The images and categories to which a list of results refers, as COCO writes them."""
    images: dict[Any, dict[str, Any]] = {}
    categories: dict[Any, dict[str, Any]] = {}
    known = {record.image.name for record in dataset.records}
    issues = IssueLog("skip")
    for file in annotation_files(dataset.root) if dataset.format == "coco" else ():
        document = read_strict_json(file, issues, compact=compact)
        for entry in document["images"]:
            if PurePosixPath(entry["file_name"]).name not in known:
                continue
            if images.setdefault(entry["id"], entry)["file_name"] != entry["file_name"]:
                raise DataError(
                    f"{printable(file)}: the image id {entry['id']} stands for another picture in the other annotation "
                    "files, so a list of results does not say which it means",
                    hint="choose one part of the data set: --split val",
                )
        categories |= {entry["id"]: entry for entry in document["categories"]}
    if images:
        return list(images.values()), [categories[number] for number in sorted(categories)]
    return (
        [{"id": record.id, "file_name": record.id} for record in dataset.records],
        [{"id": row, "name": name} for row, name in enumerate(dataset.labels.names, start=1)],
    )


def _column(entries: Any, name: str, file: Path) -> dict[Any, Any]:
    """The id of each entry -> another value of it."""
    try:
        return {entry["id"]: entry[name] for entry in entries}
    except (TypeError, KeyError) as error:
        raise DataError(
            f"{printable(file)}: expected images with id and file_name, and categories with id and name, but found "
            f"{type(error).__name__}: {error}"
        ) from error


def _has_outline(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("segmentation"))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
