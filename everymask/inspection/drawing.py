"""Small pictures of what a network calculates: maps as colours, boxes on the picture that it sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from everymask.core.arrays import Array, ByteArray, FloatArray
from everymask.core.labels import Colour
from everymask.data.feed.preprocess import Preprocess
from everymask.viz.draw import displayable, scaled_size
from everymask.viz.draw import resized as resized_picture
from everymask.viz.parts import PICTURE_SIDE

TRUTH: Colour = (255, 255, 255)
MATCHED: Colour = (34, 197, 94)
BEFORE: Colour = (251, 146, 60)
AFTER: Colour = (56, 189, 248)
LEVELS: tuple[Colour, ...] = ((56, 189, 248), (167, 139, 250), (251, 146, 60), (244, 114, 182), (250, 204, 21))
"""Of the levels of a pyramid, the finest first."""
_SHADE = (12, 14, 20)
_GAP = 4


def fed_pictures(fed: FloatArray, preprocess: Preprocess) -> list[ByteArray]:
    """What the network was given [C, H, W] as pictures [H, W, 3] to be looked at, one for each date."""
    planes = np.split(fed, preprocess.dates)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (preprocess.mean, preprocess.std))
    shown = []
    for date in planes:
        stored = (date[::-1] if preprocess.bgr else date) * std + mean
        largest = max(1.0, float(stored.max()))
        shown.append(displayable((np.clip(stored / largest, 0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)))
    return shown


class Canvas:
    """A picture of a frame at the size of a page's pictures, on which boxes of the frame are drawn."""

    def __init__(self, picture: ByteArray, *, dimmed: bool = True) -> None:
        height, width = picture.shape[:2]
        self.picture: ByteArray = resized_picture(picture, scaled_size((height, width), PICTURE_SIDE))
        if dimmed:  # so that lines stand out
            self.picture = (self.picture * 0.55 + np.array(_SHADE) * 0.45).astype(np.uint8)
        self._factor = np.array([self.picture.shape[1] / width, self.picture.shape[0] / height] * 2)

    def boxes(self, boxes: Array, colours: Colour | Sequence[Colour], *, width: int = 1) -> Canvas:
        """Outline boxes [N, 4] in one colour or one each; the first is on top."""
        import cv2

        each = [colours] * len(boxes) if isinstance(colours, tuple) else list(colours)
        for box, colour in reversed(list(zip(self._places(boxes), each, strict=True))):
            x1, y1, x2, y2 = box
            cv2.rectangle(self.picture, (x1, y1), (x2, y2), colour, width, cv2.LINE_AA)
        return self

    def arrows(self, first: Array, second: Array, colour: Colour) -> Canvas:
        """From the middles of boxes [N, 4] to those of others."""
        import cv2

        for (a1, b1, a2, b2), (c1, d1, c2, d2) in zip(self._places(first), self._places(second), strict=True):
            start, end = ((a1 + a2) // 2, (b1 + b2) // 2), ((c1 + c2) // 2, (d1 + d2) // 2)
            cv2.arrowedLine(self.picture, start, end, colour, 1, cv2.LINE_AA, tipLength=0.25)
        return self

    def _places(self, boxes: Array) -> list[list[int]]:
        scaled = np.asarray(boxes, np.float64).reshape(-1, 4) * self._factor
        limit = 4 * PICTURE_SIDE
        places: list[list[int]] = np.clip(scaled, -limit, limit).round().astype(int).tolist()
        return places


def heat(values: FloatArray, *, low: float | None = None, high: float | None = None, side: int = 0) -> ByteArray:
    """A map [h, w] in colours from dark (`low`, else its least value) to bright (`high`, else its largest).

    Its places stay square-edged: it is enlarged to `side` pixels, else to the size of a page's pictures.
    """
    import cv2

    floor = float(np.nanmin(values)) if low is None else low
    top = float(np.nanmax(values)) if high is None else high
    share = (np.nan_to_num(values, nan=floor) - floor) / max(top - floor, 1e-12)
    grey = (np.clip(share, 0, 1) * 255).round().astype(np.uint8)
    coloured = cv2.applyColorMap(grey, cv2.COLORMAP_VIRIDIS)[..., ::-1]
    height, width = scaled_size((grey.shape[0], grey.shape[1]), side or PICTURE_SIDE)
    kind = cv2.INTER_NEAREST if height >= grey.shape[0] else cv2.INTER_AREA
    return np.asarray(cv2.resize(np.ascontiguousarray(coloured), (width, height), interpolation=kind), np.uint8)


def cut_out(picture: ByteArray, box: Array, side: int) -> ByteArray:
    """What is in a box xyxy of a picture, with a little around it, as a picture whose longer side is `side`."""
    height, width = picture.shape[:2]
    x1, y1, x2, y2 = np.asarray(box, float).tolist()
    margin = 0.1 * max(x2 - x1, y2 - y1) + 1
    left, top = max(0, int(x1 - margin)), max(0, int(y1 - margin))
    right, bottom = min(width, int(np.ceil(x2 + margin))), min(height, int(np.ceil(y2 + margin)))
    part = picture[top : max(bottom, top + 1), left : max(right, left + 1)]
    return resized_picture(np.ascontiguousarray(part), scaled_size((part.shape[0], part.shape[1]), side))


def beside(pictures: Sequence[ByteArray], side: int) -> ByteArray:
    """Pictures of sides up to `side` in a row of squares."""
    row = np.full((side, len(pictures) * (side + _GAP) - _GAP, 3), _SHADE, np.uint8)
    for place, picture in enumerate(pictures):
        height, width = picture.shape[:2]
        top, left = (side - height) // 2, place * (side + _GAP) + (side - width) // 2
        row[top : top + height, left : left + width] = picture
    return row
