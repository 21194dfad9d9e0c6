"""The twelve COCO numbers, computed through hotcoco.

Reference: pycocotools, `COCOeval`, and cocodataset.org/#detection-eval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from everymask.core.arrays import Array, FloatArray
from everymask.errors import ConfigError, DataError

if TYPE_CHECKING:
    from hotcoco import COCO, COCOeval

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


def coco_numbers(
    truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], iou_type: IouType, *, max_detections: int = 100
) -> CocoNumbers:
    """Score a COCO results file against its annotation file, both as parsed JSON.

    As in pycocotools, detections are limited per picture and class, and one with a `bbox` takes its size from it.
    `DataError` for results that name unknown pictures or classes or lack a field.
    """
    from hotcoco import COCO

    _check_results(truth, results, "segmentation" if iou_type == "segm" else "bbox")
    try:
        true = COCO(dict(truth))
        found = true.load_res([dict(result) for result in results])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"expected COCO annotations and results, but could not read them: {error}",
            hint="`everymask check` names the annotation at fault",
        ) from error
    return numbers_of(evaluated(true, found, iou_type, max_detections))


def evaluated(truth: COCO, found: COCO, iou_type: IouType, max_detections: int) -> COCOeval:
    """Match and accumulate at 1, 10 and `max_detections` detections per picture and class."""
    from hotcoco import COCOeval

    evaluation = COCOeval(truth, found, iou_type)
    evaluation.params.max_dets = limits(max_detections)
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


def limits(max_detections: int) -> list[int]:
    """The limits at which recall is counted, ascending, the last one `max_detections`."""
    if max_detections < 1:
        raise ConfigError(f"max_detections must be at least 1, but got {max_detections}")
    return sorted({min(1, max_detections), min(10, max_detections), max_detections})


def numbers_of(evaluation: COCOeval) -> CocoNumbers:
    """The twelve numbers from the arrays, all APs at the largest limit.

    pycocotools' own summary reads AP at 100 detections whatever was asked for; its arrays hold what is read here.
    """
    precision, recall = array_of(evaluation, "precision"), array_of(evaluation, "recall")
    ten = min(1, recall.shape[-1] - 1)
    half, three_quarters = iou_index(evaluation, 0.5), iou_index(evaluation, 0.75)
    return CocoNumbers(
        AP=mean_of(precision[..., 0, -1]),
        AP50=mean_of(precision[half, ..., 0, -1]),
        AP75=mean_of(precision[three_quarters, ..., 0, -1]),
        APs=mean_of(precision[..., 1, -1]),
        APm=mean_of(precision[..., 2, -1]),
        APl=mean_of(precision[..., 3, -1]),
        AR1=mean_of(recall[..., 0, 0]),
        AR10=mean_of(recall[..., 0, ten]),
        AR100=mean_of(recall[..., 0, -1]),
        ARs=mean_of(recall[..., 1, -1]),
        ARm=mean_of(recall[..., 2, -1]),
        ARl=mean_of(recall[..., 3, -1]),
    )


def array_of(evaluation: COCOeval, name: Literal["precision", "recall"]) -> FloatArray:
    """`precision` [T, R, K, A, M] or `recall` [T, K, A, M]: IoU, recall level, class, size, limit; -1 without truth."""
    return np.asarray((evaluation.eval or {})[name], np.float64)


def iou_index(evaluation: COCOeval, threshold: float) -> int:
    """The row of the arrays that belongs to an IoU threshold."""
    return int(np.argmin(np.abs(np.asarray(evaluation.params.iou_thrs) - threshold)))


def mean_of(values: Array) -> float:
    """The mean of the values that are defined; -1 where none is."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else -1.0


def _check_results(truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], shape: str) -> None:
    known = {
        "image_id": {image["id"] for image in truth.get("images", ())},
        "category_id": {category["id"] for category in truth.get("categories", ())},
    }
    for index, result in enumerate(results):
        for name in ("image_id", "category_id", "score", shape):
            if name not in result:
                raise DataError(f"result {index} has no field {name!r}; it has {', '.join(map(repr, result))}")
        for name, ids in known.items():
            if result[name] not in ids:
                raise DataError(
                    f"result {index} has the {name} {result[name]!r}, which is not in the annotation file",
                    hint="the results belong to another annotation file or split",
                )
