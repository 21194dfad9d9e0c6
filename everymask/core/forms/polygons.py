"""Polygons -> pixels by COCO's rule, and pixels -> rings along pixel edges.

COCO's rule (cocoapi, `common/maskApi.c`, `rleFrPoly`): corners are rounded to fifths of a pixel; every edge is walked
in steps of a fifth along its longer axis; wherever the walk passes the middle of a column, the mask changes there from
the row that follows on down. Only those passages are computed here, so a corner far outside costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from everymask.core.arrays import Array, BoolArray, FloatArray, IntArray
from everymask.core.forms.rle import Spans
from everymask.errors import DataError

_FARTHEST = 1e8  # beyond it, the reference's integers overflow


def spans_from_rings(rings: Iterable[Array], size: tuple[int, int]) -> Spans:
    """Rasterise rings ([K, 2] or flat [2K], xy in pixels, K >= 3) into a picture of `size` (H, W), even-odd.

    A single ring gives COCO's pixels bit for bit; a ring inside another cuts a hole. `DataError` for fewer than three
    corners, an odd number of coordinates, or coordinates that are not finite or beyond 10^8.
    """
    found = np.sort(np.concatenate([np.zeros(0, np.int64), *(_passages(_corners(ring), size) for ring in rings)]))
    starts, ends = found[0::2], found[1::2]
    filled = ends > starts
    return starts[filled], ends[filled]


def _corners(ring: Array) -> FloatArray:
    points = np.asarray(ring, np.float64)
    if points.ndim == 1 and points.size % 2 == 0:
        points = points.reshape(-1, 2)
    if points.ndim != 2 or points.shape[1] != 2:
        raise DataError(f"a polygon needs pairs of x and y, but got an array of shape {list(points.shape)}")
    if len(points) < 3:
        raise DataError(f"a polygon needs at least 3 corners, but got {len(points)}")
    if not (np.abs(points) <= _FARTHEST).all():
        strange = points[~(np.abs(points) <= _FARTHEST)][0]
        raise DataError(f"a polygon's coordinates must be finite and below {_FARTHEST:.0e}, but got {strange}")
    return points


def _passages(points: FloatArray, size: tuple[int, int]) -> IntArray:
    fifths = fifths_of(points)
    return passages(fifths, np.roll(fifths, -1, axis=0), *size)[0]


def fifths_of(points: FloatArray) -> IntArray:
    """Corners [K, 2] in fifths of a pixel."""
    return (5 * points + 0.5).astype(np.int64)


def passages(
    begin: IntArray, end: IntArray, height: int | IntArray, width: int | IntArray
) -> tuple[IntArray, IntArray]:
    """Positions `x * H + y` at which the column-wise picture changes between outside and inside, each with its edge.

    Edges go from `begin` [K, 2] to `end` in fifths of a pixel; their pictures are of one size, or [K] of their own.
    """
    # The reference turns each edge so that it walks upwards along its longer axis.
    reach = np.abs(end - begin)
    flat = reach[:, 0] >= reach[:, 1]
    turned = np.where(flat, begin[:, 0] > end[:, 0], begin[:, 1] > end[:, 1])[:, None]
    begin, end = np.where(turned, end, begin), np.where(turned, begin, end)
    # Column X changes where the walk steps between fifths 5X + 2 and 5X + 3.
    low, high = np.minimum(begin[:, 0], end[:, 0]), np.maximum(begin[:, 0], end[:, 0])
    first = np.clip(-((2 - low) // 5), 0, width)
    counts = np.maximum(np.clip(-((2 - high) // 5), 0, width) - first, 0)
    edge = np.repeat(np.arange(len(begin)), counts)
    column = np.arange(edge.size) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    fifth = np.where(flat[edge], *_fifths_at(begin[edge], end[edge], 5 * column + 2))
    tall = height if isinstance(height, int) else height[edge]
    positions: IntArray = column * tall + np.clip((fifth + 2) // 5, 0, tall)
    return positions, edge


def _fifths_at(begin: IntArray, end: IntArray, column: IntArray) -> tuple[IntArray, IntArray]:
    """The upper y, in fifths, of the step between `column` and `column + 1`, for flat and for steep edges."""
    (x, y), (dx, dy) = begin.T, (end - begin).T
    slope = dy / np.maximum(dx, 1)
    at = column - x
    flat = np.minimum((y + slope * at + 0.5).astype(np.int64), (y + slope * (at + 1) + 0.5).astype(np.int64))
    # A steep edge walks along y: the step is the last one at which the rounded x has not passed yet. Solved, then put
    # right by at most a step or two, because the rounding must be the reference's own.
    slope = dx / np.maximum(dy, 1)
    rising = dx > 0
    step = np.floor((column + 0.5 - x) / np.where(slope == 0, 1, slope)).astype(np.int64) - 2

    def before(steps: IntArray) -> BoolArray:
        rounded = (x + slope * steps + 0.5).astype(np.int64)
        return np.asarray((rounded <= column) == rising)

    for _ in range(4):
        step = np.where(before(step + 1), step + 1, step)
    return flat, y + np.clip(step, 0, np.maximum(dy - 1, 0))


def rings_from_crop(crop: BoolArray) -> list[list[FloatArray]]:
    """Trace the parts of a crop [H, W] along pixel edges: for each part its outer ring, then its holes.

    Rings are [K, 2] float64 xy with whole-numbered corners, no three on a line, outer rings clockwise as seen, holes
    the other way, not closed by a repeated corner. Pixels that touch only at a corner are separate parts
    (4-connectivity), holes that do so are one. Filled even-odd, the rings give the crop back exactly.
    """
    if not crop.any():
        return []
    rings, seeds = _rings(crop)
    outer = [_doubled_area(ring) > 0 for ring in rings]
    if sum(outer) == 1:
        parts = [0] * len(rings)
    else:
        import cv2

        labels = cv2.connectedComponents(crop.astype(np.uint8), connectivity=4)[1]
        parts = [int(labels[y, x]) for x, y in seeds]
    found = {part: [ring] for ring, part, out in zip(rings, parts, outer, strict=True) if out}
    for ring, part, out in zip(rings, parts, outer, strict=True):
        if not out:
            found[part].append(ring)
    return list(found.values())


def _rings(crop: BoolArray) -> tuple[list[FloatArray], list[tuple[int, int]]]:
    """All rings, and for each the (x, y) of one pixel of its part."""
    flat = _segments(crop, 1)
    steep = _segments(crop.T, -1)[:, [1, 0, 3, 2, 4]]
    after = _followers(steep, flat, -1)[_followers(flat, steep, 1)].tolist()
    rings: list[FloatArray] = []
    seeds: list[tuple[int, int]] = []
    seen = [False] * len(after)
    for start in range(len(after)):
        if seen[start]:
            continue
        chain, index = [], start
        while not seen[index]:
            seen[index] = True
            chain.append(index)
            index = after[index]
        rings.append(flat[chain, :4].reshape(-1, 2).astype(np.float64))
        x1, y, x2, _, sign = flat[start].tolist()
        seeds.append((x1, y) if sign > 0 else (x2, y - 1))
    return rings, seeds


def _segments(crop: BoolArray, hand: int) -> IntArray:
    """The longest horizontal edges [K, 5]: x, y of the start, x, y of the end, sign of the way along x.

    Above a pixel the way goes along x, below it against x (`hand` 1, the inside on the right as seen); or the reverse
    (`hand` -1), as a transposed crop needs it.
    """
    padded = np.pad(crop, 1).astype(np.int8)
    sides = padded[1:] - padded[:-1]  # [H + 1, W + 2], zero at both ends of a row
    flat = sides.reshape(-1)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    signs = flat[changes]
    begins = np.flatnonzero(signs)
    y, x1 = np.divmod(changes[begins], sides.shape[1])
    x2 = changes[begins + 1] % sides.shape[1]
    sign = hand * signs[begins].astype(np.int64)
    ahead = sign > 0
    return np.stack([np.where(ahead, x1, x2) - 1, y, np.where(ahead, x2, x1) - 1, y, sign], axis=1)


def _followers(segments: IntArray, others: IntArray, right: int) -> IntArray:
    """For each segment the one of `others` that starts where it ends.

    Where two do (pixels that touch at a corner), the way turns right, around the same pixel; a right turn multiplies
    the sign by `right`.
    """
    base = int(max(segments[:, :4].max(), others[:, :4].max())) + 1
    keys = (others[:, 1] * base + others[:, 0]) * 2 + (others[:, 4] > 0)
    order = np.argsort(keys)
    vertex = (segments[:, 3] * base + segments[:, 2]) * 2
    turn = segments[:, 4] * right > 0
    sorted_keys = keys[order]
    place = np.minimum(np.searchsorted(sorted_keys, vertex + turn), keys.size - 1)
    missing = sorted_keys[place] != vertex + turn
    place[missing] = np.searchsorted(sorted_keys, vertex[missing] + ~turn[missing])
    return order[place]


def ring_area(ring: FloatArray) -> float:
    """The area that a closed ring [K, 2] encloses, by the shoelace formula."""
    x, y = ring[:, 0] - ring[0, 0], ring[:, 1] - ring[0, 1]
    return abs(float(x[:-1] @ y[1:] - y[:-1] @ x[1:])) / 2


def _doubled_area(ring: FloatArray) -> float:
    x, y = ring.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1))
