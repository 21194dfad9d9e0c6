"""Examining a data set: counts, sizes, classes, splits, all defects, and oddities that readers do not look for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from typing import assert_never

import numpy as np

from everymask.core.arrays import FloatArray
from everymask.core.memory import many_objects
from everymask.data.crossings import crossing_rings
from everymask.data.dataset import Dataset
from everymask.data.doctor.change import look_at_dates
from everymask.data.doctor.counting import areas_of, histograms, objects_by_class, quantiles, sizes_of
from everymask.data.doctor.geometry import count_shapes, drawn_twice, outliers
from everymask.data.doctor.label_maps import MapFacts, look_at_maps
from everymask.data.doctor.near import Thumbnails, near_pictures
from everymask.data.doctor.panoptic_maps import SegmentFacts, look_at_segments
from everymask.data.doctor.summary import NearPictures, Summary
from everymask.data.doctor.treatment import treatments
from everymask.data.issues import IssueLog
from everymask.data.pictures.headers import read_headers
from everymask.data.records import Annotation, Polygons, Record
from everymask.data.splits import same_pictures
from everymask.errors import DataError, Issue

_SAMPLED = 500
_MOST_OUTLIERS = 50
_BORDER = 1.0  # pixel: nearer counts as cut off

Progress = Callable[[int, int], None]


@many_objects()
def check(
    dataset: Dataset,
    *,
    decode: bool = True,
    thumbnails: Thumbnails | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Count what is in a data set, and look for what readers do not look for.

    Headers of all pictures are read, mask files are decoded once each. With `decode` (which says that the reader has
    decoded all pictures too) every picture is decoded to find those that look alike, and all objects are drawn to count
    parts, holes and overlaps; without it nothing is compared, and objects are drawn of 500 pictures. Pictures of which
    there are `thumbnails`, since a reader looked at them so, are not decoded again. `progress(done, total)` is called
    after each picture that is compared.

    Defects come from the reader (`dataset.issues`), and from pictures that cannot be read any more. Found here are, as
    warnings: outlines that cross themselves, objects that are drawn twice or unlike their class in size or shape,
    pictures that are there twice or look alike; of two dates those that do not lie on each other, and those that seem
    to be exchanged.
    """
    seen = (thumbnails or Thumbnails()) if decode else None
    match dataset.kind:
        case "objects":
            return _with_objects(dataset, seen, progress)
        case "label maps":
            return _with_facts(dataset, *_maps(dataset, decode), IssueLog("skip"), seen, progress)
        case "change maps":
            issues = IssueLog("skip")
            look_at_dates(dataset, issues, decode=decode)
            return replace(_with_facts(dataset, *_maps(dataset, decode), issues, seen, progress), two_dates=True)
        case "panoptic":
            annotated = dataset.annotated()
            found = look_at_segments(annotated, decode=decode)
            return _with_facts(dataset, annotated, found, IssueLog("skip"), seen, progress)
        case _:
            assert_never(dataset.kind)


def _maps(dataset: Dataset, decode: bool) -> tuple[Dataset, MapFacts]:
    """The annotated pictures and what their label maps hold: objects of which these are painted are not learned."""
    annotated = dataset.annotated()
    return annotated, look_at_maps(annotated, decode=decode)


def _with_facts(
    whole: Dataset,
    annotated: Dataset,
    found: MapFacts | SegmentFacts,
    issues: IssueLog,
    seen: Thumbnails | None,
    progress: Progress | None,
) -> Summary:
    """What there is to say of maps, besides what their pictures say."""
    summary = _summary(whole, annotated, lambda record: (), issues, seen, progress)
    facts = {column.name: getattr(found, column.name) for column in fields(found)}
    return replace(summary, **({"classes": {}, "per_picture": {}} | facts))


def _with_objects(whole: Dataset, seen: Thumbnails | None, progress: Progress | None) -> Summary:
    dataset = whole.annotated()
    issues = IssueLog("skip")
    rows = range(len(dataset))[:: 1 if seen else _step(dataset)]
    shapes: Counter[str] = Counter()
    for row in rows:
        try:
            objects = dataset.objects(row)
        except DataError as error:
            issues.error("mask", error.message, file=dataset.records[row].image, hint=error.hint)
            continue
        shapes += count_shapes(objects)
        for first, second in drawn_twice(objects):
            record = dataset.records[row]
            message = f"the same object is drawn twice: {_named(record, first)} and this one are the same to 95 %"
            hint = "remove one of the two"
            issues.warn("object-twice", message, file=record.image, where=_named(record, second), hint=hint)
    summary = _summary(whole, dataset, lambda record: record.truth.annotations, issues, seen, progress)
    left = list(summary.not_looked_at)
    if len(rows) < len(dataset):
        left.append(f"parts, holes, overlaps and objects drawn twice were looked for in {len(rows):,} pictures")
    return replace(summary, geometry=dict(shapes), not_looked_at=tuple(left))


def _summary(
    whole: Dataset,
    dataset: Dataset,
    drawn_in: Callable[[Record], tuple[Annotation, ...]],
    issues: IssueLog,
    seen: Thumbnails | None,
    progress: Progress | None,
) -> Summary:
    """What there is to say of any data set, of which `dataset` are the annotated pictures, and of its objects.

    Without thumbnails to be `seen` no picture is decoded.
    """
    objects = list(map(drawn_in, dataset.records))
    counts, areas = list(map(len, objects)), areas_of(objects)
    _note_crossings(dataset, issues)
    _note_outliers(dataset, objects, areas, issues)
    repeats = same_pictures(dataset)
    _note_repeats(dataset, repeats, issues)
    # The reader has seen all headers, and said what is odd; without decoding, some say how the pictures are stored.
    lost = IssueLog("skip")
    headers = read_headers([record.image for record in dataset.records[:: 1 if seen else _step(dataset)]], lost)
    near = _near(dataset, repeats, seen, progress) if seen else ()
    _note_near(near, issues)
    pixels = Counter(f"{header.channels} x {header.dtype}" for header in headers if header is not None)
    gone = (issue for issue in lost.noted() if issue.severity == "error")
    found = (*dataset.issues, *issues.noted(), *gone)
    sizes = [record.size for record in dataset.records]
    return Summary(
        format=dataset.format,
        root=str(dataset.root),
        pictures=len(dataset),
        empty=counts.count(0),
        objects=sum(counts),
        crowd=sum(a.crowd for drawn in objects for a in drawn),
        boxes_only=dataset.boxes_only,
        splits=dataset.splits(),
        sizes=sizes_of(sizes),
        pixels=dict(pixels.most_common()),
        classes=objects_by_class(dataset, objects),
        per_picture=quantiles(counts),
        areas=quantiles(areas),
        histograms=histograms(sizes, counts, areas),
        num_errors=_total(found, "error"),
        num_warnings=_total(found, "warning"),
        issues=tuple(sorted(found, key=lambda issue: (issue.severity, issue.code != "near-leak"))),
        treatments=treatments(found),
        near=near,
        not_annotated=len(whole) - len(dataset),
        not_looked_at=() if seen else ("pictures were not decoded: damage and pictures that look alike stay unseen",),
    )


def _step(dataset: Dataset) -> int:
    """Every how many pictures are looked at where not all are."""
    return max(1, -(-len(dataset) // _SAMPLED))


def _note_crossings(dataset: Dataset, issues: IssueLog) -> None:
    rings = [
        (record, row, ring)
        for record in dataset.records
        for row, annotation in enumerate(record.truth.annotations)
        if isinstance(annotation.shape, Polygons)
        for ring in annotation.shape.rings
    ]
    noted = set()
    for (record, row, _), crosses in zip(rings, crossing_rings(ring for *_, ring in rings), strict=True):
        if crosses and (record.image, row) not in noted:
            noted.add((record.image, row))
            message = "the outline crosses itself; parts inside its loops may count as outside"
            issues.warn("polygon-crossing", message, file=record.image, where=_named(record, row), hint="draw it again")


def _note_outliers(
    dataset: Dataset, objects: Sequence[tuple[Annotation, ...]], areas: FloatArray, issues: IssueLog
) -> None:
    """Objects far from all of their class in size or shape; of those without a box and an outline nothing is said."""
    flat = [
        (record, row, annotation)
        for record, drawn in zip(dataset.records, objects, strict=True)
        for row, annotation in enumerate(drawn)
    ]
    boxes = np.array([_extent(annotation) for *_, annotation in flat], np.float64).reshape(-1, 4)
    sides = np.array([record.size[::-1] for record, *_ in flat], np.float64).reshape(-1, 2)
    crowd = np.array([annotation.crowd for *_, annotation in flat], np.bool_)
    inside = (boxes[:, :2] > _BORDER).all(axis=1) & (boxes[:, 2:] < sides - _BORDER).all(axis=1)
    classes = np.array([annotation.class_id for *_, annotation in flat], np.int64)
    for outlier in outliers(classes, areas, boxes, inside & ~crowd)[:_MOST_OUTLIERS]:
        record, row, annotation = flat[outlier.row]
        name = dataset.labels.names[annotation.class_id]
        message = f"an object of {name!r} is {outlier.what} than half of its class"
        hint = "look at it: another class, two objects in one outline, or a slip of the hand"
        issues.warn("object-unlike", message, file=record.image, where=_named(record, row), hint=hint)


def _extent(annotation: Annotation) -> tuple[float, float, float, float]:
    """The xyxy box that an annotation states, or its outline has; nothing where it has neither."""
    if annotation.box is not None:
        return annotation.box
    if isinstance(annotation.shape, Polygons):
        return annotation.shape.extent
    return 0.0, 0.0, 0.0, 0.0


def _named(record: Record, row: int) -> str:
    """An object as people find it: by the number that its file gives it, or its place counted from 1."""
    number = record.truth.annotations[row].id
    return f"object {row + 1}" if number is None else f"annotation id {number}"


def _note_repeats(dataset: Dataset, repeats: Iterable[list[int]], issues: IssueLog) -> None:
    for rows in repeats:
        first, *others = (dataset.records[row].image for row in rows)
        message = f"{len(rows)} pictures are the same, byte for byte; drawing a split keeps them together"
        hint = "keep one of them, with all its objects"
        issues.warn("same-picture", message, file=first, value=_listed(others), hint=hint)


def _near(
    dataset: Dataset, repeats: Iterable[list[int]], seen: Thumbnails, progress: Progress | None
) -> tuple[NearPictures, ...]:
    """Groups of pictures that look alike and are not the same byte for byte: those across splits first."""
    copies = {row for rows in repeats for row in rows[1:]}
    rows = [row for row in range(len(dataset)) if row not in copies]
    records = [dataset.records[row] for row in rows]
    groups = near_pictures([r.image for r in records], [r.size for r in records], seen, progress=progress)
    found = [
        NearPictures(
            tuple(str(records[place].image) for place in group),
            tuple(records[place].split or "" for place in group),
        )
        for group in groups
    ]
    return tuple(sorted(found, key=lambda group: len(set(group.splits)) == 1))


def _note_near(near: Iterable[NearPictures], issues: IssueLog) -> None:
    for group in near:
        first, *others = group.files
        splits = list(dict.fromkeys(group.splits))
        if len(splits) > 1:
            message = (
                f"{len(group.files)} pictures in {' and '.join(split or 'no split' for split in splits)} look alike"
            )
            hint = "put them into one split: a score on pictures much like those trained on promises too much"
            issues.warn("near-leak", message, file=first, value=_listed(others), hint=hint)
        else:
            message = f"{len(group.files)} pictures look alike"
            hint = "where too many show the same, remove some; a split that is drawn may divide them"
            issues.warn("near-duplicate", message, file=first, value=_listed(others), hint=hint)


def _listed(files: Sequence[object]) -> str:
    return ", ".join(map(str, files[:5])) + (", ..." if len(files) > 5 else "")


def _total(issues: Iterable[Issue], severity: str) -> int:
    return sum(issue.count for issue in issues if issue.severity == severity)
