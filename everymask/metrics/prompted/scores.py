"""What is said of a network that answers prompts: how good after how many clicks, and in boxes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from everymask.core.arrays import FloatArray, IntArray
from everymask.errors import ConfigError, counted
from everymask.metrics.average_precision import CocoNumbers
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
    known_or_none,
)

_WANTED = (0.80, 0.85, 0.90)
_TOLD = (1, 2, 3, 5, 10, 20)
_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class PromptScores:
    """All scores of N objects in the pictures `ids`, none of which is a crowd.

    `click_ious` [N, K] is the IoU of the answer with the object after each of K clicks, `box_ious` [N] that of the
    answer to its box; `pictures` and `class_ids` [N] say where and what the objects are. From these:

    - mIoU after k clicks is the mean over the objects; after one click it is the headline
    - NoC at an IoU is the mean number of clicks until it is reached, K where it never is (Sofiiuk et al. 2022)
    - `boxed` are COCO's numbers of the masks that the objects' own boxes ask for
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]
    pictures: IntArray
    class_ids: IntArray
    click_ious: FloatArray
    box_ious: FloatArray
    boxed: CocoNumbers

    brief: ClassVar[tuple[str, ...]] = ("mIoU@1", "NoC85", "box-prompt AP")
    resamples = 10_000
    headline_name = "mIoU@1"

    @property
    def headline(self) -> float:
        """mIoU after one click; NaN without objects."""
        return float(self.mean_ious()[0])

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of mIoU after one click over pictures; NaN for fewer than two."""
        return interval(self.resampled(1000, 0)) if len(self.ids) > 1 else (math.nan, math.nan)

    @property
    def num_pictures(self) -> int:
        """How many pictures were scored."""
        return len(self.ids)

    def mean_ious(self, chosen: slice | IntArray = slice(None)) -> FloatArray:
        """mIoU [K] after each click, of the chosen objects; NaN where there are none."""
        ious = self.click_ious[chosen]
        found: FloatArray = ious.mean(axis=0, dtype=np.float64) if len(ious) else np.full(ious.shape[1], np.nan)
        return found

    def clicks(self, iou: float) -> IntArray:
        """How many clicks [N] it took to reach that IoU, K where it never was."""
        reached = self.click_ious >= iou
        found: IntArray = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, self.click_ious.shape[1])
        return found

    def failures(self, iou: float) -> int:
        """For how many objects that IoU was never reached."""
        return int((~(self.click_ious >= iou).any(axis=1)).sum())

    def numbers(self) -> dict[str, float]:
        """mIoU after some of the clicks, NoC, and how good the masks of boxes are."""
        means = self.mean_ious()
        clicked = {f"mIoU@{count}": float(means[count - 1]) for count in _TOLD if count <= len(means)}
        needed = {f"NoC{100 * iou:.0f}": _mean(self.clicks(iou)) for iou in _WANTED}
        average = self.boxed.AP if len(self.click_ious) else math.nan
        boxes = {"box mIoU": _mean(self.box_ious), "box-prompt AP": average}
        # Logs show the first four.
        return known({"mIoU@1": clicked["mIoU@1"], "NoC85": needed["NoC85"]} | boxes | clicked | needed)

    def headlines(self) -> tuple[Headline, ...]:
        """mIoU after one click, how many clicks it takes, and the AP of boxes."""
        numbers = self.numbers()
        low, high = self.interval
        spread = "" if math.isnan(low) else f", 95 % interval {low:.3f} to {high:.3f}"
        objects = f"{counted(len(self.click_ious), 'object')} in {counted(self.num_pictures, 'validation picture')}"
        never = counted(self.failures(0.85), "object")
        return (
            Headline("mIoU after 1 click", numbers.get("mIoU@1", math.nan), f"{objects}{spread}"),
            Headline("NoC85", numbers.get("NoC85", math.nan), f"clicks to an IoU of 0.85, which {never} never reach"),
            Headline("box-prompt AP", numbers.get("box-prompt AP", math.nan), "masks that the true boxes ask for"),
        )

    def classes(self) -> ClassTable:
        """mIoU after one click and in boxes, of the objects of each class."""
        rows = []
        for class_id, name in enumerate(self.names):
            chosen = np.flatnonzero(self.class_ids == class_id)
            scores = (float(self.mean_ious(chosen)[0]), _mean(self.box_ious[chosen]))
            rows.append(ClassRow(name, scores, len(chosen)))
        return ClassTable(("mIoU@1", "box mIoU"), "objects", tuple(rows))

    def curves(self) -> tuple[PrecisionRecall, ...]:
        """None: what prompts point at is not looked for."""
        return ()

    def mistakes(self) -> Confusion | None:
        """None: what prompts point at has no class."""
        return None

    def by_picture(self) -> tuple[PictureScore, ...]:
        """The mean IoU after one click of each picture's objects."""
        found = []
        for number, name in enumerate(self.ids):
            ious = self.click_ious[self.pictures == number, 0]
            objects = counted(len(ious), "object")
            found.append(PictureScore(name, _mean(ious), f"{objects}, IoU {_mean(ious):.2f} after one click"))
        return tuple(found)

    def tables(self) -> tuple[Table, ...]:
        """mIoU by clicks, the clicks that it takes, the masks of boxes, and all by class."""
        means = self.mean_ious()
        needed = tuple((f"{iou:.2f}", _mean(self.clicks(iou)), self.failures(iou)) for iou in _WANTED)
        boxes = (("mIoU", _mean(self.box_ious)), *((name, value) for name, value in self.boxed.to_json().items()))
        classes = self.classes()
        pictures = f"{counted(len(self.click_ious), 'object')} in {counted(self.num_pictures, 'picture')}"
        return (
            Table(
                f"Clicks: {pictures}",
                ("clicks", "mIoU"),
                tuple((f"{count}", float(means[count - 1])) for count in _TOLD if count <= len(means)),
            ),
            Table("Clicks to reach an IoU", ("IoU", "NoC", "never"), needed),
            Table("Masks of the true boxes", ("", "mask"), boxes),
            Table(
                "By class",
                ("class", *classes.scores, classes.unit),
                tuple((row.name, *row.scores, row.count) for row in classes.rows),
            ),
        )

    def sentence(self, pictures: str) -> str:
        """mIoU after one click and NoC."""
        numbers = self.numbers()
        told = f"mIoU after one click {numbers.get('mIoU@1', math.nan):.3f}, NoC85 {numbers.get('NoC85', math.nan):.2f}"
        return f"{told} on {pictures}, {self.click_ious.shape[1]} clicks each"

    def resampled(self, resamples: int, seed: int) -> FloatArray:
        """mIoU after one click [R] of each draw of pictures; NaN for a draw without objects."""
        counts = np.bincount(self.pictures, minlength=len(self.ids)).astype(np.float64)
        sums = np.bincount(self.pictures, self.click_ious[:, 0].astype(np.float64), minlength=len(self.ids))
        parts = []
        for times in draws(len(self.ids), resamples, seed, max(1, _AT_ONCE // max(1, len(self.ids)))):
            total = times @ counts
            parts.append(np.divide(times @ sums, total, out=np.full(len(times), np.nan), where=total > 0))
        return np.concatenate(parts)

    def check_comparable(self, other: Any) -> None:
        """`ConfigError` unless it was clicked as often, `DataError` unless on the same objects."""
        if type(other) is not type(self):
            raise ConfigError(f"clicks were scored in the first model, but {other.headline_name} in the second")
        check_pictures(self, other)
        check_truths(self.names, self._truths(), other.names, other._truths())

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, lists and numbers; None for NaN."""
        classes = self.classes()
        return {
            "num_pictures": self.num_pictures,
            "num_objects": len(self.click_ious),
            "mean_iou_by_clicks": [known_or_none(value) for value in self.mean_ious().tolist()],
            "clicks": {
                f"{iou:.2f}": {"mean": known_or_none(_mean(self.clicks(iou))), "never": self.failures(iou)}
                for iou in _WANTED
            },
            "boxes": {"mean_iou": known_or_none(_mean(self.box_ious)), "mask": self.boxed.to_json()},
            "per_class": {
                row.name: dict(zip(classes.scores, map(known_or_none, row.scores), strict=True))
                | {"objects": row.count}
                for row in classes.rows
            },
            "pictures": [{"id": row.id, "mean_iou": known_or_none(row.score)} for row in self.by_picture()],
        }

    def _truths(self) -> IntArray:
        """How many objects of each class each picture has, [P, K]."""
        size = (len(self.ids), len(self.names))
        return np.bincount(self.pictures * size[1] + self.class_ids, minlength=size[0] * size[1]).reshape(size)


def _mean(values: FloatArray | IntArray) -> float:
    """The mean, NaN without any."""
    return float(values.mean(dtype=np.float64)) if len(values) else math.nan
