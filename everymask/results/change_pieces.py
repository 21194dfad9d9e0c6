"""Pieces of change: pixels that touch and changed alike, their areas and their outlines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from everymask.core.arrays import BoolArray, IntArray
from everymask.core.forms.polygons import rings_from_crop
from everymask.core.labels import Labels


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One piece: the class ids of what `was` there (None: not known) and is there `now`, how many `pixels` it has, its
    `box` xyxy in pixels (x2, y2 exclusive), and which pixels of the box it is, `crop` [h, w].
    """

    was: int | None
    now: int
    pixels: int
    box: tuple[int, int, int, int]
    crop: BoolArray

    def to_feature(self, number: int, labels: Labels) -> dict[str, Any]:
        """The piece as a feature of GeoJSON: rings along the edges of its pixels, each with its first point again."""
        polygons = [
            [(np.concatenate([ring, ring[:1]]) + self.box[:2]).tolist() for ring in part]
            for part in rings_from_crop(self.crop)
        ]
        several = len(polygons) > 1
        geometry = {
            "type": "MultiPolygon" if several else "Polygon",
            "coordinates": polygons if several else polygons[0],
        }
        named = {"piece": number, "class": labels.names[self.now], "pixels": self.pixels}
        before = {} if self.was is None else {"was": labels.names[self.was]}
        return {"type": "Feature", "geometry": geometry, "properties": named | before}


def change_pieces(now: IntArray, was: IntArray | None, num_classes: int) -> Iterator[Piece]:
    """The pieces of a change map [H, W], by what became of what, and from top to bottom.

    Class 0 did not change, and ids from `num_classes` on have no truth: both belong to no piece.
    """
    codes = now.astype(np.min_scalar_type(num_classes**2))
    changed = (now > 0) & (now < num_classes)
    if was is not None:
        changed &= was < num_classes
        codes += was.astype(codes.dtype) * codes.dtype.type(num_classes)
    for code in np.unique(codes[changed]).tolist():
        there = changed & (codes == code)
        _, numbers, facts, _ = cv2.connectedComponentsWithStats(there.view(np.uint8), connectivity=8)
        first, last = divmod(code, num_classes)
        for number, (x, y, width, height, pixels) in enumerate(facts[1:].tolist(), 1):
            crop = numbers[y : y + height, x : x + width] == number
            yield Piece(None if was is None else first, last, pixels, (x, y, x + width, y + height), crop)
