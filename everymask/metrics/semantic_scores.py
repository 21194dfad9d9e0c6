"""What is said of a model that gives label maps: overlap and accuracy, by class and by picture."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

from everymask.core.arrays import FloatArray, IntArray
from everymask.errors import ConfigError, counted
from everymask.metrics.areas import Areas
from everymask.metrics.bootstrap import resampled_mean_iou
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
    known,
    known_or_none,
    without_nan,
)

Void: TypeAlias = Literal["ignored", "wrong"]


@dataclass(frozen=True, slots=True)
class SemanticClassScore:
    """One class over all pictures, 0-1 (see `Areas` and `SemanticScores`), and its pixels in truth and prediction.

    NaN stands where a number is not defined: IoU, Dice and boundary IoU of a class that neither truth nor prediction
    shows, accuracy of one that the truth does not.
    """

    iou: float
    dice: float
    accuracy: float
    boundary_iou: float
    num_truth: int
    num_found: int


@dataclass(frozen=True, slots=True)
class SemanticPictureScore:
    """One picture: the mean IoU of the classes in its truth or prediction, and the share of its pixels that are right.

    NaN in a picture without truth.
    """

    id: str
    mean_iou: float
    pixel_accuracy: float


@dataclass(frozen=True, slots=True, eq=False)
class SemanticScores:
    """All scores of a data set, from the pixels of all pictures together.

    - `mean_iou` (mIoU) is the mean of the classes' IoU, and likewise `mean_dice`, `mean_accuracy` and
      `mean_boundary_iou`: of the classes for which the number is defined, as `SemanticClassScore` says. `interval` is
      the 95 % bootstrap interval of mIoU over pictures; NaN for fewer than two
    - `frequency_weighted_iou` weights the classes by their true pixels, `pixel_accuracy` is the share of all pixels
      that are right
    - `boundary_iou` is the IoU of the pixels within 2 % of the picture's diagonal of where a class ends (Cheng et al.
      2021): large objects are judged as strictly as small ones

    `confusion` [K + 1, K + 1] counts pixels: row = true class, column = predicted class, the last of each = void (no
    truth, or none of the classes predicted). `void` says what is with predictions on pixels without truth: "ignored" as
    by Cityscapes and Pascal VOC, or "wrong". `pictures` and `areas` [P, K] are in the order of their ids.
    """

    mean_iou: float
    interval: tuple[float, float]
    mean_dice: float
    mean_accuracy: float
    mean_boundary_iou: float
    frequency_weighted_iou: float
    pixel_accuracy: float
    per_class: dict[str, SemanticClassScore]
    confusion: IntArray
    pictures: tuple[SemanticPictureScore, ...]
    areas: Areas
    void: Void

    brief: ClassVar[tuple[str, ...]] = ("mIoU", "pixel accuracy")
    resamples = 10_000
    headline_name = "mIoU"

    @property
    def headline(self) -> float:
        """mIoU."""
        return self.mean_iou

    @property
    def num_pictures(self) -> int:
        """How many pictures were scored."""
        return len(self.pictures)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, lists and numbers; None for NaN."""
        means = ("mean_iou", "mean_dice", "mean_accuracy", "mean_boundary_iou")
        numbers = {name: getattr(self, name) for name in (*means, "frequency_weighted_iou", "pixel_accuracy")}
        return {
            "num_pictures": self.num_pictures,
            "void": self.void,
            **without_nan(numbers),
            "mean_iou_interval": [known_or_none(bound) for bound in self.interval],
            "per_class": {name: without_nan(asdict(score)) for name, score in self.per_class.items()},
            "confusion": self.confusion.tolist(),
            "pictures": [without_nan(asdict(picture)) for picture in self.pictures],
        }

    def numbers(self) -> dict[str, float]:
        """mIoU and the other means."""
        return known(
            {
                "mIoU": self.mean_iou,
                "pixel accuracy": self.pixel_accuracy,
                "mean accuracy": self.mean_accuracy,
                "mean Dice": self.mean_dice,
            }
        )

    def headlines(self) -> tuple[Headline, ...]:
        """mIoU with its interval, and the pixels that are right."""
        pictures = counted(self.num_pictures, "validation picture")
        return (
            Headline("mIoU", f"{self.mean_iou:.3f}", f"{pictures}; {self._interval_in_words()}"),
            Headline("pixel accuracy", f"{self.pixel_accuracy:.3f}", f"pixels without truth are {self.void}"),
        )

    def classes(self) -> ClassTable:
        """IoU, boundary IoU and accuracy of each class."""
        rows = (
            ClassRow(name, (row.iou, row.boundary_iou, row.accuracy), row.num_truth)
            for name, row in self.per_class.items()
        )
        return ClassTable(("IoU", "boundary IoU", "accuracy"), "pixels", tuple(rows))

    def curves(self) -> tuple[PrecisionRecall, ...]:
        """None: a label map has no detections to sort."""
        return ()

    def mistakes(self) -> Confusion:
        """Per cent of each row; void's row and column only where there is something in them."""
        counts, names = self.confusion, (*self.per_class, "nothing")
        if not counts[-1].any() and not counts[:, -1].any():
            counts, names = counts[:-1, :-1], names[:-1]
        shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        return Confusion(names, shares.round(1), "% of the true pixels")

    def by_picture(self) -> tuple[PictureScore, ...]:
        """mIoU of each picture."""
        return tuple(
            PictureScore(
                row.id,
                row.mean_iou,
                f"mIoU {row.mean_iou:.2f}, {100 * row.pixel_accuracy:.1f} % of the pixels right",
            )
            for row in self.pictures
        )

    def tables(self) -> tuple[Table, ...]:
        """The means, and all numbers by class."""
        low, high = self.interval
        numbers = {
            "mIoU": self.mean_iou,
            "  95 % interval, from": low,
            "  to": high,
            "frequency-weighted IoU": self.frequency_weighted_iou,
            "pixel accuracy": self.pixel_accuracy,
            "mean accuracy": self.mean_accuracy,
            "mean Dice": self.mean_dice,
            "mean boundary IoU": self.mean_boundary_iou,
        }
        pixels = sum(row.num_truth for row in self.per_class.values())
        by_class = tuple(
            (
                name,
                *(row.iou, row.boundary_iou, row.dice, row.accuracy),
                f"{row.num_truth:,}",
                f"{100 * row.num_truth / max(pixels, 1):.1f} %",
            )
            for name, row in self.per_class.items()
        )
        columns = ("class", "IoU", "boundary IoU", "Dice", "accuracy", "pixels", "share")
        title = f"{counted(self.num_pictures, 'picture')}; pixels without truth are {self.void}"
        return Table(title, ("", "value"), tuple(numbers.items())), Table("By class", columns, by_class)

    def sentence(self, pictures: str) -> str:
        """mIoU with its interval, and the pixels that are right."""
        mean = f"mIoU {self.mean_iou:.3f} ({self._interval_in_words()})"
        return f"{mean}, pixel accuracy {self.pixel_accuracy:.3f} on {pictures}"

    def _interval_in_words(self) -> str:
        low, high = self.interval
        return f"95 % interval {'not defined' if math.isnan(low) else f'{low:.3f} to {high:.3f}'}"

    def resampled(self, resamples: int, seed: int) -> FloatArray:
        """mIoU [R] of each draw of pictures."""
        return resampled_mean_iou(self.areas, resamples=resamples, seed=seed)

    def check_comparable(self, other: Any) -> None:
        """`ConfigError` unless by the same rule for pixels without truth, `DataError` unless with the same truth."""
        if type(other) is not type(self):
            raise ConfigError(f"label maps were scored in the first model, but {other.headline_name} in the second")
        if self.void != other.void:
            raise ConfigError(f"pixels without truth are {self.void} in the first scores, {other.void} in the second")
        check_pictures(self, other)
        check_truths(self.per_class, self.areas.truth, other.per_class, other.areas.truth)
