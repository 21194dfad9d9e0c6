"""Telling label maps of several pages from others."""

from __future__ import annotations

from pathlib import Path

from everymask.data.formats.pair_lists import find_pairs
from everymask.data.issues import IssueLog
from everymask.data.pictures.pages import count_pages
from everymask.errors import DataError, MachineError

TIFF = (".tif", ".tiff")
_LOOKED_AT = 200


def looks_like_tiff_stacks(path: Path) -> bool:
    """Whether the folder holds pictures with label maps of several pages, in one of the layouts of `pairs`."""
    issues = IssueLog("skip")
    pairs = find_pairs(path, issues) if path.is_dir() else []
    maps = [pair.map for pair in pairs if pair.map.suffix.lower() in TIFF][:_LOOKED_AT]
    return len(pairs) >= issues.total("error") and any(map(_has_pages, maps))


def _has_pages(file: Path) -> bool:
    try:
        return count_pages(file) > 1
    except (DataError, MachineError):
        return False
