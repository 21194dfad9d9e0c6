"""What the pages of a TIFF are: pictures of their own, slices of a volume, or channels of one picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from everymask.core.arrays import IntArray
from everymask.data.formats.folders import object_ids
from everymask.data.pictures.opening import picture_errors

Meaning: TypeAlias = Literal["pictures", "volume", "channels", "unknown"]
_GOES_ON = 0.3
"""From this IoU on, the object of one number on two pages after each other is the same."""


def stated_meaning(file: Path) -> Meaning:
    """What the file says by its axes, as ImageJ, OME and tifffile write them; a film's pages are pictures."""
    from tifffile import TiffFile

    with picture_errors(file), TiffFile(file) as tiff:
        series = tiff.series[0]
        axes = {axis for axis, size in zip(series.axes, series.shape, strict=True) if size > 1}
    if "Z" in axes:
        return "volume"
    if "T" in axes:
        return "pictures"
    return "channels" if axes & {"C"} else "unknown"


def are_slices(maps: Sequence[IntArray]) -> bool:
    """Whether objects go on from page to page: most numbers that two label maps after each other share are there."""
    same = shared = 0
    for one, other in pairwise(maps):
        numbers = set(object_ids(one)) & set(object_ids(other))
        for number in numbers:
            first, second = one == number, other == number
            same += bool(np.count_nonzero(first & second) >= _GOES_ON * np.count_nonzero(first | second))
        shared += len(numbers)
    return 2 * same > shared
