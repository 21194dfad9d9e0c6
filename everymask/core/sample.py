"""A picture with what is known about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import Array
from everymask.core.segmentation import Segmentation
from everymask.errors import DataError


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture and its truth, or two pictures of one place and what changed between them.

    `image` is [H, W, C] (uint8, uint16 or float32, RGB order) in the displayed frame: the camera's orientation flag has
    been applied. `truth` is in the same frame. `id` names the sample within its data set (a file name without its
    folder and ending, made unique); `file` is the picture's path as text, for messages.

    `before` is what the place looked like at an earlier date, of the size and type of `image`, which then is the later
    one: truth and prediction are in its frame.
    """

    image: Array
    truth: Segmentation | None = None
    id: str = ""
    file: str = ""
    before: Array | None = None

    @property
    def dates(self) -> tuple[Array, ...]:
        """The pictures in the order of time: the earlier one, if there is one, and the later."""
        return (self.image,) if self.before is None else (self.before, self.image)

    @property
    def stacked(self) -> Array:
        """All dates as the channels of one picture, [H, W, C] or [H, W, 2 C], the earlier first.

        `DataError` where the dates differ in size, channels or type.
        """
        if self.before is None:
            return self.image
        before, after = ((array.shape, array.dtype.name) for array in self.dates)
        if before != after:
            said = [f"{shape[1]} x {shape[0]} pixels, {shape[2]} channels, {dtype}" for shape, dtype in (before, after)]
            raise DataError(
                f"expected two dates of one size and type, but the earlier has {said[0]}, the later {said[1]}",
                hint="cut or resample one of them, so that a pixel shows the same place at both dates",
            )
        return np.concatenate(self.dates, axis=2)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the picture."""
        height, width = self.image.shape[:2]
        return int(height), int(width)
