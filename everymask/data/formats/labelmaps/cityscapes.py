"""Cityscapes: street scenes with 19 classes, and what is stored as the same.

    leftImg8bit/train/<city>/X_leftImg8bit.png
    gtFine/train/<city>/X_gtFine_labelIds.png         all 34 label ids; those that do not train have no truth
    gtFine/train/<city>/X_gtFine_labelTrainIds.png    read where there are no labelIds: 0-18, and 255

gtCoarse/ is read where there is no gtFine/. Source: Cordts et al. 2016, "The Cityscapes dataset".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from everymask.core.label_sets import CITYSCAPES
from everymask.data.coding import LabelCoding, numbers
from everymask.data.dataset import Dataset
from everymask.data.formats.folders import SPLIT_FOLDERS, copy_picture, file_stem
from everymask.data.formats.labelmaps.contents import count_contents, declared_contents
from everymask.data.formats.labelmaps.files import (
    LabelledPicture,
    read_contents,
    refused,
    semantic_dataset,
    total_pixels,
)
from everymask.data.formats.pairs import Pair, files_below
from everymask.data.formats.unannotated import Loose
from everymask.data.issues import IssueLog, Policy
from everymask.data.pictures.read import pictures_among, write_image
from everymask.errors import DataError

LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The label id of each class that trains, in the order of the train ids."""
MOST_LABEL_ID = 33
PICTURES, MAPS = "leftImg8bit", ("gtFine", "gtCoarse")
ANNOTATIONS = "labelIds", "labelTrainIds"
"""Kinds of label maps, that which is read where there are both first."""
_ENOUGH = 3  # so many maps without any label id above 18 are no accident
_MIXED = "labelIds are 0-33, trainIds 0-18 and 255: the file's name and what it holds must agree"


def looks_like_cityscapes(path: Path) -> bool:
    """Whether the folder has leftImg8bit/ beside gtFine/ or gtCoarse/."""
    return (path / PICTURES).is_dir() and any((path / name).is_dir() for name in MAPS)


def has_cityscapes(path: Path, kind: str) -> bool:
    """Whether the folder has leftImg8bit/ and maps of that kind."""
    return (path / PICTURES).is_dir() and any(_ends(file, kind) for file in files_below(maps_of(path), 2))


def maps_of(root: Path) -> Path:
    """The folder of the maps."""
    return next((root / name for name in MAPS if (root / name).is_dir()), root / MAPS[0])


def read_cityscapes(path: str | Path, *, policy: Policy = "strict", decode: bool = True) -> Dataset:
    """The semantic data set in a folder of Cityscapes' layout; this module's text says how it is read.

    With `decode` every label map is decoded once; without, only a few are, and what else is wrong with one is found
    when it is read. Raises `DataError` with all defects under the strict policy, among them trainIds in a file for
    labelIds and the other way round; with `"skip"` defective pairs are left out.
    """
    root = Path(path)
    issues = IssueLog(policy)
    maps = maps_of(root)
    files, found = list(files_below(root / PICTURES, 2)), list(files_below(maps, 2))
    kind = next((kind for kind in ANNOTATIONS if any(_ends(file, kind) for file in found)), None)
    if kind is None:
        hint = "make them from the polygons with cityscapesScripts, createTrainIdLabelImgs"
        issues.error("no-pictures", f"expected {maps.name}/<split>/<city>/*_labelIds.png", file=root, hint=hint)
        raise refused(root, issues)
    pairs, loose = cityscapes_pairs(
        root, pictures_among(files), [file for file in found if _ends(file, kind)], kind, issues
    )
    pictures = read_contents(pairs, issues, count_contents if decode else declared_contents)
    coding = label_id_coding() if kind == "labelIds" else numbers(len(CITYSCAPES), "Cityscapes' train ids", void=(255,))
    if kind == "labelIds":
        _note_train_ids(root, pictures, issues)
    ending = f"_{PICTURES}"
    return semantic_dataset(
        root, "cityscapes", pictures, CITYSCAPES, coding, issues, hint=_MIXED, ending=ending, loose=loose
    )


def write_cityscapes(folder: str | Path, dataset: Dataset) -> None:
    """Write pictures and labelIds; `DataError` unless the classes are Cityscapes'.

    The city is the part of a picture's id before the first `_`.
    """
    root, painted = Path(folder), dataset.semantic()
    if painted.labels.names != CITYSCAPES.names:
        raise DataError("Cityscapes' layout is for its own 19 classes", hint="write the data set as image-masks")
    stored = np.zeros(painted.labels.ignore + 1, np.uint8)
    stored[: len(LABEL_IDS)] = LABEL_IDS
    for index, record in enumerate(painted.records):
        stem = file_stem(record).removesuffix(f"_{PICTURES}")
        place = Path(record.split or "train") / stem.partition("_")[0]
        copy_picture(replace(record, id=f"{stem}_{PICTURES}"), root / PICTURES / place)
        ids = stored[painted.label_map(index).ids]
        write_image(root / "gtFine" / place / f"{stem}_gtFine_labelIds.png", ids)


def label_id_coding() -> LabelCoding:
    """The label ids 0-33; those that do not train have no truth."""
    rows: dict[int, int | None] = dict.fromkeys(range(MOST_LABEL_ID + 1))
    rows |= {value: name for name, value in enumerate(LABEL_IDS)}
    return LabelCoding("numbers", tuple(rows.items()), "Cityscapes' label ids as train ids")


def _ends(file: Path, kind: str) -> bool:
    return file.stem.endswith(f"_{kind}")


def cityscapes_pairs(
    root: Path, pictures: list[Path], maps: list[Path], kind: str, issues: IssueLog
) -> tuple[list[Pair], list[Loose]]:
    """The pictures with label maps, and those of the test split without."""
    known = {(file.parent.parent.name, file.stem.rsplit("_", 2)[0]): file for file in maps}
    pairs: list[Pair] = []
    loose: list[Loose] = []
    for picture in pictures:
        folder = picture.parent.parent.name
        stem = picture.stem.removesuffix(f"_{PICTURES}")
        split = SPLIT_FOLDERS.get(folder.lower(), folder)
        if picture.stem == stem:
            message = f"expected a name that ends in _{PICTURES}"
            issues.error("picture-name", message, file=picture, value=picture.name)
        elif (file := known.pop((folder, stem), None)) is not None:
            pairs.append(Pair(picture, file, split))
        elif split == "test":
            issues.warn("unlabelled", "a test picture without a label map is left out", file=picture)
            loose.append(Loose(picture, split))
        else:
            message = "the picture has no label map"
            issues.error("mask-missing", message, file=picture, hint=f"expected {stem}_gtFine_{kind}.png")
    for file in known.values():
        hint = f"expected {PICTURES}/{file.parent.parent.name}/<city>/{file.stem.rsplit('_', 2)[0]}_{PICTURES}.png"
        issues.error("picture-missing", "the label map belongs to no picture", file=file, hint=hint)
    return pairs, loose


def _note_train_ids(root: Path, pictures: Sequence[LabelledPicture], issues: IssueLog) -> None:
    # Nearly every street shows something above 18, such as vegetation: a few maps tell whether to look at all.
    few, enough = pictures[:: max(1, len(pictures) // _ENOUGH)], len(pictures) >= _ENOUGH
    if enough and all(max(total_pixels(some), default=0) < len(CITYSCAPES) for some in (few, pictures)):
        message = "no label map holds a label id above 18, as if trainIds were stored under the name of labelIds"
        issues.error("train-ids", message, file=root, hint=_MIXED)
