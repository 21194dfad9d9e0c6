"""Whether the runs of a table follow the columns of pictures or their rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from everymask.core.arrays import IntArray
from everymask.data.pictures.read import read_header
from everymask.errors import DataError

_PICTURES = 20
_MASKS = 5
_CLEARLY = 0.7


def follow_rows(masks: Iterable[tuple[Path, Sequence[IntArray]]]) -> bool:
    """Whether masks [K, 2] (starts from 1, lengths) of pictures are in fewer pieces when read row by row, clearly.

    A mask hardly changes from one line of pixels to the next, so that it agrees with itself one height further on if
    runs follow the columns, one width further on if they follow the rows. 20 pictures are looked at, up to 5 masks of
    each. Square pictures tell nothing, and then it is columns.
    """
    changes = np.zeros(2)
    found = [(picture, pairs) for picture, pairs in masks if pairs]
    for picture, pairs in found[:: max(1, len(found) // _PICTURES)][:_PICTURES]:
        try:
            height, width = read_header(picture).size
        except DataError:  # said where the picture is listed
            continue
        for mask in pairs[:_MASKS] if height != width else ():
            flat = np.zeros(height * width + 1, np.int32)
            ends = mask.sum(axis=1) - 1
            if ends.max() > height * width:
                continue
            np.add.at(flat, mask[:, 0] - 1, 1)
            np.add.at(flat, ends, -1)
            inside = np.cumsum(flat[:-1]) > 0
            changes += [np.count_nonzero(inside[side:] != inside[:-side]) for side in (height, width)]
    return bool(changes[1] < _CLEARLY * changes[0])
