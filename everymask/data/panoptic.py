"""Panoptic truth: files that say of every pixel which segment it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from everymask.core.arrays import IntArray
from everymask.core.labels import Labels
from everymask.core.segmentation import PanopticMap, Segment
from everymask.data.coding import read_colours
from everymask.errors import DataError, printable


@dataclass(frozen=True, slots=True)
class PanopticCoding:
    """A pixel's segment is stored as a colour, its number R + 256 G + 65536 B, and 0 where there is no truth.

    Source: COCO's panoptic format (https://cocodataset.org/#format-data).
    """

    @property
    def stored(self) -> str:
        """How segments are stored, as JSON."""
        return "segments"

    def sentence(self, labels: Labels) -> str:
        """What the files hold, for logs and tables."""
        things = len(labels.things)
        return f"panoptic maps hold segments as colours, of {things} countable and {len(labels) - things} other classes"


def read_segments(file: Path, segments: Sequence[Segment]) -> PanopticMap:
    """The segment numbers [H, W] int32 of a file; `DataError` where it holds a number that no segment has."""
    red, green, blue = (plane.astype(np.int32) for plane in np.moveaxis(read_colours(file), 2, 0))
    ids: IntArray = red | green << 8 | blue << 16
    unknown = sorted(set(np.unique(ids).tolist()) - {0} - {segment.id for segment in segments})
    if unknown:
        y, x = np.argwhere(ids == unknown[0])[0].tolist()
        raise DataError(
            f"{printable(file)}: {int((ids == unknown[0]).sum()):,} pixels belong to segment {unknown[0]}, which is "
            f"not listed; the first is at x {x}, y {y}",
            hint="list every segment with its class, or paint 0 where there is no truth",
        )
    return PanopticMap(ids, tuple(segments))
