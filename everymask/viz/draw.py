"""Objects drawn on their picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from everymask.core.arrays import Array, BoolArray, ByteArray, IntArray
from everymask.core.labels import Colour, Labels
from everymask.core.segmentation import InstanceSet
from everymask.errors import DataError
from everymask.viz.palette import object_colours
from everymask.viz.text import write_tag

Window: TypeAlias = tuple[int, int, int, int]

PAPER: Colour = (24, 26, 31)


def draw_instances(
    image: Array,
    instances: InstanceSet,
    labels: Labels,
    *,
    min_score: float = 0.0,
    alpha: float = 0.45,
    names: bool = True,
) -> ByteArray:
    """The picture with its objects: filled, outlined, and, where they are large enough, boxed and named.

    `image` is [H, W] or [H, W, C] as in `displayable`; the result is uint8 [H, W, 3]. Objects below `min_score` are
    left out. Fills cover the picture by `alpha` (0-1); outlines lie on the masks' own border pixels, so that a pixel
    outside every mask changes only under a box or a tag. Small objects are drawn over large ones. A set of one class
    gets a colour per object and tags without the name. Tags stay inside the picture and off each other; an object
    whose tag finds no room has none. Memory: the picture twice, whatever the number of objects.

    >>> picture = draw_instances(sample.image, found[found.scores > 0.8], labels)
    """
    canvas = displayable(image)
    size = canvas.shape[:2]
    if instances.masks is not None and instances.masks.size != size:
        raise DataError(f"the masks belong to a picture of {instances.masks.size}, but this one has {size} (H, W)")
    if instances.scores is not None and min_score > 0:
        instances = instances[instances.scores >= min_score]
    stroke = max(1, round(min(size) / 320))
    colours = object_colours(instances, labels)
    if instances.masks is not None:
        for row in np.argsort(-instances.masks.areas(), kind="stable"):
            x1, y1, x2, y2 = (int(v) for v in instances.masks.windows[row])
            _fill(canvas[y1:y2, x1:x2], instances.masks.crop(int(row)), colours[row], alpha, stroke)
    tags = _place_tags(canvas, instances, labels, colours) if names else {}
    for row in range(len(instances)):
        if row in tags or instances.masks is None:
            _outline_box(canvas, instances.boxes[row], colours[row], stroke)
    for (x, y), tag in tags.values():
        canvas[y : y + tag.shape[0], x : x + tag.shape[1]] = tag
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


def draw_beside(left: ByteArray, right: ByteArray, titles: tuple[str, str]) -> ByteArray:
    """Two pictures uint8 [H, W, 3] side by side, titled; the right one is scaled to the height of the left one."""
    import cv2

    height, width = left.shape[:2]
    if right.shape[0] != height:
        scaled = max(1, round(right.shape[1] * height / right.shape[0]))
        right = np.asarray(cv2.resize(right, (scaled, height), interpolation=cv2.INTER_AREA), np.uint8)
    gap, letters = max(2, height // 80), letter_height((height, width))
    page = np.empty((height + 2 * letters, width + gap + right.shape[1], 3), np.uint8)
    page[:] = PAPER
    for picture, title, x in ((left, titles[0], 0), (right, titles[1], width + gap)):
        page[2 * letters :, x : x + picture.shape[1]] = picture
        tag = write_tag(title, PAPER, letters, picture.shape[1])
        top = (2 * letters - tag.shape[0]) // 2
        page[top : top + tag.shape[0], x : x + tag.shape[1]] = tag
    return page


def draw_legend(labels: Labels, class_ids: Sequence[int] | IntArray | None = None, *, height: int = 18) -> ByteArray:
    """Swatches and names as a picture uint8 [h, w, 3]: one class to a line of letters `height` pixels tall."""
    chosen = range(len(labels)) if class_ids is None else [int(k) for k in class_ids]
    tags = [write_tag(labels.names[k], PAPER, height, 40 * height) for k in chosen]
    line, indent = round(1.5 * height), 2 * height
    page = np.empty((line * max(1, len(tags)), indent + max((t.shape[1] for t in tags), default=0), 3), np.uint8)
    page[:] = PAPER
    for number, (class_id, tag) in enumerate(zip(chosen, tags, strict=True)):
        top = number * line + (line - height) // 2
        page[top : top + height, height // 2 : height // 2 + height] = labels.colours[class_id]
        top = number * line + (line - tag.shape[0]) // 2
        page[top : top + tag.shape[0], indent : indent + tag.shape[1]] = tag
    return page


def letter_height(size: tuple[int, ...]) -> int:
    """The line height, in pixels, that suits a picture of `size` (H, W)."""
    return int(np.clip(min(size[:2]) / 36, 12, 64))


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


def _fill(view: ByteArray, crop: BoolArray, colour: ByteArray, alpha: float, stroke: int) -> None:
    import cv2

    if not crop.size:
        return
    steps = np.arange(256)[:, None] * (1 - alpha) + colour[None, :] * alpha
    np.copyto(view, cv2.LUT(view, steps.round().astype(np.uint8)[:, None, :]), where=crop[..., None])
    np.copyto(view, colour, where=_border(crop, stroke)[..., None])


def _border(crop: BoolArray, stroke: int) -> BoolArray:
    """The mask's pixels that lie within `stroke` pixels of its outside."""
    import cv2

    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * stroke + 1, 2 * stroke + 1))
    inner = cv2.erode(crop.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    border: BoolArray = crop & (inner == 0)
    return border


def _outline_box(canvas: ByteArray, box: Array, colour: ByteArray, stroke: int) -> None:
    height, width = canvas.shape[:2]
    x1, y1 = (int(v) for v in np.floor(box[:2]).clip(0, (width - 1, height - 1)))
    x2, y2 = (int(v) for v in np.ceil(box[2:]).clip((x1 + 1, y1 + 1), (width, height)))
    for edge in (
        canvas[y1 : y1 + stroke, x1:x2],
        canvas[max(y1, y2 - stroke) : y2, x1:x2],
        canvas[y1:y2, x1 : x1 + stroke],
        canvas[y1:y2, max(x1, x2 - stroke) : x2],
    ):
        edge[:] = colour


def _place_tags(
    canvas: ByteArray, instances: InstanceSet, labels: Labels, colours: ByteArray
) -> dict[int, tuple[tuple[int, int], ByteArray]]:
    """Row -> corner (x, y) and picture of its tag; surest (else largest) objects choose their place first."""
    height, width = canvas.shape[:2]
    letters = letter_height(canvas.shape)
    sides = instances.boxes[:, 2:] - instances.boxes[:, :2]
    least = 2.5 * letters if len(labels) == 1 else 1.5 * letters
    large = (sides.min(axis=1) >= least) & (sides.max(axis=1) >= 2.5 * letters)
    if len(labels) == 1 and 2 * np.count_nonzero(large) < len(large):
        return {}
    first = -sides.prod(axis=1) if instances.scores is None else -instances.scores
    placed: dict[int, tuple[tuple[int, int], ByteArray]] = {}
    taken: list[Window] = []
    for row in (int(r) for r in np.argsort(first, kind="stable")):
        text = _caption(instances, labels, row)
        if not text or not large[row]:
            continue
        red, green, blue = (int(c) for c in colours[row])
        tag = write_tag(text, (red, green, blue), letters, width)
        corner = _free_corner(instances.boxes[row], tag, taken, (height, width))
        if corner is not None and tag.size:
            placed[row] = (corner, tag)
            taken.append((*corner, corner[0] + tag.shape[1], corner[1] + tag.shape[0]))
    return placed


def _caption(instances: InstanceSet, labels: Labels, row: int) -> str:
    name = labels.names[int(instances.class_ids[row])] if len(labels) > 1 else ""
    score = "" if instances.scores is None else f"{float(instances.scores[row]):.2f}"
    return f"{name} {score}".strip()


def _free_corner(box: Array, tag: ByteArray, taken: list[Window], size: tuple[int, int]) -> tuple[int, int] | None:
    """The first of four places at the box where the tag is inside the picture and on no other: above, inside, below."""
    tall, wide = tag.shape[:2]
    height, width = size
    x1, y1, x2, y2 = (int(v) for v in box)
    if wide > width or tall > height:
        return None
    for x, y in ((x1, y1 - tall), (x1, y1), (x2 - wide, y1 - tall), (x1, y2 - tall), (x1, y2)):
        left = min(max(x, 0), width - wide)
        if 0 <= y <= height - tall and not any(
            left < right and low_x < left + wide and y < bottom and low_y < y + tall
            for low_x, low_y, right, bottom in taken
        ):
            return left, y
    return None
