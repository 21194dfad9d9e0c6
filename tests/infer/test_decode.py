"""Small masks become pixels of the picture, whatever numbers a network gives."""

from __future__ import annotations

import numpy as np
import pytest

from everymask.infer.decode import paste_masks


@pytest.mark.parametrize("paste", ["torchvision", "detectron2", "matterport"])
@pytest.mark.parametrize(("logit", "filled"), [(-1e4, False), (1e4, True), (np.nan, False)])
def test_extreme_logits_are_no_trouble(paste: str, logit: float, filled: bool) -> None:
    logits = np.full((1, 28, 28), logit, np.float32)
    masks = paste_masks(logits, np.array([[4, 4, 12, 12]], np.float32), (20, 20), paste)
    assert (masks.areas()[0] >= 64) == filled
    assert (masks.areas()[0] == 0) != filled
