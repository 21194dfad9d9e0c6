"""What is said of a model that gives panoptic maps: quality of segments, by class, for things and for stuff."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from everymask.core.arrays import BoolArray, FloatArray, IntArray
from everymask.core.labels import Labels
from everymask.errors import ConfigError, counted
from everymask.metrics.areas import known_mean
from everymask.metrics.bootstrap import draws, interval
from everymask.metrics.panoptic.tallies import Tallies, quality_of
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

_INTERVAL_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class PanopticSummary:
    """The means of PQ, SQ and RQ over the `num_classes` classes that truth or prediction has; NaN without any."""

    pq: float
    sq: float
    rq: float
    num_classes: int


@dataclass(frozen=True, slots=True)
class PanopticClassScore:
    """One class over all pictures: PQ, SQ and RQ (0-1, NaN where neither truth nor prediction has it), and its
    segments in truth and prediction and the matched ones, crowds and what covers no truth aside.
    """

    pq: float
    sq: float
    rq: float
    thing: bool
    num_truth: int
    num_found: int
    num_matched: int


@dataclass(frozen=True, slots=True)
class PanopticPictureScore:
    """One picture: the mean PQ of the classes in its truth or prediction (NaN without any), and its segments."""

    id: str
    pq: float
    num_truth: int
    num_found: int
    num_matched: int

    @classmethod
    def of(cls, id_: str, tallies: Tallies) -> Self:
        """That of a picture with these `tallies` [K]."""
        counts = (int(column.sum()) for column in (tallies.truths, tallies.found, tallies.matched))
        return cls(id_, float(known_mean(tallies.quality())), *counts)


@dataclass(frozen=True, slots=True, eq=False)
class PanopticScores:
    """All scores of a data set, from the segments of all pictures together (Kirillov et al. 2019).

    PQ = sum of the matched pairs' IoU / (TP + FP / 2 + FN / 2), the product of SQ (their mean IoU) and RQ (F1 of the
    segments). `every`, `things` and `stuff` are means over classes; `interval` is the 95 % bootstrap interval of the
    mean PQ over pictures, NaN for fewer than two.

    `confusion` [K + 1, K + 1] counts pixels: row = true class, column = predicted class, the last of each = no class;
    the last row is 0, since what is predicted where there is no truth counts nowhere.
    `pictures` and `tallies` [P, K] are in the order of their ids. With `boundary` the overlap of two segments is the
    lesser of their IoU and their boundary IoU (Cheng et al. 2021), and names say so.
    """

    every: PanopticSummary
    things: PanopticSummary
    stuff: PanopticSummary
    interval: tuple[float, float]
    per_class: dict[str, PanopticClassScore]
    confusion: IntArray
    pictures: tuple[PanopticPictureScore, ...]
    tallies: Tallies
    boundary: bool = False

    resamples = 10_000

    @property
    def brief(self) -> tuple[str, ...]:
        """The three qualities; of boundaries PQ alone."""
        return ("boundary PQ",) if self.boundary else ("PQ", "SQ", "RQ")

    @property
    def headline_name(self) -> str:
        """PQ, or boundary PQ."""
        return f"{self._kind}PQ"

    @property
    def _kind(self) -> str:
        return "boundary " if self.boundary else ""

    @property
    def headline(self) -> float:
        """The mean PQ of all classes."""
        return self.every.pq

    @property
    def num_pictures(self) -> int:
        """How many pictures were scored."""
        return len(self.pictures)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, lists and numbers; None for NaN."""
        return {
            "num_pictures": self.num_pictures,
            **{name: without_nan(asdict(mean)) for name, mean in self._means().items()},
            "pq_interval": [known_or_none(bound) for bound in self.interval],
            "per_class": {name: without_nan(asdict(score)) for name, score in self.per_class.items()},
            "confusion": self.confusion.tolist(),
            "pictures": [without_nan(asdict(picture)) for picture in self.pictures],
        }

    def numbers(self) -> dict[str, float]:
        """PQ of all classes, things and stuff, and the two that it is the product of."""
        parts = {"SQ": self.every.sq, "RQ": self.every.rq}
        numbers = {"PQ": self.every.pq, "PQ things": self.things.pq, "PQ stuff": self.stuff.pq, **parts}
        return known({f"{self._kind}{name}": value for name, value in numbers.items()})

    def headlines(self) -> tuple[Headline, ...]:
        """PQ with its interval, and how things and stuff share in it."""
        pictures = counted(self.num_pictures, "validation picture")
        shares = f"things {_shown(self.things.pq)}, stuff {_shown(self.stuff.pq)}"
        return (
            Headline(self.headline_name, f"{self.every.pq:.3f}", f"{pictures}; {self._interval_in_words()}"),
            Headline("SQ", f"{self.every.sq:.3f}", f"mean IoU of matched segments; PQ of {shares}"),
            Headline("RQ", f"{self.every.rq:.3f}", "F1 of the segments, matched from IoU 0.50 on"),
        )

    def classes(self) -> ClassTable:
        """PQ, SQ and RQ of each class."""
        rows = (ClassRow(name, (row.pq, row.sq, row.rq), row.num_truth) for name, row in self.per_class.items())
        return ClassTable(("PQ", "SQ", "RQ"), "segments", tuple(rows))

    def curves(self) -> tuple[PrecisionRecall, ...]:
        """None: of segments that share no pixel there is one choice, not a list to sort."""
        return ()

    def mistakes(self) -> Confusion:
        """Per cent of each class's true pixels."""
        counts = self.confusion
        shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        return Confusion((*self.per_class, "nothing"), shares.round(1), "% of the true pixels")

    def by_picture(self) -> tuple[PictureScore, ...]:
        """PQ of each picture."""
        return tuple(
            PictureScore(
                row.id,
                row.pq,
                f"PQ {row.pq:.2f}: {row.num_matched} of {counted(row.num_truth, 'segment')} found, "
                f"{row.num_found - row.num_matched} invented",
            )
            for row in self.pictures
        )

    def tables(self) -> tuple[Table, ...]:
        """The means, and all numbers by class."""
        low, high = self.interval
        means = tuple((name, mean.pq, mean.sq, mean.rq, str(mean.num_classes)) for name, mean in self._means().items())
        bounds = (("  95 % interval of PQ, from", low, "", "", ""), ("  to", high, "", "", ""))
        by_class = tuple(
            (
                name,
                "thing" if row.thing else "stuff",
                *(row.pq, row.sq, row.rq),
                *(f"{count:,}" for count in (row.num_truth, row.num_found, row.num_matched)),
            )
            for name, row in self.per_class.items()
        )
        columns = ("class", "kind", "PQ", "SQ", "RQ", "segments", "found", "matched")
        title = counted(self.num_pictures, "picture")
        return (
            Table(title, ("", self.headline_name, "SQ", "RQ", "classes"), (means[0], *bounds, *means[1:])),
            Table("Boundaries by class" if self.boundary else "By class", columns, by_class),
        )

    def sentence(self, pictures: str) -> str:
        """PQ with its interval, and that of things and stuff."""
        mean = f"{self.headline_name} {self.every.pq:.3f} ({self._interval_in_words()})"
        return f"{mean}, things {_shown(self.things.pq)}, stuff {_shown(self.stuff.pq)} on {pictures}"

    def resampled(self, resamples: int, seed: int) -> FloatArray:
        """PQ [R] of each draw of pictures."""
        return resampled_quality(self.tallies, resamples=resamples, seed=seed)

    def check_comparable(self, other: Any) -> None:
        """`ConfigError` unless of panoptic maps with the same things, `DataError` unless with the same truth."""
        if type(other) is not type(self):
            raise ConfigError(f"panoptic maps were scored in the first model, but {other.headline_name} in the second")
        for name, row in self.per_class.items():
            if name in other.per_class and other.per_class[name].thing != row.thing:
                raise ConfigError(f"the class {name!r} is a thing for one model and stuff for the other")
        check_pictures(self, other)
        check_truths(self.per_class, self.tallies.truths, other.per_class, other.tallies.truths)

    def _means(self) -> dict[str, PanopticSummary]:
        return {"all": self.every, "things": self.things, "stuff": self.stuff}

    def _interval_in_words(self) -> str:
        low, high = self.interval
        return f"95 % interval {'not defined' if math.isnan(low) else f'{low:.3f} to {high:.3f}'}"


def summary_of(total: Tallies, chosen: BoolArray) -> PanopticSummary:
    """The means over the `chosen` [K] of the classes of all pictures together."""
    numbers = [column[chosen] for column in (total.quality(), total.segmentation(), total.recognition())]
    pq, sq, rq = (float(known_mean(column)) for column in numbers)
    return PanopticSummary(pq, sq, rq, int(np.count_nonzero(~np.isnan(numbers[0]))))


def per_class(total: Tallies, labels: Labels) -> dict[str, PanopticClassScore]:
    """The scores of each class of all pictures together."""
    pq, sq, rq = total.quality(), total.segmentation(), total.recognition()
    return {
        name: PanopticClassScore(
            pq=float(pq[row]),
            sq=float(sq[row]),
            rq=float(rq[row]),
            thing=row in labels.things,
            num_truth=int(total.truths[row]),
            num_found=int(total.found[row]),
            num_matched=int(total.matched[row]),
        )
        for row, name in enumerate(labels.names)
    }


def quality_interval(tallies: Tallies) -> tuple[float, float]:
    """The 95 % percentile interval of the mean PQ over pictures with `tallies` [P, K]; NaN for fewer than two."""
    if len(tallies.matched) < 2:
        return math.nan, math.nan
    return interval(resampled_quality(tallies, resamples=_INTERVAL_RESAMPLES, seed=0))


def resampled_quality(tallies: Tallies, *, resamples: int, seed: int) -> FloatArray:
    """The mean PQ [R] of each resample of pictures with `tallies` [P, K]; the same seed draws the same pictures."""
    matched = tallies.matched.astype(np.float64)
    wrong = (tallies.missed + tallies.invented).astype(np.float64)
    means = [
        known_mean(quality_of(times @ tallies.iou, times @ matched, times @ wrong))
        for times in draws(len(matched), resamples, seed)
    ]
    return np.concatenate(means)


def _shown(quality: float) -> str:
    return "not defined" if math.isnan(quality) else f"{quality:.3f}"
