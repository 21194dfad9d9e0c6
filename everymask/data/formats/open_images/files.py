"""Open Images' segmentation: `train-annotations-object-segmentation.csv`, with a PNG for each mask.

    train-annotations-object-segmentation.csv    MaskPath, ImageID, LabelName, and more that is not read
    oidv7-class-descriptions.csv                 what LabelName (such as /m/01g317) is called
    classes-segmentation.txt                     the LabelNames in the order of the classes

Masks and pictures (`<ImageID>.jpg`) are found by name below the folder. A mask of another size, as most of Open Images
are, is fitted to its picture, pixel by nearest pixel, where its sides have the same ratio within 2 %. All that is not 0
is the object. A row with an empty MaskPath says that the picture shows no object.

Classes are called as the descriptions say, and stand in the order of `classes-segmentation.txt`, else those that occur
in alphabetical order. Splits are the tables' names; one table alone is a split only if its name says train.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from everymask.core.arrays import BoolArray
from everymask.core.files import whole_file, write_text
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.objects import Place
from everymask.data.formats.drawn.pictures import Pictures, files_of_kind
from everymask.data.formats.drawn.reading import Listed, annotation_files, drawn_dataset, table_splits
from everymask.data.formats.drawn.shapes import Drawn, mask_shape
from everymask.data.formats.drawn.writing import Piece, check_masks, pieces, report_lost
from everymask.data.formats.folders import copy_picture, file_stem, files_in, read_lines
from everymask.data.issues import IssueLog, Policy
from everymask.data.pictures.read import read_header, read_label_map
from everymask.data.records import MaskFile, Rle
from everymask.data.strict.csv_files import Row, csv_text, read_column_names, read_strict_csv
from everymask.errors import DataError, printable

_COLUMNS = ("MaskPath", "ImageID", "LabelName")
_BOX = ("BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax")
_CLASSES = "classes-segmentation.txt"
_RATIO = 0.02


def looks_like_open_images(path: Path) -> bool:
    """Whether this is a table of masks, or a folder that holds one."""
    return bool(_tables(path))


def read_open_images(path: str | Path, images: str | Path | None = None, *, policy: Policy = "strict") -> Dataset:
    """The data set of a table of masks, or of those in a folder; this module's text says how they are read.

    `images` is the folder of the pictures, where they are not below the table's folder. Of masks of their picture's
    size only the headers are read. Raises `DataError` with all defects under the strict policy; with `"skip"` defective
    rows and pictures are left out.
    """
    given = Path(path)
    hint = f"name the .csv file with the columns {', '.join(_COLUMNS)}"
    files, root = annotation_files(given, _tables, "a table of Open Images", hint)
    issues = IssueLog(policy)
    masks = Pictures(root)
    pictures = masks if images is None else Pictures(Path(images))
    called = _descriptions(root, issues)
    listed: list[Listed] = []
    for file, split in zip(files, table_splits(files), strict=True):
        if _is_table(file):
            listed += _listed(file, split, (pictures, masks), called, issues)
        else:
            issues.error("csv-header", f"expected the columns {', '.join(_COLUMNS)}", file=file)
    order = (read_lines(root / _CLASSES, issues) if (root / _CLASSES).is_file() else None) or []
    names = tuple(dict.fromkeys(called.get(label, label) for _, label in order))
    what = f"Open Images' tables in {printable(given)}"
    return drawn_dataset(listed, format="open-images", root=root, issues=issues, names=names, what=what)


def write_open_images(folder: str | Path, dataset: Dataset) -> None:
    """Write a table per split with a PNG per mask in `<split>-masks/`, the classes, and pictures in `images/<split>/`.

    Every mask keeps its pixels; outlines become pixels. Left out with a logged warning that counts them are crowds,
    objects without a pixel and regions without truth. Raises `DataError` for objects without a mask.
    """
    root, lost = Path(folder), Counter[str]()
    check_masks(dataset)
    labels = {name: f"/m/{number}" for number, name in enumerate(dataset.labels.names, 1)}
    tables: dict[str, list[Sequence[str]]] = {}
    for index, record in enumerate(dataset.records):
        copy_picture(record, root / "images" / (record.split or ""))
        name = record.split or "all"
        rows = tables.setdefault(name, [(*_COLUMNS, *_BOX)])
        before = len(rows)
        for piece in pieces(dataset, index, lost, crowds=False):
            mask = f"{file_stem(record)}_{piece.row + 1:04}.png"
            _write_mask(root / f"{name}-masks" / mask, piece.dense(record.size))
            rows.append((mask, file_stem(record), labels[piece.name], *_sides(piece, record.size)))
        if len(rows) == before:
            rows.append(("", file_stem(record), *[""] * (1 + len(_BOX))))
    for name, rows in tables.items():
        write_text(root / f"{name}-annotations-object-segmentation.csv", csv_text(rows))
    called = [("LabelName", "DisplayName"), *((label, name) for name, label in labels.items())]
    write_text(root / "oidv7-class-descriptions.csv", csv_text(called))
    write_text(root / _CLASSES, "".join(f"{label}\n" for label in labels.values()))
    report_lost(root, lost)


def _tables(path: Path) -> list[Path]:
    files = [path] if path.is_file() else files_in(path)
    return files_of_kind([file for file in files if file.suffix.lower() == ".csv"], _is_table)


def _is_table(file: Path) -> bool:
    return set(read_column_names(file)) >= set(_COLUMNS)


def _descriptions(root: Path, issues: IssueLog) -> dict[str, str]:
    """What the labels are called, from the files of two columns, with or without a heading."""
    called: dict[str, str] = {}
    for file in files_in(root):
        if file.suffix.lower() != ".csv" or "class-descriptions" not in file.name.lower():
            continue
        heading = read_column_names(file)
        if len(heading) != 2:
            issues.error("csv-header", "expected two columns, a label and its name", file=file, value=heading)
            continue
        rows = [list(row.values()) for _, row in read_strict_csv(file, issues) or []]
        if heading[0] != "LabelName":
            rows.append(heading)
        called.update({label.strip(): name.strip() for label, name in rows if name.strip()})
    return called


def _listed(
    file: Path, split: str | None, places: tuple[Pictures, Pictures], called: Mapping[str, str], issues: IssueLog
) -> Iterator[Listed]:
    pictures, masks = places
    rows: dict[str, list[Row]] = {}
    for line, row in read_strict_csv(file, issues) or []:
        name = row["ImageID"].strip()
        if name:
            rows.setdefault(name, []).append((line, row))
        else:
            issues.error("file-name", "expected the ImageID of a picture", file=file, where=f"line {line}")
    for name, found in rows.items():
        where = f"line {found[0][0]}"
        picture = pictures.find(name, issues, file=file, where=where, stem=True)
        if picture is not None:
            yield Listed(picture, file, where, partial(_draw, found, masks, called), split=split)


def _draw(rows: Sequence[Row], masks: Pictures, called: Mapping[str, str], place: Place) -> Iterator[Drawn]:
    for line, row in rows:
        name, label = row["MaskPath"].strip(), row["LabelName"].strip()
        inner = Place(place.file, f"line {line}", place.size, place.issues)
        if not name:
            continue
        if not label:
            inner.error("label-missing", "", "expected a LabelName")
            continue
        file = masks.find(name, place.issues, file=place.file, where=inner.pointer)
        shape = None if file is None else _mask(file, inner)
        if shape is not None:
            yield Drawn(called.get(label, label), shape, inner.pointer)


def _mask(file: Path, place: Place) -> MaskFile | Rle | None:
    """The mask as it is where it has the picture's size, else fitted to it; None when the log was told why not."""
    height, width = place.size
    try:
        found = read_header(file).size
        if found == place.size:
            return MaskFile(file)
        if abs(found[0] * width / (found[1] * height) - 1) > _RATIO:
            message = f"expected a mask with sides as {width} x {height}"
            place.error("mask-size", "", message, f"{found[1]} x {found[0]}", "the mask belongs to another picture")
            return None
        small = (read_label_map(file) != 0).astype(np.uint8)
    except DataError as error:
        place.error("mask", "", error.message, hint=error.hint)
        return None
    message = "{count} masks have another size than their picture; they are fitted to it, pixel by nearest pixel"
    place.issues.warn_shared("mask-fitted", message, file=place.file)
    fitted = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return mask_shape(fitted > 0, (0, 0), place)


def _sides(piece: Piece, size: tuple[int, int]) -> list[str]:
    """The mask's box as fractions of the picture's sides."""
    (x, y), (height, width) = piece.corner, (0, 0) if piece.crop is None else piece.crop.shape
    found = (x / size[1], (x + width) / size[1], y / size[0], (y + height) / size[0])
    return [f"{value:.6f}" for value in found]


def _write_mask(file: Path, mask: BoolArray) -> None:
    with whole_file(file) as temporary:
        Image.fromarray(mask).save(temporary, format="PNG")
