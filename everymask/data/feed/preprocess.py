"""How a picture becomes what a network takes, and how boxes and masks find the way there and back.

Every family of weights was trained behind its own resizing; `Resize.rule` names the one to repeat.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias, get_args

import cv2
import numpy as np

from everymask.core.arrays import Array, FloatArray
from everymask.core.geometry import Warp, moved
from everymask.core.json.values import value_of
from everymask.data.feed.resample import Rule, resized
from everymask.errors import ConfigError, DataError, WeightsError

Size: TypeAlias = tuple[int, int]
_BYTES = 255.0
_MOST = 65_500  # pixels of a side, channels


@dataclass(frozen=True, slots=True)
class Resize:
    """How a picture is brought to the network's size: short side to `short` pixels, long side at most `long`.

    - torchvision: bilinear on floats without antialiasing, sizes rounded down (`GeneralizedRCNNTransform`)
    - detectron2: Pillow's bilinear (which antialiases) on bytes, sizes rounded half up (`ResizeShortestEdge`)
    - mmdet: OpenCV's bilinear on stored values, sizes rounded half up (`mmcv.imrescale`)
    - matterport: never smaller than `short` unless `long` demands it, bilinear, centred in a square of side `long`
    - shrink: as it is, unless its long side exceeds `long` (area-averaged); `short` means nothing
    - none: as it is
    - segment-anything: the long side becomes `long`, by Pillow's bilinear (which antialiases) on bytes, sizes rounded
      half up (`ResizeLongestSide`); `short` means nothing
    - yolox: OpenCV's bilinear on stored values, sizes rounded down (`preproc`)
    - sam2: a square of side `long` whatever the picture's shape, bilinear on floats with antialiasing (SAM 2)
    """

    short: int = 800
    long: int = 1333
    rule: Rule = "torchvision"

    def __post_init__(self) -> None:
        if self.rule not in get_args(Rule):
            raise ConfigError(f"resize rule must be one of {', '.join(get_args(Rule))}, but got {self.rule!r}")
        if not 1 <= self.short <= self.long:
            raise ConfigError(f"resize needs 1 <= short <= long, but got short {self.short} and long {self.long}")

    def size_of(self, size: Size) -> Size:
        """(h, w) that a picture of `size` (H, W) is resized to, before any padding; at least 1 x 1."""
        least, most = min(size), max(size)
        match self.rule:
            case "none":
                return size
            case "sam2":
                return self.long, self.long
            case "segment-anything":
                scale = self.long / most
                height, width = (int(side * scale + 0.5) for side in size)
            case "shrink":
                scale = min(1.0, self.long / most)
                height, width = (round(side * scale) for side in size)
            case "torchvision" | "yolox":
                scale = min(self.short / least, self.long / most)
                height, width = (math.floor(side * scale) for side in size)
            case "mmdet":
                scale = min(self.long / most, self.short / least)
                height, width = (int(side * scale + 0.5) for side in size)
            case "detectron2":
                height, width = self._detectron2_size(size)
            case "matterport":
                scale = max(1.0, self.short / least)
                if round(most * scale) > self.long:
                    scale = self.long / most
                height, width = (round(side * scale) for side in size)
        return max(1, height), max(1, width)

    def _detectron2_size(self, size: Size) -> Size:
        # Two scalings one after the other, as in the reference: one product would round differently.
        scale = self.short / min(size)
        height, width = (side * scale if side != min(size) else float(self.short) for side in size)
        if max(height, width) > self.long:
            scale = self.long / max(height, width)
            height, width = height * scale, width * scale
        return int(height + 0.5), int(width + 0.5)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a picture of size `original` (H, W) lies in the network's frame.

    It was resized to `resized` (h, w) and put at `offset` (y, x) of a picture of size `frame` (h, w).
    """

    original: Size
    resized: Size
    offset: Size = (0, 0)
    frame: Size = (0, 0)

    def __post_init__(self) -> None:
        if self.frame == (0, 0):
            object.__setattr__(self, "frame", self.resized)

    @property
    def warp(self) -> Warp:
        """From pixels of the original picture to pixels of the frame."""
        (top, left), (height, width) = self.offset, self.frame
        return Warp.scale(self.original, self.resized).then(Warp.crop((-left, -top, width - left, height - top)))

    @property
    def inside(self) -> tuple[int, int, int, int]:
        """The part of the frame that is picture and not padding: x1, y1, x2, y2."""
        top, left = self.offset
        return left, top, left + self.resized[1], top + self.resized[0]

    def boxes_to_input(self, boxes: FloatArray) -> FloatArray:
        """Boxes [N, 4] xyxy of the original picture in pixels of the network's frame, float32."""
        return np.asarray(boxes, np.float32) * _ratios(self.original, self.resized) + self._shift()

    def boxes_to_original(self, boxes: FloatArray) -> FloatArray:
        """Boxes [N, 4] xyxy of the network's frame in pixels of the original picture, float32; not clipped."""
        return (np.asarray(boxes, np.float32) - self._shift()) * _ratios(self.resized, self.original)

    def _shift(self) -> FloatArray:
        top, left = self.offset
        return np.array((left, top, left, top), np.float32)


def _ratios(old: Size, new: Size) -> FloatArray:
    height, width = (np.float32(after) / np.float32(before) for before, after in zip(old, new, strict=True))
    return np.array((width, height, width, height), np.float32)


@dataclass(frozen=True, slots=True)
class Preprocess:
    """What a network wants to be fed; travels with its weights.

    `channels` is the number of channels. A stored value is divided by `scale` (255 for bytes, 65535 for full 16-bit
    pictures, 1 for floats in 0-1), then `mean` is taken off and divided by `std`, all in the picture's channel order.
    With `bgr` the channels are reversed last. `collate` pads the right and the bottom to multiples of `divisor`.

    A network that compares `dates` of a place takes the channels of each, one date after the other, all prepared alike.
    """

    channels: int = 3
    scale: float = 255.0
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    resize: Resize = Resize()
    divisor: int = 32
    bgr: bool = False
    dates: int = 1

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != self.channels or not all(map(math.isfinite, values)):
                raise ConfigError(f"{name} must be {self.channels} finite numbers, one per channel, but got {values}")
        if self.channels < 1 or self.divisor < 1:
            raise ConfigError(f"channels and divisor must be >= 1, but got {self.channels} and {self.divisor}")
        if min(self.std) <= 0 or not (math.isfinite(self.scale) and self.scale > 0):
            raise ConfigError(f"std and scale must be greater than 0, but got {self.std} and {self.scale}")
        if self.bgr and self.channels != 3:
            raise ConfigError(f"bgr needs 3 channels, but got {self.channels}")
        if self.dates < 1 or (self.bgr and self.dates > 1):
            raise ConfigError(f"dates must be >= 1, and 1 with bgr, but got {self.dates}")

    @property
    def fill(self) -> FloatArray:
        """The stored colour of all dates that becomes about 0, [C] float64."""
        return np.tile(np.array(self.mean) * self.scale, self.dates)

    def matched(self, image: Array) -> Array:
        """The picture of all dates [H, W, C] with the channels that the network takes of each, by `match_channels`."""
        if self.dates == 1 or image.ndim != 3 or image.shape[2] % self.dates:
            return match_channels(image, self.channels)
        parts = np.split(image, self.dates, axis=2)
        return np.concatenate([match_channels(part, self.channels) for part in parts], axis=2)

    def apply(self, image: Array) -> tuple[FloatArray, Placement]:
        """The network's picture [C, h, w] float32 of a picture [H, W, C], and how to find the way back.

        `DataError`: other channels than the network takes (grey is repeated), a stored range that does not fit `scale`,
        or NaN and infinite pixels.
        """
        image = self.matched(image)
        check_range(image, self.scale)
        size = (image.shape[0], image.shape[1])
        image = resized(image, self.resize.size_of(size), self.resize.rule)
        placement = Placement(size, (image.shape[0], image.shape[1]))
        if self.resize.rule == "matterport":
            image, placement = _centred(image, size, self.resize.long)
        return self.normalise(image), placement

    def normalise(self, image: Array, corner: tuple[int, int] = (0, 0), frame: Size | None = None) -> FloatArray:
        """The picture [h, w, C] as [C, h, w] float32 at its own size; channels and range are taken as checked.

        Or [C, H, W], with its upper left pixel at `corner` (y, x) of a `frame` (H, W), and zeros around it.
        """
        (top, left), (height, width) = corner, image.shape[:2]
        planes = np.zeros((image.shape[2], *(frame or (height, width))), np.float32)
        # Numpy converts every third byte slowly, but floats need no copy.
        whole = image.dtype != np.float32 and len(planes) <= 4
        channels = cv2.split(np.ascontiguousarray(image)) if whole else tuple(np.moveaxis(image, 2, 0))
        inside = (planes[::-1] if self.bgr else planes)[:, top : top + height, left : left + width]
        means, stds = self.mean * self.dates, self.std * self.dates
        for plane, channel, mean, std in zip(inside, channels, means, stds, strict=True):
            np.multiply(channel, np.float32(1 / (self.scale * std)), out=plane, dtype=np.float32)
            np.subtract(plane, np.float32(mean / std), out=plane)
        return planes

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers, as `from_json` takes them."""
        plain = {**asdict(self), "mean": list(self.mean), "std": list(self.std)}
        return plain if self.dates > 1 else {name: value for name, value in plain.items() if name != "dates"}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Preprocess:
        """What `to_json` wrote; `WeightsError` where that is not complete and valid."""
        try:
            missing = [column.name for column in fields(cls) if column.name not in data and column.name != "dates"]
            if missing:
                raise ValueError(f"it lacks {', '.join(missing)}")
            found: Preprocess = value_of(cls, data, "preprocess", most=_MOST)
            if found.scale == _BYTES and not all(0 <= mean <= 1 for mean in found.mean):
                raise ValueError(f"the means of bytes divided by 255 lie between 0 and 1, but they are {found.mean}")
        except (TypeError, ValueError, ConfigError) as error:
            raise WeightsError(
                f"the model file's preprocessing cannot be read: {error}",
                hint="without it the weights cannot be used; get a complete copy of the file",
            ) from error
        return found


def match_channels(image: Array, channels: int) -> Array:
    """The picture [H, W, C] with the channels that a network takes.

    Grey is repeated to three, three equal channels become one. Any other difference is a `DataError`: the reader of
    pictures has dropped what a file calls alpha, so a fourth channel may be near infrared as well.
    """
    if image.ndim != 3 or 0 in image.shape:
        raise DataError(f"a picture must be [height, width, channels] and not empty, but its shape is {image.shape}")
    found = image.shape[2]
    if found == channels:
        return image
    if found == 1 and channels == 3:
        return np.repeat(image, 3, axis=2)
    if found == 3 and channels == 1 and (image[..., :1] == image[..., 1:]).all():
        return image[..., :1]
    hint = "give the channels the model was trained on, in the same order"
    if found == 4 and channels == 3:
        hint = (
            "if the fourth is alpha, mark it so in the file, or give the array image[..., :3]; if it is a band such as "
            "near infrared, train on pictures with four channels"
        )
    raise DataError(
        f"the model takes pictures with {channels} channel{'s' if channels > 1 else ''}, but this one has {found}",
        hint=hint,
    )


def check_range(image: Array, scale: float) -> None:
    """`DataError` unless the stored type fits `scale` and all pixels are finite."""
    trained = f"the model divides stored values by {scale:g}"
    hint = "convert the picture to what the model was trained on, or train on such pictures"
    if image.dtype == np.uint8:
        if scale > 255:
            raise DataError(f"{trained}, but the picture is uint8 (0-255)", hint=hint)
    elif image.dtype == np.uint16:
        if scale <= 255:
            raise DataError(f"{trained}, but the picture is uint16 (0-65535)", hint=hint)
    elif image.dtype == np.float32:
        finite = np.isfinite(image)
        if not finite.all():
            bad = np.argwhere(~finite)
            raise DataError(
                f"the picture has {len(bad)} NaN or infinite values; the first is at (y, x, channel) "
                f"{tuple(map(int, bad[0]))}",
                hint="fill or mask them before",
            )
        if scale >= 255 and 0 < image.max() <= 1:
            raise DataError(f"{trained}, but the picture is float32 with values up to {image.max():g}", hint=hint)
    else:
        raise DataError(f"a picture must be uint8, uint16 or float32, but got {image.dtype}", hint=hint)


def _centred(image: Array, original: Size, side: int) -> tuple[Array, Placement]:
    # Zeros before normalisation, as the reference has it: after it the padding is -mean / std.
    height, width = image.shape[:2]
    top, left = (side - height) // 2, (side - width) // 2
    square = moved(image, Warp.crop((-left, -top, side - left, side - top)))
    return square, Placement(original, (height, width), (top, left), (side, side))
