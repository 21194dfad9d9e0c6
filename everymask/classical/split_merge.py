"""Split and merge: quarters that are alike inside, then neighbours that are alike."""

from __future__ import annotations

import numpy as np

from everymask.classical.grey import grey_of
from everymask.classical.objects import kept_of
from everymask.classical.specs import SplitMerge
from everymask.core.arrays import FloatArray, IntArray
from everymask.core.segmentation import InstanceSet


def split_merge(spec: SplitMerge, picture: FloatArray) -> InstanceSet:
    """The regions of a picture [3, H, W] of brightness 0 to 1."""
    grey = grey_of(picture, 0)
    return kept_of(spec, merged(split(grey, spec.spread, spec.least), grey, spec.merge), picture)


def split(grey: FloatArray, spread: float, least: int) -> IntArray:
    """The number of the block, from 0, that each pixel of a picture [H, W] is in.

    A block is halved along both sides while the standard deviation in it exceeds `spread` and its sides are at least
    twice `least`. Sums over blocks come from the picture's integral, so that each costs the same.
    """
    sums, squares = (_integral(values) for values in (grey.astype(np.float64), np.square(grey, dtype=np.float64)))
    numbers = np.zeros(grey.shape, np.int32)
    open_blocks, count = [(0, 0, grey.shape[0], grey.shape[1])], 0
    while open_blocks:
        top, left, bottom, right = open_blocks.pop()
        area = (bottom - top) * (right - left)
        mean, square = (_sum(table, top, left, bottom, right) / area for table in (sums, squares))
        if min(bottom - top, right - left) < 2 * least or square - mean**2 <= spread**2:
            numbers[top:bottom, left:right] = count
            count += 1
            continue
        y, x = (top + bottom) // 2, (left + right) // 2
        open_blocks += [(y, x, bottom, right), (y, left, bottom, x), (top, x, y, right), (top, left, y, x)]
    return numbers


def merged(blocks: IntArray, grey: FloatArray, difference: float) -> IntArray:
    """The regions, numbered from 0, that blocks make: the most alike neighbours are joined first.

    Two are joined while their means, of all that each has become, differ by less than `difference`.
    """
    counts = np.bincount(blocks.reshape(-1)).astype(np.float64)
    sums = np.bincount(blocks.reshape(-1), grey.reshape(-1).astype(np.float64))
    parents = list(range(len(counts)))

    def root(block: int) -> int:
        while parents[block] != block:
            parents[block] = parents[parents[block]]
            block = parents[block]
        return block

    pairs = _neighbours(blocks)
    means = sums / counts
    for first, second in pairs[np.argsort(np.abs(means[pairs[:, 0]] - means[pairs[:, 1]]), kind="stable")].tolist():
        one, other = root(first), root(second)
        if one != other and abs(sums[one] / counts[one] - sums[other] / counts[other]) < difference:
            parents[other] = one
            counts[one] += counts[other]
            sums[one] += sums[other]
    roots = np.array([root(block) for block in range(len(parents))])
    _, places = np.unique(roots, return_inverse=True)
    regions: IntArray = places[blocks]
    return regions


def _neighbours(blocks: IntArray) -> IntArray:
    """The pairs of blocks that have an edge in common, [N, 2]."""
    across = np.stack([blocks[:, :-1].reshape(-1), blocks[:, 1:].reshape(-1)], axis=1)
    down = np.stack([blocks[:-1].reshape(-1), blocks[1:].reshape(-1)], axis=1)
    both = np.concatenate([across, down])
    both = np.sort(both[both[:, 0] != both[:, 1]], axis=1).astype(np.int64)
    most = int(blocks.max()) + 1
    keys = np.unique(both[:, 0] * most + both[:, 1])
    return np.stack([keys // most, keys % most], axis=1)


def _integral(values: FloatArray) -> FloatArray:
    table = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    table[1:, 1:] = values.cumsum(axis=0).cumsum(axis=1)
    return table


def _sum(table: FloatArray, top: int, left: int, bottom: int, right: int) -> float:
    return float(table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left])
