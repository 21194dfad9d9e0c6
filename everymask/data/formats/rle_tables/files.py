"""Tables of run-lengths as Kaggle's competitions have them: `train.csv` with ImageId and EncodedPixels.

A row is an object: its picture, with or without ending, its mask, and where there is such a column, its class. The mask
is pairs of a start and a length, which count pixels from 1, column after column. An empty mask, or -1, says that the
picture shows no object (of that class). Tables whose runs follow the rows instead are told by their
masks, which would be torn if they were read by columns, and noted; of square pictures nothing tells, and columns it is.

The columns may be called EncodedPixels, rle, rle_mask, encoding, annotation or segmentation; ImageId, image, filename
or id; ClassId, class, label, category or cell_type; `Image_Label` and `ImageId_ClassId` hold both. `height` and `width`
are compared to the picture.

Classes are the lines of `classes.txt` beside the table, else the values that occur, numbers by size and names in
alphabetical order. Splits are the tables' names; one table alone is a split only if its name says train. Tables whose
name has `submission` in it are passed over.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from everymask.core.arrays import BoolArray, IntArray
from everymask.core.files import write_text
from everymask.core.forms.rle import string_from_runs
from everymask.core.masks import Masks
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.objects import Place
from everymask.data.formats.drawn.pictures import Pictures, files_of_kind
from everymask.data.formats.drawn.reading import Listed, annotation_files, drawn_dataset, table_splits
from everymask.data.formats.drawn.shapes import Drawn
from everymask.data.formats.drawn.writing import check_masks, pieces, report_lost
from everymask.data.formats.folders import copy_picture, files_in, names_text, read_names
from everymask.data.formats.rle_tables.columns import Columns, find_columns, has_ending
from everymask.data.formats.rle_tables.order import follow_rows
from everymask.data.issues import IssueLog, Policy
from everymask.data.records import Rle
from everymask.data.strict.content import whole_number
from everymask.data.strict.csv_files import Row, csv_text, read_column_names, read_first_rows, read_strict_csv
from everymask.errors import printable

_CLASSES = "classes.txt"
_LARGEST = 1 << 40
_NOTHING = ("", "-1", "nan")


@dataclass(frozen=True, slots=True)
class _Picture:
    """The rows of one picture: where the first stands, the size that it states, and label, runs and line of each mask.

    Runs are [K, 2]: starts from 1, and lengths.
    """

    path: Path
    file: Path
    line: int
    split: str | None
    size: tuple[int, int] | None
    masks: list[tuple[str, IntArray, int]]


def looks_like_rle_table(path: Path) -> bool:
    """Whether this is a table of run-lengths, or a folder that holds one."""
    return bool(_tables(path))


def read_rle_table(path: str | Path, images: str | Path | None = None, *, policy: Policy = "strict") -> Dataset:
    """The data set of a table, or of the tables in a folder; this module's text says how they are read.

    `images` is the folder of the pictures, where they are not below the table's folder. Raises `DataError` with all
    defects under the strict policy; with `"skip"` defective rows and pictures are left out.
    """
    given = Path(path)
    hint = "name the .csv file with columns such as ImageId and EncodedPixels"
    files, root = annotation_files(given, _tables, "a table of run-lengths", hint)
    issues = IssueLog(policy)
    pictures = Pictures(root if images is None else Path(images))
    found = [
        item
        for file, split in zip(files, table_splits(files), strict=True)
        for item in _read_table(file, split, pictures, issues)
    ]  # fmt: skip
    by_rows = follow_rows((item.path, [pairs for _, pairs, _ in item.masks]) for item in found)
    if by_rows:
        message = "the runs are read along the rows: along the columns, as is usual, the masks would be torn"
        issues.warn("rle-rows", message, file=files[0])
    listed = [
        Listed(item.path, item.file, f"line {item.line}", partial(_draw, item.masks, by_rows), item.size, item.split)
        for item in found
    ]
    names = read_names(root / _CLASSES, issues) if (root / _CLASSES).is_file() else ()
    if not names:
        names = tuple(sorted({label for item in found for label, _, _ in item.masks}, key=_by_number))
    what = f"run-lengths in {printable(given)}"
    return drawn_dataset(listed, format="rle-csv", root=root, issues=issues, names=names, what=what)


def write_rle_table(folder: str | Path, dataset: Dataset) -> None:
    """Write a table per split (`masks.csv` without splits), `classes.txt`, and pictures in `images/<split>/`.

    Every mask keeps its pixels; outlines become pixels. Left out with a logged warning that counts them are crowds,
    objects without a pixel and regions without truth. Raises `DataError` for objects without a mask.
    """
    root, lost = Path(folder), Counter[str]()
    check_masks(dataset)
    listing = names_text(dataset.labels.names)
    tables: dict[str, list[tuple[str, str, str]]] = {}
    for index, record in enumerate(dataset.records):
        split = record.split or ""
        picture = copy_picture(record, root / "images" / split)
        rows = tables.setdefault(split or "masks", [])
        before = len(rows)
        for piece in pieces(dataset, index, lost, crowds=False):
            rows.append((picture.name, piece.name, _pairs(piece.dense(record.size))))
        if len(rows) == before:
            rows.append((picture.name, "", ""))
    for name, rows in tables.items():
        write_text(root / f"{name}.csv", csv_text([("ImageId", "ClassId", "EncodedPixels"), *rows]))
    write_text(root / _CLASSES, listing)
    report_lost(root, lost)


def _tables(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if _is_table(path) else []
    files = files_in(path, (".csv",))
    return files_of_kind([file for file in files if "submission" not in file.stem.lower()], _is_table)


def _is_table(file: Path) -> bool:
    """Whether the columns mean pictures and run-lengths, and most of the first rows have such or none."""
    columns = find_columns(read_column_names(file)) if file.suffix.lower() == ".csv" else None
    if columns is None:
        return False
    texts = [row[columns.runs].strip() for row in read_first_rows(file)]
    masks = [text for text in texts if text.lower() not in _NOTHING]
    return 2 * sum(re.match(r"\d+\s+\d+", text) is not None for text in masks) >= len(masks)


def _by_number(name: str) -> tuple[bool, int, str]:
    number = whole_number(name)
    return (number is None, number or 0, name)


def _read_table(file: Path, split: str | None, pictures: Pictures, issues: IssueLog) -> Iterator[_Picture]:
    columns = find_columns(read_column_names(file))
    if columns is None:
        message = "expected columns for the picture and its run-lengths, such as ImageId and EncodedPixels"
        issues.error("csv-header", message, file=file)
        return
    rows: dict[str, list[tuple[str, Row]]] = {}
    for line, values in read_strict_csv(file, issues) or []:
        name, label = columns.picture_and_label(values)
        if name:
            rows.setdefault(name, []).append((label, (line, values)))
        else:
            issues.error("file-name", "expected the name of a picture", file=file, where=f"line {line}")
    for name, found in rows.items():
        line, values = found[0][1]
        path = pictures.find(name, issues, file=file, where=f"line {line}", stem=not has_ending(name))
        if path is not None:
            masks = [_mask(label, row, columns, file, issues) for label, row in found]
            size = _size(values, columns, file, f"line {line}", issues)
            yield _Picture(path, file, line, split, size, [mask for mask in masks if mask is not None])


def _mask(
    label: str, row: Row, columns: Columns, file: Path, issues: IssueLog
) -> tuple[str, IntArray, int] | None:  # fmt: skip
    line, values = row
    text, where = values[columns.runs].strip(), f"line {line}"
    if text.lower() in _NOTHING:
        return None
    if not label and (columns.joined or columns.label is not None):
        issues.error("label-missing", "expected a class", file=file, where=where)
        return None
    try:
        numbers = np.array([int(word) for word in text.split()], np.int64)
    except (ValueError, OverflowError):
        numbers = np.zeros(0, np.int64)
    if not numbers.size or numbers.size % 2 or numbers.min() < 1 or numbers.max() >= _LARGEST:
        message = "expected pairs of a start and a length, whole numbers from 1"
        issues.error("rle-counts", message, file=file, where=where, value=text, hint="starts count pixels from 1")
        return None
    return label or "object", numbers.reshape(-1, 2), line


def _size(values: dict[str, str], columns: Columns, file: Path, where: str, issues: IssueLog) -> tuple[int, int] | None:
    """The size that a row states, if it does."""
    if columns.height is None or columns.width is None:
        return None
    texts = [values[name].strip() for name in (columns.height, columns.width)]
    if not all(re.fullmatch(r"[1-9]\d{0,6}(\.0)?", text) for text in texts):
        issues.error("image-size", "expected height and width as whole numbers", file=file, where=where, value=texts)
        return None
    return int(float(texts[0])), int(float(texts[1]))


def _draw(masks: Sequence[tuple[str, IntArray, int]], by_rows: bool, place: Place) -> Iterator[Drawn]:
    height, width = place.size
    for label, pairs, line in masks:
        inner = Place(place.file, f"line {line}", place.size, place.issues)
        starts, ends = pairs[:, 0] - 1, pairs[:, 0] - 1 + pairs[:, 1]
        order = np.argsort(starts, kind="stable")
        starts, ends = starts[order], ends[order]
        if int(ends.max()) > height * width:
            message = f"the runs reach beyond a picture of {width} x {height} pixels"
            inner.error("rle-size", "", message, int(ends.max()), "was the picture resized after it was annotated?")
            continue
        if (starts[1:] < ends[:-1]).any():
            inner.error("rle-counts", "", "the runs overlap", hint="export the masks again")
            continue
        yield Drawn(label, _runs(starts, ends, place.size, by_rows), f"line {line}")


def _runs(starts: IntArray, ends: IntArray, size: tuple[int, int], by_rows: bool) -> Rle:
    """COCO's run-lengths of sorted spans that count from 0 and do not overlap."""
    apart = starts[1:] > ends[:-1]
    starts, ends = starts[np.append(True, apart)], ends[np.append(apart, True)]
    runs = np.diff(np.concatenate([[0], np.stack([starts, ends], axis=1).ravel(), [size[0] * size[1]]]))
    if by_rows:
        mask = np.repeat(np.arange(runs.size) % 2 == 1, runs).reshape(size)
        return Rle(Masks.from_dense(mask[None]).to_rle()[0])
    return Rle(string_from_runs(runs[: -1 if runs[-1] == 0 else None]))


def _pairs(mask: BoolArray) -> str:
    changes = np.flatnonzero(np.diff(mask.T.ravel(), prepend=False, append=False))
    numbers = np.stack([changes[::2] + 1, changes[1::2] - changes[::2]], axis=1).ravel().tolist()
    return " ".join(map(str, numbers))
