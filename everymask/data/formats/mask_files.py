"""One mask file per object, as in the Data Science Bowl 2018 (nuclei).

    <id>/images/<one picture>
    <id>/masks/*.png             an object each: 0 outside, one other number (usually 255) inside
    <id>/masks/<class>/*.png     the same, where there are several classes

The folders `<id>` stand in the root or in folders named train, val, test. Without class folders everything is one
class, called `object`, or by the name that `classes.txt` in the root holds. `classes.txt` also fixes the order of
several classes, which are else sorted by name. A picture with an empty `masks` folder has no objects; one without the
folder is an error, or left out with a warning where it belongs to the test split.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from everymask.core.files import write_text
from everymask.core.labels import labels_of
from everymask.data.dataset import Dataset
from everymask.data.formats.drawn.writing import report_ignored
from everymask.data.formats.folders import (
    SPLIT_FOLDERS,
    copy_picture,
    file_stem,
    files_in,
    folders_in,
    names_text,
    pictures_in,
    read_map,
    read_names,
    split_of,
    unique_ids,
)
from everymask.data.formats.unannotated import Loose, loose_records
from everymask.data.issues import IssueLog, Policy
from everymask.data.pictures.headers import read_headers
from everymask.data.pictures.read import SUFFIXES, pictures_among, write_image
from everymask.data.records import Annotation, BoxOnly, MaskFile, Objects, Record
from everymask.errors import DataError

ONE_CLASS = "object"


@dataclass(frozen=True, slots=True)
class _Folder:
    """One `<id>` folder: its picture, and its mask files with the name of their class folder."""

    picture: Path
    masks: list[tuple[str | None, Path]]
    split: str | None


def looks_like_mask_files(path: Path) -> bool:
    """Whether the folder holds `<id>` folders with one picture in `images` and a folder `masks`."""
    if not path.is_dir():
        return False
    sampled = list(islice(_candidates(path), 5))
    return bool(sampled) and all(len(pictures_among(files_in(folder / "images"))) == 1 for folder in sampled)


def read_mask_files(path: str | Path, *, policy: Policy = "strict") -> Dataset:
    """The data set in a folder of `<id>` folders; the layout is described in this module's text.

    Every mask is decoded once to check its size and that it is neither empty nor anything but two-valued. Raises
    `DataError` with all defects under the strict policy; with `"skip"` defective masks and pictures are left out.
    """
    root = Path(path)
    issues = IssueLog(policy)
    loose: list[Loose] = []
    folders = [found for folder in id_folders(root) if (found := _read_folder(folder, root, loose, issues)) is not None]
    if not folders and not issues.total("error"):
        issues.error("no-pictures", "expected folders with images/ and masks/ in them", file=root)
    names = _class_names(root, {name for folder in folders for name, _ in folder.masks}, issues)
    ids = unique_ids([folder.picture for folder in folders], root)
    headers = read_headers([folder.picture for folder in folders], issues)
    records = []
    for folder, name, header in zip(folders, ids, headers, strict=True):
        if header is not None:
            objects = tuple(_read_objects(folder, header.size, names, issues))
            records.append(Record(name, folder.picture, header.size, Objects(objects), folder.split))
    records += loose_records(loose, ids, root, issues)
    return Dataset(labels_of(names), tuple(records), "mask-files", root, issues.finish(f"mask files in {root}"))


def write_mask_files(folder: str | Path, dataset: Dataset) -> None:
    """Write the data set as `<id>` folders, below train, val, test where it has splits, and `classes.txt`.

    Raises `DataError` for objects without a mask and for crowds, which this layout cannot hold.
    """
    root, names = Path(folder), dataset.labels.names
    listing = names_text(names)
    for name in names:
        if len(names) > 1 and (name in (".", "..") or any(sign in name for sign in '/\\\0:*?"<>|')):
            raise DataError(f"the class name {name!r} cannot be the name of a folder")
    for record in dataset.records:
        if any(isinstance(annotation.shape, BoxOnly) or annotation.crowd for annotation in record.objects.annotations):
            raise DataError(
                f"{record.id}: expected a mask for every object and no crowds", hint="write the data set as COCO"
            )
    write_text(root / "classes.txt", listing)
    report_ignored(root, dataset)
    for index, record in enumerate(dataset.records):
        target = root / (record.split or "") / file_stem(record)
        (target / "masks").mkdir(parents=True, exist_ok=True)
        copy_picture(record, target / "images")
        truth = dataset.objects(index)
        if truth.masks is None:
            continue
        for number in range(len(truth)):
            kind = names[int(truth.class_ids[number])] if len(names) > 1 else ""
            mask = truth.masks.to_dense(number)
            write_image(target / "masks" / kind / f"{number + 1:05}.png", np.where(mask, 255, 0).astype(np.uint8))


def _candidates(root: Path) -> Iterator[Path]:
    for folder in root.iterdir():
        if not folder.is_dir() or folder.name.startswith("."):
            continue
        if folder.name.lower() in SPLIT_FOLDERS and not (folder / "images").is_dir():
            yield from _candidates(folder)
        elif folder.name.lower() not in SPLIT_FOLDERS and (folder / "images").is_dir() and (folder / "masks").is_dir():
            yield folder


def id_folders(root: Path) -> Iterator[Path]:
    """The `<id>` folders, complete or not."""
    for folder in folders_in(root) if root.is_dir() else ():
        if (folder / "images").is_dir() or (folder / "masks").is_dir():
            yield folder
        elif folder.name.lower() in SPLIT_FOLDERS:
            yield from id_folders(folder)


def _read_folder(folder: Path, root: Path, loose: list[Loose], issues: IssueLog) -> _Folder | None:
    """The folder, or None where `issues` was told why it cannot be used or its picture went to `loose`."""
    pictures = pictures_in(folder / "images", issues)
    if len(pictures) != 1:
        message = "expected exactly one picture in images/"
        issues.error(
            "picture-count", message, file=folder, value=len(pictures), hint="give each picture its own folder"
        )
        return None
    picture = next(iter(pictures.values()))
    split = split_of(folder / "x", root)
    if not (folder / "masks").is_dir():
        if split == "test":
            issues.warn("unlabelled", "a test picture without a masks folder is left out", file=picture)
            loose.append(Loose(picture, split))
        else:
            hint = "make an empty masks folder if the picture shows no objects, else remove it"
            issues.error("mask-missing", "the picture has no masks folder", file=picture, hint=hint)
        return None
    masks: list[tuple[str | None, Path]] = [(None, file) for file in _masks_in(folder / "masks", issues)]
    for kind in folders_in(folder / "masks"):
        masks += [(kind.name, file) for file in _masks_in(kind, issues)]
    return _Folder(picture, sorted(masks, key=lambda mask: mask[1].name), split)


def _masks_in(folder: Path, issues: IssueLog) -> list[Path]:
    found = files_in(folder)
    for file in found:
        if file.suffix.lower() not in SUFFIXES:
            issues.warn("not-a-mask", "a file that is no picture stands among the masks and is left out", file=file)
    return [file for file in found if file.suffix.lower() in SUFFIXES]


def _class_names(root: Path, found: set[str | None], issues: IssueLog) -> tuple[str, ...]:
    """The classes in order; `found` are the class folders, None for masks that stand in none."""
    file = root / "classes.txt"
    if not file.is_file():
        return tuple(sorted(name or ONE_CLASS for name in found)) or (ONE_CLASS,)
    names = read_names(file, issues)
    if None in found and _class_id(None, names) is None:
        message = f"expected class folders in masks/, since there are {len(names)} classes"
        issues.error("class-missing", message, file=file, hint="move the masks into masks/<class>/")
    unknown = sorted(name for name in found if name is not None and name not in names)
    for name in unknown:
        hint = "add the class to the file, or rename the folders"
        issues.error("unknown-class", "a folder of masks is named after no class", file=file, value=name, hint=hint)
    return (*names, *unknown) or (ONE_CLASS,)


def _read_objects(
    folder: _Folder, size: tuple[int, int], names: tuple[str, ...], issues: IssueLog
) -> Iterator[Annotation]:
    for number, (kind, file) in enumerate(folder.masks, 1):
        ids = read_map(file, size, issues, palette=False)
        if ids is None:
            continue
        low, high = int(ids.min()), int(ids.max())
        if high == 0:
            issues.error("empty-mask", "the mask is empty", file=file, hint="remove the file")
            continue
        between = (ids != 0) & (ids != high)
        if between.any():
            row, column = np.argwhere(between)[0].tolist()
            share = 100 * float(between.mean())
            issues.error(
                "mask-values", f"expected only 0 and one other number, but {share:.2g} % of the pixels hold others",
                file=file, where=f"row {row}, column {column}", value=int(ids[row, column]),
                hint="export the mask without smoothing, one object per file",
            )  # fmt: skip
            continue
        if low == high:
            issues.warn("full-mask", "the mask covers the whole picture", file=file)
        class_id = _class_id(kind, names)
        if class_id is not None:
            yield Annotation(class_id, MaskFile(file), id=number)


def _class_id(kind: str | None, names: tuple[str, ...]) -> int | None:
    """The class of masks in the class folder `kind`; None where nothing says it."""
    if kind is None and len(names) == 1:
        return 0
    name = ONE_CLASS if kind is None else kind
    return names.index(name) if name in names else None
