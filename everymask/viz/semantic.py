"""Label maps and panoptic maps drawn on their picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from everymask.core.arrays import Array, BoolArray, ByteArray, IntArray
from everymask.core.labels import Labels
from everymask.core.rows import count_classes
from everymask.core.segmentation import PanopticMap, SemanticMap
from everymask.errors import DataError
from everymask.viz.draw import displayable, draw_instances, resized, scaled_size
from everymask.viz.frame import PAPER, draw_legend, letter_height

_ROWS = 256


def draw_semantic(
    image: Array,
    semantic: SemanticMap,
    labels: Labels,
    *,
    alpha: float = 0.45,
    legend: bool = True,
    side: int | None = None,
) -> ByteArray:
    """The picture tinted in the colours of its classes, whose borders are drawn in full colour; uint8 [H, W, 3].

    `image` is [H, W] or [H, W, C] as in `displayable`. Colours cover the picture by `alpha` (0-1). Pixels without a
    class and those of a class called background stay as they are. With `legend` the names of the classes that the map
    shows stand at the right of the picture, largest first, which makes it wider. With `side` picture and map are first
    scaled so that the longer side has so many pixels. `DataError` where map and picture differ in size.

    >>> picture = draw_semantic(sample.image, result.semantic, labels)
    """
    canvas = displayable(image)
    ids = semantic.ids
    if ids.shape != canvas.shape[:2]:
        raise DataError(f"the label map is of size {ids.shape}, but the picture has {canvas.shape[:2]} (H, W)")
    if side is not None:
        canvas = resized(canvas, scaled_size(canvas.shape[:2], side))
        ids = _nearest(ids, canvas.shape[:2])
    colours = np.zeros((len(labels) + 1, 3), np.uint8)
    colours[:-1] = np.array(labels.colours, np.uint8).reshape(-1, 3)
    tinted = np.array([name.casefold() != "background" for name in labels.names] + [False], np.uint8)
    pixels = np.zeros(len(tinted), np.int64)
    for top in range(0, len(ids), _ROWS):
        rows = _indices(ids[max(0, top - 1) : top + _ROWS + 1], len(labels))
        inside = slice(min(top, 1), min(top, 1) + _ROWS)
        border = _borders(rows)[inside]
        _tint(canvas[top : top + _ROWS], colours, rows[inside], tinted, border, alpha)
        pixels += np.bincount(rows[inside].ravel(), minlength=len(pixels))
    if not legend:
        return canvas
    shown = [k for k in np.argsort(-pixels[:-1], kind="stable").tolist() if pixels[k]]
    return _with_legend(canvas, labels, shown)


def draw_panoptic(
    image: Array,
    found: PanopticMap,
    labels: Labels,
    *,
    min_score: float = 0.0,
    alpha: float = 0.45,
    legend: bool = True,
    side: int | None = None,
) -> ByteArray:
    """The picture with stuff tinted as by `draw_semantic` and things drawn as by `draw_instances`; uint8 [H, W, 3].

    Things below `min_score` are left out. With `legend` things are named where they are, and the stuff classes stand
    at the right, largest first, which makes the picture wider. Errors and the other arguments as in the two.

    >>> picture = draw_panoptic(sample.image, result.panoptic, labels)
    """
    stuff = [labels.ignore if one.class_id in labels.things else one.class_id for one in found.segments]
    ids = found.looked_up(stuff, labels.ignore)
    canvas = draw_semantic(image, SemanticMap(ids, ignore=labels.ignore), labels, alpha=alpha, legend=False)
    things = found.countable(labels)
    crowd = np.array([one.crowd for one in things.segments], np.bool_)
    objects = replace(things.regions(), crowd=crowd)
    canvas = draw_instances(canvas, objects, labels, min_score=min_score, names=legend, side=side)
    if not legend:
        return canvas
    pixels = count_classes(ids, len(labels))[:-1]
    return _with_legend(canvas, labels, [k for k in np.argsort(-pixels, kind="stable").tolist() if pixels[k]])


def _nearest(ids: IntArray, size: tuple[int, int]) -> IntArray:
    """A label map at another `size` (H, W): each pixel is what lies at its centre."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.intp) for old, new in zip(ids.shape, size, strict=True)
    )
    nearest: IntArray = ids[rows[:, None], columns]
    return nearest


def _indices(ids: IntArray, count: int) -> IntArray:
    """Rows of the colour table, in as few bytes as they need: `count` for what is no class."""
    rows: IntArray = np.where((ids >= 0) & (ids < count), ids, count).astype(np.min_scalar_type(count))
    return rows


def _borders(rows: IntArray) -> BoolArray:
    """Pixels that differ from a neighbour above, below, left or right."""
    border = np.zeros(rows.shape, np.bool_)
    across, down = rows[:, 1:] != rows[:, :-1], rows[1:] != rows[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    return border


def _tint(
    strip: ByteArray, colours: ByteArray, rows: IntArray, tinted: ByteArray, border: BoolArray, alpha: float
) -> None:
    import cv2

    paint, chosen = colours.take(rows, axis=0), tinted.take(rows)
    cv2.copyTo(cv2.addWeighted(strip, 1 - alpha, paint, alpha, 0), chosen, strip)
    cv2.copyTo(paint, cv2.bitwise_and(chosen, border.view(np.uint8)), strip)


def _with_legend(canvas: ByteArray, labels: Labels, shown: list[int]) -> ByteArray:
    """The picture and, at its right, as many columns of names as its height asks for."""
    letters = letter_height(canvas.shape)
    lines = max(1, len(canvas) // round(1.5 * letters))
    columns = [draw_legend(labels, shown[k : k + lines], height=letters) for k in range(0, len(shown), lines)]
    height = max(len(part) for part in (canvas, *columns))
    page = np.empty((height, sum(part.shape[1] for part in (canvas, *columns)), 3), np.uint8)
    page[:] = PAPER
    left = 0
    for part in (canvas, *columns):
        page[: len(part), left : left + part.shape[1]] = part
        left += part.shape[1]
    return page
