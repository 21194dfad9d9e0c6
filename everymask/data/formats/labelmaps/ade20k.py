"""ADE20K as the scene parsing benchmark of 2016 has it: 150 classes, 0 in the label maps is not labelled.

    images/training/X.jpg       annotations/training/X.png       1-150 are the classes, 0 has no truth
    images/validation/X.jpg     annotations/validation/X.png
    objectInfo150.txt or sceneCategories.txt                     by which the folder is recognised

Source: Zhou et al. 2017, "Scene parsing through ADE20K dataset".
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from everymask.core.files import write_text
from everymask.core.label_sets import ADE20K
from everymask.data.coding import numbers
from everymask.data.dataset import Dataset
from everymask.data.formats.folders import copy_picture, file_stem
from everymask.data.formats.labelmaps.contents import count_contents, declared_contents
from everymask.data.formats.labelmaps.files import read_contents, refused, semantic_dataset
from everymask.data.formats.pairs import match_folders
from everymask.data.issues import IssueLog, Policy
from everymask.data.pictures.read import write_image
from everymask.errors import DataError

_FOLDERS = {"training": "train", "validation": "val", "testing": "test"}
_SIGNS = ("objectInfo150.txt", "sceneCategories.txt")


def looks_like_ade20k(path: Path) -> bool:
    """Whether the folder has images/training beside annotations/training, and one of the benchmark's own files."""
    named = any((path / sign).is_file() for sign in _SIGNS)
    return named and any((path / "annotations" / name).is_dir() for name in _FOLDERS)


def read_ade20k(path: str | Path, *, policy: Policy = "strict", decode: bool = True) -> Dataset:
    """The semantic data set in a folder of ADE20K's layout; this module's text says how it is read.

    With `decode` every label map is decoded once; without, their headers must do, and what else is wrong with one is
    found when it is read. Raises `DataError` with all defects under the strict policy; with `"skip"` defective pairs
    are left out.
    """
    root = Path(path)
    issues = IssueLog(policy)
    pairs = []
    for name, split in _FOLDERS.items():
        found = match_folders(root, root / "images" / name, root / "annotations" / name, issues)
        pairs += [replace(pair, split=split) for pair in found]
    if not pairs:
        hint = "the release of 2017 with *_seg.png is read as ade20k-objects"
        issues.error("no-pictures", "expected images/training beside annotations/training", file=root, hint=hint)
        raise refused(root, issues)
    pictures = read_contents(pairs, issues, count_contents if decode else declared_contents)
    coding = numbers(len(ADE20K), "ADE20K's 150 classes from 1 on", first=1, void=(0, 255))
    hint = "expected 0-150; were the labels shifted already, or is this another list of classes?"
    return semantic_dataset(root, "ade20k", pictures, ADE20K, coding, issues, hint=hint)


def write_ade20k(folder: str | Path, dataset: Dataset) -> None:
    """Write pictures, label maps and `objectInfo150.txt`; `DataError` unless the classes are ADE20K's."""
    root, painted = Path(folder), dataset.semantic()
    if painted.labels.names != ADE20K.names:
        raise DataError("ADE20K's layout is for its own 150 classes", hint="write the data set as image-masks")
    names = {split: name for name, split in _FOLDERS.items()}
    for index, record in enumerate(painted.records):
        name = names.get(record.split or "train", record.split or "")
        ids = painted.label_map(index).ids
        copy_picture(record, root / "images" / name)
        label_map = root / "annotations" / name / f"{file_stem(record)}.png"
        write_image(label_map, np.where(ids == painted.labels.ignore, 0, ids + 1).astype(np.uint8))
    rows = [f"{number}\t{name}\n" for number, name in enumerate(ADE20K.names, 1)]
    write_text(root / _SIGNS[0], "Idx\tName\n" + "".join(rows))
