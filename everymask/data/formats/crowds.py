"""Crowds: regions of many objects, which training and scores leave aside; and what is marked so by mistake."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

from everymask.data.dataset import Dataset
from everymask.data.issues import IssueLog
from everymask.data.records import Objects, Record

Crowds: TypeAlias = Literal["as-marked", "as-objects"]
"""Whether what is marked as a crowd is one, or an object like the others."""
CURE = "if these are single objects (CVAT marks everything drawn by brush so), read them with --crowds as-objects"
_USUAL = {"coco": 0.05}
"""The share of crowds that is no surprise in a format: 1 % in COCO itself; the others' difficult objects are many."""
_ELSEWHERE = 0.5
_MARKS = {"coco": "iscrowd", "voc": "difficult", "cvat": "is_crowd", "datumaro": "is_crowd"}
"""What marks a crowd; elsewhere it is called so."""
_FEW = 10


def crowds_as_objects(dataset: Dataset) -> Dataset:
    """The same pictures, in which every crowd is an object."""
    return replace(dataset, records=tuple(map(_as_objects, dataset.records)))


def count_crowds(dataset: Dataset) -> tuple[int, int]:
    """How many objects are marked as crowds, and how many there are, crowds included."""
    marks = [
        annotation.crowd
        for record in dataset.records
        if isinstance(record.truth, Objects)
        for annotation in record.truth.annotations
    ]
    return sum(marks), len(marks)


def note_crowds(dataset: Dataset, issues: IssueLog) -> None:
    """Warn where more objects are marked as crowds than is usual: nothing is learned from them."""
    crowds, total = count_crowds(dataset)
    usual = _USUAL.get(dataset.format, _ELSEWHERE) if crowds >= _FEW else _ELSEWHERE
    if crowds > usual * total:
        word = _MARKS.get(dataset.format, "crowd")
        message = (
            f"{crowds:,} of {total:,} objects are marked as crowds ({word}), which are neither learned nor scored: "
            "what a crowd covers counts as unknown"
        )
        issues.warn("many-crowds", message, file=dataset.root, hint=CURE)


def _as_objects(record: Record) -> Record:
    if not isinstance(record.truth, Objects) or not any(a.crowd for a in record.truth.annotations):
        return record
    objects = tuple(replace(annotation, crowd=False) for annotation in record.truth.annotations)
    return replace(record, truth=replace(record.truth, annotations=objects))
