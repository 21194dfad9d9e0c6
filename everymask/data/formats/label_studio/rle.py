"""The run-lengths of Label Studio's brush: a stream of bits that holds the bytes of an RGBA picture, row by row.

    32 bits   how many values there are: 4 x height x width
     5 bits   bits of a value, less 1
 4 x 4 bits   bits of the four sizes of run-lengths, less 1 each
    and then runs: 1 bit kind, 2 bits which size, the length less 1, and the value, which a run of kind 1 repeats;
    a run of kind 0 holds as many values as its length says

The mask is where the last of four values, alpha, is not 0. Format: rle-pack of thi.ng/umbrella, as Label Studio's
converter reads and writes it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from everymask.core.arrays import BoolArray, ByteArray, IntArray
from everymask.errors import DataError

_HEADER = 32 + 5 + 16
_SIZES = (3, 4, 8, 16)
_LONGEST = 1 << 16


def mask_from_brush(data: Sequence[int], size: tuple[int, int]) -> BoolArray:
    """The mask [H, W] of a picture of `size` (H, W); `data` are bytes as whole numbers from 0 to 255.

    `DataError` where they are no such bytes, the values are not 4 for each pixel, or the stream ends too early.
    """
    if not all(type(value) is int and 0 <= value < 256 for value in data):
        raise DataError("expected a list of bytes, whole numbers from 0 to 255")
    stream = bytes(data)
    if 8 * len(stream) < _HEADER:
        raise DataError(f"expected at least {_HEADER // 8 + 1} bytes, but found {len(stream)}")
    height, width = size
    count = _bits(stream, 0, 32)
    if count != 4 * height * width:
        raise DataError(
            f"expected 4 x {height} x {width} = {4 * height * width} values, but the run-lengths hold {count}",
            hint="the brush mask belongs to a picture of another size",
        )
    return np.asarray(_values(stream, count).reshape(height, width, 4)[..., 3] > 0)


def brush_from_mask(mask: BoolArray) -> list[int]:
    """The bytes for a mask [H, W]: white and opaque inside, all 0 outside."""
    flat = mask.ravel()
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    lengths = 4 * np.diff(ends, prepend=0)
    values = np.where(flat[ends - 1], 255, 0)
    pieces = -(-lengths // _LONGEST)
    last = np.cumsum(pieces) - 1
    runs = np.full(int(pieces.sum()), _LONGEST)
    runs[last] = lengths - (pieces - 1) * _LONGEST
    header = np.array([4 * flat.size, 7, *(size - 1 for size in _SIZES)])
    which = np.searchsorted(1 << np.array(_SIZES), runs)
    bits = np.array(_SIZES)[which]
    # 1 bit kind, 2 bits which size, the length less 1, 8 bits value: at most 27 bits
    codes = ((((4 | which) << bits) | (runs - 1)) << 8) | np.repeat(values, pieces)
    widths = np.concatenate([[32, 5, 4, 4, 4, 4], 3 + bits + 8])
    return np.packbits(_spread(np.concatenate([header, codes]), widths)).tolist()


def _values(stream: bytes, count: int) -> ByteArray:
    """All values of the stream; of values of more than 8 bits whether they are 0."""
    word = _bits(stream, 32, 5) + 1
    sizes = [_bits(stream, 37 + 4 * index, 4) + 1 for index in range(4)]
    found = np.zeros(count, np.uint8)
    at, done, total = _HEADER, 0, 8 * len(stream)
    while done < count:
        head = _bits(stream, at, 3)
        size = sizes[head & 3]
        length = _bits(stream, at + 3, size) + 1
        at += 3 + size
        until = done + length
        if until > count or at + word * (1 if head & 4 else length) > total:
            raise DataError(
                f"the run-lengths end in the middle: {done} of {count} values are there",
                hint="export the annotations again",
            )
        if head & 4:
            found[done:until] = min(_bits(stream, at, word), 255)
            at += word
        else:
            found[done:until] = _literal(stream, at, word, length)
            at += word * length
        done = until
    return found


def _bits(stream: bytes, at: int, count: int) -> int:
    """The number in `count` bits from bit `at` on; bits behind the end are 0."""
    first, last = at // 8, -(-(at + count) // 8)
    piece = stream[first:last].ljust(last - first, b"\0")
    return int.from_bytes(piece, "big") >> (8 * last - at - count) & ((1 << count) - 1)


def _literal(stream: bytes, at: int, word: int, length: int) -> IntArray:
    first, last = at // 8, -(-(at + word * length) // 8)
    bits = np.unpackbits(np.frombuffer(stream[first:last], np.uint8))[at - 8 * first :][: word * length]
    return np.minimum(bits.reshape(length, word).astype(np.int64) @ (1 << np.arange(word)[::-1]), 255)


def _spread(codes: IntArray, widths: IntArray) -> ByteArray:
    """The codes as single bits, each as wide as `widths` says, the highest bit first."""
    owners = np.repeat(np.arange(widths.size), widths)
    places = np.arange(owners.size) - np.repeat(np.cumsum(widths) - widths, widths)
    return ((codes[owners] >> (widths[owners] - 1 - places)) & 1).astype(np.uint8)
