"""CamVid's layout in SegNet's split: pictures in train/, label maps in trainannot/, and so for val and test.

    train/X.png + trainannot/X.png            11 classes 0-10, 11 is void
    train.txt                                 a picture and a label map per line; without lists all pairs count

Other classes in the same layout need a table of classes (see `tables`). Source: Brostow et al. 2009, "Semantic
object classes in video"; Badrinarayanan et al. 2017, "SegNet".
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from everymask.core.files import write_text
from everymask.core.label_sets import CAMVID
from everymask.data.coding import LabelCoding, numbers
from everymask.data.dataset import Dataset
from everymask.data.formats.folders import SPLIT_FOLDERS, copy_picture, file_stem
from everymask.data.formats.labelmaps.contents import count_contents, declared_contents, remembered_contents
from everymask.data.formats.labelmaps.files import read_contents, refused, semantic_dataset
from everymask.data.formats.labelmaps.recognition import recognise
from everymask.data.formats.labelmaps.tables import find_table, read_table, stored_ids, table_text
from everymask.data.formats.pair_lists import find_listed_pairs
from everymask.data.formats.pairs import Pair, match_folders
from everymask.data.formats.readings import judge
from everymask.data.issues import IssueLog, Policy
from everymask.data.pictures.read import write_image

_VOID = 11
_ENOUGH = 8


def looks_like_camvid(path: Path) -> bool:
    """Whether the folder has trainannot/ beside train/ (or the same for val or test), and CamVid's numbers in it.

    Other classes have a table. Without one the numbers must be CamVid's, and where there are no lists either, enough of
    them to be no accident: two could be any foreground.
    """
    if not path.is_dir() or not _folders(path):
        return False
    listed = find_listed_pairs(path, IssueLog("skip"))
    pairs = listed or _pairs(path, IssueLog("skip"))
    if not pairs:
        return False
    judged = judge(path, pairs)
    if judged.best == "objects" or find_table([path]) is not None or not judged.numbers:
        return judged.best != "objects"
    own, others = set(judged.numbers) & set(range(_VOID)), set(judged.numbers) - set(range(_VOID + 1))
    return len(own) >= _ENOUGH or (bool(listed) and not others)


def read_camvid(path: str | Path, *, policy: Policy = "strict", decode: bool = True) -> Dataset:
    """The semantic data set in a folder of CamVid's layout; this module's text says how it is read.

    With `decode` every label map is decoded once; without, the headers of CamVid's own must do, what others hold is
    remembered (see `remembered_contents`), and what else is wrong with one is found when it is read. Raises `DataError`
    with all defects under the strict policy; with `"skip"` defective pairs are left out.
    """
    root = Path(path)
    issues = IssueLog(policy)
    pairs = find_listed_pairs(root, issues) or _pairs(root, issues)
    if not pairs and not issues.total("error"):
        issues.error("no-pictures", "expected train/ beside trainannot/", file=root)
    file = find_table([root])
    table = read_table(file, issues) if file is not None else None
    unread = declared_contents if file is None else partial(remembered_contents, root)
    pictures = read_contents(pairs, issues, count_contents if decode else unread)
    found = (CAMVID, camvid_coding(), "other classes need a table: write classes.csv")
    recognised = found if file is None else recognise(root, pictures, table, issues) if table and pictures else None
    if recognised is None or not pictures:
        raise refused(root, issues)
    labels, coding, hint = recognised
    return semantic_dataset(root, "camvid", pictures, labels, coding, issues, hint=hint)


def write_camvid(folder: str | Path, dataset: Dataset) -> None:
    """Write pictures, label maps and lists; `classes.csv` too unless the classes are CamVid's.

    Pictures without a split go to train.
    """
    root, painted = Path(folder), dataset.semantic()
    own = painted.labels.names == CAMVID.names
    table = "" if own else table_text(painted.labels)
    lists: dict[str, list[str]] = {}
    for index, record in enumerate(painted.records):
        split = record.split or "train"
        ids = painted.label_map(index).ids
        picture = copy_picture(record, root / split)
        label_map = f"{split}annot/{file_stem(record)}.png"
        stored = np.where(ids == painted.labels.ignore, _VOID, ids).astype(np.uint8)
        write_image(root / label_map, stored if own else stored_ids(ids, painted.labels))
        lists.setdefault(split, []).append(f"{split}/{picture.name} {label_map}\n")
    for split, lines in lists.items():
        write_text(root / f"{split}.txt", "".join(lines))
    if table:
        write_text(root / "classes.csv", table)


def camvid_coding() -> LabelCoding:
    """0-10 are the classes, 11 and 255 have no truth."""
    return numbers(len(CAMVID), "CamVid's eleven classes", void=(_VOID, 255))


def _folders(root: Path) -> list[tuple[Path, Path]]:
    pairs = [(root / name, root / f"{name}annot") for name in ("train", "val", "test")]
    return [(pictures, maps) for pictures, maps in pairs if pictures.is_dir() and maps.is_dir()]


def _pairs(root: Path, issues: IssueLog) -> list[Pair]:
    pairs = []
    for folder, maps in _folders(root):
        split = SPLIT_FOLDERS[folder.name.lower()]
        pairs += [Pair(pair.picture, pair.map, split) for pair in match_folders(root, folder, maps, issues)]
    return pairs
