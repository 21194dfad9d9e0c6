"""The objects of a picture that networks which find objects learn from."""

from __future__ import annotations

import numpy as np

from everymask.core.segmentation import InstanceSet, Segmentation, expected
from everymask.errors import DataError


def trainable(truth: Segmentation | None, file: str, *, masks: bool) -> InstanceSet:
    """Not the crowds, and none without extent; `DataError` where there are no masks and these are learned too."""
    truth = expected(InstanceSet, truth, file)
    if masks and truth.masks is None:
        raise DataError(
            f"{file}: the annotations are boxes without masks", hint="train a detector: --model faster-rcnn"
        )
    keep = np.all(truth.boxes[:, 2:] > truth.boxes[:, :2], axis=1)
    if truth.crowd is not None:
        keep = keep & ~truth.crowd
    return truth if keep.all() else truth[keep]
