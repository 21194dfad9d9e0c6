"""What is said of a model that finds changes: F1 of the changed pixels of all pictures together, and its kin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from everymask.core.arrays import FloatArray, IntArray
from everymask.errors import ConfigError, counted
from everymask.metrics.bootstrap import draws, interval
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
)
from everymask.metrics.semantic_scores import Void

_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Counts:
    """Pixels that changed and were found (`tp`), were found and did not (`fp`), were missed (`fn`), and the rest
    (`tn`); how many `objects` of change there are, how many were `found`, and how many of these are the same.
    """

    names: ClassVar[tuple[str, ...]] = ("tp", "fp", "fn", "tn", "objects", "found", "matched")
    tp: int
    fp: int
    fn: int
    tn: int
    objects: int
    found: int
    matched: int

    @property
    def f1(self) -> float:
        """2 tp / (2 tp + fp + fn); NaN where nothing changed and nothing was found."""
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float:
        """tp / (tp + fp + fn)."""
        return _share(self.tp, self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float:
        """tp / (tp + fp)."""
        return _share(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """tp / (tp + fn)."""
        return _share(self.tp, self.tp + self.fn)

    @property
    def accuracy(self) -> float:
        """The share of all pixels that are right: overall accuracy."""
        return _share(self.tp + self.tn, self.pixels)

    @property
    def kappa(self) -> float:
        """Cohen's kappa: how far the accuracy is beyond that of chance, with as many changed pixels (Cohen 1960)."""
        changed = (self.tp + self.fp) * (self.tp + self.fn)
        unchanged = (self.fn + self.tn) * (self.fp + self.tn)
        chance = _share(changed + unchanged, self.pixels**2)
        return (self.accuracy - chance) / (1 - chance) if chance < 1 else math.nan

    @property
    def object_f1(self) -> float:
        """2 matched / (objects + found)."""
        return _share(2 * self.matched, self.objects + self.found)

    @property
    def pixels(self) -> int:
        """All that count."""
        return self.tp + self.fp + self.fn + self.tn

    def exchanged(self) -> Counts:
        """The counts of what did not change."""
        return Counts(self.tn, self.fn, self.fp, self.tp, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class ChangeScores:
    """The scores of a data set, by `rows` [P, 7] of the counts (`Counts.names`) of each picture, in the order of `ids`.

    `total` has those of all pictures together, and their F1 is the headline: never a mean over pictures or classes.
    `names` are what did not change and what did; `void` says what is with changes that are predicted where there is no
    truth.
    """

    ids: tuple[str, ...]
    rows: IntArray
    names: tuple[str, str]
    void: Void

    brief: ClassVar[tuple[str, ...]] = ("F1", "IoU")
    resamples = 10_000
    headline_name = "F1"

    @cached_property
    def total(self) -> Counts:
        """The counts of all pictures."""
        return Counts(*self.rows.sum(axis=0).tolist())

    @property
    def headline(self) -> float:
        """F1 of the changed pixels."""
        return self.total.f1

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The 95 % bootstrap interval of F1 over pictures; NaN for fewer than two."""
        return interval(self.resampled(_RESAMPLES, 0)) if len(self.ids) > 1 else (math.nan, math.nan)

    @property
    def num_pictures(self) -> int:
        """How many pictures were scored."""
        return len(self.ids)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, lists and numbers; None for NaN."""
        pictures = [{"id": id_, **_plain(row)} for id_, row in zip(self.ids, self._by_row(), strict=True)]
        return {
            "num_pictures": self.num_pictures,
            "void": self.void,
            **_plain(self.total),
            "f1_interval": [_known(bound) for bound in self.interval],
            "pictures": pictures,
        }

    def numbers(self) -> dict[str, float]:
        """F1 and its kin."""
        total = self.total
        return known(
            {
                "F1": total.f1,
                "IoU": total.iou,
                "precision": total.precision,
                "recall": total.recall,
                "kappa": total.kappa,
                "object F1": total.object_f1,
            }
        )

    def headlines(self) -> tuple[Headline, ...]:
        """F1 with its interval, and the objects that were found."""
        total, pictures = self.total, counted(self.num_pictures, "validation picture")
        objects = f"{total.matched:,} of {total.objects:,} found, {total.found - total.matched:,} invented"
        return (
            Headline("F1 of change", f"{total.f1:.3f}", f"{pictures}; {interval_in_words(self.interval)}"),
            Headline("objects of change", f"{total.object_f1:.3f}", f"F1; {objects}"),
        )

    def classes(self) -> ClassTable:
        """F1, IoU, precision and recall of what changed, and of what did not."""
        rows = tuple(
            ClassRow(name, (counts.f1, counts.iou, counts.precision, counts.recall), counts.tp + counts.fn)
            for name, counts in zip(self.names, (self.total.exchanged(), self.total), strict=True)
        )
        return ClassTable(("F1", "IoU", "precision", "recall"), "pixels", rows)

    def curves(self) -> tuple[PrecisionRecall, ...]:
        """None: a change map has no detections to sort."""
        return ()

    def mistakes(self) -> Confusion:
        """Per cent of each row."""
        total = self.total
        counts = np.array([[total.tn, total.fp], [total.fn, total.tp]], np.float64)
        shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        return Confusion(self.names, shares.round(1), "% of the true pixels")

    def by_picture(self) -> tuple[PictureScore, ...]:
        """F1 of each picture; NaN where nothing changed and nothing was found."""
        return tuple(
            PictureScore(id_, row.f1, f"F1 {row.f1:.2f}; {row.matched} of {counted(row.objects, 'change')} found")
            for id_, row in zip(self.ids, self._by_row(), strict=True)
        )

    def tables(self) -> tuple[Table, ...]:
        """All numbers, and the counts that they are made of."""
        total, (low, high) = self.total, self.interval
        numbers = {
            "F1 of change": total.f1,
            "  95 % interval, from": low,
            "  to": high,
            "IoU": total.iou,
            "precision": total.precision,
            "recall": total.recall,
            "overall accuracy": total.accuracy,
            "Cohen's kappa": total.kappa,
            "F1 of objects (IoU above 0.5)": total.object_f1,
        }
        pixels = (
            ("found", f"{total.tp:,}", f"{total.matched:,}"),
            ("invented", f"{total.fp:,}", f"{total.found - total.matched:,}"),
            ("missed", f"{total.fn:,}", f"{total.objects - total.matched:,}"),
        )
        title = f"{counted(self.num_pictures, 'picture')}; pixels without truth are {self.void}"
        return (
            Table(title, ("", "value"), tuple(numbers.items())),
            Table("What changed", ("", "pixels", "objects"), pixels),
        )

    def sentence(self, pictures: str) -> str:
        """F1 with its interval, and IoU."""
        total = self.total
        return f"F1 of change {total.f1:.3f} ({interval_in_words(self.interval)}), IoU {total.iou:.3f} on {pictures}"

    def resampled(self, resamples: int, seed: int) -> FloatArray:
        """F1 [R] of each draw of pictures."""
        counts = self.rows[:, :3].astype(np.float64)
        parts = [times @ counts for times in draws(len(counts), resamples, seed)]
        tp, fp, fn = np.concatenate(parts).T
        whole = 2 * tp + fp + fn
        f1: FloatArray = np.divide(2 * tp, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
        return f1

    def check_comparable(self, other: Any) -> None:
        """`ConfigError` unless by the same rule for pixels without truth, `DataError` unless with the same truth."""
        if type(other) is not type(self):
            raise ConfigError(f"changes were scored in the first model, but {other.headline_name} in the second")
        if self.void != other.void:
            raise ConfigError(f"pixels without truth are {self.void} in the first scores, {other.void} in the second")
        check_pictures(self, other)
        name = (self.names[1],)
        check_truths(name, self._changed(), name, other._changed())

    def _changed(self) -> IntArray:
        """How many pixels changed in each picture, [P, 1]."""
        pixels: IntArray = self.rows[:, [0]] + self.rows[:, [2]]
        return pixels

    def _by_row(self) -> list[Counts]:
        return [Counts(*row) for row in self.rows.tolist()]


def interval_in_words(interval: tuple[float, float]) -> str:
    """The 95 % interval of a score."""
    low, high = interval
    return f"95 % interval {'not defined' if math.isnan(low) else f'{low:.3f} to {high:.3f}'}"


def _plain(counts: Counts) -> dict[str, Any]:
    """Counts and scores by name."""
    scores = ("f1", "iou", "precision", "recall", "accuracy", "kappa", "object_f1")
    return {name: _known(getattr(counts, name)) for name in (*scores, *Counts.names)}


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan
