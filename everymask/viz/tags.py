"""Where the names of objects stand on their picture, so that they hide none of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import Array, BoolArray, ByteArray, FloatArray, IntArray
from everymask.core.labels import Labels
from everymask.core.segmentation import InstanceSet
from everymask.viz.frame import letter_height
from everymask.viz.text import tag_size, write_tag

LARGE = 10
"""An object is large, so that a tag may lie on it, from so many times the largest tag's pixels on."""
_CELLS = 4  # per line of letters
_LEAST_LINES = 7
# What is paid for a place: for lying on other objects, on the own one, on its edge, and per line away from its top.
_OTHERS, _OWN, _EDGE, _AWAY = 6.0, 1.0, 8.0, 0.2


@dataclass(frozen=True, slots=True)
class Tag:
    """A small picture [h, w, 3] whose upper left pixel lies at (x, y) of the picture; it names object `row`."""

    row: int
    x: int
    y: int
    picture: ByteArray


def place_tags(size: tuple[int, int], instances: InstanceSet, labels: Labels, colours: ByteArray) -> list[Tag]:
    """Tags with name and score, where a picture of `size` (H, W) has room for them.

    A tag touches its object, best above it, or lies on it if that is `LARGE`. It lies inside the picture, on no other
    tag, and on no pixel of an object that is not `LARGE`; where there is no such place, the object has none. Surest
    (else largest) objects choose first. Tags of a set of one class hold only scores, and there are none where most
    objects are too small for one; nor are there in pictures of less than seven lines of letters.
    """
    letters = letter_height(size)
    if min(size) < _LEAST_LINES * letters:
        return []
    texts = _texts(instances, labels, letters)
    sizes = {row: tag_size(text, letters, size[1]) for row, text in texts.items()}
    sizes = {row: tag for row, tag in sizes.items() if tag[1]}
    if not sizes:
        return []
    ground = _survey(size, instances, letters // _CELLS, LARGE * max(tall * wide for tall, wide in sizes.values()))
    placed: list[Tag] = []
    for row, tag in sizes.items():
        corner = ground.best(row, tag)
        if corner is not None:
            red, green, blue = colours[row].tolist()
            placed.append(Tag(row, *corner, write_tag(texts[row], (red, green, blue), letters, size[1])))
            ground.close(corner, tag)
    return placed


def whole_box(box: Array, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box xyxy in whole pixels of the picture, at least one."""
    x1, y1 = (int(v) for v in np.floor(box[:2]).clip(0, (size[1] - 1, size[0] - 1)))
    x2, y2 = (int(v) for v in np.ceil(box[2:]).clip((x1 + 1, y1 + 1), (size[1], size[0])))
    return x1, y1, x2, y2


def _texts(instances: InstanceSet, labels: Labels, letters: int) -> dict[int, str]:
    """Row -> what its tag says, of the objects that are large enough for one, in the order in which they choose."""
    sides = instances.boxes[:, 2:] - instances.boxes[:, :2]
    worth = sides.max(axis=1, initial=0) >= 1.5 * letters
    if len(labels) == 1:
        worth = sides.min(axis=1, initial=np.inf) >= 2.5 * letters
        if 2 * np.count_nonzero(worth) < len(worth):
            return {}
    first = -sides.prod(axis=1) if instances.scores is None else -instances.scores
    rows = [row for row in np.argsort(first, kind="stable").tolist() if worth[row]]
    texts = {row: _caption(instances, labels, row) for row in rows}
    return {row: text for row, text in texts.items() if text}


def _caption(instances: InstanceSet, labels: Labels, row: int) -> str:
    name = labels.names[int(instances.class_ids[row])] if len(labels) > 1 else ""
    crowd = "(crowd)" if instances.crowd is not None and instances.crowd[row] else ""
    score = "" if instances.scores is None else f"{float(instances.scores[row]):.2f}"
    return " ".join(part for part in (name, crowd, score) if part)


@dataclass(frozen=True, slots=True)
class _Footprint:
    """Which cells [h, w] (0 or 1) an object has pixels in, from cell (`left`, `top`) on, and how many pixels it has.

    `middle` is the column of cells over which its tag stands best: of its topmost pixels; None: where it begins.
    """

    left: int
    top: int
    cells: ByteArray
    pixels: int
    middle: float | None


@dataclass(frozen=True, slots=True)
class _Ground:
    """What lies where in a picture of `size` (H, W), in cells of `cell` x `cell` pixels.

    `closed` to tags [h, w], 0 or 1; how many `objects` there are [h, w]; and the footprint of each object.
    """

    size: tuple[int, int]
    cell: int
    closed: ByteArray
    objects: IntArray
    footprints: tuple[_Footprint, ...]

    def best(self, row: int, tag: tuple[int, int]) -> tuple[int, int] | None:
        """The pixel (x, y) where a tag of `tag` (h, w) costs least; None where all places at the object are closed."""
        foot, cell = self.footprints[row], self.cell
        tall, wide = (-(-side // cell) for side in tag)
        # The first cells of all places at which the tag overlaps the object or touches it.
        top, left = max(0, foot.top - tall), max(0, foot.left - wide)
        bottom = min((self.size[0] - tag[0]) // cell, foot.top + foot.cells.shape[0])
        right = min((self.size[1] - tag[1]) // cell, foot.left + foot.cells.shape[1])
        if bottom < top or right < left:
            return None
        window = slice(top, bottom + tall), slice(left, right + wide)
        free = _sums(self.closed[window], tall, wide) == 0
        if not free.any():
            return None
        objects = self.objects[window]
        own = np.zeros((objects.shape[0] + 2, objects.shape[1] + 2), np.uint16)
        y, x = foot.top - top + 1, foot.left - left + 1
        mine = foot.cells[: own.shape[0] - y, : own.shape[1] - x]
        own[y : y + mine.shape[0], x : x + mine.shape[1]] = mine
        free &= _sums(own, tall + 2, wide + 2) > 0
        if not free.any():
            return None
        covered = _sums(own[1:-1, 1:-1], tall, wide) / (tall * wide)
        others = _sums(objects, tall, wide) / (tall * wide) - covered
        middle = foot.left + wide / 2 if foot.middle is None else foot.middle
        down = np.abs(np.arange(top, bottom + 1) + tall - foot.top)[:, None]
        across = np.abs(np.arange(left, right + 1) + wide / 2 - middle)
        cost = _OTHERS * others + _OWN * covered + _EDGE * covered * (1 - covered) + _AWAY / _CELLS * (down + across)
        cost[~free] = np.inf
        place = np.unravel_index(np.argmin(cost), cost.shape)
        return (left + int(place[1])) * cell, (top + int(place[0])) * cell

    def close(self, corner: tuple[int, int], tag: tuple[int, int]) -> None:
        """Close the place of a tag of `tag` (h, w)."""
        x, y = corner[0] // self.cell, corner[1] // self.cell
        self.closed[y : y - (-tag[0] // self.cell), x : x - (-tag[1] // self.cell)] = 1


def _survey(size: tuple[int, int], instances: InstanceSet, cell: int, least: int) -> _Ground:
    """The ground of a picture whose objects of less than `least` pixels must stay free."""
    shape = (-(-size[0] // cell), -(-size[1] // cell))
    closed, objects = np.zeros(shape, np.uint8), np.zeros(shape, np.uint16)
    footprints = tuple(_footprint(size, instances, row, cell) for row in range(len(instances)))
    for foot in footprints:
        window = (
            slice(foot.top, foot.top + foot.cells.shape[0]),
            slice(foot.left, foot.left + foot.cells.shape[1]),
        )
        objects[window] += foot.cells
        if foot.pixels < least:
            closed[window] |= foot.cells
    return _Ground(size, cell, closed, objects, footprints)


def _footprint(size: tuple[int, int], instances: InstanceSet, row: int, cell: int) -> _Footprint:
    masks = instances.masks
    crop = None if masks is None else masks.crop(row)
    if masks is None or crop is None or not crop.size:
        x1, y1, x2, y2 = whole_box(instances.boxes[row], size)
        left, top = x1 // cell, y1 // cell
        cells = np.ones(((y2 - 1) // cell + 1 - top, (x2 - 1) // cell + 1 - left), np.uint8)
        return _Footprint(left, top, cells, (y2 - y1) * (x2 - x1), None)
    x, y = masks.windows[row, :2].tolist()
    cells = _cells(crop, y % cell, x % cell, cell)
    middle = x // cell + float(np.flatnonzero(cells[0]).mean()) + 0.5
    return _Footprint(x // cell, y // cell, cells, int(np.count_nonzero(crop)), middle)


def _cells(crop: BoolArray, above: int, before: int, cell: int) -> ByteArray:
    """Which cells a mask has pixels in, 0 or 1, where so many pixels lie above and before it in its first one."""
    import cv2

    below, behind = -(above + crop.shape[0]) % cell, -(before + crop.shape[1]) % cell
    whole = cv2.copyMakeBorder(crop.view(np.uint8), above, below, before, behind, cv2.BORDER_CONSTANT)
    reached = cv2.dilate(whole, np.ones((cell, cell), np.uint8), anchor=(0, 0))
    return np.ascontiguousarray(np.asarray(reached, np.uint8)[::cell, ::cell])


def _sums(values: Array, tall: int, wide: int) -> FloatArray:
    """The sums of all windows of `tall` x `wide` elements, [H - tall + 1, W - wide + 1]; of 8 or 16 bits each."""
    import cv2

    total = cv2.integral(values, sdepth=cv2.CV_64F)
    sums: FloatArray = total[tall:, wide:] - total[:-tall, wide:] - total[tall:, :-wide] + total[:-tall, :-wide]
    return sums
