"""What is said of a model that finds what became of what: SeK and Score, besides how well change itself is found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from everymask.core.arrays import FloatArray, IntArray
from everymask.errors import counted
from everymask.metrics.bootstrap import draws
from everymask.metrics.change.scores import ChangeScores, interval_in_words
from everymask.metrics.scores import (
    ClassRow,
    ClassTable,
    Confusion,
    Headline,
    Table,
    check_truths,
    known,
    known_or_none,
    without_nan,
)

_IOU_SHARE, _KAPPA_SHARE = 0.3, 0.7


@dataclass(frozen=True, slots=True, eq=False)
class Transitions:
    """The scores of confusions [..., K, K] of pixels, true class by found class, of both dates together; class 0 is
    what did not change. NaN where they are not defined. Source: Yang et al. 2022, "Asymmetric Siamese networks for
    semantic change detection in aerial images" (SECOND).
    """

    pixels: FloatArray

    @property
    def iou_unchanged(self) -> FloatArray:
        """IoU of what did not change."""
        same = self.pixels[..., 0, 0]
        return _share(same, self.pixels[..., 0, :].sum(-1) + self.pixels[..., :, 0].sum(-1) - same)

    @property
    def iou_changed(self) -> FloatArray:
        """IoU of what changed, whatever it became."""
        return _share(self.pixels[..., 1:, 1:].sum((-2, -1)), self.pixels.sum((-2, -1)) - self.pixels[..., 0, 0])

    @property
    def mean_iou(self) -> FloatArray:
        """The mean of the two."""
        mean: FloatArray = (self.iou_unchanged + self.iou_changed) / 2
        return mean

    @property
    def separated_kappa(self) -> FloatArray:
        """SeK: Cohen's kappa without the pixels that rightly did not change, times exp(IoU of change - 1)."""
        pixels = self.pixels.copy()
        pixels[..., 0, 0] = 0
        total = pixels.sum((-2, -1))
        right = _share(np.trace(pixels, axis1=-2, axis2=-1), total)
        chance = _share((pixels.sum(-1) * pixels.sum(-2)).sum(-1), total**2)
        kappa: FloatArray = _share(right - chance, 1 - chance) * np.exp(self.iou_changed - 1)
        return kappa

    @property
    def score(self) -> FloatArray:
        """0.3 mIoU + 0.7 SeK."""
        score: FloatArray = _IOU_SHARE * self.mean_iou + _KAPPA_SHARE * self.separated_kappa
        return score

    @property
    def class_f1(self) -> FloatArray:
        """F1 of the changed pixels whose class is right too."""
        right = np.trace(self.pixels[..., 1:, 1:], axis1=-2, axis2=-1)
        return _share(2 * right, self.pixels[..., 1:, :].sum((-2, -1)) + self.pixels[..., :, 1:].sum((-2, -1)))


@dataclass(frozen=True, eq=False)
class SemanticChangeScores(ChangeScores):
    """`ChangeScores` of a model that says what became of what, and `confusions` [P, K, K] of the `classes`, of both
    dates of each picture: rows are the truth. The headline is Score.
    """

    classes_of_both: tuple[str, ...]
    confusions: IntArray

    brief: ClassVar[tuple[str, ...]] = ("Score", "SeK", "F1")
    headline_name = "Score"

    @cached_property
    def transitions(self) -> Transitions:
        """Those of all pictures."""
        return Transitions(self.confusions.sum(axis=0).astype(np.float64))

    @property
    def headline(self) -> float:
        """0.3 mIoU + 0.7 SeK."""
        return float(self.transitions.score)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, lists and numbers; None for NaN."""
        plain = {name: value for name, value in ChangeScores.to_json(self).items() if name != "f1_interval"}
        own = without_nan({"score": self.headline, **{name.lower(): value for name, value in self._own().items()}})
        pixels = {"classes": list(self.classes_of_both), "confusion": self.confusions.sum(axis=0).tolist()}
        return {**plain, **own, "score_interval": [known_or_none(bound) for bound in self.interval], **pixels}

    def numbers(self) -> dict[str, float]:
        """Score and its parts, and F1 and its kin."""
        return known({"Score": self.headline, **self._own()}) | ChangeScores.numbers(self)

    def _own(self) -> dict[str, float]:
        found = self.transitions
        return {
            "SeK": float(found.separated_kappa),
            "mIoU": float(found.mean_iou),
            "class F1": float(found.class_f1),
        }

    def headlines(self) -> tuple[Headline, ...]:
        """Score with its interval, SeK, F1, and the objects that were found."""
        note = f"{counted(self.num_pictures, 'validation picture')}; {interval_in_words(self.interval)}"
        own = Headline("Score", f"{self.headline:.3f}", note), Headline("SeK", f"{self._own()['SeK']:.3f}", "")
        change, objects = ChangeScores.headlines(self)
        return (*own, Headline(change.name, change.value, "whatever it became"), objects)

    def classes(self) -> ClassTable:
        """F1, IoU, precision and recall of each class, at both dates."""
        pixels = self.transitions.pixels
        right, true, found = np.diagonal(pixels), pixels.sum(axis=1), pixels.sum(axis=0)
        scores = zip(
            _share(2 * right, true + found), _share(right, true + found - right), _share(right, found),
            _share(right, true), strict=True,
        )  # fmt: skip
        named = zip(self.classes_of_both, scores, true, strict=True)
        rows = tuple(ClassRow(name, tuple(map(float, row)), int(count)) for name, row, count in named)
        return ClassTable(("F1", "IoU", "precision", "recall"), "pixels", rows)

    def mistakes(self) -> Confusion:
        """Per cent of each row."""
        pixels = self.transitions.pixels
        shares = 100 * pixels / np.maximum(pixels.sum(axis=1, keepdims=True), 1)
        return Confusion(self.classes_of_both, shares.round(1), "% of the true pixels")

    def tables(self) -> tuple[Table, ...]:
        """What became of what, and all that is said of the change."""
        low, high = self.interval
        rows = {"Score (0.3 mIoU + 0.7 SeK)": self.headline, "  95 % interval, from": low, "  to": high, **self._own()}
        change, *rest = ChangeScores.tables(self)
        kept = tuple(row for row in change.rows if row[0] not in ("  95 % interval, from", "  to"))
        own = Table("What became of what", ("", "value"), tuple(rows.items()))
        return (own, Table(change.title, change.columns, kept), *rest)

    def sentence(self, pictures: str) -> str:
        """Score with its interval, SeK and F1."""
        found = f"Score {self.headline:.3f} ({interval_in_words(self.interval)}), SeK {self._own()['SeK']:.3f}"
        return f"{found}, F1 of change {self.total.f1:.3f} on {pictures}"

    def resampled(self, resamples: int, seed: int) -> FloatArray:
        """Score [R] of each draw of pictures."""
        count = self.confusions.shape[1]
        flat = self.confusions.reshape(len(self.confusions), -1).astype(np.float64)
        parts = [times @ flat for times in draws(len(flat), resamples, seed)]
        return Transitions(np.concatenate(parts).reshape(-1, count, count)).score

    def check_comparable(self, other: Any) -> None:
        """As of `ChangeScores`, and with the same truth of each class."""
        ChangeScores.check_comparable(self, other)
        mine, theirs = (scores.confusions.sum(axis=2) for scores in (self, other))
        check_truths(self.classes_of_both, mine, other.classes_of_both, theirs)


def _share(part: FloatArray, whole: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        share: FloatArray = np.where(whole > 0, part / whole, np.nan)
    return share
