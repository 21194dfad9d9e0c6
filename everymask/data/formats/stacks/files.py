"""Pictures with label maps in TIFF files of several pages.

    X.tif + X_masks.tif, images/X.png + masks/X.tif, and every other layout of `pairs`

Two ways to use the pages are known, and told by how many the picture has:

- The picture has one: each page of the map is the mask of one object, which has one number beside 0. Objects may
  overlap, and are numbered by their pages from 1. A map of one page is as in `instance-pngs`: a number for each object.
- Both have as many: each page of the map holds the numbers of the objects on that page of the picture. The pages of the
  picture are written to files in the user's cache folder, `X_0001.png` (or `.npy`) and so on, and are pictures like
  others.

Refused are volumes, whose pages are slices of one body (as the file's axes say, or objects show that go on from page to
page), and channels that are stored as pages. The class of each object stands in `labels.json` as for `instance-pngs`;
without it there is one class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from everymask.core.arrays import BoolArray, IntArray
from everymask.core.files import whole_file, write_json, write_text
from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.data.dataset import Dataset
from everymask.data.formats.drawn.writing import EMPTY, IGNORED, report_lost
from everymask.data.formats.folders import copy_picture, file_stem, names_text, object_ids, report_size, unique_ids
from everymask.data.formats.instance_pngs import Classes, classes_of, numbered
from everymask.data.formats.pair_lists import find_pairs
from everymask.data.formats.pairs import Pair, shared_maps
from everymask.data.formats.stacks.axes import are_slices, stated_meaning
from everymask.data.formats.stacks.unpacking import unpacked_pages
from everymask.data.issues import IssueLog, Policy
from everymask.data.pictures.headers import read_headers
from everymask.data.pictures.pages import count_pages, pages_of
from everymask.data.pictures.read import read_label_map
from everymask.data.records import BoxOnly, MaskFile, Objects, Record, Rle
from everymask.errors import DataError, printable

_VOLUME = "expected pictures, but the file is a volume: its {count} pages are slices of one body"
_VOLUME_HINT = "save the slices that are to be learned as pictures, each with its label map"


def read_tiff_stacks(path: str | Path, *, policy: Policy = "strict") -> Dataset:
    """The data set in a folder of pictures and label maps with pages; this module's text says how it is read.

    Every page of the maps is decoded once. Raises `DataError` with all defects under the strict policy; with `"skip"`
    defective objects, pages and pairs are left out.
    """
    root = Path(path)
    issues = IssueLog(policy)
    pairs = find_pairs(root, issues)
    if not pairs and not issues.total("error"):
        issues.error("no-pictures", "expected pictures with label maps of several pages", file=root)
    shared = shared_maps(pairs, issues)
    pairs = [pair for pair in pairs if pair.map not in shared]
    classes = classes_of(root, pairs, issues)
    records = [record for pair in pairs for record in _records(pair, classes, issues)]
    ids = unique_ids([record.image for record in records], root)
    named = tuple(replace(record, id=name) for record, name in zip(records, ids, strict=True))
    return Dataset(labels_of(classes.names), named, "tiff-stacks", root, issues.finish(f"TIFF stacks in {root}"))


def write_tiff_stacks(folder: str | Path, dataset: Dataset) -> None:
    """Write pictures in `images/`, a TIFF with a mask per page for each in `masks/`, `labels.json` and `classes.txt`.

    Left out with a logged warning that counts them are objects without a pixel and regions without truth; boxes beside
    masks, areas and ids are not kept. Raises `DataError` for objects without a mask and for crowds.
    """
    root, names, lost = Path(folder), dataset.labels.names, Counter[str]()
    listing = names_text(names)
    for record in dataset.records:
        if any(isinstance(annotation.shape, BoxOnly) or annotation.crowd for annotation in record.objects.annotations):
            message = f"{record.id}: expected a mask for every object and no crowds"
            raise DataError(message, hint="write the data set as COCO")
    table: dict[str, dict[str, str]] = {}
    for index, record in enumerate(dataset.records):
        base, stem, truth = root / (record.split or ""), file_stem(record), dataset.objects(index)
        lost[IGNORED] += len(record.objects.ignored)
        rows = np.flatnonzero(truth.masks.areas()).tolist() if truth.masks else []
        lost[EMPTY] += len(truth) - len(rows)
        masks = [truth.masks.to_dense(row) for row in rows] if truth.masks else []
        copy_picture(record, base / "images")
        _write_pages(base / "masks" / f"{stem}.tif", masks or [np.zeros(record.size, np.bool_)])
        table[stem] = {str(page): names[int(truth.class_ids[row])] for page, row in enumerate(rows, 1)}
    write_text(root / "classes.txt", listing)
    write_json(root / "labels.json", dict(sorted(table.items())), indent=1)
    report_lost(root, lost)


def _write_pages(file: Path, masks: list[BoolArray]) -> None:
    first, *others = (Image.fromarray(mask.astype(np.uint8)) for mask in masks)
    with whole_file(file) as temporary:
        first.save(temporary, format="TIFF", save_all=True, append_images=others, compression="tiff_adobe_deflate")


def _records(pair: Pair, classes: Classes, issues: IssueLog) -> Iterator[Record]:
    """The pictures of a pair, without ids."""
    try:
        counts = count_pages(pair.picture), count_pages(pair.map)
        if counts[0] == 1:
            yield from _single(pair, counts[1], classes, issues)
        elif _are_pictures(pair, counts, issues):
            yield from _stack(pair, classes, issues)
    except DataError as error:
        message = error.message.removeprefix(f"{printable(pair.map)}: ")
        issues.error("mask", message, file=pair.map, hint=error.hint)


def _single(pair: Pair, count: int, classes: Classes, issues: IssueLog) -> Iterator[Record]:
    """A picture of one page, and its map: a page per object, or a single page with a number per object."""
    (header,) = read_headers([pair.picture], issues)
    if header is None:
        return
    masks: dict[int, Rle] = {}
    for page, data in enumerate(pages_of(pair.map), 1):
        ids = read_label_map(data)
        if ids.shape != header.size:
            report_size(pair.map, (ids.shape[0], ids.shape[1]), header.size, issues)
            return
        values = object_ids(ids)
        if count > 1 and len(values) != 1:
            message = f"expected the mask of one object on each page, with 0 around it, but found {len(values)} numbers"
            hint = "draw the mask again, or remove the page; where pages are slices of a volume, save one as a picture"
            issues.error("mask-levels", message, file=pair.map, where=f"page {page}", hint=hint)
            continue
        masks |= _drawn(ids, {page: values[0]} if count > 1 else dict(zip(values, values, strict=True)))
    yield _record(pair, pair.picture, header.size, masks, classes, issues)


def _are_pictures(pair: Pair, counts: tuple[int, int], issues: IssueLog) -> bool:
    """Whether the pages of a picture are pictures, each with a page of the map; if not, `issues` is told what it is."""
    meaning = stated_meaning(pair.picture)
    if meaning == "channels":
        message = f"expected a picture, but its {counts[0]} channels are stored as pages"
        issues.error("channels", message, file=pair.picture, hint="save them as the channels of one page")
        return False
    if meaning == "volume":
        issues.error("volume", _VOLUME.format(count=counts[0]), file=pair.picture, hint=_VOLUME_HINT)
        return False
    if counts[0] != counts[1]:
        message = f"expected {counts[0]} pages like those of the picture, but the label map has {counts[1]}"
        issues.error("page-count", message, file=pair.map)
        return False
    if meaning == "unknown" and are_slices([read_label_map(data) for data in pages_of(pair.map)]):
        issues.error("volume", _VOLUME.format(count=counts[0]), file=pair.picture, hint=_VOLUME_HINT)
        return False
    return True


def _stack(pair: Pair, classes: Classes, issues: IssueLog) -> Iterator[Record]:
    """The pages of a picture as pictures, with the objects of the map's pages."""
    pictures = unpacked_pages(pair.picture, issues)
    headers = read_headers(pictures, issues)
    for picture, header, data in zip(pictures, headers, pages_of(pair.map), strict=True):
        ids = read_label_map(data)
        if header is None:
            continue
        if ids.shape != header.size:
            report_size(pair.map, (ids.shape[0], ids.shape[1]), header.size, issues)
            continue
        values = object_ids(ids)
        yield _record(pair, picture, header.size, _drawn(ids, dict(zip(values, values, strict=True))), classes, issues)


def _record(
    pair: Pair, picture: Path, size: tuple[int, int], masks: dict[int, Rle], classes: Classes, issues: IssueLog
) -> Record:
    found = numbered(Pair(picture, pair.map, pair.split), list(masks), classes, issues)
    annotations = (
        replace(annotation, shape=masks[annotation.shape.value])
        for annotation in found
        if isinstance(annotation.shape, MaskFile) and annotation.shape.value is not None
    )
    return Record("", picture, size, Objects(tuple(annotations)), pair.split)


def _drawn(ids: IntArray, values: dict[int, int]) -> dict[int, Rle]:
    """The masks by their numbers; `values` are those that stand for them in the map."""
    counts = Masks.from_ids(ids, np.array(list(values.values()), np.int64)).to_rle()
    return {number: Rle(found) for number, found in zip(values, counts, strict=True)}
