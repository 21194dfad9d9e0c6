"""From a detector's compact outputs to objects in the picture; an N x H x W array never exists."""

from __future__ import annotations

from typing import Literal

import numpy as np

from everymask.core.arrays import Array, BoolArray, FloatArray, IntArray
from everymask.core.interpolation import linear_weights
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.data.preprocess import Placement

Paste = Literal["torchvision", "detectron2", "matterport"]


def decode_instances(
    boxes: FloatArray,
    class_ids: IntArray,
    scores: FloatArray,
    mask_logits: FloatArray | None,
    placement: Placement,
    paste: Paste,
) -> InstanceSet:
    """Objects in the frame of the original picture.

    `boxes` [N, 4] lie in the network's frame, `mask_logits` [N, M, M] relative to them. Boxes are clipped to the
    picture; `paste` names the sub-pixel rule by which the small masks become pixels.
    """
    height, width = placement.original
    found = placement.boxes_to_original(boxes)
    masks = None
    if mask_logits is not None:
        masks = paste_masks(mask_logits, found, placement.original, paste)
    clipped = np.clip(found, 0, np.array([width, height, width, height], np.float32))
    return InstanceSet(clipped, class_ids.astype(np.int64), scores.astype(np.float32), masks)


def paste_masks(logits: FloatArray, boxes: FloatArray, size: tuple[int, int], paste: Paste) -> Masks:
    """Masks of N objects from logits [N, M, M] that fill boxes [N, 4] of a picture of `size`.

    - torchvision: the mask with a border of zeros fills the box enlarged likewise and cut to whole pixels; more than
      one half is object (`paste_masks_in_image`)
    - detectron2: every pixel reads the mask at its centre; at least one half is object (`paste_masks_in_image`)
    - matterport: as detectron2, after rounding the box to whole pixels (`unmold_mask`)
    """
    # Below -80 float32's exponential function would overflow.
    sure = np.maximum(logits.astype(np.float32), -80)
    probabilities = np.pad(1 / (1 + np.exp(-sure)), ((0, 0), (1, 1), (1, 1)))
    crops: list[BoolArray] = []
    corners = np.zeros((len(logits), 2), np.int32)
    for index, (probability, box) in enumerate(zip(probabilities, boxes, strict=True)):
        if paste == "torchvision":
            (top, down), (left, across) = _enlarged_axes(box, len(probability), size)
        else:
            whole = np.rint(box) if paste == "matterport" else box
            (top, down), (left, across) = _centred_axes(whole, len(probability), size)
        coverage = down @ probability @ across.T
        crops.append(coverage > 0.5 if paste == "torchvision" else coverage >= 0.5)
        corners[index] = left, top
    return Masks.from_crops(crops, corners, size)


def _enlarged_axes(box: Array, side: int, size: tuple[int, int]) -> list[tuple[int, FloatArray]]:
    """For y and x: the first pixel, and the weights [pixels, side] by which pixels read the padded mask."""
    axes = []
    scale = np.float32(side / (side - 2))
    for low, high, length in ((box[1], box[3], size[0]), (box[0], box[2], size[1])):
        half = np.float32(high - low) * np.float32(0.5) * scale
        centre = np.float32(high + low) * np.float32(0.5)
        first, last = int(centre - half), int(centre + half)
        extent = max(last - first + 1, 1)
        start, stop = max(first, 0), min(last + 1, length)
        positions = (np.arange(start - first, max(stop, start) - first) + 0.5) * (side / extent) - 0.5
        axes.append((min(start, length), linear_weights(positions, side)))
    return axes


def _centred_axes(box: Array, side: int, size: tuple[int, int]) -> list[tuple[int, FloatArray]]:
    axes = []
    for low, high, length in ((box[1], box[3], size[0]), (box[0], box[2], size[1])):
        cell = (high - low) / (side - 2)
        start = min(max(int(np.floor(low - cell)), 0), length)
        stop = max(min(int(np.ceil(high + cell)), length), start)
        positions = (np.arange(start, stop) + 0.5 - low) / max(cell, 1e-6) + 0.5
        axes.append((start, linear_weights(positions, side)))
    return axes
