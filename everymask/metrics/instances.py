"""How well objects were found: COCO's box and mask AP, curves, confusion, and a score for each picture.

Only boxes, scores and run-lengths are kept, so memory grows with the objects and not with the pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from everymask.core.arrays import BoolArray, FloatArray, IntArray
from everymask.core.labels import Labels
from everymask.core.segmentation import InstanceSet
from everymask.errors import ConfigError, DataError
from everymask.metrics.average_precision import (
    CocoNumbers,
    IouType,
    array_of,
    evaluated,
    iou_index,
    limits,
    mean_of,
    numbers_of,
)

if TYPE_CHECKING:
    from hotcoco import COCO, COCOeval

_MATCH_IOU = 0.5
_COLUMNS = ("boxes", "class_ids", "scores", "crowd", "areas")


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class: AP over IoU 0.50 to 0.95 and at 0.50 (-1 without truth), and how many true objects there are."""

    AP: float
    AP50: float
    num_truths: int


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecall:
    """Precision at 101 levels of `recall` (0 to 1), at IoU 0.50 and 0.75.

    By class name, only classes with truth; the means are over these classes, empty where there are none.
    """

    recall: FloatArray
    at_50: dict[str, FloatArray]
    at_75: dict[str, FloatArray]
    mean_50: FloatArray
    mean_75: FloatArray


@dataclass(frozen=True, slots=True)
class PictureScore:
    """One picture at IoU 0.50, with the detections of at least the score threshold; crowds count nowhere.

    `f1` = 2 matched / (truths + found); 1 where there is nothing to find and nothing was found.
    """

    id: str
    num_truths: int
    num_found: int
    num_matched: int
    f1: float


@dataclass(frozen=True, slots=True, eq=False)
class InstanceScores:
    """All scores of a data set.

    `box` and `mask` are the twelve COCO numbers; `mask` is None where only boxes were compared. The rest is by masks,
    or by boxes where there are none. `confusion` [K + 1, K + 1] counts objects at IoU 0.50 and `score_threshold`:
    row = true class, column = found class, the last of each = background (missed, or found where nothing is).
    `pictures` are in the order of their ids.
    """

    box: CocoNumbers
    mask: CocoNumbers | None
    per_class: dict[str, ClassScore]
    precision_recall: PrecisionRecall
    confusion: IntArray
    pictures: tuple[PictureScore, ...]
    max_detections: int
    score_threshold: float

    @property
    def num_pictures(self) -> int:
        """How many pictures were scored."""
        return len(self.pictures)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, lists and numbers; no NaN."""
        curves = self.precision_recall
        return {
            "num_pictures": self.num_pictures,
            "max_detections": self.max_detections,
            "score_threshold": self.score_threshold,
            "box": self.box.to_json(),
            "mask": None if self.mask is None else self.mask.to_json(),
            "per_class": {name: asdict(score) for name, score in self.per_class.items()},
            "precision_recall": {
                "recall": curves.recall.tolist(),
                "at_50": {name: curve.tolist() for name, curve in curves.at_50.items()},
                "at_75": {name: curve.tolist() for name, curve in curves.at_75.items()},
                "mean_50": curves.mean_50.tolist(),
                "mean_75": curves.mean_75.tolist(),
            },
            "confusion": self.confusion.tolist(),
            "pictures": [asdict(picture) for picture in self.pictures],
        }


class InstanceMetric:
    """Collects predictions and truths picture by picture; `compute` may be called at any time, and again.

    At most `max_detections` per picture and class count, surest first, as in COCO. `masks=False` compares boxes only.
    The scores do not depend on the order of the pictures, nor on which part of a split run saw them.
    """

    def __init__(
        self, labels: Labels, *, max_detections: int = 100, masks: bool = True, score_threshold: float = 0.5
    ) -> None:
        limits(max_detections)
        self.labels = labels
        self.max_detections = max_detections
        self.masks = masks
        self.score_threshold = score_threshold
        self._pictures: dict[str, _Picture] = {}

    def update(self, prediction: InstanceSet, truth: InstanceSet, size: tuple[int, int], id: str) -> None:  # noqa: A002
        """Add one picture of `size` (H, W); boxes and masks are in its pixels.

        `DataError` for a picture that was added before, a prediction without scores, missing masks or masks of
        another size, classes that the labels do not have, and boxes or scores that are not finite.
        """
        if prediction.scores is None:
            raise DataError(f"the prediction for {id!r} has no scores", hint="truth and prediction may be swapped")
        self._check(truth, size, f"the truth of {id!r}")
        self._check(prediction, size, f"the prediction for {id!r}")
        self._add(_Picture(id, size, _kept(truth, self.masks), _kept(prediction, self.masks)))

    def merge(self, other: InstanceMetric) -> None:
        """Add all pictures of another part of the same run; `ConfigError` unless it was set up alike."""
        for name in ("labels", "max_detections", "masks", "score_threshold"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ConfigError(f"only metrics set up alike can be merged, but {name} is {mine} here, {theirs} there")
        for picture in other._pictures.values():
            self._add(picture)

    def compute(self) -> InstanceScores:
        """The scores of all pictures so far."""
        pictures = [self._pictures[id_] for id_ in sorted(self._pictures)]
        truth = _truth(pictures, self.labels, self.masks)
        found = _Table.of([picture.found for picture in pictures], [picture.size for picture in pictures])
        box = evaluated(truth, found.results(truth, "bbox"), "bbox", self.max_detections)
        mask = evaluated(truth, found.results(truth, "segm"), "segm", self.max_detections) if self.masks else None
        main = mask or box
        counted, matched = _status(main, len(found.picture))
        sure = found.objects.scores >= np.float32(self.score_threshold)
        return InstanceScores(
            box=numbers_of(box),
            mask=numbers_of(mask) if mask else None,
            per_class=_per_class(main, self.labels, [picture.truth for picture in pictures]),
            precision_recall=_precision_recall(main, self.labels),
            confusion=_confusion(truth, found.rows(counted & sure), "segm" if self.masks else "bbox"),
            pictures=_picture_scores(pictures, found.picture[counted & sure], found.picture[matched & sure]),
            max_detections=self.max_detections,
            score_threshold=self.score_threshold,
        )

    def _check(self, objects: InstanceSet, size: tuple[int, int], what: str) -> None:
        if len(objects) == 0:
            return
        if self.masks and objects.masks is None:
            raise DataError(f"{what} has no masks", hint="compare boxes only with masks=False")
        if objects.masks is not None and objects.masks.size != tuple(size):
            raise DataError(f"{what} has masks of size {objects.masks.size}, but the picture's is {tuple(size)}")
        strange = objects.class_ids[(objects.class_ids < 0) | (objects.class_ids >= len(self.labels))]
        if strange.size:
            raise DataError(f"{what} has class {strange[0]}, but the labels have classes 0 to {len(self.labels) - 1}")
        for name in ("boxes", "scores"):
            column = getattr(objects, name)
            if column is not None and not np.isfinite(column).all():
                raise DataError(f"{what} has {name} that are not finite", hint="the model may have diverged")

    def _add(self, picture: _Picture) -> None:
        if picture.id in self._pictures:
            raise DataError(
                f"picture {picture.id!r} was scored before",
                hint="give each picture its own id, and each part of a split run its own pictures",
            )
        self._pictures[picture.id] = picture


@dataclass(frozen=True, slots=True)
class _Objects:
    """What is kept of an `InstanceSet`: boxes xywh [N, 4] float64, masks only as run-lengths."""

    boxes: FloatArray
    class_ids: IntArray
    scores: FloatArray
    crowd: BoolArray
    areas: FloatArray
    counts: list[bytes]

    def __len__(self) -> int:
        return len(self.class_ids)


@dataclass(frozen=True, slots=True)
class _Picture:
    id: str
    size: tuple[int, int]
    truth: _Objects
    found: _Objects


def _kept(objects: InstanceSet, masks: bool) -> _Objects:
    boxes = np.array(objects.boxes, np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    count = len(objects)
    return _Objects(
        boxes=boxes,
        class_ids=np.array(objects.class_ids, np.int64),
        scores=np.zeros(count, np.float32) if objects.scores is None else np.array(objects.scores, np.float32),
        crowd=np.zeros(count, bool) if objects.crowd is None else np.array(objects.crowd, bool),
        areas=boxes[:, 2] * boxes[:, 3] if objects.masks is None else objects.masks.areas().astype(np.float64),
        counts=objects.masks.to_rle() if masks and objects.masks is not None else [],
    )


@dataclass(frozen=True, slots=True)
class _Table:
    """The objects of all pictures in one table; `picture` [N] is each object's place in `sizes`."""

    objects: _Objects
    picture: IntArray
    sizes: list[tuple[int, int]]

    @classmethod
    def of(cls, parts: Sequence[_Objects], sizes: list[tuple[int, int]]) -> _Table:
        nothing = _kept(InstanceSet.empty((1, 1)), masks=True)
        columns = {name: np.concatenate([getattr(part, name) for part in (nothing, *parts)]) for name in _COLUMNS}
        counts = [string for part in parts for string in part.counts]
        picture = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        return cls(_Objects(**columns, counts=counts), picture.astype(np.int64), sizes)

    def rows(self, chosen: BoolArray) -> _Table:
        kept = self.objects
        counts = [kept.counts[row] for row in np.flatnonzero(chosen)] if kept.counts else []
        columns = {name: getattr(kept, name)[chosen] for name in _COLUMNS}
        return _Table(_Objects(**columns, counts=counts), self.picture[chosen], self.sizes)

    def segmentation(self) -> list[Any]:
        sizes = [list(self.sizes[picture]) for picture in self.picture]
        return [{"size": size, "counts": string} for size, string in zip(sizes, self.objects.counts, strict=True)]

    def results(self, truth: COCO, kind: IouType) -> COCO:
        """The table as COCO results; result n has the id n + 1."""
        kept = self.objects
        table = np.column_stack([self.picture, kept.boxes, kept.scores, kept.class_ids]).astype(np.float64)
        if kind == "bbox" or not len(kept):
            return truth.load_res(table)
        results = truth.load_res(table, segmentation=self.segmentation())
        # Next to a box, COCO would take the object's size from the box.
        results.update_anns(ids=np.arange(1, len(kept) + 1), area=kept.areas)
        return results


def _truth(pictures: Sequence[_Picture], labels: Labels, masks: bool) -> COCO:
    from hotcoco import COCO

    table = _Table.of([picture.truth for picture in pictures], [picture.size for picture in pictures])
    return COCO.from_arrays(
        [{"id": index, "height": height, "width": width} for index, (height, width) in enumerate(table.sizes)],
        [{"id": index, "name": name} for index, name in enumerate(labels.names)],
        table.picture,
        table.objects.class_ids,
        table.objects.boxes,
        area=table.objects.areas,
        iscrowd=table.objects.crowd,
        segmentation=table.segmentation() if masks else None,
    )


def _status(evaluation: COCOeval, count: int) -> tuple[BoolArray, BoolArray]:
    """For each result: whether it counts (not on a crowd, not beyond the limit), and whether it met a true object."""
    counted, matched = np.zeros(count, bool), np.zeros(count, bool)
    status = evaluation.image_diagnostics(iou_thr=_MATCH_IOU, score_thr=np.inf)["dt_status"]
    rows = np.fromiter(status, np.int64, len(status)) - 1
    counted[rows] = True
    matched[rows] = [word == "tp" for word in status.values()]
    return counted, matched


def _per_class(evaluation: COCOeval, labels: Labels, truths: Sequence[_Objects]) -> dict[str, ClassScore]:
    precision = array_of(evaluation, "precision")[..., 0, -1]  # [T, R, K]
    at_half = precision[iou_index(evaluation, _MATCH_IOU)]
    numbers = sum(
        (np.bincount(t.class_ids[~t.crowd], minlength=len(labels)) for t in truths), np.zeros(len(labels), int)
    )
    return {
        name: ClassScore(mean_of(precision[..., index]), mean_of(at_half[..., index]), int(numbers[index]))
        for index, name in enumerate(labels.names)
    }


def _precision_recall(evaluation: COCOeval, labels: Labels) -> PrecisionRecall:
    curves: list[dict[str, FloatArray]] = []
    means: list[FloatArray] = []
    for threshold in (0.5, 0.75):
        precision = array_of(evaluation, "precision")[iou_index(evaluation, threshold), :, :, 0, -1]  # [R, K]
        defined = {name: precision[:, k] for k, name in enumerate(labels.names) if precision[0, k] > -1}
        curves.append(defined)
        means.append(np.mean(list(defined.values()), axis=0) if defined else np.zeros(0))
    return PrecisionRecall(np.asarray(evaluation.params.rec_thrs), curves[0], curves[1], means[0], means[1])


def _confusion(truth: COCO, found: _Table, kind: IouType) -> IntArray:
    from hotcoco import COCOeval

    evaluation = COCOeval(truth, found.results(truth, kind), kind)
    matrix = evaluation.confusion_matrix(iou_thr=_MATCH_IOU, max_det=max(len(found.picture), 1))["matrix"]
    return np.asarray(matrix, np.int64)


def _picture_scores(pictures: Sequence[_Picture], found: IntArray, matched: IntArray) -> tuple[PictureScore, ...]:
    num_truths = [int(np.count_nonzero(~picture.truth.crowd)) for picture in pictures]
    num_found = np.bincount(found, minlength=len(pictures)).tolist()
    num_matched = np.bincount(matched, minlength=len(pictures)).tolist()
    return tuple(
        PictureScore(picture.id, truths, hits, good, 2 * good / (truths + hits) if truths + hits else 1.0)
        for picture, truths, hits, good in zip(pictures, num_truths, num_found, num_matched, strict=True)
    )
