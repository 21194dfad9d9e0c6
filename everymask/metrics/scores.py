"""The one face of scores and of the metrics that give them, whatever is measured.

Tables, reports, logs and comparisons are written for this face; what a metric measures it says here in its own words.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from everymask.core.arrays import Array, FloatArray, IntArray
from everymask.core.labels import Colour
from everymask.core.sample import Sample
from everymask.core.segmentation import Segmentation
from everymask.errors import DataError, counted

Kind_contra = TypeVar("Kind_contra", bound=Segmentation, contravariant=True)


@dataclass(frozen=True, slots=True)
class Headline:
    """One of the few numbers at the top of a report; `note` says of what."""

    name: str
    value: float | str
    note: str = ""


@dataclass(frozen=True, slots=True)
class PictureScore:
    """One picture: its sample's id, how good it is (0-1; NaN where there is nothing to judge), and that in words."""

    id: str
    score: float
    caption: str


@dataclass(frozen=True, slots=True)
class ClassRow:
    """A class: its `scores` 0-1 (NaN where one is not defined), how much of it there is, its colour in the pictures."""

    name: str
    scores: tuple[float, ...]
    count: int
    colour: Colour | None = None


@dataclass(frozen=True, slots=True)
class ClassTable:
    """The scores of all classes under the names `scores`; `unit` says what their counts are of."""

    scores: tuple[str, ...]
    unit: str
    rows: tuple[ClassRow, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecall:
    """Precision [K, R] of K classes at R recalls, at one IoU threshold; NaN (or -1) where a class has no objects."""

    iou: float
    recall: FloatArray
    precision: FloatArray
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """`counts` [K, K] of what `unit` says: rows are the truth, columns the prediction.

    A last "nothing" stands for missed and invented.
    """

    names: tuple[str, ...]
    counts: Array
    unit: str = "objects"


@dataclass(frozen=True, slots=True)
class Table:
    """A table for the terminal: numbers are rounded to three digits, texts stay as they are."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float, ...], ...]


class Scores(Protocol):
    """What a metric says of all pictures together."""

    @property
    def brief(self) -> tuple[str, ...]:
        """Names of the numbers that fit into one line."""

    @property
    def resamples(self) -> int:
        """How often a comparison draws pictures anew."""

    @property
    def headline_name(self) -> str:
        """Which number the headline is, as in `numbers`."""

    @property
    def headline(self) -> float:
        """The one number by which models are compared; higher is better."""

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the headline over pictures; NaN where it was not calculated."""

    @property
    def num_pictures(self) -> int:
        """How many pictures were scored."""

    def numbers(self) -> dict[str, float]:
        """The few numbers that logs and model files keep, by name; what is not defined is left out."""

    def headlines(self) -> tuple[Headline, ...]:
        """What stands at the top of a report."""

    def classes(self) -> ClassTable | None:
        """The scores of each class; None where they are not told apart."""

    def curves(self) -> tuple[PrecisionRecall, ...]:
        """Precision over recall, where there is such a thing."""

    def mistakes(self) -> Confusion | None:
        """Which class was taken for which; None where that is not known."""

    def by_picture(self) -> tuple[PictureScore, ...]:
        """The score of each picture, in the order of their ids; empty where pictures are not told apart."""

    def tables(self) -> tuple[Table, ...]:
        """All of it for a terminal."""

    def sentence(self, pictures: str) -> str:
        """The result in one line; `pictures` are those that were scored, in words."""

    def resampled(self, resamples: int, seed: int) -> FloatArray:
        """The headline of each of `resamples` draws of as many pictures; the same seed draws the same ids."""

    def check_comparable(self, other: Any) -> None:
        """`ConfigError` or `DataError` unless `other` was scored by the same rules against the same truth."""

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, lists and numbers."""


class Metric(Protocol[Kind_contra]):
    """Collects predictions and truths picture by picture.

    `compute` may be called at any time, and again. The scores do not depend on the order of the pictures, nor on which
    part of a split run saw them: `merge` adds those that another metric of the same kind saw.
    """

    def update(self, prediction: Kind_contra, truth: Kind_contra, sample: Sample) -> None:
        """Add one picture; `DataError` where it cannot be scored, or was before."""

    def merge(self, other: Self) -> None:
        """Add all pictures that `other` has; `ConfigError` unless it was set up alike."""

    def compute(self) -> Scores:
        """The scores of all pictures so far."""


def check_pictures(first: Scores, second: Scores) -> None:
    """`DataError` unless both have scores of the same pictures, at least two."""
    ids, others = ({picture.id for picture in scores.by_picture()} for scores in (first, second))
    if ids != others:
        raise DataError(
            f"only scores on the same pictures can be compared, but {counted(len(ids ^ others), 'picture')} of "
            f"{len(ids | others):,} were scored by one model only",
            hint="choose pictures that neither model was trained on, as a data set or a split of their own",
        )
    if len(ids) < 2:
        raise DataError(f"a comparison needs at least 2 pictures, but got {len(ids)}")


def check_truths(names: Iterable[str], truth: IntArray, other_names: Iterable[str], other: IntArray) -> None:
    """`DataError` unless both [P, K] counts of the classes by picture are the same; a class not named has none."""
    first, second = dict(zip(names, truth.T, strict=True)), dict(zip(other_names, other.T, strict=True))
    nothing = np.zeros(len(truth), np.int64)
    for name in first | second:
        if not np.array_equal(first.get(name, nothing), second.get(name, nothing)):
            raise DataError(f"the two models were scored against different truths of the class {name!r}")


def known(numbers: dict[str, float]) -> dict[str, float]:
    """The numbers that are defined."""
    return {name: value for name, value in numbers.items() if not math.isnan(value)}


def without_nan(values: dict[str, Any]) -> dict[str, Any]:
    """The values with None for NaN, which JSON does not have."""
    return {name: known_or_none(value) for name, value in values.items()}


def known_or_none(value: Any) -> Any:
    """The value, or None for NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value


def scored_before(id_: str) -> DataError:
    """The error where a picture comes again."""
    return DataError(
        f"picture {id_!r} was scored before",
        hint="give each picture its own id, and each part of a split run its own pictures",
    )
