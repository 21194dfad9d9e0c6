"""From the pictures that annotation files list, and what is drawn on each, to a data set."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.objects import Place
from everymask.data.formats.drawn.shapes import Drawn, box_ring
from everymask.data.formats.folders import SPLIT_FOLDERS, files_in, unique_ids
from everymask.data.formats.unannotated import Loose, loose_records
from everymask.data.issues import IssueLog
from everymask.data.pictures.headers import check_picture_size, read_headers
from everymask.data.pictures.read import SUFFIXES
from everymask.data.records import Annotation, BoxOnly, MaskFile, Objects, Polygons, Record, Rle, draw_shapes
from everymask.errors import DataError, printable

Draw: TypeAlias = Callable[[Place], Iterable[Drawn]]
"""What gives the shapes on a picture, and tells the place's log about those that cannot be used."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A picture that an annotation file lists: where, the `size` (H, W) that it states, and what is drawn on it.

    `draw` is None where nobody has annotated the picture.
    """

    picture: Path
    file: Path
    where: str
    draw: Draw | None
    size: tuple[int, int] | None = None
    split: str | None = None


def drawn_dataset(
    listed: Sequence[Listed],
    *,
    format: str,  # noqa: A002
    root: Path,
    issues: IssueLog,
    names: Sequence[str] = (),
    what: str,
) -> Dataset:
    """The data set of the listed pictures; `names` are the classes in their order, empty where no file lists them.

    Then the classes are the labels that occur, in alphabetical order. Shapes of one label and group are one object.
    Upright rectangles are boxes where nothing else is drawn in the data set; beside outlines each is the mask of its
    whole area, with a warning. Pictures beside listed ones that nothing lists are not annotated, with a warning.
    Raises `DataError` for `what` under the strict policy where `issues` has errors.
    """
    once = _without_repeats(listed, issues)
    places = [f"{item.file}:{item.where}" if item.where else str(item.file) for item in once]
    headers = read_headers([item.picture for item in once], issues, where=places)
    found: list[tuple[Listed, tuple[int, int], list[Drawn]]] = []
    for item, header in zip(once, headers, strict=True):
        if header is None:
            continue
        where = f"{item.file}:{item.where}"
        if item.size is not None and not check_picture_size(header, item.size, issues, file=item.picture, where=where):
            continue
        place = Place(item.file, item.where, header.size, issues)
        found.append((item, header.size, list(item.draw(place)) if item.draw is not None else []))
    drawn = [shape for _, _, shapes in found for shape in shapes if not shape.ignored]
    classes = tuple(names) or _used_names(drawn, root, issues)
    boxes_only = _are_boxes(drawn, root, issues)
    ids = unique_ids([item.picture for item, _, _ in found if item.draw is not None], root)
    free_ids = iter(ids)
    records, loose = [], []
    for item, size, shapes in found:
        if item.draw is None:
            loose.append(Loose(item.picture, item.split))
            continue
        kept = [shape for shape in shapes if not shape.ignored and _is_known(shape, classes, item.file, issues)]
        ignored = tuple(shape.shape for shape in shapes if shape.ignored)
        annotations = tuple(_annotations(kept, classes, size, boxes_only, item.picture))
        records.append(Record(next(free_ids), item.picture, size, Objects(annotations, ignored), item.split))
    if not listed and not issues.total("error"):
        issues.error("no-pictures", "no picture is listed", file=root)
    loose += [Loose(file) for file in _unlisted(listed, issues)]
    noted = loose_records(loose, ids, root, issues)
    return Dataset(labels_of(classes), (*records, *noted), format, root, issues.finish(what), boxes_only)


def annotation_files(
    path: Path, find: Callable[[Path], list[Path]], expected: str, hint: str
) -> tuple[list[Path], Path]:
    """The annotation files of a path, and the folder that the data set lies in.

    A file that is named is taken whatever `find` says of it: its reader tells what is wrong with it. `DataError` says
    what was `expected` where there is none.
    """
    files = find(path) or ([path] if path.is_file() else [])
    if not files:
        raise DataError(f"{printable(path)}: expected {expected}, but found none", hint=hint)
    return files, path.parent if path.is_file() else path


def split_name(name: str | None) -> str | None:
    """The split that a subset's name means: train, val and test in their spellings, and others as they are."""
    given = (name or "").strip()
    return SPLIT_FOLDERS.get(given.lower(), None if given.lower() in ("", "default") else given)


def table_splits(files: Sequence[Path]) -> list[str | None]:
    """The split of each table by its name; one table alone is a split only if its name says train."""
    words = [[word for word in re.split(r"[^a-z]+", file.stem.lower()) if word in SPLIT_FOLDERS] for file in files]
    splits = [SPLIT_FOLDERS[found[0]] if found else file.stem for file, found in zip(files, words, strict=True)]
    return [None] if len(files) == 1 and splits != ["train"] else [*splits]


def warn_no_area(kind: str, place: Place) -> None:
    """Count a shape that covers nothing and is left out, such as a line."""
    message = f"{{count}} shapes of the kind {kind} are left out: they cover no area"
    hint = "draw outlines or masks of what is to be learned"
    place.issues.warn_shared(f"no-area-{kind}", message, file=place.file, hint=hint)


def _without_repeats(listed: Sequence[Listed], issues: IssueLog) -> list[Listed]:
    first: dict[Path, Listed] = {}
    for item in listed:
        known = first.setdefault(item.picture, item)
        if known is not item:
            message = f"the picture {item.picture.name} is listed in {known.where or known.file} already"
            issues.error(
                "repeated-picture",
                message,
                file=item.file,
                where=item.where,
                hint="keep it in one place, or name the file that is meant",
            )
    return list(first.values())


def _used_names(shapes: Iterable[Drawn], root: Path, issues: IssueLog) -> tuple[str, ...]:
    used = sorted({shape.label for shape in shapes})
    folded: dict[str, str] = {}
    for name in used:
        other = folded.setdefault(name.strip().casefold(), name)
        if other != name:
            message = f"the labels {other!r} and {name!r} are two classes"
            issues.warn("similar-classes", message, file=root, hint="use one spelling")
    return tuple(used) or ("object",)


def _is_known(shape: Drawn, names: Sequence[str], file: Path, issues: IssueLog) -> bool:
    if shape.label in names:
        return True
    message = "expected a label that the file lists"
    issues.error("unknown-class", message, file=file, where=shape.where, value=shape.label, hint="correct the label")
    return False


def _are_boxes(shapes: Sequence[Drawn], root: Path, issues: IssueLog) -> bool:
    boxes = sum(isinstance(shape.shape, BoxOnly) for shape in shapes)
    if 0 < boxes < len(shapes):
        message = f"{boxes} upright rectangles stand beside {len(shapes) - boxes} outlines; each covers its whole area"
        issues.warn("box-as-mask", message, file=root, hint="where they are only boxes, draw outlines instead")
    return 0 < boxes == len(shapes)


def _annotations(
    shapes: Sequence[Drawn], names: Sequence[str], size: tuple[int, int], boxes_only: bool, picture: Path
) -> Iterable[Annotation]:
    objects: dict[object, list[Drawn]] = {}
    for index, shape in enumerate(shapes):
        single = shape.group is None or boxes_only
        objects.setdefault(index if single else (shape.label, shape.group), []).append(shape)
    for number, parts in enumerate(objects.values(), 1):
        first, crowd = parts[0], any(part.crowd for part in parts)
        class_id = names.index(first.label)
        if boxes_only:
            yield Annotation(class_id, BoxOnly(), first.box, crowd, number)
        else:
            yield Annotation(class_id, _joined(parts, size, picture), crowd=crowd, id=number)


def _joined(parts: Sequence[Drawn], size: tuple[int, int], picture: Path) -> Polygons | Rle | MaskFile:
    shapes = [
        Polygons((box_ring(part.box),)) if part.box is not None and isinstance(part.shape, BoxOnly) else part.shape
        for part in parts
    ]
    rings = [ring for shape in shapes if isinstance(shape, Polygons) for ring in shape.rings]
    runs = [shape for shape in shapes if isinstance(shape, Rle | MaskFile)]
    if not runs:
        return Polygons(tuple(rings))
    if len(runs) == 1 and not rings:
        return runs[0]
    masks = draw_shapes([*runs, *([Polygons(tuple(rings))] if rings else [])], size, picture)
    dense = masks.to_dense(0)
    for row in range(1, len(masks)):
        dense |= masks.to_dense(row)
    return Rle(Masks.from_dense(dense[None]).to_rle()[0])


def _unlisted(listed: Sequence[Listed], issues: IssueLog) -> list[Path]:
    """The pictures beside listed ones that nothing lists, which is noted."""
    known = {item.picture for item in listed}
    loose: list[Path] = []
    for folder in sorted({picture.parent for picture in known}):
        rest = [file for file in files_in(folder) if file.suffix.lower() in SUFFIXES and file not in known]
        if rest:
            message = f"{len(rest)} pictures that the annotations do not list are not annotated"
            issues.warn("unlabelled", message, file=folder, value=rest[0].name)
            loose += rest
    return loose
