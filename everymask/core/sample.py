"""A picture with what is known about it."""

from __future__ import annotations

from dataclasses import dataclass

from everymask.core.arrays import Array
from everymask.core.segmentation import Segmentation


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture and its truth.

    `image` is [H, W, C] (uint8, uint16 or float32, RGB order) in the displayed frame: the camera's orientation flag has
    been applied. `truth` is in the same frame. `id` names the sample within its data set (a file name without its
    folder and ending, made unique); `file` is the picture's path as text, for messages.
    """

    image: Array
    truth: Segmentation | None = None
    id: str = ""
    file: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the picture."""
        height, width = self.image.shape[:2]
        return int(height), int(width)
