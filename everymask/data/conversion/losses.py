"""What became of every object on the way into another format: what was written is read, and compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import numpy as np

from everymask.core.arrays import IntArray
from everymask.core.rows import count_classes, shortest
from everymask.core.segmentation import InstanceSet, PanopticMap
from everymask.data.change.coding import ChangeCoding
from everymask.data.coding import LabelCoding
from everymask.data.conversion.pairing import Reasons, pair_objects
from everymask.data.dataset import STUFF_LEFT_OUT, Dataset, Kind
from everymask.data.formats.folders import file_stem
from everymask.data.painting import Painting, visible
from everymask.data.panoptic import PanopticCoding
from everymask.data.records import Objects, Record, draw_shapes
from everymask.errors import Issue, counted, listed, printable

_KEPT = 1000
_UNITS: dict[Kind, str] = {
    "objects": "object",
    "label maps": "class region",
    "change maps": "class region",
    "panoptic": "segment",
}
CODE = "conversion-loss"


@dataclass(frozen=True, slots=True)
class Loss:
    """An object that is not as it was, or a class in a label map: where, what it is, how alike (IoU), and why."""

    picture: str
    file: str
    what: str
    iou: float
    reason: str

    def __str__(self) -> str:
        return f"IoU {shown(self.iou)}: {printable(self.picture)}, {self.what}: {self.reason}"


@dataclass(slots=True)
class Losses:
    """How many `compared` things (objects, or `noun`) are `exact`, and those that are not: 1,000 of them, and all by
    reason. `others` are losses that are not of single objects (pictures, splits, classes), `notes` what is other than
    before and no loss. `words` are what those that are exact, and the others, are called.
    """

    noun: str
    words: tuple[str, str] = ("exactly as before", "with loss")
    compared: int = 0
    exact: int = 0
    lost: list[Loss] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    lowest: Loss | None = None

    def add(self, loss: Loss) -> None:
        """Note something that is not as it was."""
        self.reasons[loss.reason] += 1
        if self.lowest is None or loss.iou < self.lowest.iou:
            self.lowest = loss
        if len(self.lost) < _KEPT:
            self.lost.append(loss)

    @property
    def is_whole(self) -> bool:
        """Whether nothing was lost."""
        return not self.reasons and not self.others

    def sentences(self) -> list[str]:
        """What became of them, the reasons below each other."""
        whole, lossy = self.words
        said = f"{counted(self.compared, self.noun)}: "
        if self.lowest is not None:
            said += f"{self.exact:,} {whole}, {self.reasons.total():,} {lossy} (lowest {self.lowest})"
        else:
            said += f"all {whole}" if self.exact > 1 else whole
        counts = [*self.reasons.most_common(), *self.others.most_common(), *self.notes.most_common()]
        return [said, *(f"  {count:,} x {what}" for what, count in counts)]

    def issues(self) -> list[Issue]:
        """The single losses as entries of an error."""
        found = [Issue(CODE, loss.reason, loss.file, loss.what, f"IoU {shown(loss.iou)}") for loss in self.lost]
        return found + [Issue(CODE, f"{count:,} x {what}") for what, count in self.others.items()]

    def to_json(self) -> dict[str, Any]:
        """Plain values: the counts, and the first 1,000 losses."""
        rows = [
            {"picture": one.picture, "what": one.what, "iou": shortest(np.float32(one.iou)), "reason": one.reason}
            for one in self.lost
        ]
        counts = {"compared": self.compared, "exact": self.exact, "lossy": self.reasons.total()}
        why = {"reasons": dict(self.reasons), "others": dict(self.others), "notes": dict(self.notes)}
        return {"of": self.noun, **counts, **why, "losses": rows}


def shown(iou: float) -> str:
    """An IoU of three digits; what is not quite 1 is not called 1."""
    return f"{min(iou, 0.999):.3f}" if iou < 1 else "1"


def compare(before: Dataset, after: Dataset, *, progress: Callable[[int, int], None] | None = None) -> Losses:
    """What of `before` is in `after`, which was read from what was written of it; pictures are paired by their ids.

    Objects, and segments of panoptic maps, are paired by `pair_objects`, label maps compared class by class.
    `progress(done, total)` is called after each picture.
    """
    rows = {record.id: row for row, record in enumerate(after.records)}
    losses = Losses(_UNITS[before.kind])
    absent = set(before.labels.names) - set(after.labels.names)
    if absent:
        losses.others[f"classes are not there: {listed(sorted(absent))}"] += len(absent)
    table = _names_table(before, after)
    for number, record in enumerate(before.records):
        row = rows.get(file_stem(record))
        _compare_records(record, None if row is None else after.records[row], losses)
        match before.coding:
            case None:
                there = None if row is None else after.objects(row)
                _compare_objects(before, record, before.objects(number), there, table, losses)
            case LabelCoding() | Painting() | ChangeCoding() | PanopticCoding(classes=True):
                there_planes = {} if row is None else after.label_map(row).planes
                for name, ids in before.label_map(number).planes.items():
                    _compare_maps(before, record, ids, there_planes.get(name), table, losses)
            case PanopticCoding():
                there = None if row is None else _as_objects(after.panoptic_map(row))
                _compare_objects(before, record, _as_objects(before.panoptic_map(number)), there, table, losses)
            case _:
                assert_never(before.coding)
        if progress is not None:
            progress(number + 1, len(before))
    return losses


def _compare_records(before: Record, after: Record | None, losses: Losses) -> None:
    """Note a picture that is not there, another split, and regions without truth that are gone."""
    if after is None:
        losses.others["pictures are not there when the data set is read again"] += 1
        return
    if before.split is None and after.split is not None:
        losses.notes[f"pictures without a split are in {after.split}"] += 1
    elif before.split != after.split:
        losses.others[f"pictures of the split {before.split} are in {after.split or 'none'}"] += 1
    if isinstance(before.truth, Objects) and isinstance(after.truth, Objects):
        gone = len(before.truth.ignored) - len(after.truth.ignored)
        if gone > 0:
            losses.others["regions without truth are left out"] += gone


def hidden_by_painting(dataset: Dataset, *, progress: Callable[[int, int], None] | None = None) -> Losses:
    """How much of each object is seen where label maps or panoptic maps are painted of them: what smaller ones leave.

    Crowds, objects of stuff, which are one segment, and objects without a pixel are not counted.
    """
    losses = Losses("painted object", ("whole", "hidden in part"))
    things = dataset.labels.things
    for number, record in enumerate(dataset.records):
        listed = enumerate(record.truth.annotations, 1)
        objects = [
            (place, item) for place, item in listed if not item.crowd and (not things or item.class_id in things)
        ]
        masks = draw_shapes([item.shape for _, item in objects], record.size, record.image)
        before, after = masks.areas(), visible(masks).areas()
        losses.compared += int((before > 0).sum())
        losses.exact += int(((before == after) & (before > 0)).sum())
        for hidden in np.flatnonzero(after < before).tolist():
            what = f"object {objects[hidden][0]}"
            losses.add(_loss(record, what, after[hidden] / before[hidden], "smaller objects lie on it"))
        if progress is not None:
            progress(number + 1, len(dataset))
    return losses


def given_up(dataset: Dataset) -> Counter[str]:
    """What panoptic data have given up to be label maps or objects, where they were made so (`Dataset.for_task`)."""
    lost: Counter[str] = Counter()
    for issue in dataset.issues:
        if issue.code == STUFF_LEFT_OUT:
            lost["segments of stuff are left out, of which there are no objects"] += issue.count
    if isinstance(dataset.coding, PanopticCoding) and dataset.coding.classes:
        counts = (number for record in dataset.records for number in Counter(record.truth.class_ids).values())
        joined = sum(number for number in counts if number > 1)
        if joined:
            lost["segments are one region with others of their class"] += joined
    return lost


def _names_table(before: Dataset, after: Dataset) -> IntArray:
    """The class ids of `before` for those of `after`, by name, and last for what is without truth; -1 for none."""
    known = {name: row for row, name in enumerate(before.labels.names)}
    return np.array([*(known.get(name, -1) for name in after.labels.names), before.labels.ignore], np.int64)


def _as_objects(found: PanopticMap) -> InstanceSet:
    """Each segment as an object."""
    return replace(found.regions(), crowd=np.array([one.crowd for one in found.segments], np.bool_))


def _compare_objects(
    before: Dataset, record: Record, ours: InstanceSet, theirs: InstanceSet | None, table: IntArray, losses: Losses
) -> None:
    theirs = ours[:0] if theirs is None else replace(theirs, class_ids=table[theirs.class_ids])
    losses.compared += len(ours)
    pairs = pair_objects(ours, theirs)
    losses.exact += sum(pair.exact for pair in pairs)
    lossy = [place for place, pair in enumerate(pairs) if not pair.exact]
    if lossy:
        explain = Reasons(ours, theirs)
        for place in lossy:
            what = f"object {place + 1} ({before.labels.names[int(ours.class_ids[place])]})"
            losses.add(_loss(record, what, pairs[place].iou, explain.of(place, pairs[place])))
    more = len(theirs) - sum(pair.row is not None for pair in pairs)
    if more:
        losses.others["objects that were not there before"] += more


def _compare_maps(
    before: Dataset, record: Record, ours: IntArray, theirs: IntArray | None, table: IntArray, losses: Losses
) -> None:
    """Each class of a label map is a region, and so is what is without truth."""
    last, ignore = len(table) - 1, before.labels.ignore
    found = np.full(ours.shape, -1, np.int64) if theirs is None else table[np.minimum(theirs, last)]
    if np.array_equal(ours, found):
        there = int(np.count_nonzero(count_classes(ours, ignore)))
        losses.compared, losses.exact = losses.compared + there, losses.exact + there
        return
    codes, counts = np.unique(ours.astype(np.int64) * (ignore + 2) + found + 1, return_counts=True)
    mine, other = codes // (ignore + 2), codes % (ignore + 2) - 1
    for name in np.unique(mine).tolist():
        common = int(counts[(mine == name) & (other == name)].sum())
        union = int(counts[(mine == name) | (other == name)].sum())
        losses.compared += 1
        if common == union:
            losses.exact += 1
            continue
        called = before.labels.names[name] if name < len(before.labels) else "what is without truth"
        losses.add(_loss(record, called, common / union, "its pixels are not the same"))


def _loss(record: Record, what: str, iou: float, reason: str) -> Loss:
    return Loss(record.id, str(record.image), what, float(iou), reason)
