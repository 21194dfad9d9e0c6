"""What was found in one picture, as plain values that files and tables hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from everymask.core.masks import Masks
from everymask.core.rows import shortest
from everymask.core.segmentation import InstanceSet, Segmentation


@dataclass(frozen=True, slots=True)
class Region:
    """One object, or one class of a label map.

    `score` 0-1 (None: label maps have none), `box` xyxy in pixels, `area` in pixels, `counts` COCO's compressed
    run-lengths (None where a model finds boxes only).
    """

    class_id: int
    score: float | None
    box: tuple[float, float, float, float]
    area: int
    counts: str | None


@dataclass(frozen=True, slots=True)
class FoundPicture:
    """A picture, its `size` (H, W) and what was found in it; or the `error` that says why there is nothing.

    `cut` says that it may show more objects than the model's limits let through, and `unusable` that it was this
    machine that did not give the file.
    """

    file: str
    size: tuple[int, int] = (0, 0)
    regions: tuple[Region, ...] = ()
    cut: bool = False
    error: str = ""
    unusable: bool = False

    def to_json(self) -> list[Any]:
        """Plain JSON values, as `from_json` takes them."""
        regions = [[r.class_id, r.score, *r.box, r.area, r.counts] for r in self.regions]
        return [self.file, *self.size, regions, self.cut, self.error, self.unusable]

    @classmethod
    def from_json(cls, data: list[Any]) -> FoundPicture:
        """What `to_json` wrote."""
        file, height, width, rows, cut, error, unusable = data
        regions = tuple(Region(row[0], row[1], (row[2], row[3], row[4], row[5]), row[6], row[7]) for row in rows)
        return cls(file, (height, width), regions, cut, error, unusable)


def found_picture(file: str, size: tuple[int, int], found: Segmentation, *, cut: bool) -> FoundPicture:
    """What was found in the picture called `file`, of `size` (H, W)."""
    objects = found.regions()
    sides = objects.boxes[:, 2:] - objects.boxes[:, :2]
    areas = sides.prod(axis=1).round() if objects.masks is None else objects.masks.areas()
    counts = None if objects.masks is None else objects.masks.to_rle()
    regions = tuple(
        Region(
            class_id=class_id,
            score=None if objects.scores is None else shortest(objects.scores[row]),
            box=(shortest(box[0]), shortest(box[1]), shortest(box[2]), shortest(box[3])),
            area=int(areas[row]),
            counts=None if counts is None else counts[row].decode("ascii"),
        )
        for row, (class_id, box) in enumerate(zip(objects.class_ids.tolist(), objects.boxes, strict=True))
    )
    return FoundPicture(file, size, regions, cut)


def objects_of(regions: Sequence[Region], size: tuple[int, int]) -> InstanceSet:
    """Regions of a picture of `size` (H, W) as objects; `DataError` where their run-lengths are of another size."""
    counts = [region.counts for region in regions if region.counts is not None]
    scores = [region.score for region in regions if region.score is not None]
    return InstanceSet(
        boxes=np.array([region.box for region in regions], np.float32).reshape(-1, 4),
        class_ids=np.array([region.class_id for region in regions], np.int64),
        scores=np.array(scores, np.float32) if len(scores) == len(regions) else None,
        masks=Masks.from_rle(counts, size) if len(counts) == len(regions) else None,
    )
