"""What is said of a model that finds objects: COCO's numbers, curves, confusion, and a score for each picture."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from everymask.core.arrays import FloatArray, IntArray
from everymask.errors import ConfigError, counted
from everymask.metrics.average_precision import CocoNumbers
from everymask.metrics.bootstrap import draws
from everymask.metrics.resampled_precision import Outcomes, resampled_ap
from everymask.metrics.scores import (
    ClassRow,
    ClassTable,
    Confusion,
    Headline,
    PictureScore,
    PrecisionRecall,
    Table,
    check_pictures,
    check_truths,
)


@dataclass(frozen=True, slots=True)
class InstanceClassScore:
    """One class: AP over IoU 0.50 to 0.95 and at 0.50 (-1 without truth), and how many true objects there are."""

    AP: float
    AP50: float
    num_truths: int


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionCurves:
    """Precision at 101 levels of `recall` (0 to 1), at IoU 0.50 and 0.75.

    By class name, only classes with truth; the means are over these classes, empty where there are none.
    """

    recall: FloatArray
    at_50: dict[str, FloatArray]
    at_75: dict[str, FloatArray]
    mean_50: FloatArray
    mean_75: FloatArray


@dataclass(frozen=True, slots=True)
class InstancePictureScore:
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
    `pictures` are in the order of their ids, and so are those of `outcomes`, from which other choices of pictures are
    judged.
    """

    box: CocoNumbers
    mask: CocoNumbers | None
    per_class: dict[str, InstanceClassScore]
    precision_recall: PrecisionCurves
    confusion: IntArray
    pictures: tuple[InstancePictureScore, ...]
    max_detections: int
    score_threshold: float
    outcomes: Outcomes

    brief: ClassVar[tuple[str, ...]] = ("mask AP", "mask AP50", "box AP", "box AP50")
    resamples = 1000
    interval: ClassVar[tuple[float, float]] = (math.nan, math.nan)

    @property
    def headline_name(self) -> str:
        """Mask AP, or box AP where there are no masks."""
        return "mask AP" if self.mask else "box AP"

    @property
    def headline(self) -> float:
        """The AP by that name, over IoU 0.50 to 0.95."""
        return (self.mask or self.box).AP

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

    def numbers(self) -> dict[str, float]:
        """AP, AP50 and AP75 of masks and boxes."""
        kinds = {"mask": self.mask, "box": self.box}
        return {
            f"{kind} {name}": getattr(numbers, name)
            for kind, numbers in kinds.items()
            if numbers is not None
            for name in ("AP", "AP50", "AP75")
        }

    def headlines(self) -> tuple[Headline, ...]:
        """AP50 and AP."""
        numbers, kind = (self.mask, "mask") if self.mask else (self.box, "box")
        note = f"{counted(self.num_pictures, 'validation picture')}, up to {self.max_detections} objects each"
        return (
            Headline(f"{kind} AP50", f"{numbers.AP50:.3f}", note),
            Headline(f"{kind} AP", f"{numbers.AP:.3f}", "IoU 0.50 to 0.95"),
        )

    def classes(self) -> ClassTable:
        """AP and AP50 of each class; not defined without true objects."""
        rows = (
            ClassRow(name, (row.AP, row.AP50) if row.num_truths else (math.nan, math.nan), row.num_truths)
            for name, row in self.per_class.items()
        )
        return ClassTable(("AP", "AP50"), "objects", tuple(rows))

    def curves(self) -> tuple[PrecisionRecall, ...]:
        """Precision over recall at IoU 0.50 and 0.75."""
        curves = self.precision_recall
        return tuple(
            PrecisionRecall(iou, curves.recall, np.stack(list(at.values())), tuple(at))
            for iou, at in ((0.50, curves.at_50), (0.75, curves.at_75))
            if at
        )

    def mistakes(self) -> Confusion:
        """Which class was found as which, by objects."""
        return Confusion((*self.per_class, "nothing"), self.confusion)

    def by_picture(self) -> tuple[PictureScore, ...]:
        """F1 of each picture; nothing is judged where nothing is and nothing was found."""
        return tuple(
            PictureScore(
                row.id,
                row.f1 if row.num_truths or row.num_found else math.nan,
                f"F1 {row.f1:.2f}: {row.num_matched} of {counted(row.num_truths, 'object')} found, "
                f"{counted(row.num_found, 'detection')}",
            )
            for row in self.pictures
        )

    def tables(self) -> tuple[Table, ...]:
        """COCO's numbers, and AP by class."""
        kinds = {"box": self.box, "mask": self.mask}
        numbers = {kind: score.to_json() for kind, score in kinds.items() if score is not None}
        return (
            Table(
                f"{counted(self.num_pictures, 'picture')}, up to {counted(self.max_detections, 'object')} each",
                ("", *numbers),
                tuple((name, *(_defined(score[name]) for score in numbers.values())) for name in self.box.to_json()),
            ),
            Table(
                f"{'Mask' if self.mask else 'Box'} AP by class",
                ("class", "AP", "AP50", "objects"),
                tuple(
                    (name, _defined(row.AP), _defined(row.AP50), row.num_truths) for name, row in self.per_class.items()
                ),
            ),
        )

    def sentence(self, pictures: str) -> str:
        """AP50 and AP."""
        kind, numbers = ("mask", self.mask) if self.mask else ("box", self.box)
        objects = counted(self.max_detections, "object")
        return f"{kind} AP50 {numbers.AP50:.3f}, AP {numbers.AP:.3f} on {pictures}, up to {objects} each"

    def resampled(self, resamples: int, seed: int) -> FloatArray:
        """AP [R] of each draw of pictures; NaN for a draw without true objects."""
        return np.concatenate(
            [resampled_ap(self.outcomes, times) for times in draws(self.num_pictures, resamples, seed, self._at_once())]
        )

    def check_comparable(self, other: Any) -> None:
        """`ConfigError` unless by the same rules, `DataError` unless against the same objects."""
        if type(other) is not type(self):
            raise ConfigError(f"objects were scored in the first model, but {other.headline_name} in the second")
        if bool(self.mask) is not bool(other.mask):
            kinds = [f"{scores.headline_name} of the {name}" for scores, name in ((self, "first"), (other, "second"))]
            raise ConfigError(
                f"one of the models finds boxes and the other masks, so that {' and '.join(kinds)} cannot be compared",
                hint="everymask evaluate says the box AP of both",
            )
        if self.max_detections != other.max_detections:
            raise ConfigError(
                f"only scores by the same rules can be compared, but up to {self.max_detections} objects a picture "
                f"count in the first model and up to {other.max_detections} in the second"
            )
        check_pictures(self, other)
        check_truths(self.per_class, self.outcomes.truths, other.per_class, other.outcomes.truths)

    def _at_once(self) -> int:
        """How many draws are judged at a time, so that they need some hundred megabytes."""
        return max(1, (1 << 23) // max(1, len(self.outcomes.picture), self.num_pictures))


def _defined(number: float) -> float:
    """NaN, which tables show as a dash, for COCO's -1: there are no true objects of this class or size."""
    return math.nan if number == -1 else number
