"""N binary masks of one picture, stored as the small rectangles in which they live."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from everymask.core.arrays import Array, BoolArray, FloatArray, IntArray
from everymask.core.forms.edges import Edges, crops_from_edges, edges_from_crops, edges_from_runs, edges_from_spans
from everymask.core.forms.polygons import rings_from_crop, spans_from_rings
from everymask.core.forms.rle import check_runs, runs_from_string, runs_from_strings, union_of_spans
from everymask.core.geometry import Warp, turned
from everymask.errors import DataError

Runs = bytes | str | Array | Sequence[int]
_ROWS_AT_ONCE = 256


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """N binary masks of one picture of `size` (H, W); an N x H x W array never exists.

    Mask `i` is False outside its window `windows[i]` = (x1, y1, x2, y2), int32, x2 and y2 exclusive, inside the
    picture and tight; inside, it is `crop(i)`, a bool view [y2 - y1, x2 - x1] into the flat array `bits`, row after
    row, where mask `i` starts at `starts[i]` ([N + 1] int64). An empty mask has the window (0, 0, 0, 0).

    Make them with `from_crops`, `from_dense`, `from_rle`, `from_polygons`, `from_parts` or `from_ids`; they raise
    `DataError` for wrong shapes, types and values. Choose rows with an int, a slice, integers or booleans. The arrays
    may be shared between masks: do not write into them.
    """

    size: tuple[int, int]
    windows: IntArray
    bits: BoolArray
    starts: IntArray

    def __post_init__(self) -> None:
        count = len(self.starts) - 1
        if self.windows.shape != (count, 4):
            raise ValueError(f"windows must be [{count}, 4] like starts [{count + 1}], but got {self.windows.shape}")
        if self.bits.dtype != np.bool_ or self.bits.shape != (int(self.starts[-1]),):
            raise ValueError(f"bits must be bool [{self.starts[-1]}], but got {self.bits.dtype} {self.bits.shape}")

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, which: int | slice | Array | list[int]) -> Masks:
        rows = np.atleast_1d(np.arange(len(self))[which])
        return _assemble([self.crop(row) for row in rows.tolist()], self.windows[rows], self.size)

    def crop(self, index: int) -> BoolArray:
        """Mask `index` inside its window, [y2 - y1, x2 - x1]; a view."""
        x1, y1, x2, y2 = self.windows[index].tolist()
        return self.bits[self.starts[:-1][index] : self.starts[1:][index]].reshape(y2 - y1, x2 - x1)

    def to_dense(self, index: int) -> BoolArray:
        """Mask `index` in the whole picture, [H, W]."""
        dense = np.zeros(self.size, bool)
        x1, y1, x2, y2 = self.windows[index].tolist()
        dense[y1:y2, x1:x2] = self.crop(index)
        return dense

    def boxes(self) -> FloatArray:
        """Tight boxes [N, 4] float32 xyxy, x2 and y2 exclusive; zeros where a mask is empty."""
        return self.windows.astype(np.float32)

    def areas(self) -> IntArray:
        """Pixels of each mask, [N] int64."""
        starts = pairwise(self.starts.tolist())
        return np.array([np.count_nonzero(self.bits[start:end]) for start, end in starts], np.int64)

    def iou(self, other: Masks) -> FloatArray:
        """Intersection over union of each mask with each of `other`, [N, M] float64; 0 where both are empty."""
        _check_sizes([self, other])
        mine, theirs = self.windows[:, None].astype(np.int64), other.windows[None].astype(np.int64)
        low, high = np.maximum(mine[..., :2], theirs[..., :2]), np.minimum(mine[..., 2:], theirs[..., 2:])
        common = np.zeros((len(self), len(other)), np.int64)
        first, second = np.nonzero((high > low).all(axis=-1))
        windows = np.concatenate([low[first, second], high[first, second]], axis=1).tolist()
        for i, j, window in zip(first.tolist(), second.tolist(), windows, strict=True):
            common[i, j] = np.count_nonzero(_part(self, i, window) & _part(other, j, window))
        union = self.areas()[:, None] + other.areas()[None] - common
        overlaps: FloatArray = common / np.maximum(union, 1)
        return overlaps

    def to_rle(self) -> list[bytes]:
        """COCO's compressed counts, one per mask."""
        return self._edges().to_strings()

    def to_polygons(self, index: int) -> list[list[FloatArray]]:
        """The parts of mask `index`; each is its outer ring, then its holes, [K, 2] float64 xy along pixel edges.

        `from_parts` gives the mask back exactly. Pixels that touch only at a corner are separate parts.
        """
        corner = self.windows[index, :2].astype(np.float64)
        return [[ring + corner for ring in part] for part in rings_from_crop(self.crop(index))]

    def flip(self, *, horizontal: bool = False, vertical: bool = False) -> Masks:
        """Mirrored masks of the mirrored picture."""
        height, width = self.size
        windows = self.windows.copy()
        filled = windows[:, 2] > windows[:, 0]
        if horizontal:
            windows[filled, 0::2] = width - windows[filled, 2::-2]
        if vertical:
            windows[filled, 1::2] = height - windows[filled, 3::-2]
        rows, columns = slice(None, None, -1 if vertical else 1), slice(None, None, -1 if horizontal else 1)
        return _assemble([crop[rows, columns] for crop in self._crops()], windows, self.size)

    def cut(self, window: tuple[int, int, int, int]) -> Masks:
        """The masks of the part of the picture in `window` (xyxy); outside the picture there is nothing.

        The window becomes the picture: its size is the new size, its upper left corner the new origin.
        """
        x1, y1, x2, y2 = window
        if x2 <= x1 or y2 <= y1:
            raise DataError(f"a window needs x1 < x2 and y1 < y2, but got {window}")
        kept = self.windows.astype(np.int64)
        kept[:, :2] = np.maximum(kept[:, :2], (x1, y1))
        kept[:, 2:] = np.minimum(kept[:, 2:], (x2, y2))
        crops = [_part(self, index, row) for index, row in enumerate(kept.tolist())]
        return Masks.from_crops(crops, kept[:, :2] - (x1, y1), (y2 - y1, x2 - x1))

    def resize(self, size: tuple[int, int]) -> Masks:
        """The masks of the picture scaled to `size` (H, W).

        The centre of output pixel x lies at (x + 0.5) * W_in / W_out - 0.5 in the input, kept inside the picture;
        there the 0/1 mask is read bilinearly, and 0.5 and more is True: what scaling each dense mask as float32
        with half-pixel centres gives, without making one.
        """
        _check_size(size)
        if size == self.size:
            return self
        crops, corners = [], np.zeros((len(self), 2), np.int64)
        for index, (x1, y1, x2, y2) in enumerate(self.windows.tolist()):
            top, up, down, y = _taps(y1, y2, self.size[0], size[0])
            left, before, behind, x = _taps(x1, x2, self.size[1], size[1])
            padded = np.zeros((y2 - y1 + 2, x2 - x1 + 2), np.float32)
            padded[1:-1, 1:-1] = self.crop(index)
            crop = np.empty((len(y), len(x)), np.bool_)
            for start in range(0, len(y), _ROWS_AT_ONCE):
                part = slice(start, start + _ROWS_AT_ONCE)
                rows = padded[up[part]] * (1 - y[part])[:, None] + padded[down[part]] * y[part][:, None]
                crop[part] = rows[:, before] * (1 - x) + rows[:, behind] * x >= 0.5
            crops.append(crop)
            corners[index] = left, top
        return Masks.from_crops(crops, corners, size)

    def warped(self, warp: Warp) -> Masks:
        """The masks of the warped picture, one for each; empty where nothing of one is left.

        An exact warp moves pixels. Where the warp is a cut along whole pixels and a resizing, masks are resized as
        `resize` does it; any other reads them bilinearly at each pixel's middle, and 0.5 and more is True.
        """
        found = warp.cut(self.size)
        if found is None:
            crops, corners = [], np.zeros((len(self), 2), np.int64)
            for index, crop in enumerate(self._crops()):
                read, corners[index] = _read(crop, self.windows[index], self.size, warp)
                crops.append(read)
            return Masks.from_crops(crops, corners, warp.size)
        seen = self if found.window == (0, 0, self.size[1], self.size[0]) else self.cut(found.window)
        return seen.resize(found.size)._moved(found.rest)

    def _moved(self, warp: Warp) -> Masks:
        """The masks after an exact warp whose target holds the whole picture."""
        if self.size == warp.size and (warp.matrix == np.eye(2, 3)).all():
            return self
        windows = warp.boxes(self.windows).astype(np.int32)
        windows[self.windows[:, 2] == 0] = 0
        return _assemble([turned(crop, warp)[0] for crop in self._crops()], windows, warp.size)

    def _crops(self) -> Iterator[BoolArray]:
        return (self.crop(index) for index in range(len(self)))

    def _edges(self) -> Edges:
        return edges_from_crops(self.windows, self.bits, self.starts, self.size)

    @classmethod
    def empty(cls, size: tuple[int, int]) -> Masks:
        """No masks in a picture of `size` (H, W)."""
        return _assemble([], np.zeros((0, 4), np.int32), size)

    @classmethod
    def from_crops(cls, crops: Sequence[BoolArray], corners: Array, size: tuple[int, int]) -> Masks:
        """Masks from bool crops [h, w] whose upper left pixels lie at `corners` [N, 2] (x, y), inside the picture."""
        _check_size(size)
        corners = np.asarray(corners).reshape(-1, 2)
        if len(corners) != len(crops):
            raise DataError(f"expected a corner for each of the {len(crops)} crops, but got {len(corners)}")
        windows = np.zeros((len(crops), 4), np.int32)
        tight = []
        for index, (crop, (x, y)) in enumerate(zip(crops, corners.tolist(), strict=True)):
            _check_bool(crop, 2)
            y1, y2 = _extent(np.any(crop, axis=1))
            x1, x2 = _extent(np.any(crop[y1:y2], axis=0))
            tight.append(crop[y1:y2, x1:x2])
            if y2 > y1:
                windows[index] = x + x1, y + y1, x + x2, y + y2
                _check_inside(windows[index], size)
        return _assemble(tight, windows, size)

    @classmethod
    def from_dense(cls, masks: Array) -> Masks:
        """Masks from a bool array [N, H, W]."""
        dense = np.asarray(masks)
        _check_bool(dense, 3)
        return cls.from_crops(list(dense), np.zeros((len(dense), 2), np.int64), dense.shape[1:])

    @classmethod
    def from_rle(cls, counts: Iterable[Runs], size: tuple[int, int]) -> Masks:
        """Masks from COCO's run-lengths, one per mask: compressed (bytes or text) or uncompressed (whole numbers).

        `DataError` where they are garbage or do not fill a picture of `size` (H, W).
        """
        return cls.from_edges(edges_from_runs(*_flat_runs(list(counts), size), size))

    @classmethod
    def from_edges(cls, edges: Edges) -> Masks:
        """Masks from the places at which they change."""
        _check_size(edges.size)
        return cls((int(edges.size[0]), int(edges.size[1])), *crops_from_edges(edges))

    @classmethod
    def from_polygons(cls, objects: Iterable[Sequence[Array]], size: tuple[int, int]) -> Masks:
        """Masks from polygons by COCO's rule, bit for bit as pycocotools: one mask per object, the union of its rings.

        A ring is [K, 2] xy in pixels or flat [2K], K >= 3; it may reach outside the picture. `DataError` for other
        shapes and for coordinates that are not finite.
        """
        return cls.from_parts(([[ring] for ring in rings] for rings in objects), size)

    @classmethod
    def from_parts(cls, objects: Iterable[Sequence[Sequence[Array]]], size: tuple[int, int]) -> Masks:
        """Masks from polygons with holes, as `to_polygons` gives them: each object a list of parts, each part a list of
        rings filled even-odd; an object is the union of its parts.
        """
        _check_size(size)
        parts = [union_of_spans([spans_from_rings(rings, size) for rings in item]) for item in objects]
        return cls.from_edges(edges_from_spans(parts, size))

    @classmethod
    def from_ids(cls, id_map: Array, ids: Array) -> Masks:
        """A mask for each of `ids` [N] in an id map [H, W] of whole numbers; empty where an id does not occur."""
        id_map, ids = np.asarray(id_map), np.asarray(ids)
        if id_map.ndim != 2 or id_map.dtype.kind not in "iu":
            raise DataError(f"an id map must be whole numbers [H, W], but got {id_map.dtype} {list(id_map.shape)}")
        size = (int(id_map.shape[0]), int(id_map.shape[1]))
        windows = _windows_of_ids(id_map, ids)
        crops = [id_map[y1:y2, x1:x2] == id_ for id_, (x1, y1, x2, y2) in zip(ids, windows.tolist(), strict=True)]
        return _assemble(crops, windows, size)

    @classmethod
    def concatenate(cls, parts: Sequence[Masks]) -> Masks:
        """All masks of pictures of one size, in order; at least one part."""
        _check_sizes(parts)
        return _assemble(
            [c for part in parts for c in part._crops()], np.concatenate([p.windows for p in parts]), parts[0].size
        )


def painted(masks: Masks, numbers: IntArray, none: int) -> IntArray:
    """[H, W] with the number of the mask that each pixel belongs to, of the last of several, and `none` without one."""
    most = max([none, *numbers.tolist()])
    ids: IntArray = np.full(masks.size, none, np.uint8 if most <= np.iinfo(np.uint8).max else np.int32)
    for row, (x1, y1, x2, y2) in enumerate(masks.windows.tolist()):
        ids[y1:y2, x1:x2][masks.crop(row)] = numbers[row]
    return ids


def _assemble(crops: Sequence[BoolArray], windows: IntArray, size: tuple[int, int]) -> Masks:
    _check_size(size)
    starts = np.cumsum([0] + [crop.size for crop in crops], dtype=np.int64)
    bits = np.concatenate([crop.reshape(-1) for crop in crops]) if crops else np.zeros(0, bool)
    return Masks((int(size[0]), int(size[1])), windows.astype(np.int32), bits, starts)


def _flat_runs(counts: list[Runs], size: tuple[int, int]) -> tuple[IntArray, IntArray]:
    """The runs of all masks one after the other, checked, and where those of each start."""
    texts = [item for item in counts if isinstance(item, bytes | str)]
    if len(texts) == len(counts):
        runs, starts = runs_from_strings(texts)
        for start, stop in pairwise(starts.tolist()):
            check_runs(runs[start:stop], size)
        return runs, starts
    many = [runs_from_string(item) if isinstance(item, bytes | str) else np.asarray(item) for item in counts]
    for runs in many:
        check_runs(runs, size)
    return np.concatenate(many).astype(np.int64), np.cumsum([0, *map(len, many)])


def _part(masks: Masks, index: int, window: Sequence[int]) -> BoolArray:
    """What lies in a picture window (xyxy) inside the mask's own window; [0, 0] where it is empty or turned round."""
    left, top = masks.windows[index, :2].tolist()
    x1, y1, x2, y2 = window
    return masks.crop(index)[y1 - top : max(y2, y1) - top, x1 - left : max(x2, x1) - left]


def _read(crop: BoolArray, window: IntArray, size: tuple[int, int], warp: Warp) -> tuple[BoolArray, tuple[int, int]]:
    """The mask that is `crop` in `window` (xyxy) of a picture of `size`, read through a warp, and its corner (x, y)."""
    reach = warp.boxes(window[None] + np.array((-0.5, -0.5, 0.5, 0.5)))[0]
    x1, y1 = np.maximum(np.floor(reach[:2]), 0).astype(int).tolist()
    x2, y2 = np.minimum(np.ceil(reach[2:]), warp.size[::-1]).astype(int).tolist()
    if not crop.size or x2 <= x1 or y2 <= y1:
        return np.zeros((0, 0), bool), (0, 0)
    grid = np.stack(np.meshgrid(np.arange(x1, x2) + 0.5, np.arange(y1, y2) + 0.5), axis=-1).reshape(-1, 2)
    x, y = warp.inverse(size).points(grid).T
    outside = (x < 0) | (y < 0) | (x >= size[1]) | (y >= size[0])
    padded = np.pad(crop.astype(np.float32), 1)
    # In the padded crop, where pixel j has its middle at j.
    x = np.clip(np.clip(x - 0.5, 0, size[1] - 1) - window[0] + 1, 0, crop.shape[1] + 1)
    y = np.clip(np.clip(y - 0.5, 0, size[0] - 1) - window[1] + 1, 0, crop.shape[0] + 1)
    left, top = np.minimum(x.astype(int), crop.shape[1]), np.minimum(y.astype(int), crop.shape[0])
    right, low = x - left, y - top
    above = padded[top, left] * (1 - right) + padded[top, left + 1] * right
    below = padded[top + 1, left] * (1 - right) + padded[top + 1, left + 1] * right
    inside = (above * (1 - low) + below * low >= 0.5) & ~outside
    return inside.reshape(y2 - y1, x2 - x1), (x1, y1)


def _taps(low: int, high: int, old: int, new: int) -> tuple[int, IntArray, IntArray, FloatArray]:
    """Along one axis: the first output pixel that the input pixels low...high can reach, and for each output pixel
    the two cells of the crop (padded by one) that it lies between, and its distance from the first.
    """
    scale = old / new
    first = max(int(np.floor((low - 0.5) / scale - 0.5)), 0)
    last = min(int(np.ceil((high + 0.5) / scale - 0.5)) + 1, new)
    at = np.minimum(np.maximum((np.arange(first, last) + 0.5) * scale - 0.5, 0), old - 1)
    cell = np.floor(at).astype(np.int64)
    # A pixel beyond the window is zero, as is the padding.
    before = np.minimum(np.maximum(cell - low + 1, 0), high - low + 1)
    behind = np.minimum(np.maximum(cell - low + 2, 0), high - low + 1)
    return first, before, behind, (at - cell).astype(np.float32)


def _extent(line: Array) -> tuple[int, int]:
    if not line.any():
        return 0, 0
    return int(line.argmax()), len(line) - int(line[::-1].argmax())


def _windows_of_ids(id_map: IntArray, ids: IntArray) -> IntArray:
    """Tight windows [N, 4] from the horizontal runs of equal ids, so that no picture is compared N times."""
    width = id_map.shape[1]
    changed = np.ones(id_map.shape, bool)
    changed[:, 1:] = id_map[:, 1:] != id_map[:, :-1]
    begins = np.flatnonzero(changed)
    values = id_map.reshape(-1)[begins]
    wanted = np.isin(values, ids)
    rows, x1 = np.divmod(begins, width)
    x2 = np.append(begins[1:], id_map.size) - rows * width
    values, rows, x1, x2 = values[wanted], rows[wanted], x1[wanted], x2[wanted]
    known, row_of = np.unique(values, return_inverse=True)
    found = np.zeros((len(known) + 1, 4), np.int64)
    found[:-1, :2] = np.iinfo(np.int64).max
    for column, extreme, what in (
        (0, np.minimum, x1),
        (1, np.minimum, rows),
        (2, np.maximum, x2),
        (3, np.maximum, rows + 1),
    ):
        extreme.at(found[:, column], row_of, what)
    place = np.searchsorted(known, ids)
    absent = np.append(known, 0)[place] != ids if known.size else np.ones(ids.shape, bool)
    return found[np.where(absent | (place == len(known)), len(known), place)]


def _check_size(size: tuple[int, int]) -> None:
    if len(size) != 2 or size[0] < 1 or size[1] < 1:
        raise DataError(f"a picture's size must be (height, width), each at least 1, but got {size}")


def _check_sizes(parts: Sequence[Masks]) -> None:
    sizes = {part.size for part in parts}
    if len(sizes) != 1:
        raise DataError(f"expected masks of one picture size, but got {sorted(sizes)}")


def _check_bool(masks: Array, dimensions: int) -> None:
    if masks.dtype != np.bool_ or masks.ndim != dimensions:
        raise DataError(
            f"masks must be bool with {dimensions} dimensions, but got {masks.dtype} {list(masks.shape)}",
            hint="say which values are inside, for example `array > 0`",
        )


def _check_inside(window: IntArray, size: tuple[int, int]) -> None:
    x1, y1, x2, y2 = window.tolist()
    if x1 < 0 or y1 < 0 or x2 > size[1] or y2 > size[0]:
        raise DataError(
            f"masks must lie inside the {size[0]} x {size[1]} picture, but got the window {window.tolist()}"
        )
