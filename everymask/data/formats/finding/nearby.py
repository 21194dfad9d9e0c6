"""What lies around a path that is no data set."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice
from pathlib import Path

from everymask.data.formats.folders import SPLIT_FOLDERS, files_in, folders_in
from everymask.data.formats.pairs import MAP_FOLDERS, PICTURE_FOLDERS, files_below
from everymask.data.pictures.read import SUFFIXES
from everymask.errors import printable

_MOST_NEAR = 5000
_PARTS = frozenset({*SPLIT_FOLDERS, *PICTURE_FOLDERS, *MAP_FOLDERS, "segmentationclass", "segmentationobject"})


def is_part(root: Path, place: Path) -> bool:
    """Whether a folder of a data set at `place` is named as `root` is: a split, pictures, label maps or annotations."""
    names = [re.sub(r"\d+$", "", part.lower()) for part in root.relative_to(place).parts]
    return root.is_file() or all(name in _PARTS for name in names)


def is_small(folder: Path) -> bool:
    """Whether a folder may be read only to see what is in it."""
    return sum(1 for _ in islice(folder.rglob("*"), _MOST_NEAR)) < _MOST_NEAR


def is_bare(root: Path) -> bool:
    """Whether nothing there could be part of a data set: a file of another kind, or a folder without pictures and
    annotations.
    """
    endings = {file.suffix.lower() for file in (files_below(root) if root.is_dir() else (root,))}
    return endings.isdisjoint((*SUFFIXES, ".json", ".geojson", ".xml", ".csv", ".roi", ".yaml", ".yml"))


def contents_of(root: Path) -> str:
    """What a path that no format knows holds, in a few words."""
    if root.is_file():
        return f"found a {root.suffix or 'file without ending'}"
    suffixes = Counter(file.suffix.lower() or "no ending" for file in files_in(root))
    parts = [f"{count} x {suffix}" for suffix, count in suffixes.most_common(5)]
    folders = [folder.name + "/" for folder in folders_in(root)]
    parts += folders[:8] + (["..."] if len(folders) > 8 else [])
    return f"found {printable(', '.join(parts))}" if parts else "the folder is empty"
