"""ImageJ's and Fiji's regions: for each picture a `.zip` of ROIs as the ROI Manager saves them, or one `.roi`.

    X.tif, X.zip or X.roi       also X_RoiSet.zip, RoiSet_X.zip; RoiSet.zip beside the only picture of a folder

Read are polygons, freehand, traced and composite selections with their holes, ovals and rectangles. Lines, angles and
points cover no area and are left out, with a warning that counts them. The class is the ROI's group: line k of
`classes.txt` in the folder for group k, else `group k`; where no ROI has a group there is one class, `object`. Splits
are folders called train, val, test. A `.zip` without ROIs says that its picture shows no objects.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from everymask.core.files import write_bytes, write_text
from everymask.core.masks import Masks
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.objects import Place
from everymask.data.formats.drawn.pictures import Pictures
from everymask.data.formats.drawn.reading import Listed, drawn_dataset, warn_no_area
from everymask.data.formats.drawn.shapes import Drawn, box_shape, ring_shape
from everymask.data.formats.drawn.writing import Piece, parts_of, pieces, report_lost
from everymask.data.formats.folders import (
    copy_picture,
    file_stem,
    files_in,
    folders_in,
    names_text,
    read_names,
    split_of,
)
from everymask.data.formats.imagej.roi import LARGEST, Roi, decode_roi, encode_roi
from everymask.data.issues import IssueLog, Policy
from everymask.data.pictures.read import pictures_among
from everymask.data.records import BoxOnly, Polygons, Rle
from everymask.data.strict.content import read_content
from everymask.errors import DataError, printable

_CLASSES = "classes.txt"
_DEPTH = 3
_MOST_BYTES, _MOST_ARCHIVED = 1 << 26, 1 << 30
_MOST_GROUPS = 255
_BROKEN = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, KeyError, struct.error,
)  # fmt: skip
"""What `zipfile` raises for damaged, encrypted and foreign archives."""


def looks_like_imagej(path: Path) -> bool:
    """Whether this is a `.roi` file or an archive of some, or a folder in which such files lie."""
    if path.is_file():
        return _has_rois(path)
    return any(_has_rois(file) for file in _files(path))


def read_imagej(path: str | Path, images: str | Path | None = None, *, policy: Policy = "strict") -> Dataset:
    """The data set of a folder of ROI files, or of one; this module's text says how they are read.

    `images` is the folder of the pictures, where they are not below the folder. Raises `DataError` with all defects
    under the strict policy; with `"skip"` defective ROIs and pictures are left out.
    """
    given = Path(path)
    root = given.parent if given.is_file() else given
    files = [given] if given.is_file() else _files(given)
    if not files:
        hint = "name the folder with .zip files of the ROI Manager"
        raise DataError(f"{printable(given)}: expected ROI files of ImageJ, but found none", hint=hint)
    issues = IssueLog(policy)
    pictures = Pictures(root if images is None else Path(images))
    names = read_names(root / _CLASSES, issues) if (root / _CLASSES).is_file() else ()
    found = [(file, rois) for file in files if (rois := _rois(file, issues)) is not None]
    grouped = any(roi.group for _, rois in found for _, roi in rois)
    listed = []
    for file, rois in found:
        picture = _picture(file, pictures, issues)
        if picture is not None:
            listed.append(Listed(picture, file, "", partial(_draw, rois, names, grouped), split=split_of(file, root)))
    what = f"ROI files in {printable(given)}"
    return drawn_dataset(listed, format="imagej", root=root, issues=issues, names=names, what=what)


def write_imagej(folder: str | Path, dataset: Dataset) -> None:
    """Write a copy of each picture with a `.zip` of ROIs, in folders by split, and `classes.txt`; groups are classes.

    Masks of every kind become traced or composite selections along the edges of their pixels, which keep every pixel;
    boxes become rectangles. Left out with a logged warning that counts them are crowds, objects without a pixel and
    regions without truth. Raises `DataError` for more than 255 classes and for sides above 32,767 pixels.
    """
    root, lost, names = Path(folder), Counter[str](), dataset.labels.names
    if len(names) > _MOST_GROUPS:
        message = f"ImageJ has {_MOST_GROUPS} groups, but there are {len(names)} classes"
        raise DataError(message, hint="write the data set as COCO")
    for record in dataset.records:
        if max(record.size) > LARGEST:
            message = f"{record.id}: ROI files hold coordinates up to {LARGEST:,} pixels"
            raise DataError(message, hint="write the data set as COCO")
    listing = names_text(names)
    for index, record in enumerate(dataset.records):
        target = root / (record.split or "")
        copy_picture(record, target)
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for piece in pieces(dataset, index, lost, crowds=False):
                entry = zipfile.ZipInfo(f"{piece.row + 1:04}.roi", (1980, 1, 1, 0, 0, 0))
                archive.writestr(entry, _encoded(piece, names.index(piece.name) + 1))
        write_bytes(target / f"{file_stem(record)}.zip", stream.getvalue())
    write_text(root / _CLASSES, listing)
    report_lost(root, lost)


def _files(path: Path, depth: int = _DEPTH) -> list[Path]:
    if not path.is_dir():
        return []
    here = files_in(path, (".roi", ".zip"))
    found = [file for file in here if file.suffix.lower() == ".roi" or _has_rois(file, empty=True)]
    return found + [file for folder in (folders_in(path) if depth else []) for file in _files(folder, depth - 1)]


def _has_rois(file: Path, *, empty: bool = False) -> bool:
    if file.suffix.lower() != ".zip":
        return file.suffix.lower() == ".roi"
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (OSError, *_BROKEN):
        return empty  # to be named as damaged, beside others
    return any(name.lower().endswith(".roi") for name in names) or (empty and not names)


def _rois(file: Path, issues: IssueLog) -> list[tuple[str, Roi]] | None:
    """The ROIs of a file with their places, or None when `issues` was told why it cannot be used at all."""
    content = read_content(file, issues, most=_MOST_ARCHIVED, code="zip-too-large")
    if content is None:
        return None
    entries = [("", content)]
    if file.suffix.lower() == ".zip":
        try:
            # From memory: in a file, a damaged place before its beginning is an error of the system.
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                infos = [info for info in archive.infolist() if info.filename.lower().endswith(".roi")]
                for info in (info for info in infos if info.file_size > _MOST_BYTES):
                    message = f"expected at most {_MOST_BYTES:,} bytes"
                    issues.error("roi", message, file=file, where=info.filename, value=info.file_size)
                entries = [(info.filename, archive.read(info)) for info in infos if info.file_size <= _MOST_BYTES]
        except _BROKEN:
            hint = "the file seems damaged: save it again in the ROI Manager"
            issues.error("zip", "expected an archive of ROIs", file=file, hint=hint)
            return None
    found = []
    for name, data in entries:
        try:
            found.append((name, decode_roi(data)))
        except DataError as error:
            issues.error("roi", error.message, file=file, where=name, hint=error.hint)
    return found


def _picture(file: Path, pictures: Pictures, issues: IssueLog) -> Path | None:
    stem = file.stem
    if not pictures.has_stem(stem):
        stem = re.sub(r"(^roi(set|s)?[-_ ]*)|([-_ ]*roi(set|s)?$)", "", file.stem, flags=re.IGNORECASE)
    beside = pictures_among(files_in(file.parent))
    if not stem and len(beside) == 1:
        return beside[0]
    return pictures.find(f"{file.parent.name}/{stem or file.stem}", issues, file=file, where="", stem=True)


def _draw(rois: Sequence[tuple[str, Roi]], names: Sequence[str], grouped: bool, place: Place) -> Iterator[Drawn]:
    for where, roi in rois:
        if roi.box is None and not roi.rings:
            warn_no_area(roi.kind, place)
            continue
        label = f"group {roi.group}" if grouped else "object"
        if 0 < roi.group <= len(names):
            label = names[roi.group - 1]
        shape, box = _shape(roi, where, place)
        if shape is not None:
            yield Drawn(label, shape, where, box)


def _shape(
    roi: Roi, where: str, place: Place
) -> tuple[Polygons | Rle | BoxOnly | None, tuple[float, float, float, float] | None]:
    if roi.box is not None:
        box = box_shape(roi.box, place, where)
        return (None, None) if box is None else (BoxOnly(), box)
    sound = []
    for ring in roi.rings:
        if not (np.abs(ring) <= 1e8).all():
            place.error("point", where, "expected coordinates in pixels", ring[~(np.abs(ring) <= 1e8)][0])
            return None, None
        shape = ring_shape(ring, place, where)
        if shape is None:
            return None, None
        sound.append(shape.rings[0])
    if len(sound) == 1:
        return Polygons(tuple(sound)), None
    return Rle(Masks.from_parts([[sound]], place.size).to_rle()[0]), None


def _encoded(piece: Piece, group: int) -> bytes:
    name = f"{piece.name}-{piece.row + 1:04}"
    if piece.box is not None:
        return encode_roi((), piece.box, name, group)
    return encode_roi([ring for part in parts_of(piece) for ring in part], None, name, group)
