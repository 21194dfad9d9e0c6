"""The twelve COCO numbers.

Reference: pycocotools, `COCOeval`, and cocodataset.org/#detection-eval.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from everymask.core.arrays import Array
from everymask.errors import ConfigError
from everymask.metrics.matching import IOU_THRESHOLDS, Curves

IouType = Literal["bbox", "segm"]


@dataclass(frozen=True, slots=True)
class CocoNumbers:
    """COCO's twelve numbers in pycocotools' order, each in 0-1, or -1 where there is no truth to find.

    AP: mean average precision over IoU 0.50 to 0.95, at IoU 0.50, at 0.75, and for objects below 32², below 96² and
    from 96² pixels on. AR: mean recall with 1, with 10 and with all detections per picture and class, and by size.
    `AR100` and every AP use the maximum of detections that was asked for, 100 unless told otherwise.
    """

    AP: float
    AP50: float
    AP75: float
    APs: float
    APm: float
    APl: float
    AR1: float
    AR10: float
    AR100: float
    ARs: float
    ARm: float
    ARl: float

    def to_json(self) -> dict[str, float]:
        """Name -> number, in order."""
        return asdict(self)


def limits(max_detections: int) -> list[int]:
    """The limits at which recall is counted, ascending, the last one `max_detections`."""
    if max_detections < 1:
        raise ConfigError(f"max_detections must be at least 1, but got {max_detections}")
    return sorted({min(1, max_detections), min(10, max_detections), max_detections})


def numbers_of(curves: Curves) -> CocoNumbers:
    """The twelve numbers from the arrays, all APs at the largest limit.

    pycocotools' own summary reads AP at 100 detections whatever was asked for; its arrays hold what is read here.
    """
    precision, recall = curves.precision, curves.recall
    ten = min(1, recall.shape[-1] - 1)
    half, three_quarters = iou_index(0.5), iou_index(0.75)
    return CocoNumbers(
        AP=mean_of(precision[..., 0]),
        AP50=mean_of(precision[half, ..., 0]),
        AP75=mean_of(precision[three_quarters, ..., 0]),
        APs=mean_of(precision[..., 1]),
        APm=mean_of(precision[..., 2]),
        APl=mean_of(precision[..., 3]),
        AR1=mean_of(recall[..., 0, 0]),
        AR10=mean_of(recall[..., 0, ten]),
        AR100=mean_of(recall[..., 0, -1]),
        ARs=mean_of(recall[..., 1, -1]),
        ARm=mean_of(recall[..., 2, -1]),
        ARl=mean_of(recall[..., 3, -1]),
    )


def iou_index(threshold: float) -> int:
    """The row of the arrays that belongs to an IoU threshold."""
    return int(np.argmin(np.abs(IOU_THRESHOLDS - threshold)))


def mean_of(values: Array) -> float:
    """The mean of the values that are defined; -1 where none is."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else -1.0
