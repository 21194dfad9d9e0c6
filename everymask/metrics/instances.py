"""How well objects were found: COCO's box and mask AP, curves, confusion, and a score for each picture.

Of each picture only classes, scores, areas and overlaps are kept, so memory grows with the objects and not with the
pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from everymask.core.arrays import Array, BoolArray, FloatArray, IntArray
from everymask.core.labels import Labels
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.errors import ConfigError, DataError
from everymask.metrics.average_precision import CocoNumbers, IouType, iou_index, limits, mean_of, numbers_of
from everymask.metrics.instance_scores import InstanceClassScore, InstancePictureScore, InstanceScores, PrecisionCurves
from everymask.metrics.matching import (
    RECALLS,
    Curves,
    Matches,
    Objects,
    Pairs,
    areas_of,
    box_pairs,
    curves_of,
    mask_pairs,
    match_by_class,
    partners,
    ranks,
)
from everymask.metrics.resampled_precision import outcomes_of
from everymask.metrics.scores import scored_before

_MATCH_IOU = 0.5


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

    def update(self, prediction: InstanceSet, truth: InstanceSet, sample: Sample) -> None:
        """Add one picture; boxes and masks are in its pixels.

        An object is small, medium or large by the area that its annotation states (`InstanceSet.areas`; the numbers by
        size are pycocotools' then), or else by the pixels of its mask, or of its box where there is no mask.

        `DataError` for a picture that was added before, a prediction without scores, missing masks or masks of
        another size, classes that the labels do not have, and boxes, scores or areas that are not finite.
        """
        if prediction.scores is None:
            raise DataError(
                f"the prediction for {sample.id!r} has no scores", hint="truth and prediction may be swapped"
            )
        self._check(truth, sample.size, f"the truth of {sample.id!r}")
        self._check(prediction, sample.size, f"the prediction for {sample.id!r}")
        self._add(_picture(sample.id, prediction, truth, self.masks))

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
        pictures = self._sorted()
        found, true, pairs, matches, box = self._evaluated(pictures, "bbox")
        main = box
        if self.masks:
            found, true, pairs, matches, main = self._evaluated(pictures, "segm")
        counted = ~matches.void[:, 0, 0] & (found.scores >= np.float32(self.score_threshold))
        return InstanceScores(
            box=numbers_of(box),
            mask=numbers_of(main) if self.masks else None,
            per_class=_per_class(main, self.labels, true),
            precision_recall=_precision_recall(main, self.labels),
            confusion=_confusion(found, true, pairs, counted, len(self.labels)),
            pictures=_picture_scores(pictures, found.picture[counted], found.picture[counted & matches.hit[:, 0, 0]]),
            max_detections=self.max_detections,
            score_threshold=self.score_threshold,
            outcomes=outcomes_of(found, true, matches, len(pictures), len(self.labels)),
        )

    def numbers(self, kind: IouType) -> CocoNumbers:
        """Only the twelve numbers of all pictures so far, by boxes or by masks.

        `ConfigError` for masks where only boxes are compared.
        """
        if kind == "segm" and not self.masks:
            raise ConfigError("this metric was set up without masks, so it has only box numbers")
        return numbers_of(self._evaluated(self._sorted(), kind)[-1])

    def _sorted(self) -> list[_Picture]:
        return [self._pictures[id_] for id_ in sorted(self._pictures)]

    def _evaluated(
        self, pictures: Sequence[_Picture], kind: IouType
    ) -> tuple[Objects, Objects, Pairs, Matches, Curves]:
        found, true = _table([picture.found for picture in pictures]), _table([picture.true for picture in pictures])
        if kind == "bbox":
            found = replace(found, areas=areas_of(found.boxes))
            pairs = box_pairs(found, true)
        else:
            pairs = _joined(pictures)
        matches = match_by_class(found, true, pairs, self.max_detections)
        return (
            found,
            true,
            pairs,
            matches,
            curves_of(found, true, matches, len(self.labels), limits(self.max_detections)),
        )

    def _check(self, objects: InstanceSet, size: tuple[int, int], what: str) -> None:
        if len(objects) == 0:
            return
        if self.masks and objects.masks is None:
            raise DataError(
                f"{what} has only boxes and no masks", hint="compare boxes only: a model without masks does"
            )
        if objects.masks is not None and objects.masks.size != tuple(size):
            raise DataError(f"{what} has masks of size {objects.masks.size}, but the picture's is {tuple(size)}")
        for class_id in (objects.class_ids.min(), objects.class_ids.max()):
            if not 0 <= class_id < len(self.labels):
                raise DataError(f"{what} has class {class_id}, but the labels have classes 0 to {len(self.labels) - 1}")
        for name in ("boxes", "scores", "areas"):
            column = getattr(objects, name)
            if column is not None and not np.isfinite(column).all():
                raise DataError(f"{what} has {name} that are not finite", hint="the model may have diverged")

    def _add(self, picture: _Picture) -> None:
        if picture.id in self._pictures:
            raise scored_before(picture.id)
        self._pictures[picture.id] = picture


@dataclass(frozen=True, slots=True)
class _Picture:
    """What is kept of a picture: its objects and whose masks overlap whose, but no masks."""

    id: str
    found: Objects
    true: Objects
    mask_pairs: Pairs


def _picture(id_: str, prediction: InstanceSet, truth: InstanceSet, masks: bool) -> _Picture:
    crowd = np.zeros(len(truth), bool) if truth.crowd is None else np.array(truth.crowd, bool)
    # COCO takes the size of a true object from its mask, even where boxes are compared.
    true_areas: Array = areas_of(truth.boxes) if truth.masks is None else truth.masks.areas()
    if masks and prediction.masks is not None and truth.masks is not None:
        areas: Array = prediction.masks.areas()
        pairs = mask_pairs(prediction.masks, truth.masks, areas, true_areas, crowd)
    else:
        areas, pairs = areas_of(prediction.boxes), Pairs.concatenate([], [], [])
    found = _objects(prediction, areas, np.zeros(len(prediction), bool))
    stated = true_areas if truth.areas is None else truth.areas
    return _Picture(id_, found, _objects(truth, stated, crowd), pairs)


def _objects(objects: InstanceSet, areas: Array, crowd: BoolArray) -> Objects:
    count = len(objects)
    return Objects(
        picture=np.zeros(count, np.int64),
        class_ids=np.array(objects.class_ids, np.int64),
        scores=np.zeros(count, np.float32) if objects.scores is None else np.array(objects.scores, np.float32),
        boxes=np.array(objects.boxes, np.float32),
        areas=areas.astype(np.float64),
        crowd=crowd,
    )


def _table(parts: Sequence[Objects]) -> Objects:
    """The objects of all pictures."""
    nothing = _objects(InstanceSet.empty((1, 1)), np.zeros(0), np.zeros(0, bool))
    columns = {f.name: np.concatenate([getattr(part, f.name) for part in (nothing, *parts)]) for f in fields(Objects)}
    picture = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return Objects(**columns | {"picture": picture.astype(np.int64)})


def _joined(pictures: Sequence[_Picture]) -> Pairs:
    return Pairs.concatenate(
        [picture.mask_pairs for picture in pictures],
        [len(picture.found) for picture in pictures],
        [len(picture.true) for picture in pictures],
    )


def _per_class(curves: Curves, labels: Labels, true: Objects) -> dict[str, InstanceClassScore]:
    precision = curves.precision[..., 0]  # [T, R, K]
    at_half = precision[iou_index(_MATCH_IOU)]
    numbers = np.bincount(true.class_ids[~true.crowd], minlength=len(labels))
    return {
        name: InstanceClassScore(mean_of(precision[..., index]), mean_of(at_half[..., index]), int(numbers[index]))
        for index, name in enumerate(labels.names)
    }


def _precision_recall(curves: Curves, labels: Labels) -> PrecisionCurves:
    by_class: list[dict[str, FloatArray]] = []
    means: list[FloatArray] = []
    for threshold in (0.5, 0.75):
        precision = curves.precision[iou_index(threshold), :, :, 0]  # [R, K]
        defined = {name: precision[:, k] for k, name in enumerate(labels.names) if precision[0, k] > -1}
        by_class.append(defined)
        means.append(np.mean(list(defined.values()), axis=0) if defined else np.zeros(0))
    return PrecisionCurves(RECALLS, by_class[0], by_class[1], means[0], means[1])


def _confusion(found: Objects, true: Objects, pairs: Pairs, counted: BoolArray, num_classes: int) -> IntArray:
    """Matched whatever the classes: in each picture the surest of the `counted` [N] detections chooses first."""
    rank = ranks(found.picture, np.where(counted, found.scores, -np.inf))
    thresholds = np.array([_MATCH_IOU])
    partner = partners(pairs, counted[pairs.found], rank, true.crowd, true.crowd[:, None], thresholds)[:, 0, 0]
    met = partner >= 0
    rows = np.full(len(found), num_classes)
    rows[met] = true.class_ids[partner[met]]
    counts = counted.copy()
    counts[met] &= ~true.crowd[partner[met]]
    missed = ~true.crowd
    missed[partner[met]] = False
    rows = np.concatenate([rows[counts], true.class_ids[missed]])
    columns = np.concatenate([found.class_ids[counts], np.full(np.count_nonzero(missed), num_classes)])
    side = num_classes + 1
    return np.bincount(rows * side + columns, minlength=side * side).reshape(side, side)


def _picture_scores(
    pictures: Sequence[_Picture], found: IntArray, matched: IntArray
) -> tuple[InstancePictureScore, ...]:
    num_truths = [int(np.count_nonzero(~picture.true.crowd)) for picture in pictures]
    num_found = np.bincount(found, minlength=len(pictures)).tolist()
    num_matched = np.bincount(matched, minlength=len(pictures)).tolist()
    return tuple(
        InstancePictureScore(picture.id, truths, hits, good, 2 * good / (truths + hits) if truths + hits else 1.0)
        for picture, truths, hits, good in zip(pictures, num_truths, num_found, num_matched, strict=True)
    )
