"""Masks among the pictures of a folder: a data set that is handed over as a folder of pictures holds both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from everymask.data.formats.folders import folders_in
from everymask.data.formats.mask_files import id_folders, looks_like_mask_files
from everymask.data.formats.pairs import LOSSY, unmistakable_pairs

_BESIDE = {"JPEGImages": ("SegmentationClass", "SegmentationObject"), "leftImg8bit": ("gtFine", "gtCoarse")}
"""Folders of pictures and of masks whose files are not called alike."""


def find_masks(root: Path, pictures: Sequence[Path]) -> set[Path]:
    """Those of the `pictures`, all below `root`, that are masks of others.

    That is so where `root` has the layout of a data set of mask files, of object maps or of label maps, judged by names
    that mean nothing else: target/ beside input/ and a_l.png beside a.png are pictures, and so is what a list pairs
    with another. A label map has no lossy format: of a.jpg and a_mask.jpg both are pictures.
    """
    folders: set[Path] = set()
    for base in (root, *folders_in(root), *_folders_below(root / "VOCdevkit")):
        for name, beside in _BESIDE.items():
            if (base / name).is_dir():
                folders |= {base / masks for masks in beside}
    if looks_like_mask_files(root):
        folders |= {folder / "masks" for folder in id_folders(root)}
    pairs = [pair for pair in unmistakable_pairs(root) if pair.map.suffix.lower() not in LOSSY]
    maps = {pair.map for pair in pairs}
    shared = {file.parent for file in maps} - {pair.picture.parent for pair in pairs}
    return {file for file in pictures if file in maps or file.parent in shared or not folders.isdisjoint(file.parents)}


def _folders_below(folder: Path) -> list[Path]:
    return folders_in(folder) if folder.is_dir() else []
