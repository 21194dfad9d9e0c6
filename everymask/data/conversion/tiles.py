"""Large pictures cut into tiles, each a picture of its own with its part of the truth.

A tile that begins at row y and column x of the picture `name` is called `name_y_x`. Tiles of a picture are spread
evenly, neighbours share at least the wanted part of their side, and the last ones end with the picture.

A part of an object is kept where it has at least a tenth of the pixels of the largest part that any tile shows of it.
So slivers at the edges of tiles go, every object is kept at least once, and long or huge ones, of which no tile shows a
tenth, are kept wherever they are more than a sliver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import assert_never

import numpy as np
import tifffile

from everymask.core.arrays import Array, BoolArray, FloatArray, IntArray
from everymask.core.files import whole_file
from everymask.core.masks import Masks
from everymask.data.change.coding import ChangeCoding
from everymask.data.coding import LabelCoding
from everymask.data.conversion.staging import coding_of_ids, write_map
from everymask.data.dataset import Dataset, panoptic_refused
from everymask.data.formats.folders import file_stem
from everymask.data.painting import Painting
from everymask.data.panoptic import PanopticCoding
from everymask.data.pictures.read import check_image, write_image
from everymask.data.pictures.strips import Strips, open_strips
from everymask.data.records import (
    Annotation,
    Box,
    Objects,
    Polygons,
    Record,
    Rle,
    Truth,
    check_size,
    draw_shapes,
)
from everymask.errors import ConfigError

Window = tuple[int, int, int, int]
_SLIVER = 0.1
_MOST_OVERLAP = 0.9
_PNG = ((np.uint8, 1), (np.uint8, 3), (np.uint16, 1))


@dataclass(frozen=True, slots=True)
class Tiles:
    """Tiles of `side` x `side` pixels, of which neighbours share at least `overlap` (0 to 0.9) of their side.

    `ConfigError` for values out of range.
    """

    side: int = 1024
    overlap: float = 0.2

    def __post_init__(self) -> None:
        if self.side < 16:
            raise ConfigError(f"the side of a tile must be at least 16 pixels, but got {self.side}")
        if not 0 <= self.overlap <= _MOST_OVERLAP:
            raise ConfigError(f"the overlap of tiles must lie between 0 and {_MOST_OVERLAP}, but got {self.overlap}")

    def windows(self, size: tuple[int, int]) -> list[Window]:
        """The tiles (xyxy) of a picture of `size` (H, W), row by row; one smaller than a tile is one tile."""
        height, width = size
        rows, columns = self._starts(height), self._starts(width)
        return [(x, y, min(x + self.side, width), min(y + self.side, height)) for y in rows for x in columns]

    def _starts(self, length: int) -> list[int]:
        step = max(1, int(self.side * (1 - self.overlap)))
        gaps = max(0, -(-(length - self.side) // step))
        return [(length - self.side) * place // gaps for place in range(gaps + 1)] if gaps else [0]


@dataclass(slots=True)
class TileCounts:
    """How many `pictures` became how many `tiles`, of which some show nothing (`empty`).

    Of the objects, how many lie `whole` in some tile, and how many are only seen in parts (`cut`); and how many parts
    of objects were kept (`parts`), or left out as slivers (`slivers`).
    """

    pictures: int = 0
    tiles: int = 0
    empty: int = 0
    whole: int = 0
    cut: int = 0
    parts: int = 0
    slivers: int = 0


def tile_pictures(
    dataset: Dataset, tiles: Tiles, folder: Path, *, progress: Callable[[int, int], None] | None = None
) -> tuple[Dataset, TileCounts]:
    """The data set of the tiles of all pictures, which keep their picture's split, and what became of the objects.

    Tiles are written into `folder`, as PNG, or as TIFF where PNG cannot hold them; a picture of one tile stays where it
    is. Pictures are read by rows where `open_strips` can, so that memory holds a row of tiles; label maps are decoded
    whole, one at a time. `progress(done, total)` is called after each picture. `ConfigError` for a panoptic data set,
    `DataError` for a picture or label map that cannot be read.
    """
    counts, records = TileCounts(), list[Record]()
    for row, record in enumerate(dataset.records):
        windows = tiles.windows(record.size)
        names = [f"{file_stem(record)}_{y}_{x}" for x, y, _, _ in windows]
        images = _cut_picture(record, record.image, windows, names, folder / "images")
        earlier: Sequence[Path | None] = [None] * len(windows)
        if record.before is not None:
            earlier = _cut_picture(record, record.before, windows, names, folder / "before")
        truths = _cut_truth(dataset, row, windows, [folder / "maps" / f"{name}.png" for name in names], counts)
        for (x1, y1, x2, y2), name, image, before, truth in zip(windows, names, images, earlier, truths, strict=True):
            size = (y2 - y1, x2 - x1)
            records.append(replace(record, id=name, image=image, before=before, size=size, truth=truth))
            counts.empty += not truth.classes
        counts.pictures += 1
        counts.tiles += len(windows)
        if progress is not None:
            progress(row + 1, len(dataset))
    coding = None if dataset.coding is None else coding_of_ids(dataset)
    return replace(dataset, records=tuple(records), coding=coding), counts


def _cut_picture(
    record: Record, picture: Path, windows: Sequence[Window], names: Sequence[str], folder: Path
) -> list[Path]:
    """The files of the tiles of a date, the picture's own if there is one; in memory is a row of them."""
    if len(windows) == 1:
        check_image(picture)
        return [picture]
    files = []
    with open_strips(picture) as strips:
        check_size(strips.size, record.size, picture, "picture")
        rows, top = np.zeros((0, record.size[1], strips.channels), strips.dtype), 0
        for (y1, y2), row in groupby(zip(windows, names, strict=True), key=lambda tile: (tile[0][1], tile[0][3])):
            rows, top = _moved_on(rows[y1 - top :], strips, y2 - y1), y1
            files += [_write_tile(folder / name, rows[:, x1:x2]) for (x1, _, x2, _), name in row]
    return files


def _moved_on(kept: Array, strips: Strips, height: int) -> Array:
    """`height` rows [height, W, C]: those that are `kept` and the next ones of `strips`."""
    return np.concatenate([kept, strips.read(height - len(kept))])


def _write_tile(stem: Path, pixels: Array) -> Path:
    """Write a tile [h, w, C] losslessly, as PNG where that holds it, else as TIFF; its file."""
    if any(pixels.dtype == dtype and pixels.shape[2] == channels for dtype, channels in _PNG):
        file = stem.with_name(f"{stem.name}.png")
        write_image(file, pixels)
        return file
    file = stem.with_name(f"{stem.name}.tif")
    plain = np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    with whole_file(file) as temporary:
        tifffile.imwrite(
            temporary, plain, photometric="minisblack", planarconfig="contig" if plain.ndim == 3 else None,
            compression="zlib", metadata=None,
        )  # fmt: skip
    return file


def _cut_truth(
    dataset: Dataset, row: int, windows: Sequence[Window], maps: Sequence[Path], counts: TileCounts
) -> Sequence[Truth]:
    """The truth of each tile of a picture; label maps are written into the files `maps`."""
    match dataset.coding:
        case None:
            return list(_cut_objects(dataset, row, windows, counts))
        case LabelCoding() | Painting() | ChangeCoding() | PanopticCoding(classes=True):
            whole = dataset.label_map(row)
            parts = (whole.each(partial(_cut, window=window)) for window in windows)
            return [write_map(file, part, dataset.labels) for part, file in zip(parts, maps, strict=True)]
        case PanopticCoding():
            raise panoptic_refused(dataset, "cut into tiles")
        case _:
            assert_never(dataset.coding)


def _cut(ids: IntArray, window: Window) -> IntArray:
    x1, y1, x2, y2 = window
    return ids[y1:y2, x1:x2]


@dataclass(frozen=True, slots=True)
class _Part:
    """What a tile shows of the objects in `rows`: their pixels, or their boxes [N, 4] xyxy, how large these are, and
    whether they are the `whole` object.
    """

    rows: IntArray
    areas: FloatArray
    whole: BoolArray
    masks: Masks | None
    boxes: FloatArray

    def codes(self) -> list[bytes]:
        """The pixels as COCO's run-lengths; none for boxes."""
        return [] if self.masks is None else self.masks.to_rle()


def _cut_objects(dataset: Dataset, row: int, windows: Sequence[Window], counts: TileCounts) -> Iterator[Objects]:
    record, truth = dataset.records[row], dataset.objects(row)
    parts = [_part(truth.boxes if truth.masks is None else truth.masks, window) for window in windows]
    largest, whole = np.zeros(len(truth)), np.zeros(len(truth), np.bool_)
    for part in parts:
        np.maximum.at(largest, part.rows, part.areas)
        whole[part.rows] |= part.whole
    counts.whole += int(whole.sum())
    counts.cut += int((~whole & (largest > 0)).sum())
    ignored = draw_shapes(record.objects.ignored, record.size, record.image)
    for part, window in zip(parts, windows, strict=True):
        kept = np.flatnonzero(part.areas >= _SLIVER * largest[part.rows])
        counts.parts += len(kept)
        counts.slivers += len(part.rows) - len(kept)
        codes = _part(ignored, window).codes() if len(ignored) else []
        yield Objects(tuple(_annotations(record, part, kept, window)), tuple(map(Rle, codes)))


def _part(objects: Masks | FloatArray, window: Window) -> _Part:
    """What the tile in `window` shows of the objects of a picture, where it shows any of them."""
    boxes = np.asarray(objects.windows if isinstance(objects, Masks) else objects, np.float64)
    x1, y1, x2, y2 = window
    cut = np.concatenate([np.maximum(boxes[:, :2], (x1, y1)), np.minimum(boxes[:, 2:], (x2, y2))], axis=1)
    rows = np.flatnonzero((cut[:, 2:] > cut[:, :2]).all(axis=1))
    whole, moved = (cut == boxes).all(axis=1)[rows], cut[rows] - (x1, y1, x1, y1)
    if not isinstance(objects, Masks):
        return _Part(rows, (moved[:, 2:] - moved[:, :2]).prod(axis=1), whole, None, moved)
    masks = objects[rows].cut(window)
    areas = masks.areas().astype(np.float64)
    seen = np.flatnonzero(areas)
    masks = masks[seen]
    return _Part(rows[seen], areas[seen], whole[seen], masks, masks.boxes())


def _annotations(record: Record, part: _Part, kept: IntArray, window: Window) -> Iterator[Annotation]:
    """The objects that a tile keeps; outlines of whole ones stay outlines where they give the same pixels."""
    codes = part.codes()
    for place in kept.tolist():
        annotation, whole = record.objects.annotations[int(part.rows[place])], bool(part.whole[place])
        own = replace(annotation, id=None, area=annotation.area if whole else None)
        if part.masks is None:
            x1, y1, x2, y2 = part.boxes[place].tolist()
            yield replace(own, box=(x1, y1, x2, y2))
            continue
        outline = _moved_outline(annotation, window) if whole else None
        if outline is not None and Masks.from_polygons([outline.rings], part.masks.size).to_rle() != [codes[place]]:
            outline = None
        yield replace(own, shape=outline or Rle(codes[place]), box=_moved_box(annotation, window) if whole else None)


def _moved_box(annotation: Annotation, window: Window) -> Box | None:
    """The box that the annotation states, in the tile's coordinates and inside the tile."""
    if annotation.box is None:
        return None
    x1, y1, x2, y2 = window
    left, right = np.clip(annotation.box[::2], x1, x2).tolist()
    top, bottom = np.clip(annotation.box[1::2], y1, y2).tolist()
    return left - x1, top - y1, right - x1, bottom - y1


def _moved_outline(annotation: Annotation, window: Window) -> Polygons | None:
    """The outline in the tile's coordinates; None where the object is none, or reaches beyond the tile."""
    x1, y1, x2, y2 = window
    if not isinstance(annotation.shape, Polygons):
        return None
    left, top, right, bottom = annotation.shape.extent
    if left < x1 or top < y1 or right > x2 or bottom > y2:
        return None
    return Polygons(tuple(ring - np.array((x1, y1)) for ring in annotation.shape.rings))
