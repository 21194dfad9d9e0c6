"""What lies around a path that is no data set."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

from everymask.data.dataset import Dataset
from everymask.data.formats.folders import SPLIT_FOLDERS, files_in, folders_in
from everymask.data.formats.pairs import MAP_FOLDERS, PICTURE_FOLDERS, files_below
from everymask.data.pictures.read import SUFFIXES
from everymask.data.records import LabelMapFile
from everymask.errors import EverymaskError, printable


class Known(Protocol):
    """What is asked of a format."""

    @property
    def name(self) -> str:
        """What users call it."""

    @property
    def read(self) -> Callable[..., Dataset]:
        """Reads what lies at a path."""


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


def nearest(root: Path, find: Callable[[Path], Sequence[Known]]) -> tuple[Path, str] | None:
    """A data set one or two folders below, else one or two above whose pictures or annotations lie here; its format."""
    try:
        below = folders_in(root)[:50] if root.is_dir() else []
        inner = [place for folder in below[:20] for place in folders_in(folder)[:20]]
        for place in (*below, *inner):
            if found := find(place):
                return place, found[0].name
        here = root.resolve()
        for place in here.parents[:2]:
            if not is_part(here, place) or not is_small(place):
                continue
            if (found := find(place)) and _has_files_in(here, place, found[0]):
                return place, found[0].name
    except (EverymaskError, OSError):  # what cannot be read is no reason to hide the error that brought us here
        return None
    return None


def _has_files_in(root: Path, place: Path, known: Known) -> bool:
    """Whether the data set at `place` has pictures or label maps in `root`, or pictures called as the files there."""
    dataset = known.read(place, policy="skip")
    pictures = [record.image for record in dataset.records]
    maps = [record.truth.file for record in dataset.records if isinstance(record.truth, LabelMapFile)]
    stems, here = {file.stem for file in pictures}, [file.stem for file in files_in(root)]
    if here and 2 * sum(stem in stems for stem in here) > len(here):
        return True
    return any(file.resolve().is_relative_to(root) for file in (*pictures, *maps))
