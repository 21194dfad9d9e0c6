"""How a method sees a picture: any picture, since there is nothing that it would have to be alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from everymask.classical.bases import MethodSpec
from everymask.core.arrays import Array, FloatArray
from everymask.data.feed.preprocess import Placement, Preprocess, Resize, check_range
from everymask.data.feed.resample import resized
from everymask.errors import DataError

_AS_IT_IS = Resize(rule="none")


@dataclass(frozen=True, slots=True)
class AnyPicture(Preprocess):
    """Pictures of any number of channels and any stored type, as three channels of 0 to 1.

    Grey is repeated; of more than three channels the first three are seen. Whole numbers are divided by the most that
    their type holds; floats are brought from their least and most to 0 and 1, unless they lie between those already.
    """

    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    resize: Resize = _AS_IT_IS
    divisor: int = 1

    def apply(self, image: Array) -> tuple[FloatArray, Placement]:
        """The picture [3, h, w] float32 of a picture [H, W, C], and how to find the way back.

        `DataError` for NaN and infinite pixels, and for types that pictures do not have.
        """
        if image.ndim != 3 or 0 in image.shape:
            raise DataError(
                f"a picture must be [height, width, channels] and not empty, but its shape is {image.shape}"
            )
        check_range(image, 1.0 if image.dtype == np.float32 else 255.0 if image.dtype == np.uint8 else 65_535.0)
        size = (image.shape[0], image.shape[1])
        shown = image[..., :3] if image.shape[2] > 2 else np.repeat(image[..., :1], 3, axis=2)
        shown = resized(shown, self.resize.size_of(size), self.resize.rule)
        low, high = 0.0, float(np.iinfo(image.dtype).max) if image.dtype.kind == "u" else 1.0
        if image.dtype.kind == "f" and (image.min() < 0 or image.max() > 1):
            low, high = float(image.min()), float(image.max())
        planes = (shown.astype(np.float32) - np.float32(low)) / np.float32(max(high - low, 1e-12))
        return np.ascontiguousarray(planes.transpose(2, 0, 1)), Placement(size, (shown.shape[0], shown.shape[1]))


def fed(spec: MethodSpec) -> AnyPicture:
    """How a method without training sees pictures."""
    return AnyPicture(resize=resize_of(spec))


def resize_of(spec: MethodSpec) -> Resize:
    """The picture as it is, or shrunk to the method's `side`."""
    return Resize(short=1, long=spec.side, rule="shrink") if spec.side else _AS_IT_IS
