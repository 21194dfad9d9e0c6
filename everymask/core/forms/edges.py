"""N masks as the places at which their pixels change, column after column; the way from run-lengths to crops and back.

Everything is computed for all masks at once, in groups of bounded memory, because most masks are small.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import Array, BoolArray, IntArray
from everymask.core.forms.rle import Spans, strings_from_runs

_GROUP = 2**18  # pixels unpacked at a time, so that they stay in the cache; a larger mask is a group of its own


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """The edges of N masks of one picture of `size` (H, W).

    Mask `i` changes at the positions `x * H + y` in `places[starts[i]:starts[i + 1]]` ([E] and [N + 1] int64): from
    outside to inside, back to outside, and so on; ascending, none twice. Each has an even number of them, of which
    the last may be H * W.
    """

    size: tuple[int, int]
    places: IntArray
    starts: IntArray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def to_runs(self) -> tuple[IntArray, IntArray]:
        """COCO's runs of all masks, [K] int64, and where those of each mask start, [N + 1]."""
        pixels = self.size[0] * self.size[1]
        counts = np.diff(self.starts)
        # A mask that reaches the last pixel has no run of zeros behind it.
        last = np.append(self.places, 0)[self.starts[1:] - 1]
        closed = (counts > 0) & (last == pixels)
        ends = np.insert(self.places, self.starts[1:][~closed], pixels)
        starts = np.concatenate([[0], np.cumsum(counts + ~closed)])
        runs = ends.copy()
        runs[1:] -= ends[:-1]
        runs[starts[:-1]] = ends[starts[:-1]]
        return runs, starts

    def to_strings(self) -> list[bytes]:
        """COCO's compressed counts, one per mask."""
        return strings_from_runs(*self.to_runs())


def edges_from_changes(places: IntArray, owners: IntArray, count: int, size: tuple[int, int]) -> Edges:
    """Edges of `count` masks from changes [E] and the mask of each, both ascending; two at one place cancel out."""
    new = np.ones(places.size, bool)
    new[1:] = (places[1:] != places[:-1]) | (owners[1:] != owners[:-1])
    if not new.all():
        firsts = np.flatnonzero(new)
        odd = firsts[np.diff(firsts, append=places.size) % 2 == 1]
        places, owners = places[odd], owners[odd]
    return Edges(size, places, np.searchsorted(owners, np.arange(count + 1)))


def edges_from_runs(runs: IntArray, starts: IntArray, size: tuple[int, int]) -> Edges:
    """Edges of N masks from COCO's runs, [K] and [N + 1], which must fill the picture; runs may be empty."""
    counts = np.diff(starts)
    ends = np.cumsum(runs)
    # Every mask before fills the picture.
    places = ends - np.repeat(np.arange(counts.size) * (size[0] * size[1]), counts)
    owners = np.repeat(np.arange(counts.size), counts)
    kept = np.ones(places.size, bool)
    kept[starts[1:][counts % 2 == 1] - 1] = False  # the end of a last run of zeros is no change
    return edges_from_changes(places[kept], owners[kept], counts.size, size)


def edges_from_spans(many: Sequence[Spans], size: tuple[int, int]) -> Edges:
    """Edges of N masks from the spans of each; spans that touch become one."""
    owners = np.repeat(np.arange(len(many)), [2 * starts.size for starts, _ in many])
    places = np.empty(owners.size, np.int64)
    if many:
        places[0::2] = np.concatenate([starts for starts, _ in many])
        places[1::2] = np.concatenate([ends for _, ends in many])
    return edges_from_changes(places, owners, len(many), size)


def edges_from_crops(windows: IntArray, bits: BoolArray, starts: IntArray, size: tuple[int, int]) -> Edges:
    """Edges of N masks held as `Masks` holds them: windows [N, 4], and crops row after row in `bits`."""
    import cv2

    sides = (windows[:, 2:] - windows[:, :2]).astype(np.int64)
    # A pixel of zeros below each column ends its run there.
    room = sides[:, 0] * (sides[:, 1] + 1)
    pixels = bits.view(np.uint8)
    places, owners = [], []
    for first, last in groups(room, _GROUP):
        offsets = np.cumsum(room[first:last]) - room[first:last]
        columns = np.zeros(int(room[first:last].sum()) + 1, np.uint8)
        for row, offset in zip(range(first, last), offsets.tolist(), strict=True):
            wide, tall = sides[row].tolist()
            if wide:
                crop = pixels[starts[row] : starts[row + 1]].reshape(tall, wide)
                below = columns[offset + 1 : offset + 1 + wide * (tall + 1)].reshape(wide, tall + 1)
                cv2.transpose(crop, dst=below[:, :tall])
        changes = np.flatnonzero(columns[1:] != columns[:-1])
        owner = np.searchsorted(offsets, changes, side="right") - 1
        column, down = np.divmod(changes - offsets[owner], sides[first:last][owner, 1] + 1)
        owner += first
        places.append((column + windows[owner, 0]) * size[0] + down + windows[owner, 1])
        owners.append(owner)
    nothing = np.zeros(0, np.int64)
    return edges_from_changes(
        np.concatenate([nothing, *places]), np.concatenate([nothing, *owners]), len(windows), size
    )


def crops_from_edges(edges: Edges) -> tuple[IntArray, BoolArray, IntArray]:
    """Windows, bits and starts as `Masks` holds them; the windows are tight."""
    import cv2

    windows, begins, lengths = _tight(edges)
    sides = (windows[:, 2:] - windows[:, :2]).astype(np.int64)
    areas = sides.prod(axis=1)
    starts = np.concatenate([[0], np.cumsum(areas)])
    bits = np.empty(int(starts[-1]), bool)
    pixels = bits.view(np.uint8)
    for first, last in groups(areas, _GROUP):
        spans = slice(int(edges.starts[first]) // 2, int(edges.starts[last]) // 2)
        owner = np.repeat(np.arange(first, last), np.diff(edges.starts[first : last + 1]) // 2)
        borders = np.zeros(2 * owner.size + 2, np.int64)
        borders[1:-1:2] = begins[spans] + starts[owner] - starts[first]
        borders[2:-1:2] = borders[1:-1:2] + lengths[spans]
        borders[-1] = starts[last] - starts[first]
        inside = np.zeros(borders.size - 1, np.uint8)
        inside[1::2] = 1
        columns = np.repeat(inside, np.diff(borders))
        offsets = (starts[first : last + 1] - starts[first]).tolist()
        for row, start, stop in zip(range(first, last), offsets[:-1], offsets[1:], strict=True):
            wide, tall = sides[row].tolist()
            if wide:
                crop = pixels[starts[row] : starts[row + 1]].reshape(tall, wide)
                cv2.transpose(columns[start:stop].reshape(wide, tall), dst=crop)
    return windows, bits, starts


def _tight(edges: Edges) -> tuple[IntArray, IntArray, IntArray]:
    """Tight windows [N, 4] int32; for each span where it begins in its mask's column-wise window, and its length."""
    height = edges.size[0]
    begins, lengths = edges.places[0::2], edges.places[1::2] - edges.places[0::2]
    columns, rows = np.divmod(begins, height)
    windows = np.zeros((len(edges), 4), np.int32)
    filled = np.flatnonzero(np.diff(edges.starts))
    if not filled.size:
        return windows, begins, lengths
    firsts, lasts = edges.starts[filled] // 2, edges.starts[filled + 1] // 2 - 1
    top, bottom = np.minimum.reduceat(rows, firsts), np.maximum.reduceat(rows + lengths, firsts)
    # A span that reaches into the next column touches the last row and the first: the window is as tall as the picture.
    whole = bottom > height
    windows[filled, 0], windows[filled, 2] = columns[firsts], (edges.places[1::2][lasts] - 1) // height + 1
    windows[filled, 1], windows[filled, 3] = np.where(whole, 0, top), np.where(whole, height, bottom)
    owner = np.repeat(np.arange(len(edges)), np.diff(edges.starts) // 2)
    x1, y1, _, y2 = windows[owner].T.astype(np.int64)
    return windows, (columns - x1) * (y2 - y1) + rows - y1, lengths


def groups(sizes: Array, limit: int) -> Iterator[tuple[int, int]]:
    """(first, last) of neighbours whose sizes [N] add up to at most `limit`; one that is larger stands alone."""
    totals = np.cumsum(sizes)
    first = 0
    while first < len(sizes):
        before = int(totals[first] - sizes[first])
        last = max(int(np.searchsorted(totals, before + limit, side="right")), first + 1)
        yield first, last
        first = last
