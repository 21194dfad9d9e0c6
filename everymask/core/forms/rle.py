"""COCO run-lengths: compressed string <-> runs, and spans.

Runs count the pixels of a picture column after column, zeros and ones in turn, zeros first. Spans are the runs of ones
as positions `x * H + y`: sorted, not empty, not overlapping. The string holds each run as the difference to the run
two before it (from the fourth run on), five bits to a character. Reference: cocoapi, `common/maskApi.c`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from everymask.core.arrays import Array, IntArray
from everymask.errors import DataError, printable

Spans = tuple[IntArray, IntArray]

_MOST_CHARACTERS = 8  # of one run: 40 bits, a picture of 10^12 pixels


def runs_from_string(counts: bytes | str) -> IntArray:
    """Decode compressed counts to runs [K] int64; `DataError` where the string is not COCO run-lengths."""
    return runs_from_strings([counts])[0]


def runs_from_strings(many: Sequence[bytes | str]) -> tuple[IntArray, IntArray]:
    """Decode N strings at once: their runs [K] int64 one after the other, and where those of each start, [N + 1]."""
    raw = [_ascii(counts) for counts in many]
    cuts = np.cumsum([0, *map(len, raw)])
    codes = np.frombuffer(b"".join(raw), np.uint8).astype(np.int64) - 48
    strange = np.flatnonzero((codes < 0) | (codes > 63))
    if strange.size:
        index = int(np.searchsorted(cuts, strange[0], side="right")) - 1
        place = int(strange[0] - cuts[index])
        raise _garbage(many[index], f"{chr(raw[index][place])!r} at position {place}")
    going_on = codes & 32 > 0
    cut_off = (np.diff(cuts) > 0) & np.append(going_on, False)[cuts[1:] - 1]
    if cut_off.any():
        raise _garbage(many[int(cut_off.argmax())], "a string that stops in the middle of a run")
    ends = np.flatnonzero(~going_on)
    starts = np.searchsorted(ends, cuts)
    if not ends.size:
        return ends, starts
    begins = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - begins + 1
    longest = int(lengths.argmax())
    if lengths[longest] > _MOST_CHARACTERS:
        index = int(np.searchsorted(starts, longest, side="right")) - 1
        raise _garbage(many[index], f"a run of {lengths[longest]} characters")
    shifts = 5 * (np.arange(codes.size) - np.repeat(begins, lengths))
    values = np.add.reduceat((codes & 31) << shifts, begins)
    values -= np.where(codes[ends] & 16, np.int64(1) << 5 * lengths, 0)
    return _undone_differences(values, starts), starts


def string_from_runs(runs: Array) -> bytes:
    """Encode runs [K] as compressed counts, the same bytes as the reference writes."""
    flat = np.asarray(runs, np.int64)
    return strings_from_runs(flat, np.array([0, flat.size]))[0]


def strings_from_runs(runs: IntArray, starts: IntArray) -> list[bytes]:
    """Encode N lists of runs at once: list `i` is `runs[starts[i]:starts[i + 1]]`."""
    rest = _differences(runs, starts[:-1])
    size = rest ^ (rest >> 63)  # of a negative number: how far it lies below -1
    lengths = np.ones(rest.size, np.int64)
    for bits in range(4, 63, 5):
        longer = size >> bits > 0
        if not longer.any():
            break
        lengths += longer
    ends = np.cumsum(lengths)
    place = ends - lengths
    text = np.empty(int(ends[-1]) if ends.size else 0, np.uint8)
    while rest.size:
        more = lengths > 1
        text[place] = (rest & 31) + 32 * more + 48
        longer_ones = np.flatnonzero(more)
        rest, place, lengths = rest[longer_ones] >> 5, place[longer_ones] + 1, lengths[longer_ones] - 1
    whole = text.tobytes()
    return [whole[start:end] for start, end in pairwise(np.concatenate([[0], ends])[starts].tolist())]


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


def _differences(runs: IntArray, firsts: IntArray) -> IntArray:
    """Each run less the run two before it, but for the first three of each list."""
    changed = runs.copy()
    changed[2:] -= runs[:-2]
    whole = np.concatenate([firsts, firsts + 1, firsts + 2])
    whole = whole[whole < runs.size]
    changed[whole] = runs[whole]
    return changed


def _undone_differences(values: IntArray, starts: IntArray) -> IntArray:
    """The inverse of `_differences`: in each list every second value is summed up, the first one apart."""
    counts = np.diff(starts)
    rows = (counts + 1) // 2
    lists = np.flatnonzero(counts)
    tops = (np.cumsum(rows) - rows)[lists]
    # Lists of an even length, two to a row, so that one sum along the rows serves all.
    place = np.arange(values.size) + np.repeat(2 * (np.cumsum(rows) - rows) - starts[:-1], counts)
    pairs = np.zeros((int(rows.sum()), 2), np.int64)
    pairs.reshape(-1)[place] = values
    firsts = pairs[tops, 0]
    pairs[tops, 0] = 0
    sums = np.cumsum(pairs, axis=0)
    sums -= np.repeat(sums[tops] - pairs[tops], rows[lists], axis=0)
    sums[tops, 0] = firsts
    runs: IntArray = sums.reshape(-1)[place]
    return runs


def _ascii(counts: bytes | str) -> bytes:
    try:
        return counts.encode("ascii") if isinstance(counts, str) else counts
    except UnicodeEncodeError:
        raise _garbage(counts, "a character outside ASCII") from None


def _garbage(counts: bytes | str, found: str) -> DataError:
    return DataError(
        f"expected COCO's compressed run-lengths ('0' to 'o'), but found {found} in {printable(counts, 40)!r}",
        hint="the string may have been escaped twice or belong to another program's encoding",
    )
