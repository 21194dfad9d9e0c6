"""The page of `everymask check --report`: what the doctor found, with pictures of the places."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from everymask.commands.doctor.samples import samples_of
from everymask.data.dataset import Dataset
from everymask.data.doctor.places import Places
from everymask.data.doctor.summary import NearPictures, Summary
from everymask.data.pictures.read import read_image
from everymask.errors import DataError, Issue, counted
from everymask.metrics.scores import Headline
from everymask.viz.check_page import Alike, CheckContent, DefectKind, Shot, write_check_page
from everymask.viz.marked import draw_marked

_SHOTS = 3
_GROUPS = 8
_OF_GROUP = 4
_SIDE = 360
_NEAR = frozenset({"near-leak", "near-duplicate"})


def write_page(path: Path, summary: Summary, dataset: Dataset) -> None:
    """Write what was found as one HTML file; `dataset` is that which was examined."""
    content = CheckContent(
        title=f"Data set {Path(summary.root).name}",
        subtitle=f"{summary.root} · {summary.format}",
        headlines=_headlines(summary),
        facts=_facts(summary),
        histograms=summary.histograms,
        bars=_bars(summary),
        encoding=summary.encoding,
        values=[(v.value, v.taken_for or "no truth", v.pixels, v.maps) for v in summary.values],
        samples=tuple(samples_of(dataset)),
        kinds=list(_kinds(summary, Places(dataset))),
        alike=[group for group in map(_alike, summary.near[:_GROUPS]) if group.shots],
        notes=summary.not_looked_at,
    )
    write_check_page(path, content)


def _headlines(summary: Summary) -> list[Headline]:
    classes = summary.shares if summary.encoding else summary.classes
    objects = [] if summary.encoding else [Headline("objects", summary.objects)]
    return [
        Headline("pictures", summary.pictures),
        *objects,
        Headline("classes", len(classes)),
        Headline("defects", summary.num_errors),
        Headline("warnings", summary.num_warnings),
    ]


def _facts(summary: Summary) -> dict[str, object]:
    learned = {
        "semantic": "semantic: a class for every pixel",
        "instance": "instance: objects one by one",
        "panoptic": "panoptic: things one by one, and stuff",
        "change": "change: what changed between two dates",
    }
    facts: dict[str, object] = {
        "format": summary.format,
        "task": learned[summary.task],
        "splits": ", ".join(f"{name}: {count:,}" for name, count in summary.splits.items()) or "none",
        "pictures without truth" if summary.encoding else "pictures without objects": summary.empty,
        "pictures not annotated": summary.not_annotated,
        "stored as": ", ".join(f"{kind}: {count:,}" for kind, count in summary.pixels.items()),
    }
    facts |= {
        f"size, {name}": f"{size[0]} x {size[1]} (height x width)" + (f", {size[2]:,} pictures" if size[2:] else "")
        for name, size in summary.sizes.items()
    }
    if summary.encoding:
        return facts | {"pixels without truth": f"{summary.no_truth:.2%}"}
    facts |= {"crowds": summary.crowd, "only boxes": summary.boxes_only}
    return facts | {f"objects {name}": count for name, count in summary.geometry.items()}


def _bars(summary: Summary) -> dict[str, dict[str, float]]:
    if summary.encoding:
        names = {split for row in summary.shares.values() for split in row}
        return {
            f"part of the pixels, {split}": {name: row.get(split, 0.0) for name, row in summary.shares.items()}
            for split in sorted(names)
        }
    return {"objects by class": {name: float(sum(row.values())) for name, row in summary.classes.items()}}


def _kinds(summary: Summary, places: Places) -> Iterator[DefectKind]:
    by_kind: defaultdict[tuple[str, str], list[Issue]] = defaultdict(list)
    for issue in summary.issues:
        by_kind[issue.severity, issue.code].append(issue)
    for t in summary.treatments:
        issues = by_kind[t.severity, t.code]
        shots = () if t.code in _NEAR else tuple(_shots(issues, places))
        yield DefectKind(t.code, t.severity, t.count, t.strict, t.skip, issues, shots)


def _shots(issues: Sequence[Issue], places: Places) -> Iterator[Shot]:
    """Pictures of the first defects whose place can be found and shown, of different pictures where there are some."""
    found = [(issue, place) for issue in issues[:50] if (place := places.find(issue)) is not None]
    first = {place.picture: row for row, (_, place) in reversed(list(enumerate(found)))}
    order = sorted(range(len(found)), key=lambda row: (first[found[row][1].picture] != row, row))
    shown = 0
    for row in order[: 4 * _SHOTS]:
        issue, place = found[row]
        try:
            picture = draw_marked(read_image(place.picture), place.box, side=_SIDE)
        except DataError:
            continue
        where = f", {issue.where}" if issue.where else ""
        yield Shot(f"{place.picture.name}{where}", picture)
        shown += 1
        if shown == _SHOTS:
            return


def _alike(group: NearPictures) -> Alike:
    shots = []
    for file, split in list(zip(group.files, group.splits, strict=True))[:_OF_GROUP]:
        try:
            picture = draw_marked(read_image(Path(file)), None, side=_SIDE)
        except DataError:
            continue
        shots.append(Shot(f"{Path(file).name}{f' ({split})' if split else ''}", picture))
    splits = list(dict.fromkeys(filter(None, group.splits)))
    where = f" in {' and '.join(splits)}" if splits else ""
    leak = ": what is trained on is measured on" if len(splits) > 1 else ""
    return Alike(f"{counted(len(group.files), 'picture')}{where}{leak}", shots)
