"""COCO run-lengths: compressed string <-> runs <-> spans <-> crop.

Runs count the pixels of a picture column after column, zeros and ones in turn, zeros first. Spans are the runs of ones
as positions `x * H + y`: sorted, not empty, not overlapping. The string holds each run as the difference to the run
two before it (from the fourth run on), five bits to a character. Reference: cocoapi, `common/maskApi.c`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from everymask.core.arrays import Array, BoolArray, IntArray
from everymask.errors import DataError, printable

Spans = tuple[IntArray, IntArray]

_MOST_CHARACTERS = 8  # of one run: 40 bits, a picture of 10^12 pixels


def runs_from_string(counts: bytes | str) -> IntArray:
    """Decode compressed counts to runs [K] int64; `DataError` where the string is not COCO run-lengths."""
    try:
        raw = counts.encode("ascii") if isinstance(counts, str) else counts
    except UnicodeEncodeError:
        raise _garbage(counts, "a character outside ASCII") from None
    codes = np.frombuffer(raw, np.uint8).astype(np.int64) - 48
    if codes.size == 0:
        return codes
    strange = np.flatnonzero((codes < 0) | (codes > 63))
    if strange.size:
        raise _garbage(counts, f"{chr(raw[strange[0]])!r} at position {strange[0]}")
    ends = np.flatnonzero((codes & 32) == 0)
    if ends.size == 0 or ends[-1] != codes.size - 1:
        raise _garbage(counts, "a string that stops in the middle of a run")
    begins = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - begins + 1
    if lengths.max() > _MOST_CHARACTERS:
        raise _garbage(counts, f"a run of {lengths.max()} characters")
    shifts = 5 * (np.arange(codes.size) - np.repeat(begins, lengths))
    values = np.add.reduceat((codes & 31) << shifts, begins)
    values -= np.where(codes[ends] & 16, np.int64(1) << 5 * lengths, 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def string_from_runs(runs: Array) -> bytes:
    """Encode runs [K] as compressed counts, the same bytes as the reference writes."""
    return strings_from_runs([np.asarray(runs)])[0]


def strings_from_runs(many: Sequence[Array]) -> list[bytes]:
    """Encode several lists of runs at once."""
    if not many:
        return []
    rest = np.concatenate([_differences(np.asarray(runs, np.int64)) for runs in many])
    columns, used = [], []
    more = np.ones(rest.size, bool)
    while more.any():
        used.append(more)
        code = rest & 31
        rest = rest >> 5
        more = more & np.where(code & 16, rest != -1, rest != 0)
        columns.append(code + 32 * more + 48)
    if not columns:
        return [b""] * len(many)
    chosen = np.stack(used, axis=1)
    text = np.stack(columns, axis=1)[chosen].astype(np.uint8).tobytes()
    cuts = np.concatenate([[0], np.cumsum(chosen.sum(axis=1))])[np.cumsum([0] + [len(runs) for runs in many])]
    return [text[start:end] for start, end in pairwise(cuts.tolist())]


def check_runs(runs: Array, size: tuple[int, int]) -> None:
    """Raise `DataError` unless the runs are whole numbers from 0 up that fill a picture of `size` (H, W)."""
    height, width = size
    if height < 1 or width < 1:
        raise DataError(f"run-lengths need a picture of at least 1 x 1 pixels, but got {height} x {width}")
    if runs.ndim != 1 or not (runs.dtype.kind in "iu" or runs.size == 0):
        raise DataError(
            f"run-lengths must be a list of whole numbers, but got {runs.dtype} of shape {list(runs.shape)}",
            hint="each run counts pixels: write 12, not 12.0 or '12'",
        )
    if runs.size and runs.min() < 0:
        place = int(np.argmax(runs < 0))
        raise DataError(f"run-lengths must not be negative, but run {place} is {runs[place]}")
    # Python's integers, because a few huge runs overflow int64.
    total = int(runs.sum()) if runs.size and int(runs.max()) < 2**40 else sum(runs.tolist())
    if total != height * width:
        raise DataError(
            f"run-lengths must add up to {height} x {width} = {height * width} pixels, but got {total}",
            hint="the mask belongs to a picture of another size, or its counts are cut off",
        )


def spans_from_runs(runs: Array) -> Spans:
    """The runs of ones as sorted (starts, ends), positions in the column-wise picture; empty runs are left out."""
    edges = np.cumsum(runs, dtype=np.int64)
    ends = edges[1::2]
    starts = edges[0::2][: ends.size]
    filled = ends > starts
    return starts[filled], ends[filled]


def union_of_spans(parts: Sequence[Spans]) -> Spans:
    """The pixels that lie in any of the parts."""
    if len(parts) == 1:
        return parts[0]
    starts = np.sort(np.concatenate([part[0] for part in parts])) if parts else np.zeros(0, np.int64)
    ends = np.sort(np.concatenate([part[1] for part in parts])) if parts else np.zeros(0, np.int64)
    # With both lists sorted, a gap follows end i exactly where start i + 1 lies beyond it.
    gaps = starts[1:] > ends[:-1]
    first = np.ones(min(starts.size, 1), bool)
    return starts[np.concatenate([first, gaps])], ends[np.concatenate([gaps, first])]


def crop_from_spans(spans: Spans, height: int) -> tuple[BoolArray, tuple[int, int]]:
    """The tight crop [h, w] and its corner (x1, y1) in a picture of that height; no picture is ever made."""
    starts, ends = spans
    if starts.size == 0:
        return np.zeros((0, 0), bool), (0, 0)
    left, right = int(starts[0] // height), int((ends[-1] - 1) // height) + 1
    columns, rows = np.divmod(starts, height)
    lasts = rows + (ends - starts)
    # A span that reaches into the next column touches the last row and the first: the window is as tall as the picture.
    top, bottom = (0, height) if lasts.max() > height else (int(rows.min()), int(lasts.max()))
    begins = (columns - left) * (bottom - top) + rows - top
    edges = np.empty(2 * starts.size + 2, np.int64)
    edges[0], edges[-1] = 0, (right - left) * (bottom - top)
    edges[1:-1:2] = begins
    edges[2:-1:2] = begins + (ends - starts)
    ones = np.zeros(edges.size - 1, bool)
    ones[1::2] = True
    crop = np.repeat(ones, np.diff(edges)).reshape(right - left, bottom - top).T
    return np.ascontiguousarray(crop), (left, top)


def runs_from_crop(crop: BoolArray, corner: tuple[int, int], size: tuple[int, int]) -> IntArray:
    """The runs [K] int64 of a picture of `size` (H, W) that is False outside the crop [h, w] at `corner` (x1, y1)."""
    height, width = size
    tall, wide = crop.shape
    # One row of zeros below ends each column's run, except where runs may truly go on in the next column.
    pad = int(tall < height)
    columns = np.zeros((wide, tall + pad), bool)
    columns[:, :tall] = crop.T
    flat = columns.reshape(-1)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if flat.size and flat[0]:
        changes = np.concatenate([[0], changes])
    if flat.size and flat[-1]:
        changes = np.concatenate([changes, [flat.size]])
    column, row = np.divmod(changes, tall + pad) if changes.size else (changes, changes)
    edges = (column + corner[0]) * height + row + corner[1]
    runs = np.diff(edges, prepend=0, append=height * width)
    return runs[:-1] if runs[-1] == 0 and runs.size > 1 else runs


def _differences(runs: IntArray) -> IntArray:
    changed = runs.copy()
    changed[3:] -= runs[1:-2]
    return changed


def _garbage(counts: bytes | str, found: str) -> DataError:
    return DataError(
        f"expected COCO's compressed run-lengths ('0' to 'o'), but found {found} in {printable(counts, 40)!r}",
        hint="the string may have been escaped twice or belong to another program's encoding",
    )
