"""From a detector's compact outputs to objects in the picture; an N x H x W array never exists.

Bilinear interpolation is piecewise linear along a column of pixels: between two rows of the small mask it crosses the
threshold at most once, at a place that a division gives. So masks become edges without a look at their pixels, at a
cost that grows with their width and not with their area.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import Array, BoolArray, FloatArray, IntArray
from everymask.core.forms.edges import edges_from_changes, groups
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.data.feed.preprocess import Placement
from everymask.infer.decoding.prompted import MaskResizing, decode_masks
from everymask.models.specs.regions import MaskPaste

_GROUP = 2**11  # columns of pixels at a time, so that they stay in the processor's cache
_FRAME_STRIDES: dict[MaskPaste, int] = {"frame": 8, "quarter frame": 4}
_FARTHEST = 1e9  # pixels; boxes end there, and so does a coordinate that is not a number


def decode_instances(
    boxes: FloatArray,
    class_ids: IntArray,
    scores: FloatArray,
    mask_logits: FloatArray | None,
    placement: Placement,
    paste: MaskPaste,
) -> InstanceSet:
    """Objects in the frame of the original picture.

    `boxes` [N, 4] lie in the network's frame, `mask_logits` [N, M, M] relative to them. Boxes are clipped to the
    picture; `paste` names the sub-pixel rule by which the small masks become pixels. With "frame" the logits [N, h, w]
    are of the whole frame, at an eighth of its size, and go back in two bilinear steps, as mmdetection has it. With
    "quarter frame" they are at a quarter of its size, and go back in one step where the frame has no padding, as
    RF-DETR has it.
    """
    height, width = placement.original
    found = placement.boxes_to_original(boxes)
    masks = None
    if mask_logits is not None and paste in _FRAME_STRIDES:
        small, stride = (mask_logits.shape[1], mask_logits.shape[2]), _FRAME_STRIDES[paste]
        frame = (stride * small[0], stride * small[1])
        in_one_step = paste == "quarter frame" and placement.inside == (0, 0, *frame[::-1])
        masks = decode_masks(mask_logits, MaskResizing(small, placement, None if in_one_step else frame))
    elif mask_logits is not None:
        masks = paste_masks(mask_logits, found, placement.original, paste)
    clipped = np.clip(found, 0, np.array([width, height, width, height], np.float32))
    return InstanceSet(clipped, class_ids.astype(np.int64), scores.astype(np.float32), masks)


def paste_masks(logits: FloatArray, boxes: FloatArray, size: tuple[int, int], paste: MaskPaste) -> Masks:
    """Masks of N objects from logits [N, M, M] that fill boxes [N, 4] of a picture of `size`.

    - torchvision: the mask with a border of zeros fills the box enlarged likewise and cut to whole pixels; more than
      one half is object (`paste_masks_in_image`)
    - detectron2: every pixel reads the mask at its centre; at least one half is object (`paste_masks_in_image`)
    - matterport: as detectron2, after rounding the box to whole pixels (`unmold_mask`)

    A logit that is not a number counts as outside.
    """
    probabilities = _padded_columns(logits)
    axes = _enlarged_axis if paste == "torchvision" else _centred_axis
    kept = np.fmax(np.fmin(boxes.astype(np.float32), _FARTHEST), -_FARTHEST)
    if paste == "matterport":
        kept = np.rint(kept)
    across, down = (axes(kept[:, k], kept[:, k + 2], probabilities.shape[1], size[1 - k]) for k in (0, 1))
    is_object = np.greater if paste == "torchvision" else np.greater_equal
    places: list[IntArray] = [np.zeros(0, np.int64)]
    owners: list[IntArray] = [np.zeros(0, np.int64)]
    for first, last in groups(across.stop - across.start, _GROUP):
        owner, column, line = _columns(probabilities, across, range(first, last), is_object)
        crossed, row = _crossings(line, down, owner, is_object)
        places.append(column[crossed] * size[0] + row)
        owners.append(owner[crossed])
    return Masks.from_edges(edges_from_changes(np.concatenate(places), np.concatenate(owners), len(logits), size))


def _padded_columns(logits: FloatArray) -> FloatArray:
    """Probabilities [N, M + 2, M + 2] float32, x before y, with a border of zeros."""
    count, side = len(logits), logits.shape[-1]
    # Below -80 float32's exponential function would overflow.
    sure = np.fmax(logits.astype(np.float32), -80).transpose(0, 2, 1)
    padded = np.zeros((count, side + 2, side + 2), np.float32)
    padded[:, 1:-1, 1:-1] = 1 / (1 + np.exp(-sure))
    return padded


@dataclass(frozen=True, slots=True)
class _Axis:
    """How N padded masks lie along x or y of the picture.

    Pixels `start` to `stop` [N] int64 can read mask `i`; the centre of pixel p lies at
    `(p + 0.5 - origin[i]) * step[i] + shift` in it, where its element k lies at k.
    """

    start: IntArray
    stop: IntArray
    origin: FloatArray
    step: FloatArray
    shift: float

    def places(self, owner: IntArray, pixel: Array) -> FloatArray:
        """Where the centre of each pixel lies in the mask `owner`, both [P]."""
        found: FloatArray = (pixel + 0.5 - self.origin[owner]) * self.step[owner] + self.shift
        return found

    def pixels(self, owner: IntArray, place: FloatArray) -> FloatArray:
        """The inverse of `places`."""
        found: FloatArray = (place - self.shift) / self.step[owner] + self.origin[owner] - 0.5
        return found


def _enlarged_axis(low: FloatArray, high: FloatArray, side: int, length: int) -> _Axis:
    half = (high - low) * np.float32(0.5) * np.float32(side / (side - 2))
    centre = (high + low) * np.float32(0.5)
    first, last = (centre - half).astype(np.int64), (centre + half).astype(np.int64)
    extent = np.maximum(last - first + 1, 1)
    start, stop = np.clip(first, 0, length), np.clip(last + 1, 0, length)
    return _Axis(start, np.maximum(start, stop), first.astype(np.float64), side / extent, -0.5)


def _centred_axis(low: FloatArray, high: FloatArray, side: int, length: int) -> _Axis:
    cell = (high - low) / np.float32(side - 2)
    start = np.clip(np.floor(low - cell), 0, length).astype(np.int64)
    stop = np.clip(np.ceil(high + cell), 0, length).astype(np.int64)
    step = 1 / np.maximum(cell, 1e-6).astype(np.float64)
    return _Axis(start, np.maximum(start, stop), low.astype(np.float64), step, 0.5)


def _columns(
    probabilities: FloatArray, across: _Axis, chosen: range, is_object: Callable[..., BoolArray]
) -> tuple[IntArray, IntArray, FloatArray]:
    """The columns of pixels in which the masks `chosen` may have objects: mask [C], x [C] and the mask's rows there
    [C, M + 2], interpolated along x.
    """
    side = probabilities.shape[1]
    lines = probabilities.reshape(-1, side)
    counts = (across.stop - across.start)[chosen.start : chosen.stop]
    owner = np.repeat(np.arange(chosen.start, chosen.stop), counts)
    column = np.arange(owner.size) + np.repeat(
        across.start[chosen.start : chosen.stop] - np.cumsum(counts) + counts, counts
    )
    place = np.clip(across.places(owner, column), 0, side - 1)
    left = np.minimum(place.astype(np.int64), side - 2)
    line = owner * side + left
    some = is_object(lines[chosen.start * side : chosen.stop * side].max(axis=1), 0.5)
    found = np.flatnonzero(some[line - chosen.start * side] | some[line + 1 - chosen.start * side])
    line = line[found]
    share = (place - left).astype(np.float32)[found, None]
    read = lines[line] * (1 - share)
    read += lines[line + 1] * share
    return owner[found], column[found], read


def _crossings(
    line: FloatArray, down: _Axis, owner: IntArray, is_object: Callable[..., BoolArray]
) -> tuple[IntArray, IntArray]:
    """Where columns [C, M + 2] of masks `owner` [C] change: the column [K] and the first row of pixels behind [K].

    A column begins and ends with 0, so the changes of one column never mix with those of the next.
    """
    side = line.shape[1]
    values = line.reshape(-1)
    inside = is_object(values, 0.5)
    before = np.flatnonzero(inside[1:] != inside[:-1])
    column, element = np.divmod(before, side)
    mask = owner[column]
    low, high = values[before], values[before + 1]
    # float64, because the two may differ by little.
    crossing = element + (0.5 - low.astype(np.float64)) / (high.astype(np.float64) - low)
    nearest = np.rint(down.pixels(mask, crossing))
    # Whether the pixel next to the crossing lies behind it is decided as if all pixels were interpolated.
    share = np.clip(down.places(mask, nearest) - element, 0, 1).astype(np.float32)
    behind = is_object(low * (1 - share) + high * share, 0.5) == inside[before + 1]
    row = nearest.astype(np.int64) + ~behind
    return column, np.clip(row, down.start[mask], down.stop[mask])
