"""Pictures with a label map each, in whatever folders people have them (see `pairs`), whose pixels hold classes.

What the maps hold is said by a table of classes in the root or beside them (see `tables`), or found in the maps (see
`recognition`). Maps may be grey or palette files of 8, 16 or 32 bits (palettes count by index), RGB colours, and 0/255;
masks of two grey levels may also be JPEGs or have smoothed edges, and are divided by a limit.

A folder of object maps (instance segmentation) has the same layouts; `readings` tells them apart.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from everymask.core.files import write_text
from everymask.data.dataset import Dataset
from everymask.data.formats.folders import copy_picture, file_stem
from everymask.data.formats.labelmaps.ade20k import looks_like_ade20k
from everymask.data.formats.labelmaps.camvid import looks_like_camvid
from everymask.data.formats.labelmaps.cityscapes import looks_like_cityscapes
from everymask.data.formats.labelmaps.contents import count_contents, remembered_contents
from everymask.data.formats.labelmaps.files import read_contents, refused, semantic_dataset
from everymask.data.formats.labelmaps.recognition import recognise
from everymask.data.formats.labelmaps.tables import find_table, read_table, stored_ids, table_text
from everymask.data.formats.pair_lists import find_pairs, has_pairs
from everymask.data.formats.readings import judge, table_folders
from everymask.data.formats.stacks.recognition import looks_like_tiff_stacks
from everymask.data.issues import IssueLog, Policy
from everymask.data.pictures.read import write_image


def looks_like_image_masks(path: Path) -> bool:
    """Whether the folder holds pictures with label maps, in no layout of a name, that hold classes or may do so."""
    named = (looks_like_camvid, looks_like_cityscapes, looks_like_ade20k, looks_like_tiff_stacks)
    if not has_pairs(path) or any(looks_like(path) for looks_like in named):
        return False
    return judge(path, find_pairs(path, IssueLog("skip"))).best != "objects"


def read_image_masks(
    path: str | Path,
    *,
    policy: Policy = "strict",
    decode: bool = True,
    masks: str | Path | None = None,
    mask_threshold: int | None = None,
) -> Dataset:
    """The semantic data set in a folder of pictures and label maps; this module's text says how it is read.

    `masks` names the folder of the label maps where there are several; `mask_threshold` (1-255) is the brightness from
    which on foreground is, in masks of two grey levels that are not exact.
    Every label map is decoded once; without `decode`, what a large data set's maps held the last time is remembered
    (see `remembered_contents`). Raises `DataError` with all defects under the strict policy; with `"skip"`
    defective pairs are left out, but it is raised too where nothing says what the maps hold.
    """
    root = Path(path)
    issues = IssueLog(policy)
    pairs = find_pairs(root, issues, masks)
    if not pairs and not issues.total("error"):
        hint = "name the folders images and masks, or the label maps like their pictures with _mask at the end"
        issues.error("no-pictures", "expected pictures with label maps", file=root, hint=hint)
    file = find_table(table_folders(root, pairs))
    table = read_table(file, issues) if file is not None else None
    pictures = read_contents(pairs, issues, count_contents if decode else partial(remembered_contents, root))
    usable = bool(pictures) and (table is not None or file is None)
    recognised = recognise(root, pictures, table, issues, mask_threshold) if usable else None
    if recognised is None:
        raise refused(root, issues)
    labels, coding, hint = recognised
    return semantic_dataset(root, "image-masks", pictures, labels, coding, issues, hint=hint)


def write_image_masks(folder: str | Path, dataset: Dataset) -> None:
    """Write pictures, label maps with the class ids, and `classes.csv`.

    Maps have 8 bits and 255 where there is no truth, or for more than 255 classes 16 bits and 65535. Objects are
    painted as `Dataset.semantic` says.
    """
    root, painted = Path(folder), dataset.semantic()
    table = table_text(painted.labels)
    for index, record in enumerate(painted.records):
        base = root / (record.split or "")
        copy_picture(record, base / "images")
        ids = stored_ids(painted.label_map(index).ids, painted.labels)
        write_image(base / "masks" / f"{file_stem(record)}.png", ids)
    write_text(root / "classes.csv", table)
