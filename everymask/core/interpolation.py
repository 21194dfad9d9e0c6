"""Linear interpolation along one axis, as a matrix."""

from __future__ import annotations

import numpy as np

from everymask.core.arrays import FloatArray


def linear_weights(positions: FloatArray, length: int, first: int = 0, last: int | None = None) -> FloatArray:
    """[P, last - first] float32: the weights by which linear interpolation reads a line of `length` at `positions` [P].

    Element i lies at position i. Positions further than one step outside the line read nothing; nearer ones read its
    end (RoIAlign's rule). Only the columns of elements `first` to `last` are returned. Two such matrices interpolate a
    picture on a grid: `down @ picture @ across.T`.
    """
    last = length if last is None else last
    inside = (positions >= -1) & (positions <= length)
    place = np.clip(positions, 0, length - 1)
    low = np.floor(place).astype(np.int64)
    share = (place - low).astype(np.float32)
    weights = np.zeros((len(positions), last - first), np.float32)
    for column, weight in ((low, 1 - share), (np.minimum(low + 1, length - 1), share)):
        rows = np.flatnonzero(inside & (column >= first) & (column < last))
        weights[rows, column[rows] - first] += weight[rows]
    return weights
