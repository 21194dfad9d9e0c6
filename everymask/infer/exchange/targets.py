"""The dictionaries that torchvision's detectors are given as targets and answer with."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymask.core.arrays import Array
from everymask.core.geometry import Size
from everymask.core.labels import Labels
from everymask.core.segmentation import InstanceSet
from everymask.errors import DataError, require
from everymask.infer.exchange.given import dense, masks_from, objects

_SURE = 0.5


def to_torchvision(found: InstanceSet) -> dict[str, Any]:
    """Tensors: `boxes` float32 [N, 4] xyxy in pixels, `labels` int64 [N] (class id + 1, as 0 is background there),
    `area` float32 [N] in pixels, `iscrowd` int64 [N]; with masks `masks` uint8 [N, H, W], with scores `scores` [N].
    """
    torch = require("torch", "train")
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    measured = sides.prod(axis=1) if found.masks is None else found.masks.areas()
    crowd = np.zeros(len(found), bool) if found.crowd is None else found.crowd
    columns: dict[str, Array] = {
        "boxes": found.boxes.astype(np.float32),
        "labels": found.class_ids.astype(np.int64) + 1,
        "area": (measured if found.areas is None else found.areas).astype(np.float32),
        "iscrowd": crowd.astype(np.int64),
    }
    columns |= {} if found.masks is None else {"masks": dense(found.masks).astype(np.uint8)}
    columns |= {} if found.scores is None else {"scores": found.scores.astype(np.float32)}
    return {name: torch.from_numpy(column) for name, column in columns.items()}


def from_torchvision(target: dict[str, Any], size: Size, labels: Labels) -> InstanceSet:
    """The objects of a target or of an answer, whose masks are probabilities [N, 1, H, W]: at least 0.5 is the object.

    `DataError` for a label of 0, which is background.
    """
    columns = {name: np.asarray(value.detach().cpu()) for name, value in target.items() if hasattr(value, "detach")}
    missing = [name for name in ("boxes", "labels") if name not in columns]
    if missing:
        raise DataError(f"a target of torchvision has boxes and labels as tensors, but {missing[0]} is missing")
    if (columns["labels"] == 0).any():
        raise DataError("labels must be class id + 1, as torchvision's 0 is background, but got 0")
    stored = columns.get("masks")
    masks = None
    if stored is not None:
        masks = masks_from((stored[:, 0] if stored.ndim == 4 else stored) >= _SURE, size)
    return objects(columns["boxes"], columns["labels"] - 1, columns.get("scores"), masks, labels)
