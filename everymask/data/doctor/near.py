"""Pictures that look alike: scaled, recompressed, brightened, or frames of a scene that stands still.

A picture is hashed by whether each of 8 x 8 fields is brighter than its left neighbour (the difference hash,
N. Krawetz, "Kind of like that", 2013). Two whose 64 bits differ in at most 3 agree in one of four bands of 16 bits, so
that only pictures that share a band are compared: nearly linear in their number. What is alike by its hash is confirmed
by the correlation of two thumbnails.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from everymask.core.arrays import Array, FloatArray, IntArray
from everymask.data.pictures.read import read_image
from everymask.errors import DataError

_THREADS = 8  # each holds a whole picture
_SIDE = 32
_FIELDS = 8
_BANDS = 4
_BITS = 3
_ALIKE = 0.97  # correlation
_FLAT = 2.0  # grey levels of 255: less contrast is noise
_LEAST = 8 * _SIDE
_COMPARED = 64  # in a crowded band, each with so many that follow it in the order of the hashes


class Thumbnails:
    """Small grey forms of pictures, each of which is decoded when it is asked for first, and never again."""

    def __init__(self) -> None:
        self._known: dict[Path, FloatArray | None] = {}

    def look(self, file: Path, size: tuple[int, int]) -> FloatArray | None:
        """The picture as [32, 32] float32, of mean 0 and length 1; None where it shows nothing (one grey all over).

        `size` (H, W) says how small a JPEG may be decoded. `DataError` for a picture that cannot be read.
        """
        if file not in self._known:
            self._known[file] = _thumbnail(file, size)
        return self._known[file]

    def find(self, file: Path, size: tuple[int, int]) -> FloatArray | None:
        """As `look`; None too for a picture that cannot be read."""
        try:
            return self.look(file, size)
        except DataError:
            return None


def near_pictures(
    files: Sequence[Path],
    sizes: Sequence[tuple[int, int]],
    thumbnails: Thumbnails,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[list[int]]:
    """Which of the pictures look alike, in groups of two or more, by their places; ascending in each.

    Pictures that cannot be read or show nothing look like no other. `sizes` are (H, W); what `thumbnails` knows is not
    decoded again. `progress(done, total)` is called after each.
    """
    rows, seen = [], []
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        for row, thumbnail in enumerate(pool.map(thumbnails.find, files, sizes)):
            if thumbnail is not None:
                rows.append(row)
                seen.append(thumbnail)
            if progress is not None:
                progress(row + 1, len(files))
    return [[rows[place] for place in group] for group in alike(seen)]


def alike(thumbnails: Sequence[FloatArray]) -> list[list[int]]:
    """The groups of thumbnails [32, 32], of mean 0 and length 1, that are nearly the same."""
    hashes = [difference_hash(thumbnail) for thumbnail in thumbnails]
    owner = list(range(len(hashes)))

    def root(place: int) -> int:
        while owner[place] != place:
            owner[place] = owner[owner[place]]
            place = owner[place]
        return place

    for first, second in _candidates(hashes):
        one, other = root(first), root(second)
        if one != other and float((thumbnails[first] * thumbnails[second]).sum()) >= _ALIKE:
            owner[max(one, other)] = min(one, other)
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for place in range(len(hashes)):
        groups[root(place)].append(place)
    return [group for group in groups.values() if len(group) > 1]


def difference_hash(thumbnail: FloatArray) -> int:
    """64 bits: whether each of 8 x 8 fields is brighter than its left neighbour."""
    fields = cv2.resize(thumbnail, (_FIELDS + 1, _FIELDS), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(fields[:, 1:] > fields[:, :-1]).tobytes(), "big")


def _candidates(hashes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Pairs whose hashes differ in at most 3 bits, each as often as they share a band."""
    for band in range(_BANDS):
        buckets: defaultdict[int, list[int]] = defaultdict(list)
        for place, value in enumerate(hashes):
            buckets[value >> 16 * band & 0xFFFF].append(place)
        for bucket in buckets.values():
            ordered = sorted(bucket, key=lambda place: (hashes[place], place))
            for index, first in enumerate(ordered):
                for second in ordered[index + 1 : index + 1 + _COMPARED]:
                    if (hashes[first] ^ hashes[second]).bit_count() <= _BITS:
                        yield first, second


def _thumbnail(file: Path, size: tuple[int, int]) -> FloatArray | None:
    reduction = next((factor for factor in (8, 4, 2) if min(size) >= factor * _LEAST), 1)
    image = read_image(file, reduction=reduction)
    small = _small(image)
    small -= small.mean()
    spread = float(np.abs(small).max())
    brightest = 255.0 if image.dtype == np.uint8 else float(np.abs(image).max())
    if spread * 255 <= _FLAT * brightest:
        return None
    return small / np.float32(np.sqrt((small * small).sum()))


def _small(image: Array) -> FloatArray:
    """The first three channels' mean, by averaging, as [32, 32] float32."""
    planes: IntArray | FloatArray = image[..., : 3 if image.shape[2] >= 3 else 1]
    small = cv2.resize(planes, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    return small if small.ndim == 2 else small.mean(axis=2, dtype=np.float32)
