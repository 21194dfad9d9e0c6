"""What stands around drawn pictures: titles over a pair of them, legends, and how large letters are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from everymask.core.arrays import ByteArray, IntArray
from everymask.core.labels import Colour, Labels
from everymask.viz.text import write_tag

PAPER: Colour = (24, 26, 31)


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
    """The line height, in pixels, that suits a picture of `size` (H, W): a large one is looked at from farther away."""
    short = min(size[:2])
    return int(np.clip(max(0.75 * short**0.5, short / 50), 13, 64))
