"""Masks on their own windows are those of the whole picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from everymask.data.feed.preprocess import Placement
from everymask.infer.decoding.bilinear import Resizing
from everymask.infer.decoding.prompted import MaskResizing, decode_masks, measured_mask


def expected(logits: np.ndarray, resizing: MaskResizing) -> np.ndarray:
    """As SAM's and SAM 2's own code resizes them."""
    planes = torch.from_numpy(logits)[None]
    if resizing.frame is not None:
        planes = F.interpolate(planes, resizing.frame, mode="bilinear", align_corners=False)
        planes = planes[..., : resizing.placement.resized[0], : resizing.placement.resized[1]]
    return F.interpolate(planes, resizing.placement.original, mode="bilinear", align_corners=False)[0].numpy()


def blobs(count: int, side: int) -> np.ndarray:
    """Logits of round objects, some at the border, one that is nowhere."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    centres, radii = rng.uniform(-2, side + 2, (count, 2)), rng.uniform(0.5, side / 2, count)
    planes = [r - np.hypot(y - a, x - b) for (a, b), r in zip(centres, radii, strict=True)]
    return np.stack([*planes, np.full((side, side), -9.0)]).astype(np.float32)


@pytest.mark.parametrize(
    ("original", "resized", "frame"),
    [
        ((150, 211), (91, 128), (128, 128)),
        ((40, 30), (128, 96), (128, 128)),
        ((301, 7), (128, 3), (128, 128)),
        ((75, 211), (128, 128), None),
        ((1, 1), (128, 128), (128, 128)),
        ((32, 32), (128, 128), None),
    ],
)
def test_masks_and_their_stability_are_those_of_the_whole_picture(
    original: tuple[int, int], resized: tuple[int, int], frame: tuple[int, int] | None
) -> None:
    resizing = MaskResizing((32, 32), Placement(original, resized), frame)
    logits = blobs(20, 32)
    planes = expected(logits, resizing)
    masks = decode_masks(logits, resizing)
    assert masks.size == original
    for row, plane in enumerate(planes):
        sure = np.abs(plane) > 1e-4  # elsewhere rounding decides
        assert ((masks.to_dense(row) == (plane > 0)) | ~sure).all()
        _, _, stability = measured_mask(logits[row], resizing, 1.0)
        possible = (plane > -1).sum()
        assert stability == pytest.approx((plane > 1).sum() / possible if possible else 0, abs=2 / max(1, possible))


def test_columns_alone_are_those_of_whole_rows() -> None:
    plane = np.random.default_rng(0).normal(size=(20, 33)).astype(np.float32)
    for after in ((20, 33), (50, 100), (7, 33), (20, 5)):
        whole = Resizing((20, 33), after).rows(plane, 2, 6)
        first, last = after[1] // 3, after[1] - 1
        np.testing.assert_array_equal(
            Resizing((20, 33), after).columns(first, last).rows(plane, 2, 6), whole[:, first:last]
        )
