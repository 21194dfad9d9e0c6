"""COCO results of one picture, as Python lists and dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from everymask.core.geometry import Size
from everymask.core.labels import Labels
from everymask.core.segmentation import InstanceSet
from everymask.errors import DataError
from everymask.results.reading_objects import FoundObjects

_ONE = "picture"


def from_coco(entries: Sequence[Mapping[str, Any]], size: Size, labels: Labels) -> InstanceSet:
    """The objects of entries that all are of one picture; `category_id` is the class id + 1, as `to_coco` writes it.

    `DataError` names the entry and the field that cannot be used, and entries of several pictures.
    """
    pictures = {entry.get("image_id") for entry in entries}
    if len(pictures) > 1:
        raise DataError(
            f"these entries are of {len(pictures)} pictures", hint="give those that have the image_id of this picture"
        )
    found = FoundObjects(
        file=Path("COCO results"),
        labels=labels,
        entries={_ONE: list(enumerate(entries))},
        classes={k + 1: k for k in range(len(labels))},
        unknown=0,
        masks=all("segmentation" in entry for entry in entries),
    )
    return found.of(_ONE, size)
