"""Objects drawn on their picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from everymask.core.arrays import Array, BoolArray, ByteArray
from everymask.core.labels import Labels
from everymask.core.segmentation import InstanceSet
from everymask.errors import DataError
from everymask.viz.outline import Outlines
from everymask.viz.palette import class_colours, object_colours
from everymask.viz.tags import place_tags, whole_box

# One of so many pixels of the shorter side is the width of a line.
_LINE = 320


def draw_instances(
    image: Array,
    instances: InstanceSet,
    labels: Labels,
    *,
    min_score: float = 0.0,
    alpha: float = 0.3,
    names: bool = True,
    side: int | None = None,
) -> ByteArray:
    """The picture with its objects in the colours of their classes: filled lightly, outlined, and named where room is.

    `image` is [H, W] or [H, W, C] as in `displayable`; the result is uint8 [H, W, 3]. With `side` picture and objects
    are first scaled so that the longer side has so many pixels: small ones become readable, and of large ones lines and
    letters are. Objects below `min_score` are left out. Fills cover the picture by `alpha` (0-1), those of crowds in
    stripes; small objects lie on large ones. Outlines are as in `Outlines`; only objects without a mask are boxed. Tags
    are as in `place_tags`. Memory: the picture three times, whatever the number of objects.

    >>> picture = draw_instances(sample.image, found[found.scores > 0.8], labels)
    """
    canvas = displayable(image)
    if instances.masks is not None and instances.masks.size != canvas.shape[:2]:
        found, expected = instances.masks.size, canvas.shape[:2]
        raise DataError(f"the masks belong to a picture of {found}, but this one has {expected} (H, W)")
    if instances.scores is not None and min_score > 0:
        instances = instances[instances.scores >= min_score]
    if side is not None:
        canvas, instances = _scaled(canvas, instances, side)
    fills, lines = class_colours(instances, labels), object_colours(instances, labels)
    width = max(1, round(min(canvas.shape[:2]) / _LINE))
    smooth = max(1, round(max(canvas.shape) / max(image.shape[:2])))
    tables = _fill_tables(fills, alpha)
    areas = np.zeros(len(instances)) if instances.masks is None else instances.masks.areas()
    outlines = Outlines(canvas.shape[:2], len(instances), width=width, smooth=smooth)
    bare = []
    for row in np.argsort(-areas, kind="stable").tolist():
        if instances.masks is None or not areas[row]:
            bare.append(row)
            continue
        crop, (x, y) = instances.masks.crop(row), instances.masks.windows[row, :2].tolist()
        crowd = instances.crowd is not None and bool(instances.crowd[row])
        filled = crop & _stripes((x, y), crop.shape, 4 * width) if crowd else crop
        _fill(canvas[y : y + len(crop), x : x + crop.shape[1]], filled, tables[row])
        outlines.add(row, crop, (x, y))
    # After all the fills, so that every outline is seen whole.
    outlines.lay_seams(canvas)
    for row in bare:
        _outline_box(canvas, instances.boxes[row], lines[row], width)
    outlines.lay_lines(canvas, lines)
    for tag in place_tags(canvas.shape[:2], instances, labels, lines) if names else ():
        canvas[tag.y : tag.y + len(tag.picture), tag.x : tag.x + tag.picture.shape[1]] = tag.picture
    return canvas


def displayable(image: Array) -> ByteArray:
    """Any picture as a new uint8 [H, W, 3].

    One channel (or two, of which the first is taken) becomes grey; of more than three the first three are shown. uint8
    is shown as it is; other kinds are stretched from the 0.5th to the 99.5th percentile of the shown channels
    together, NaN counting as the lowest.
    """
    planes = image[..., None] if image.ndim == 2 else image
    planes = planes[..., :3] if planes.shape[2] >= 3 else planes[..., :1]
    if planes.dtype == np.bool_:
        planes = planes.astype(np.uint8) * np.uint8(255)
    if planes.dtype != np.uint8:
        planes = _stretch(planes)
    return np.array(np.broadcast_to(planes, (*planes.shape[:2], 3)), order="C")


def scaled_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(H, W) of a picture of `size` (H, W) whose longer side becomes `side` pixels; at least 1 each."""
    height, width = size
    return max(1, round(height * side / max(size))), max(1, round(width * side / max(size)))


def resized(canvas: ByteArray, size: tuple[int, int]) -> ByteArray:
    """A picture [H, W, 3] at another `size` (H, W): shrunk by averaging, enlarged by cubic interpolation."""
    import cv2

    kind = cv2.INTER_AREA if size[0] < len(canvas) else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(canvas, size[::-1], interpolation=kind), np.uint8)


def _scaled(canvas: ByteArray, instances: InstanceSet, side: int) -> tuple[ByteArray, InstanceSet]:
    height, width = canvas.shape[:2]
    size = scaled_size((height, width), side)
    factors = np.array([size[1] / width, size[0] / height] * 2, np.float32)
    masks = None if instances.masks is None else instances.masks.resize(size)
    return resized(canvas, size), replace(instances, boxes=instances.boxes * factors, masks=masks)


def _stretch(planes: Array) -> ByteArray:
    step = max(1, int((planes.shape[0] * planes.shape[1] / 1_000_000) ** 0.5))
    seen = planes[::step, ::step].astype(np.float32)
    seen = seen[np.isfinite(seen)]
    low, high = np.percentile(seen, (0.5, 99.5)) if seen.size else (0.0, 0.0)
    scale = 255.0 / (high - low) if high > low else 0.0
    shown = np.empty(planes.shape, np.uint8)
    for row in range(0, len(planes), 256):
        strip = np.nan_to_num(planes[row : row + 256].astype(np.float32), nan=low, posinf=high, neginf=low)
        shown[row : row + 256] = np.clip((strip - low) * scale, 0, 255).round()
    return shown


def _fill_tables(colours: ByteArray, alpha: float) -> ByteArray:
    """What each of `colours` [N, 3] makes of each value of a picture: lookup tables [N, 256, 1, 3]."""
    different, rows = np.unique(colours, axis=0, return_inverse=True)
    steps = np.arange(256)[:, None] * (1 - alpha) + different[:, None] * alpha
    return steps.round().astype(np.uint8)[rows.reshape(-1), :, None]


def _fill(view: ByteArray, crop: BoolArray, table: ByteArray) -> None:
    import cv2

    cv2.copyTo(cv2.LUT(view, table), crop.view(np.uint8), view)


def _stripes(corner: tuple[int, int], shape: tuple[int, ...], width: int) -> BoolArray:
    """Diagonal stripes of the picture, [h, w]: those of two crops fit together."""
    down = np.arange(corner[1], corner[1] + shape[0], dtype=np.int32)[:, None]
    across = np.arange(corner[0], corner[0] + shape[1], dtype=np.int32)
    stripes: BoolArray = (down + across) // width % 2 == 0
    return stripes


def _outline_box(canvas: ByteArray, box: Array, colour: ByteArray, width: int) -> None:
    x1, y1, x2, y2 = whole_box(box, (canvas.shape[0], canvas.shape[1]))
    for edge in (
        canvas[y1 : y1 + width, x1:x2],
        canvas[max(y1, y2 - width) : y2, x1:x2],
        canvas[y1:y2, x1 : x1 + width],
        canvas[y1:y2, max(x1, x2 - width) : x2],
    ):
        edge[:] = colour
