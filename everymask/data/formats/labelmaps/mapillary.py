"""Mapillary Vistas: street scenes from everywhere, whose things and stuff are numbers of 16 bits.

    config_v2.0.json                          labels: name, readable, instances (are they counted?), evaluate, color
    training/images/X.jpg
    training/v2.0/instances/X.png             256 times the place in that list, and which thing it is
    validation/...

Version 1.2 has config.json (or config_v1.2.json) and training/instances/ (or training/v1.2/). Of several versions the
latest is read. Labels that are not to be evaluated have no truth. Panoptic maps that come with a JSON are COCO's
(`coco-panoptic`). Source: Neuhold et al. 2017, "The Mapillary Vistas dataset for semantic understanding of street
scenes", and its demo scripts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from everymask.core.arrays import IntArray
from everymask.core.files import write_json
from everymask.core.labels import Colour, Labels, labels_of
from everymask.core.segmentation import PanopticMap, Segment
from everymask.data.dataset import Dataset
from everymask.data.formats.folders import SPLIT_FOLDERS, copy_picture, file_stem, files_in, folders_in, unique_ids
from everymask.data.formats.labelmaps.files import LabelledPicture, read_contents, refused
from everymask.data.formats.pairs import match_folders
from everymask.data.issues import IssueLog, Policy
from everymask.data.panoptic import PanopticCoding
from everymask.data.pictures.read import write_image
from everymask.data.records import PanopticFile, Record
from everymask.data.strict.json_files import read_strict_json
from everymask.errors import DataError, printable

_EACH = 256
_MOST_LABELS = 256
_CODING = PanopticCoding(grey=True, added=1)
_FOLDERS = {"train": "training", "val": "validation", "test": "testing"}


def looks_like_mapillary(path: Path) -> bool:
    """Whether the folder has a list of labels, and maps of things beside pictures."""
    return _version(path) is not None


def read_mapillary(path: str | Path, *, policy: Policy = "strict") -> Dataset:
    """The panoptic data set in a folder of Mapillary's layout; this module's text says how it is read.

    Every map is decoded once to find its things. Raises `DataError` with all defects under the strict policy, among
    them numbers of labels that the list does not have; with `"skip"` defective pairs are left out.
    """
    root = Path(path)
    issues = IssueLog(policy)
    version = _version(root)
    if version is None:
        hint = "expected training/images/, training/v2.0/instances/ (or training/instances/) and config_v2.0.json"
        issues.error("no-pictures", "there is no list of labels beside such folders", file=root, hint=hint)
        raise refused(root, issues)
    listed = _listed(version.config, issues)
    if listed is None:
        raise refused(root, issues)
    pairs = [
        replace(pair, split=SPLIT_FOLDERS.get(split.name.lower(), split.name))
        for split, maps in version.maps
        for pair in match_folders(root, split / "images", maps, issues)
    ]
    records = []
    seen = read_contents(pairs, issues)
    for one, name in zip(seen, unique_ids([one.pair.picture for one in seen], root), strict=True):
        segments = _segments(one, listed, version.config, issues)
        if segments is not None:
            truth = PanopticFile(one.pair.map, segments)
            records.append(Record(name, one.pair.picture, one.header.size, truth, one.pair.split))
    noted = issues.finish(f"panoptic maps in {printable(root)}")
    return Dataset(listed.labels, tuple(records), "mapillary", root, noted, coding=_CODING)


def write_mapillary(folder: str | Path, dataset: Dataset) -> None:
    """Write pictures, maps of things and `config.json`, in the layout of version 1.2.

    Several segments of a stuff class become one, crowds single things. `DataError` for more than 256 classes, or 256
    things of a class in a picture.
    """
    root = Path(folder)
    dataset.require("panoptic")
    labels = dataset.labels
    if len(labels) >= _MOST_LABELS:
        raise DataError(f"Mapillary's maps hold {_MOST_LABELS - 1} classes, but there are {len(labels):,}")
    for index, record in enumerate(dataset.records):
        place = root / _FOLDERS.get(record.split or "train", record.split or "")
        copy_picture(record, place / "images")
        ids = _numbers(dataset.panoptic_map(index), labels, record)
        write_image(place / "instances" / f"{file_stem(record)}.png", ids)
    rows = [
        {"name": name, "readable": name, "instances": row in labels.things, "evaluate": True, "color": list(colour)}
        for row, (name, colour) in enumerate(zip(labels.names, labels.colours, strict=True))
    ]
    nothing = {"name": "void--unlabeled", "readable": "Unlabeled", "instances": False, "evaluate": False}
    write_json(root / "config.json", {"version": 1.2, "labels": [*rows, nothing | {"color": [0, 0, 0]}]})


@dataclass(frozen=True, slots=True)
class _Version:
    """The list of labels, and the folders of splits with those of their maps."""

    config: Path
    maps: tuple[tuple[Path, Path], ...]


@dataclass(frozen=True, slots=True)
class _Listed:
    """The classes, and for each label of the list its class, or None where it has no truth."""

    labels: Labels
    classes: tuple[int | None, ...]


def _version(root: Path) -> _Version | None:
    """The latest version that a folder has whole; None where it has none."""
    if not root.is_dir():
        return None
    configs = sorted((file for file in files_in(root, (".json",)) if file.stem.startswith("config")), reverse=True)
    splits = [place for place in folders_in(root) if (place / "images").is_dir()] if configs else []
    for config in configs:
        number = config.stem.removeprefix("config").strip("_")
        for inner in ("instances", f"{number or 'v1.2'}/instances"):
            found = tuple((split, split / inner) for split in splits if (split / inner).is_dir())
            if found and not (inner == "instances" and number not in ("", "v1.1", "v1.2")):
                return _Version(config, found)
    return None


def _listed(config: Path, issues: IssueLog) -> _Listed | None:
    """What the list of labels says; None where `issues` was told what is wrong with it."""
    document = read_strict_json(config, issues)
    rows = document.get("labels") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not rows or len(rows) > _MOST_LABELS:
        if document is not None:
            issues.error("labels", "expected a list of 1 to 256 labels", file=config, where="/labels")
        return None
    wrong = [index for index, row in enumerate(rows) if not _is_label(row)]
    for index in wrong:
        message = "expected an object with name (or readable), and with instances that is true or false"
        issues.error("labels", message, file=config, where=f"/labels/{index}", value=rows[index])
    if wrong:
        return None
    kept = [index for index, row in enumerate(rows) if row.get("evaluate", True) is not False]
    readable = [str(rows[index].get("readable") or rows[index]["name"]) for index in kept]
    twice = {name for name, count in Counter(map(str.casefold, readable)).items() if count > 1}
    names = [
        str(rows[index].get("name", name)) if name.casefold() in twice else name
        for index, name in zip(kept, readable, strict=True)
    ]
    if len(set(map(str.casefold, names))) < len(names):
        issues.error("repeated-class", "labels have equal names", file=config, where="/labels")
        return None
    things = frozenset(row for row, index in enumerate(kept) if rows[index]["instances"])
    colours = [_colour(rows[index].get("color")) for index in kept]
    given = tuple(colour for colour in colours if colour is not None)
    usual = labels_of(names).colours if len(set(given)) < len(kept) else given
    places = {index: row for row, index in enumerate(kept)}
    return _Listed(Labels(tuple(names), usual, things), tuple(places.get(index) for index in range(len(rows))))


def _is_label(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("instances"), bool):
        return False
    names = [row[key] for key in ("readable", "name") if key in row]
    return bool(names) and all(isinstance(name, str) and name.strip() for name in names)


def _colour(value: Any) -> Colour | None:
    match value:
        case [int() as red, int() as green, int() as blue] if all(0 <= part <= 255 for part in (red, green, blue)):
            return red, green, blue
        case _:
            return None


def _segments(one: LabelledPicture, listed: _Listed, config: Path, issues: IssueLog) -> tuple[Segment, ...] | None:
    """The segments by the numbers that a map holds; None where `issues` was told that it holds others."""
    pixels = one.content.pixels or {}
    wrong = [value for value in pixels if value // _EACH >= len(listed.classes)]
    if wrong or one.content.coloured or one.content.equal:
        coloured = one.content.coloured or one.content.equal
        message = f"expected 256 times a label and which thing it is; {config.name} has {len(listed.classes)} labels"
        hint = "labels/ and panoptic/ hold other maps; instances/ has grey PNGs of 16 bits"
        shown = "colours" if coloured else ", ".join(map(str, sorted(wrong)[:8]))
        issues.error("unknown-number", message, file=one.pair.map, value=shown, hint=hint)
        return None
    segments = []
    for value in sorted(pixels):
        class_id = listed.classes[value // _EACH]
        if class_id is not None:
            segments.append(Segment(value + _CODING.added, class_id))
    return tuple(segments)


def _numbers(found: PanopticMap, labels: Labels, record: Record) -> IntArray:
    """The map [H, W] uint16 as it is stored."""
    counts: Counter[int] = Counter()
    values = []
    for one in found.segments:
        values.append(_EACH * one.class_id + counts[one.class_id])
        counts[one.class_id] += one.class_id in labels.things
    if max(counts.values(), default=0) > _EACH:
        raise DataError(
            f"{printable(record.id)}: a map numbers 256 things of a class, but there are {max(counts.values()):,}"
        )
    ids: IntArray = found.looked_up(values, _EACH * len(labels)).astype(np.uint16)
    return ids
