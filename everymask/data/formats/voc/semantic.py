"""Pascal VOC's class maps as a semantic data set, and what labelme's converter and CVAT write in that layout.

    JPEGImages/X.jpg
    SegmentationClass/X.png                             0 background, 1, 2, ... the classes, 255 no truth
    ImageSets/Segmentation/train.txt, val.txt, ...      which pictures there are; without lists all pairs count

Maps may be palette or grey PNG, or RGB in the colours of `labelmap.txt` or VOC. Class names come from `class_names.txt`
or `labelmap.txt`, else they are VOC's twenty; background is the class of
that name, or the first. A folder with SegmentationObject is
recognised as a data set of objects, and read here where class maps are asked for.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from everymask.core.files import write_text
from everymask.core.labels import Labels
from everymask.data.coding import LabelCoding
from everymask.data.dataset import Dataset
from everymask.data.formats.finding.named import respelled
from everymask.data.formats.folders import copy_picture, file_stem, folders_in, pictures_in
from everymask.data.formats.labelmaps.contents import count_contents, declared_contents
from everymask.data.formats.labelmaps.files import LabelledPicture, read_contents, refused, semantic_dataset
from everymask.data.formats.labelmaps.tables import BACKGROUND_NAMES
from everymask.data.formats.pairs import Pair
from everymask.data.formats.unannotated import Loose
from everymask.data.formats.voc.classes import VOID, Classes, names_list, read_classes, voc_colours, write_palette
from everymask.data.formats.voc.lists import Entry, read_lists, spelled_as
from everymask.data.issues import IssueLog, Policy
from everymask.errors import DataError


def looks_like_voc_semantic(path: Path) -> bool:
    """Whether the folder, or one in it, has VOC's class maps and no maps of objects."""
    return has_class_maps(path) and not (_root(path) / "SegmentationObject").is_dir()


def has_class_maps(path: Path) -> bool:
    """Whether the folder, or one in it, has JPEGImages beside SegmentationClass."""
    return _is_root(_root(path))


def read_voc_semantic(path: str | Path, *, policy: Policy = "strict", decode: bool = True) -> Dataset:
    """The semantic data set in a VOC folder; the layout is described in this module's text.

    With `decode` every class map is decoded once; without, the headers of palette and grey ones must do, and what else
    is wrong with one is found when it is read. Raises `DataError` with all defects under the strict policy; `"skip"`
    leaves out what is defective.
    """
    root = _root(Path(path))
    issues = IssueLog(policy)
    classes = read_classes(root, issues) or Classes.of_voc()
    pairs, loose = _pairs(root, issues)
    pictures = read_contents(pairs, issues, count_contents if decode else declared_contents)
    if not pictures:
        if not issues.total("error"):
            message = "expected pictures in JPEGImages and class maps in SegmentationClass"
            issues.error("no-pictures", message, file=root)
        raise refused(root, issues)
    names = classes.all_names()
    own = voc_colours()[: len(names)].tolist() if len(names) <= 256 else []
    labels = Labels(names, tuple((red, green, blue) for red, green, blue in own))
    hint = "list the classes in class_names.txt, background first, one per line; numbers must not be shifted"
    coding = _coding(classes, pictures)
    return semantic_dataset(root, "voc-semantic", pictures, labels, coding, issues, hint=hint, loose=loose)


def write_voc_semantic(folder: str | Path, dataset: Dataset) -> None:
    """Write pictures, palette PNGs of classes, lists and `class_names.txt`.

    `DataError` unless one of the classes is called background, and for more than 255 classes.
    """
    root, painted = Path(folder), dataset.semantic()
    names = painted.labels.names
    place = next((row for row, name in enumerate(names) if name.lower() in BACKGROUND_NAMES), None)
    if place is None:
        raise DataError(
            f"VOC's class maps have background among the classes, but these are {', '.join(names)}",
            hint="write the data set as image-masks",
        )
    if len(names) > VOID:
        raise DataError(
            f"VOC's class maps hold {VOID} classes, but there are {len(names)}",
            hint="write the data set as image-masks",
        )
    listing = names_list(names, place)
    lists: dict[str, list[str]] = {}
    for index, record in enumerate(painted.records):
        copy_picture(record, root / "JPEGImages")
        ids = painted.label_map(index).ids
        ids = np.where(ids == painted.labels.ignore, VOID, ids)
        write_palette(root / "SegmentationClass" / f"{file_stem(record)}.png", ids)
        lists.setdefault(record.split or "trainval", []).append(f"{file_stem(record)}\n")
    for split, stems in lists.items():
        write_text(root / "ImageSets" / "Segmentation" / f"{split}.txt", "".join(stems))
    write_text(root / "class_names.txt", listing)


def _root(path: Path) -> Path:
    if _is_root(path) or not path.is_dir():
        return path
    devkit = path / "VOCdevkit"
    found = [folder for folder in folders_in(devkit if devkit.is_dir() else path) if _is_root(folder)]
    return found[0] if len(found) == 1 else path


def _is_root(path: Path) -> bool:
    return (path / "JPEGImages").is_dir() and (path / "SegmentationClass").is_dir()


def _pairs(root: Path, issues: IssueLog) -> tuple[list[Pair], list[Loose]]:
    """The pictures with class maps, and those that are not annotated."""
    pictures = pictures_in(root / "JPEGImages", issues)
    maps = respelled(pictures_in(root / "SegmentationClass", issues), pictures, issues)
    listed = spelled_as(read_lists(root / "ImageSets" / "Segmentation", issues), pictures)
    entries = listed or [Entry(stem, None, "") for stem in maps]
    pairs: list[Pair] = []
    loose = [] if listed else [Loose(picture) for stem, picture in pictures.items() if stem not in maps]
    if loose:
        message = f"{len(loose)} pictures are left out: they have no class map"
        issues.warn("not-listed", message, file=root, value=loose[0].picture.stem)
    for entry in entries:
        picture, file = pictures.get(entry.stem), maps.get(entry.stem)
        if picture is not None and file is not None:
            pairs.append(Pair(picture, file, entry.split))
        elif picture is not None and entry.split == "test":
            issues.warn("unlabelled", "a test picture without a class map is left out", file=picture)
            loose.append(Loose(picture, entry.split))
        else:
            code, folder = (
                ("picture-missing", "JPEGImages") if picture is None else ("mask-missing", "SegmentationClass")
            )
            message = f"{entry.stem} has no file in {folder}/"
            issues.error(code, message, file=root, where=entry.where, value=entry.stem)
    left_out = sorted(set(maps) - {entry.stem for entry in entries})
    if left_out:
        message = f"{len(left_out)} pictures are left out: no list in ImageSets names them"
        issues.warn("not-listed", message, file=root, value=left_out[0])
    return pairs, loose


def _coding(classes: Classes, pictures: list[LabelledPicture]) -> LabelCoding:
    source = classes.file or "Pascal VOC's classes"
    coloured = any(picture.content.coloured for picture in pictures)
    stored = classes.colour_table() if coloured else {VOID: VOID} | classes.numbers
    rows = {value: classes.class_id(stands_for) for value, stands_for in stored.items()}
    return LabelCoding("colours" if coloured else "numbers", tuple(rows.items()), source)
