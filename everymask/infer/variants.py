"""Test-time augmentation: a picture is predicted mirrored and at other scales too, and the answers are averaged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np

from everymask.core.arrays import FloatArray, IntArray
from everymask.data.feed.batches import frames
from everymask.data.feed.preprocess import Size
from everymask.errors import ConfigError
from everymask.infer.backend import Backend
from everymask.infer.decoding.bilinear import in_planes, resized
from everymask.infer.decoding.outputs import SemanticArrays

Flip: TypeAlias = Literal["none", "horizontal", "both"]

_LARGEST_SCALE = 8.0
# The axes of [C, H, W] that are turned round, variant by variant.
_MIRRORED: dict[Flip, tuple[tuple[int, ...], ...]] = {
    "none": ((),),
    "horizontal": ((), (2,)),
    "both": ((), (2,), (1,), (1, 2)),
}


@dataclass(frozen=True, slots=True)
class TestTimeAugmentation:
    """Which variants of a picture are predicted: every mirroring at every scale.

    `flip` "horizontal" adds the picture mirrored left to right, "both" also top to bottom and both at once. `scales`
    are factors of the size that the network otherwise sees, above 0 and up to 8; 1 is none of them unless named.
    """

    # pytest takes classes that begin with Test for tests, wherever a test imports them.
    __test__ = False

    flip: Flip = "none"
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if self.flip not in get_args(Flip):
            raise ConfigError(f"flip must be {', '.join(get_args(Flip))}, but got {self.flip!r}")
        if not self.scales:
            raise ConfigError("test-time augmentation needs at least one scale", hint="1 is the picture's own size")
        for scale in self.scales:
            if not 0 < scale <= _LARGEST_SCALE:
                raise ConfigError(f"scales must be above 0 and up to {_LARGEST_SCALE:g}, but got {scale:g}")


def predict_variants(
    backend: Backend, images: FloatArray, windows: IntArray, augmentation: TestTimeAugmentation, divisor: int
) -> SemanticArrays:
    """The mean over all variants of the logits [B, K, H, W] float32, for pictures [B, C, H, W] with their padding.

    A picture is mirrored inside its window (`windows` [B, 4] xyxy) and stays where it is, so a variant is what the
    network would be given if the picture itself were mirrored: with flips, mirrored pictures have mirrored answers,
    whatever the network. To mirror the padding with it would show the network padding at the left, which it never met
    in training. Scales resize the frame bilinearly to the nearest multiples of `divisor`, at least one, and the logits
    back. Besides the mean, one variant at a time is in memory.

    The mean is taken of logits, as nnU-Net does (Isensee et al. 2021); it is the geometric mean of the probabilities,
    normalised. The mean of the probabilities themselves, as in MMSegmentation, would be no logits any more, which
    resizing, decisions and the blending of tiles take.
    """
    size = (images.shape[2], images.shape[3])
    variants = [(axes, scale) for axes in _MIRRORED[augmentation.flip] for scale in augmentation.scales]
    answers = (_variant(backend, images, windows, axes, _scaled(size, scale, divisor)) for axes, scale in variants)
    first = next(answers)
    for other in answers:
        np.add(first.logits, other.logits, out=first.logits)
    np.divide(first.logits, len(variants), out=first.logits)
    return first


def _variant(
    backend: Backend, images: FloatArray, windows: IntArray, axes: tuple[int, ...], size: Size
) -> SemanticArrays:
    """Logits [B, K, H, W] of pictures that the network sees with `axes` turned round and at `size`, brought back.

    They are a copy.
    """
    shown = resized(_mirrored(images, windows, axes), size)
    answer = backend.run(shown, frames(shown)).planes()
    logits = np.stack([in_planes(picture) for picture in answer.logits])
    return replace(answer, logits=_mirrored(resized(logits, (images.shape[2], images.shape[3])), windows, axes))


def _mirrored(planes: FloatArray, windows: IntArray, axes: tuple[int, ...]) -> FloatArray:
    """A copy of [B, C, H, W] in which each window has its `axes` turned round; the same planes without any."""
    if not axes:
        return planes
    mirrored = planes.copy()
    for row, turned, (left, top, right, bottom) in zip(planes, mirrored, windows.tolist(), strict=True):
        turned[:, top:bottom, left:right] = np.flip(row[:, top:bottom, left:right], axes)
    return mirrored


def _scaled(size: Size, scale: float, divisor: int) -> Size:
    if scale == 1:
        return size
    height, width = (max(1, round(side * scale / divisor)) * divisor for side in size)
    return height, width
