"""Changes to a training picture under which its truth moves along.

Each function takes a `Sample` whose truth is an `InstanceSet` (or None) and returns a new one; what is drawn comes from
the `generator` that is passed in. Pictures are [H, W, C] of any channel count, uint8, uint16 or float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import cv2
import numpy as np

from everymask.core.arrays import Array, BoolArray, FloatArray
from everymask.core.masks import Masks
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.errors import ConfigError

Size = tuple[int, int]
Window = tuple[int, int, int, int]
_TOP = {"uint8": 255.0, "uint16": 65535.0}


@dataclass(frozen=True, slots=True)
class Augment:
    """How strongly training pictures are varied; the defaults suit some tens to some thousands of pictures."""

    flip: float = 0.5
    """Probability of mirroring left-right."""
    vertical: float = 0.0
    """Probability of mirroring top-bottom."""
    rotate: float = 0.0
    """Probability of one to three quarter turns; for pictures without an up."""
    scale: tuple[float, float] = (0.7, 1.4)
    """Range of the resizing factor."""
    brightness: float = 0.2
    """Largest relative change."""
    contrast: float = 0.2
    """Largest relative change."""
    saturation: float = 0.2
    """Largest relative change."""
    hue: float = 0.02
    """Largest turn, as a fraction of the colour circle."""
    blur: float = 0.1
    """Probability of blurring."""
    blur_sigma: float = 1.5
    """Largest standard deviation of the blur in pixels."""
    noise: float = 0.1
    """Probability of adding noise."""
    noise_std: float = 0.03
    """Largest standard deviation of the noise relative to the full range."""
    copy_paste: float = 0.0
    """Probability of pasting objects of another picture."""
    mosaic: float = 0.0
    """Probability of joining four pictures in one."""
    angle: float = 0.0
    """Largest turn in degrees to either side; label maps only."""
    elastic: float = 0.0
    """Probability of an elastic deformation; label maps only."""
    elastic_sigma: float = 10.0
    """Standard deviation of its displacements in pixels."""
    category_max: float = 0.75
    """Crops of which one class fills a larger share are drawn anew; 0: any crop will do. Label maps only."""
    min_area: float = 4.0
    """Objects of which fewer pixels remain are left out."""
    min_visible: float = 0.15
    """Objects of which a smaller fraction (of them, or of the picture where that is smaller) remains are left out."""

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0 < low <= high < math.inf:
            raise ConfigError(f"scale must be two rising factors greater than 0, but got {self.scale}")
        if not 0 <= self.hue <= 0.5:
            raise ConfigError(f"hue must be 0-0.5, but got {self.hue}")
        if not 0 <= self.angle <= 180:
            raise ConfigError(f"angle must be 0-180 degrees, but got {self.angle}")
        unlimited = ("blur_sigma", "min_area", "elastic_sigma")
        for name in (column.name for column in fields(self) if column.name not in ("scale", "angle")):
            value = getattr(self, name)
            if not 0 <= value <= (math.inf if name in unlimited else 1):
                raise ConfigError(f"{name} must be {'>= 0' if name in unlimited else '0-1'}, but got {value}")

    @classmethod
    def none(cls) -> Augment:
        """Nothing is varied and nothing left out."""
        return cls(**{column.name: 0.0 for column in fields(cls) if column.name != "scale"}, scale=(1.0, 1.0))


def flip(sample: Sample, *, horizontal: bool = True, vertical: bool = False) -> Sample:
    """The mirror image: left-right, top-bottom or both."""
    image = _flipped(sample.image, horizontal, vertical)
    truth = _truth(sample)
    if truth is None:
        return replace(sample, image=image)
    height, width = sample.size
    boxes = truth.boxes.copy()
    if horizontal:
        boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    if vertical:
        boxes[:, [1, 3]] = height - boxes[:, [3, 1]]
    masks = None if truth.masks is None else truth.masks.flip(horizontal=horizontal, vertical=vertical)
    return replace(sample, image=image, truth=replace(truth, boxes=boxes, masks=masks))


def rotate90(sample: Sample, turns: int) -> Sample:
    """The picture turned anticlockwise by `turns` quarters."""
    image = np.rot90(sample.image, turns)
    truth = _truth(sample)
    if truth is None:
        return replace(sample, image=image)
    boxes, size = truth.boxes, sample.size
    corners = np.zeros((0, 4), np.int64) if truth.masks is None else np.asarray(truth.masks.windows, np.int64)
    for _ in range(turns % 4):
        boxes, corners = _turn(boxes, size[1]), _turn(corners, size[1])
        size = size[::-1]
    masks = truth.masks
    if masks is not None:
        crops = [np.rot90(masks.crop(index), turns) for index in range(len(masks))]
        masks = Masks.from_crops(crops, corners[:, :2], size)
    return replace(sample, image=image, truth=replace(truth, boxes=boxes, masks=masks))


def _turn(boxes: Array, width: int) -> Array:
    x1, y1, x2, y2 = boxes.T
    return np.stack((y1, width - x2, y2, width - x1), axis=1)


def crop(
    sample: Sample,
    window: Window,
    size: Size | None = None,
    *,
    fill: Array | None = None,
    limits: Augment | None = None,
) -> Sample:
    """The part of the picture in `window` (xyxy, may reach outside), resized to `size` (h, w).

    Only the window is resized, so the cost does not depend on the size of the picture. `fill` [C] is the colour of what
    lies outside (default 0). Objects outside are left out, and those of which too little remains by `limits`.
    """
    x1, y1, x2, y2 = window
    size = (y2 - y1, x2 - x1) if size is None else size
    part = _cut_image(sample.image, window, fill)
    image = part if size == part.shape[:2] else _resized(part, size)
    return replace(sample, image=image, truth=cut_truth(_truth(sample), sample.size, window, size, limits))


def jitter_window(
    size: Size,
    target: Size,
    scale: tuple[float, float],
    generator: np.random.Generator,
    aim: tuple[float, float] | None = None,
) -> tuple[Window, Size]:
    """Where to cut a picture of `size` so that, resized by `scale` (y, x), it fills `target` (h, w) as far as it can.

    Returns the window (xyxy, inside the picture) and the size that it is resized to (at most `target`). The window lies
    anywhere with equal probability, or holds the point `aim` (y, x).
    """
    starts, extents, resized = [], [], []
    for axis in (0, 1):
        after = min(target[axis], max(1, round(size[axis] * scale[axis])))
        extent = min(size[axis], max(1, round(after / scale[axis])))
        low, high = 0, size[axis] - extent
        if aim is not None:
            low = min(max(low, math.ceil(aim[axis]) - extent), high)
            high = max(min(high, math.floor(aim[axis])), low)
        starts.append(int(generator.integers(low, high + 1)))
        extents.append(extent)
        resized.append(after)
    (y, x), (height, width) = starts, extents
    return (x, y, x + width, y + height), (resized[0], resized[1])


def jitter_scale(
    sample: Sample,
    target: Size,
    scale: tuple[float, float],
    generator: np.random.Generator,
    *,
    fill: Array | None = None,
    limits: Augment | None = None,
    attempts: int = 5,
) -> Sample:
    """Large-scale jitter: resize by `scale` (y, x), cut at random to `target` (h, w), pad right and bottom with `fill`.

    A picture with objects is cut again, up to `attempts` times, while none remains; the last cut aims at an object.
    Source: Ghiasi et al. 2021, "Simple copy-paste is a strong data augmentation method".
    """
    truth = _truth(sample)
    boxes = np.zeros((0, 4), np.float32) if truth is None else truth.boxes[~_crowd(truth)]

    def cut(window: Window, size: Size) -> InstanceSet | None:
        return cut_truth(truth, sample.size, window, size, limits)

    window, resized, kept = jitter_view(sample.size, target, scale, generator, cut, boxes, attempts)
    image = framed(crop(replace(sample, truth=None), window, resized).image, target, fill)
    return replace(sample, image=image, truth=None if kept is None else in_frame(kept, target))


def jitter_view(
    size: Size,
    target: Size,
    scale: tuple[float, float],
    generator: np.random.Generator,
    cut: Callable[[Window, Size], InstanceSet | None],
    boxes: FloatArray,
    attempts: int = 5,
) -> tuple[Window, Size, InstanceSet | None]:
    """`jitter_window` for a picture of which only the objects' `boxes` [K, 4] (crowds aside) are known yet.

    `cut` gives the truth in a window resized to a size; where it keeps no object, another window is drawn, up to
    `attempts` times, the last around a box. Returns window, size and truth.
    """
    for attempt in range(attempts):
        aim = None
        if attempt and attempt == attempts - 1:
            x1, y1, x2, y2 = boxes[generator.integers(len(boxes))].tolist()
            aim = ((y1 + y2) / 2, (x1 + x2) / 2)
        window, resized = jitter_window(size, target, scale, generator, aim)
        kept = cut(window, resized)
        if kept is None or not len(boxes) or not _crowd(kept).all():
            break
    return window, resized, kept


def framed(image: Array, size: Size, fill: Array | None = None) -> Array:
    """The picture [h, w, C] in the upper left of one of `size` (H, W), the rest in the colour `fill` [C] (or 0)."""
    return _cut_image(image, (0, 0, size[1], size[0]), fill)


def in_frame(truth: InstanceSet, size: Size) -> InstanceSet:
    """The truth of a picture that was put in the upper left of one of `size` (H, W)."""
    return truth if truth.masks is None else replace(truth, masks=replace(truth.masks, size=size))


def copy_paste(
    sample: Sample, other: Sample, generator: np.random.Generator, *, limits: Augment | None = None
) -> Sample:
    """Objects of `other` pasted where they stand there; what they hide is taken from the masks below.

    Each object is pasted with probability 1/2. Where one of the two has no masks, or their pictures are stored in
    different types, the sample comes back as it is.
    Source: Ghiasi et al. 2021.
    """
    truth, source = _truth(sample), _truth(other)
    if truth is None or source is None or truth.masks is None or source.masks is None:
        return sample
    if sample.image.dtype != other.image.dtype:
        return sample
    height, width = sample.size
    window = (0, 0, width, height)
    source = source[(generator.random(len(source)) < 0.5) & ~_crowd(source)]
    source = cut_truth(source, other.size, window, sample.size, limits) if other.size != sample.size else source
    if source is None or source.masks is None or not len(source):
        return sample
    pasted = np.zeros(sample.size, np.bool_)
    for index, (x1, y1, x2, y2) in enumerate(source.masks.windows.tolist()):
        pasted[y1:y2, x1:x2] |= source.masks.crop(index)
    rows, columns = min(height, other.size[0]), min(width, other.size[1])
    image = np.array(sample.image)
    np.copyto(image[:rows, :columns], other.image[:rows, :columns], where=pasted[:rows, :columns, None])
    below = _settled(truth, truth.boxes, _minus(truth.masks, pasted), sample.size, limits)
    return replace(sample, image=image, truth=joined([below, source]))


def mosaic(parts: Sequence[Sample], corner: tuple[int, int], size: Size, *, fill: Array | None = None) -> Sample:
    """Four pictures around the point `corner` (y, x) of a picture of `size`: upper left, upper right, lower two.

    Each part is cut or filled up to its quarter. Source: Bochkovskiy et al. 2020, "YOLOv4".
    """
    (y, x), (height, width) = corner, size
    quarters = ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height))
    first = parts[0]
    image = np.empty((*size, first.image.shape[2]), np.result_type(*(part.image for part in parts)))
    truths = []
    for part, (x1, y1, x2, y2) in zip(parts, quarters, strict=True):
        if x1 == x2 or y1 == y2:
            continue
        cut = crop(part, (0, 0, x2 - x1, y2 - y1), fill=fill)
        image[y1:y2, x1:x2] = cut.image
        truth = cut_truth(_truth(cut), cut.size, (-x1, -y1, width - x1, height - y1), size, None)
        truths.append(InstanceSet.empty(size) if truth is None else truth)
    return replace(first, image=image, truth=joined(truths))


def colour(
    sample: Sample,
    generator: np.random.Generator,
    *,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
) -> Sample:
    """Brightness, contrast, saturation (relative changes up to these) and hue (turn up to this part of a circle).

    Saturation and hue are left alone unless there are 3 channels. Integer pictures are clipped to their range.
    """
    bright, sharp, vivid = 1 + generator.uniform(-1, 1, 3) * (brightness, contrast, saturation)
    turn = 2 * math.pi * generator.uniform(-hue, hue)
    image = sample.image
    gain, offset = bright * sharp, float(image.mean()) * bright * (1 - sharp)
    if image.shape[2] == 3 and (saturation or hue):
        matrix = np.hstack((_colour_matrix(vivid, turn) * gain, np.full((3, 1), offset)))
        return replace(sample, image=cv2.transform(np.ascontiguousarray(image), matrix))
    return replace(sample, image=_stored(image * np.float32(gain) + np.float32(offset), image))


def _colour_matrix(saturation: float, turn: float) -> FloatArray:
    """[3, 3]: turn and stretch the chroma plane of YIQ, leave the luma."""
    to_yiq = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    cos, sin = saturation * math.cos(turn), saturation * math.sin(turn)
    matrix: FloatArray = np.linalg.inv(to_yiq) @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ to_yiq
    return matrix


def blur(sample: Sample, sigma: float) -> Sample:
    """Gaussian blur with a standard deviation of `sigma` pixels."""
    if sigma <= 0:
        return sample
    image = cv2.GaussianBlur(np.ascontiguousarray(sample.image), (0, 0), sigma)
    return replace(sample, image=image.reshape(sample.image.shape))


def noise(sample: Sample, generator: np.random.Generator, std: float) -> Sample:
    """Gaussian noise; `std` is relative to the full range (for floats: 1)."""
    image = sample.image
    drawn = generator.standard_normal(image.shape, np.float32)
    drawn *= np.float32(std * _TOP.get(image.dtype.name, 1.0))
    drawn += image
    return replace(sample, image=_stored(drawn, image))


def joined(truths: Sequence[InstanceSet]) -> InstanceSet:
    """The objects of all sets, which are in one frame; without masks where one of them has none."""
    masks = [truth.masks for truth in truths if truth.masks is not None]
    return InstanceSet(
        boxes=np.concatenate([truth.boxes for truth in truths]).astype(np.float32, copy=False),
        class_ids=np.concatenate([truth.class_ids for truth in truths]),
        masks=Masks.concatenate(masks) if len(masks) == len(truths) else None,
        crowd=np.concatenate([_crowd(truth) for truth in truths]),
    )


def _truth(sample: Sample) -> InstanceSet | None:
    if sample.truth is None or isinstance(sample.truth, InstanceSet):
        return sample.truth
    raise ConfigError(f"instance augmentation needs instances, but got {type(sample.truth).__name__}")


def _crowd(truth: InstanceSet) -> BoolArray:
    return np.zeros(len(truth), np.bool_) if truth.crowd is None else truth.crowd


def _stored(values: FloatArray, like: Array) -> Array:
    """Float values in the type of `like`, rounded and clipped if that is an integer type."""
    top = _TOP.get(like.dtype.name)
    if top is None:
        return values.astype(like.dtype, copy=False)
    return np.clip(np.rint(values, out=values), 0, top, out=values).astype(like.dtype)


def _resized(image: Array, size: Size) -> Array:
    resized = cv2.resize(np.ascontiguousarray(image), size[::-1], interpolation=cv2.INTER_LINEAR)
    return resized.reshape(*size, image.shape[2])


def _flipped(image: Array, horizontal: bool, vertical: bool) -> Array:
    if not (horizontal or vertical):
        return image
    code = -1 if horizontal and vertical else 1 if horizontal else 0
    return cv2.flip(np.ascontiguousarray(image), code).reshape(image.shape)


def _cut_image(image: Array, window: Window, fill: Array | None) -> Array:
    x1, y1, x2, y2 = window
    inside = image[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)]
    if inside.shape[:2] == (y2 - y1, x2 - x1):
        return inside
    out = np.zeros((y2 - y1, x2 - x1, image.shape[2]), image.dtype)
    if fill is not None:
        # Row by row: numpy spreads three bytes a hundred times more slowly.
        out.reshape(len(out), -1)[:] = np.tile(fill, x2 - x1)
    top, left = max(0, -y1), max(0, -x1)
    out[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return out


def cut_truth(
    truth: InstanceSet | None, old: Size, window: Window, size: Size, limits: Augment | None
) -> InstanceSet | None:
    """The truth of a picture of size `old` in the frame of its `window` resized to `size`."""
    if truth is None:
        return None
    x1, y1, x2, y2 = window
    boxes = truth.boxes if truth.masks is None else truth.masks.boxes()
    truth = truth[(boxes[:, 0] < x2) & (boxes[:, 2] > x1) & (boxes[:, 1] < y2) & (boxes[:, 3] > y1)]
    across, down = size[1] / (x2 - x1), size[0] / (y2 - y1)
    shifted = truth.boxes - np.array((x1, y1, x1, y1), np.float32)
    moved = shifted * np.array((across, down, across, down), np.float32)
    masks = truth.masks
    if masks is not None:
        masks = masks if window == (0, 0, old[1], old[0]) else masks.cut(window)
        masks = masks.resize(size)
    return _settled(truth, moved, masks, size, limits, growth=across * down)


def _settled(
    before: InstanceSet,
    boxes: FloatArray,
    masks: Masks | None,
    size: Size,
    limits: Augment | None,
    *,
    growth: float = 1.0,
) -> InstanceSet:
    """`before` with its moved masks and their tight boxes, without objects of which too little remains.

    `boxes` are the moved boxes, not clipped; they count where there are no masks. `growth` is the factor by which areas
    have grown. A crowd stays while a pixel of it remains. Areas that were stated are those of the whole objects in the
    whole picture, and are dropped.
    """
    if masks is None or before.masks is None:
        clipped = np.clip(boxes, 0, np.array((size[1], size[0]) * 2, np.float32)).astype(np.float32)
        areas, whole = _box_areas(clipped), _box_areas(boxes)
    else:
        clipped = masks.boxes()
        areas, whole = masks.areas().astype(np.float64), before.masks.areas() * growth
    least, fraction = (0.0, 0.0) if limits is None else (limits.min_area, limits.min_visible)
    # An object larger than the picture counts as wholly visible where it fills the picture.
    enough = fraction * np.minimum(whole, size[0] * size[1])
    keep = (areas > 0) & (_crowd(before) | ((areas >= least) & (areas >= enough)))
    return replace(before, boxes=clipped, masks=masks, areas=None)[keep]


def _box_areas(boxes: FloatArray) -> FloatArray:
    areas: FloatArray = np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)
    return areas


def _minus(masks: Masks, hidden: BoolArray) -> Masks:
    windows = masks.windows
    crops = [masks.crop(i) & ~hidden[y1:y2, x1:x2] for i, (x1, y1, x2, y2) in enumerate(windows.tolist())]
    return Masks.from_crops(crops, windows[:, :2], masks.size)
