"""Small masks become pixels of the picture by the references' rules, whatever numbers a network gives."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as reference
from torchvision.models.detection.roi_heads import paste_masks_in_image

from everymask.infer.decoding import instances as module
from everymask.infer.decoding.instances import paste_masks

SIZE = (90, 120)
every_paste = pytest.mark.parametrize("paste", ["torchvision", "detectron2", "matterport"])


def blobs(count: int, side: int, seed: int) -> np.ndarray:
    """Logits of uneven blobs, some in several parts."""
    rng = np.random.default_rng(seed)
    y, x = (np.mgrid[:side, :side] + 0.5) / side - 0.5
    coarse = [cv2.resize(rng.normal(0, 2, (6, 6)), (side, side), interpolation=cv2.INTER_CUBIC) for _ in range(count)]
    return (np.stack(coarse) + 4 - 12 * np.hypot(y, x)).astype(np.float32)


def placed(count: int, seed: int) -> np.ndarray:
    """Boxes of less than a pixel up to more than the picture, inside, outside and across its border."""
    rng = np.random.default_rng(seed)
    middle, sides = rng.uniform(-20, 140, (count, 2)), np.exp(rng.uniform(-1, 5.3, (count, 2)))
    return np.concatenate([middle - sides / 2, middle + sides / 2], axis=1).astype(np.float32)


def interpolated(logits: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Probabilities at all pixel centres of the picture in float64, zero outside the mask."""
    side = len(logits)
    padded = np.pad(1 / (1 + np.exp(-logits.astype(np.float64))), 2)
    axes = []
    for low, high, length in ((box[1], box[3], SIZE[0]), (box[0], box[2], SIZE[1])):
        at = (np.arange(length) + 0.5 - low) * (side / (float(high) - low)) + 1.5
        at = np.clip(at, 0, side + 3)
        first = np.minimum(at.astype(int), side + 2)
        axes.append((first, at - first))
    (y, v), (x, u) = axes
    rows = padded[y] * (1 - v)[:, None] + padded[y + 1] * v[:, None]
    return rows[:, x] * (1 - u) + rows[:, x + 1] * u


@pytest.mark.parametrize(("side", "seed"), [(28, 0), (28, 1), (14, 2), (56, 3), (1, 4)])
def test_torchvision_is_torchvision(side: int, seed: int) -> None:
    # The reference fails for a box outside the picture.
    logits, boxes = blobs(150, side, seed), np.clip(placed(150, seed), 0, np.array([*SIZE[::-1]] * 2, np.float32))
    soft = paste_masks_in_image(torch.from_numpy(logits)[:, None].sigmoid(), torch.from_numpy(boxes), SIZE)
    expected = (soft[:, 0] > 0.5).numpy()
    masks = paste_masks(logits, boxes, SIZE, "torchvision")
    wrong = sum(np.count_nonzero(masks.to_dense(index) != mask) for index, mask in enumerate(expected))
    assert wrong <= 2, "float32 may round a pixel the other way, no more"
    strings = [reference.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"] for mask in expected]
    assert sum(mine != theirs for mine, theirs in zip(masks.to_rle(), strings, strict=True)) <= wrong


@pytest.mark.parametrize("paste", ["detectron2", "matterport"])
@pytest.mark.parametrize("side", [28, 14])
def test_pixels_read_the_mask_at_their_centres(paste: str, side: int) -> None:
    logits, boxes = blobs(150, side, 5), placed(150, 6)
    masks = paste_masks(logits, boxes, SIZE, paste)
    kept = np.rint(boxes) if paste == "matterport" else boxes
    for index, box in enumerate(kept):
        if (box[2:] > box[:2]).all():
            soft = interpolated(logits[index], box)
            wrong = masks.to_dense(index) != (soft >= 0.5)
            assert (np.abs(soft[wrong] - 0.5) < 1e-5).all()
        else:
            assert masks.areas()[index] == 0


def test_exactly_one_half_is_object_but_not_for_torchvision() -> None:
    logits = np.full((1, 4, 4), 0, np.float32)
    box = np.array([[2, 3, 10, 15]], np.float32)
    assert paste_masks(logits, box, (20, 20), "torchvision").areas().tolist() == [0]
    assert paste_masks(logits, box, (20, 20), "detectron2").windows.tolist() == [[3, 4, 9, 14]]


@every_paste
@pytest.mark.parametrize("columns", [1, 100, 2**20])
def test_how_many_columns_are_pasted_at_a_time_is_no_matter(
    paste: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, boxes = blobs(60, 28, 7), placed(60, 8)
    expected = paste_masks(logits, boxes, SIZE, paste).to_rle()
    monkeypatch.setattr(module, "_GROUP", columns)
    assert paste_masks(logits, boxes, SIZE, paste).to_rle() == expected
    assert len(paste_masks(logits[:0], boxes[:0], SIZE, paste)) == 0


@every_paste
@pytest.mark.parametrize(("logit", "filled"), [(-1e4, False), (1e4, True), (np.nan, False), (np.inf, True)])
def test_extreme_logits_are_no_trouble(paste: str, logit: float, filled: bool) -> None:
    logits = np.full((1, 28, 28), logit, np.float32)
    masks = paste_masks(logits, np.array([[4, 4, 12, 12]], np.float32), (20, 20), paste)
    assert (masks.areas()[0] >= 64) == filled
    assert (masks.areas()[0] == 0) != filled


@every_paste
def test_extreme_boxes_are_no_trouble(paste: str) -> None:
    logits = np.full((5, 28, 28), 9, np.float32)
    strange = [[np.nan] * 4, [9, 9, 3, 3], [-1e30, -1e30, 1e30, 1e30], [4, 4, 4, 4], [np.inf] * 4]
    areas = paste_masks(logits, np.array(strange, np.float32), (20, 20), paste).areas()
    assert areas[[0, 1, 4]].tolist() == [0, 0, 0] or paste == "torchvision"
    assert areas[2] == 400 and areas[0] == areas[4] == 0 and areas[3] <= 1
