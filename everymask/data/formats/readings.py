"""Whether label maps hold objects or classes: what stands beside them decides, else what they hold, never a name alone.

A statement is certain: `labels.json` names the class of each object, picture by picture, so the numbers are objects; a
table that gives classes their numbers or colours, or lists several, says that they are classes (see `tables`).

Otherwise up to 12 maps are looked at. A number that occurs nowhere but in one connected piece is called whole; 0 and
what stands for no truth (255, 65535) do not count.

    what is found                                                  read as    fits too
    colours; no more than one number in a map; smoothed edges      classes
      ... but that one number is 1 and whole in every map          classes    objects
    numbers above 255, or more than 254 different ones             objects
      ... less than 7 in 10 of them whole                          nothing    both
    less than 7 in 10 numbers are whole                            classes
      ... but they run from 1 to 20 or more, differently far       nothing    both
    most maps leave numbers out                                    classes    objects
      ... with six numbers in a map or more, 9 in 10 whole         objects    classes
    numbers run from 1, differently far, up to 6 or more           objects
      ... up to 3, 4 or 5, and there is no void                    objects    classes
    the numbers of a single map run from 1 to 6 or more            objects    classes
    the same numbers in all maps; 1 or 2 alone; few and void       nothing    both
      ... but there is no 0, so that everything is labelled        classes    objects

Where the content fits both and nothing is likelier, a name that speaks (PedMasks, X_instances.png, trainannot) decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import cv2
import numpy as np

from everymask.core.arrays import BoolArray, IntArray
from everymask.core.masks import Masks
from everymask.data.formats.folders import SPLIT_FOLDERS, object_ids, read_lines
from everymask.data.formats.labelmaps.tables import find_table, read_table
from everymask.data.formats.pairs import Pair
from everymask.data.issues import IssueLog
from everymask.data.pictures.read import read_label_map
from everymask.data.strict.json_files import read_strict_json
from everymask.errors import DataError, MachineError, counted

Reading: TypeAlias = Literal["objects", "classes"]
SAMPLED = 12
_LOOKED_AT = 64
"""So many numbers of a map are looked at for whether they are whole."""
_WHOLE, _ALL_WHOLE = 0.7, 0.9
_MANY, _VERY_MANY = 6, 20
_MOST_CLASSES = 254
_SMOOTH, _SPECK = 8, 3
_LISTED = 8
_OBJECTS_FILE = "labels.json"
_OBJECT_NAMES = ("pedmasks", "instance", "cp_masks")
_CLASS_NAMES = ("semantic", "annot", "class")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What label maps hold: `best`, or None where nothing says which of the two; `both` says that the other one fits.

    `numbers` are all numbers found, ascending, and `objects` the number of objects of each map looked at, of `total`
    maps; both are empty where a statement made looking needless, and where no map could be read.
    """

    best: Reading | None
    both: bool = False
    numbers: tuple[int, ...] = ()
    objects: tuple[int, ...] = ()
    total: int = 0

    def fits(self, reading: Reading) -> bool:
        """Whether the maps can be read so."""
        return self.both or self.best == reading

    def candidates(self) -> str:
        """What the maps would be in both readings, in a few words."""
        listed = ", ".join(map(str, self.numbers[:_LISTED])) + (", ..." if len(self.numbers) > _LISTED else "")
        some = f"{len(self.objects)} of " if len(self.objects) < self.total else ""
        pictures = f"{some}{counted(self.total, 'picture')}"
        return f"as objects: {sum(self.objects)} in {pictures}; as classes: {len(self.numbers)} ({listed})"


def judge(root: Path, pairs: Sequence[Pair]) -> Judgement:
    """What the maps of `pairs` in the data set at `root` hold, by the rule in this module's text."""
    stated = _stated(root, pairs)
    if stated is not None:
        return Judgement(stated)
    maps = []
    for pair in pairs[:: max(1, len(pairs) // SAMPLED)][:SAMPLED]:
        try:
            maps.append(read_label_map(pair.map))
        except (DataError, MachineError):  # colours, and what the reader will refuse
            continue
    found = replace(judge_maps(maps), total=len(pairs))
    if found.best is None:
        name = f"{pairs[0].map.parent.name}/{pairs[0].map.stem}".lower()
        if any(word in name for word in _OBJECT_NAMES):
            return replace(found, best="objects")
        if any(word in name for word in _CLASS_NAMES):
            return replace(found, best="classes")
    return found


def judge_maps(maps: Sequence[IntArray]) -> Judgement:
    """What label maps [H, W] hold, by what is in them alone."""
    numbers = [object_ids(ids) for ids in maps]
    voids = [void_number(ids, values) for ids, values in zip(maps, numbers, strict=True)]
    void = next((value for value in voids if value is not None), None)
    listed = [[value for value in values if value != void] for values in numbers]
    stored = {value for values in numbers for value in values} | ({0} if any(not ids.all() for ids in maps) else set())
    best, both = _reading(maps, listed, stored, void)
    return Judgement(best, both, tuple(sorted(stored)), tuple(map(len, listed)), len(maps))


def void_number(ids: IntArray, values: Sequence[int]) -> int | None:
    """The number of a map with the numbers `values` that has no truth: the largest of 8 or 16 bits, as in Pascal VOC.

    None where the number below occurs too, so that the numbers may just reach as far.
    """
    top = np.iinfo(ids.dtype).max
    return top if ids.dtype.itemsize <= 2 and top in values and top - 1 not in values else None


def _reading(
    maps: Sequence[IntArray], listed: Sequence[list[int]], stored: set[int], void: int | None
) -> tuple[Reading | None, bool]:
    filled = [values for values in listed if values]
    most = max(map(len, filled), default=0)
    whole = _share_of_whole(maps, listed)
    if _has_soft_edges(maps, whole):
        return "classes", False
    if most < 2:
        return "classes", whole == 1 and all(values == [1] for values in filled)
    lengths = {len(values) for values in filled}
    runs = [values == list(range(1, len(values) + 1)) for values in filled]
    if max(map(max, filled)) > 255 or len(stored) > _MOST_CLASSES + 1:
        return ("objects", False) if whole >= _WHOLE else (None, True)
    if whole < _WHOLE:
        counts = all(runs) and most >= _VERY_MANY and len(lengths) > 1
        return (None, True) if counts else ("classes", False)
    if 2 * sum(runs) < len(runs):
        many = sum(map(len, filled)) >= _MANY * len(filled) and whole >= _ALL_WHOLE
        return ("objects", True) if many else ("classes", True)
    if len(filled) == 1 and most >= _MANY:
        return "objects", True
    if len({tuple(values) for values in filled}) == 1 or most <= 2 or (most < _MANY and void is not None):
        return (None, True) if 0 in stored else ("classes", True)
    return "objects", most < _MANY


def table_folders(root: Path, pairs: Sequence[Pair]) -> list[Path]:
    """The folders in which a table of classes may lie: the root, then those of the label maps, then their parents."""
    places = [root]
    for pair in pairs[:1]:
        places += [pair.map.parent, pair.map.parent.parent]
    return list(dict.fromkeys(place for place in places if place == root or root in place.parents))


def objects_table(root: Path) -> Path:
    """The file that says the class of each object, in the root, or above it where the root is one split of a set."""
    above = root.absolute().parent / _OBJECTS_FILE
    is_split = root.absolute().name.lower() in SPLIT_FOLDERS
    return above if is_split and above.is_file() and not (root / _OBJECTS_FILE).is_file() else root / _OBJECTS_FILE


def _stated(root: Path, pairs: Sequence[Pair]) -> Reading | None:
    """What files beside the label maps say that they hold."""
    issues = IssueLog("skip")
    objects = objects_table(root)
    if objects.is_file():
        found = read_strict_json(objects, issues)
        if isinstance(found, dict) and all(isinstance(entries, dict) for entries in found.values()):
            return "objects"
    file = find_table(table_folders(root, pairs))
    if file is None:
        return None
    table = read_table(file, issues)
    if table is None:  # whose reader says what is wrong with it
        return "classes" if len(read_lines(file, issues) or ()) > 1 else None
    return "classes" if table.numbered or table.coloured or len(table.rows) > 1 else None


def _share_of_whole(maps: Sequence[IntArray], listed: Sequence[list[int]]) -> float:
    """The share of the numbers that form one piece, or all but a twentieth of which does."""
    whole = []
    for ids, values in zip(maps, listed, strict=True):
        masks = Masks.from_ids(ids, np.array(values[:_LOOKED_AT], np.int64))
        whole += [not _falls_apart(masks.crop(row)) for row in range(len(masks))]
    return sum(whole) / len(whole) if whole else 0.0


def _falls_apart(mask: BoolArray) -> bool:
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return bool(areas.max() < 0.95 * areas.sum())


def _has_soft_edges(maps: Sequence[IntArray], whole: float) -> bool:
    """Whether 255 fills most of what is not 0, and many numbers the rest: scattered, or in a few pixels each."""
    counts = [np.bincount(ids.ravel(), minlength=256) for ids in maps if ids.dtype == np.uint8]
    white = sum(int(count[255]) for count in counts)
    soft = [int(pixels) for count in counts for pixels in count[1:255] if pixels]
    numbers = len({value for count in counts for value in np.flatnonzero(count[1:255]).tolist()})
    return numbers >= _SMOOTH and white > sum(soft) and (whole < _WHOLE or sum(soft) <= _SPECK * len(soft))
