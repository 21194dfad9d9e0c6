"""Which folder holds the label maps where no folder's name says it: Bilder/ and Masken/, fotos/ and verdad/."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

from everymask.data.formats.folders import SPLIT_FOLDERS, folders_in
from everymask.data.formats.pair_lists import find_pairs
from everymask.data.formats.pairs import files_below, flat_maps, have_few, shares_names
from everymask.data.formats.readings import judge_maps
from everymask.data.issues import IssueLog
from everymask.data.pictures.read import pictures_among
from everymask.errors import printable

_MOST_FOLDERS = 12


def guessed_maps(root: Path, issues: IssueLog) -> str | None:
    """The name of the folder of label maps that is found by how its files look, which is a warning; None where there is
    no such folder, and where names pair some files and leave others alone.
    """
    beside = None if left_alone(root).total("error") else maps_beside(root)
    if beside is None:
        return None
    pictures, maps = (printable(folder.name) for folder in beside)
    message = f"the files in {maps}/ are taken for the label maps of the pictures in {pictures}/, by how they look"
    issues.warn("maps-beside", message, file=root, hint="otherwise name the folder of the label maps: --masks FOLDER")
    return beside[1].name


def left_alone(root: Path) -> IssueLog:
    """What there is without a partner where names pair pictures with label maps."""
    lonely = IssueLog("skip")
    find_pairs(root, lonely)
    return lonely


def maps_beside(root: Path) -> tuple[Path, Path] | None:
    """A folder of pictures, and that of their label maps: in `root`, or alike in each folder of a split.

    They belong together where the files of the one, and not those of the other, look like label maps, and at least half
    of the pictures have a map of their name. None where that is so of none, or of several: nothing is guessed.
    """
    splits = [folder for folder in folders_in(root) if folder.name.lower() in SPLIT_FOLDERS] if root.is_dir() else []
    found = [pair for base in (root, *splits) if base.is_dir() for pair in _pairs_in(base)]
    return found[0] if len({(pictures.name, maps.name) for pictures, maps in found}) == 1 else None


def folders_alike(root: Path) -> tuple[Path, Path] | None:
    """The only two folders in `root` whose files have the same names; None where there are none, or more."""
    folders = _with_pictures(root) if root.is_dir() else []
    found = [pair for pair in permutations(folders, 2) if shares_names(*pair)]
    return min(found) if len({frozenset(pair) for pair in found}) == 1 else None


def _pairs_in(base: Path) -> list[tuple[Path, Path]]:
    folders = _with_pictures(base)
    named = [pair for pair in permutations(folders, 2) if shares_names(*pair)]
    maps = {folder for folder in {folder for pair in named for folder in pair} if _looks_like_maps(folder)}
    return [(pictures, other) for pictures, other in named if other in maps and pictures not in maps]


def _with_pictures(base: Path) -> list[Path]:
    folders = folders_in(base)
    return (
        [folder for folder in folders if pictures_among(files_below(folder))] if len(folders) <= _MOST_FOLDERS else []
    )


def _looks_like_maps(folder: Path) -> bool:
    """Whether the first files have plain areas of few numbers, or of numbers that stand for objects."""
    maps = flat_maps(folder)
    return maps is not None and (have_few(maps) or judge_maps(maps).fits("objects"))
