"""`supervision.Detections`: boxes, masks, confidences and class names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from everymask.core.geometry import Size
from everymask.core.labels import Labels
from everymask.core.segmentation import InstanceSet
from everymask.errors import require
from everymask.infer.exchange.given import dense, labels_from, masks_from, names_of, objects

_NAMES = "class_name"


def to_supervision(found: InstanceSet, labels: Labels) -> Any:
    """A `supervision.Detections`: `xyxy`, `mask` bool [N, H, W], `confidence`, `class_id`, and the class names; the
    objects' own numbers as `tracker_id`.
    """
    return require("supervision").Detections(
        xyxy=found.boxes,
        mask=None if found.masks is None else dense(found.masks),
        confidence=found.scores,
        class_id=found.class_ids,
        tracker_id=found.ids,
        data={_NAMES: np.array(names_of(found, labels), dtype=str)},
    )


def from_supervision(detections: Any, size: Size, labels: Labels | None) -> tuple[InstanceSet, Labels]:
    """The objects, and `labels` or those that the class names say; without either all are of one class, `object`."""
    count = len(detections.xyxy)
    ids = np.zeros(count, np.int64) if detections.class_id is None else np.asarray(detections.class_id, np.int64)
    if labels is None:
        names = detections.data.get(_NAMES)
        plain = [f"class {k}" for k in ids.tolist()] if detections.class_id is not None else ["object"] * count
        labels = labels_from(ids, plain if names is None else names)
    masks = None if detections.mask is None else masks_from(np.asarray(detections.mask), size)
    found = objects(detections.xyxy, ids, detections.confidence, masks, labels)
    tracked = detections.tracker_id
    return (found if tracked is None else replace(found, ids=np.asarray(tracked, np.int64))), labels
