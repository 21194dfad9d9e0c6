"""Records of a large data set in a few arrays, which worker processes share.

A process that was forked shares its parent's memory until one of them writes to it, and Python writes to every object
that it merely looks at, to count references. Annotations as objects would thus be copied into every worker, page by
page. Arrays are looked at without being written to.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import overload

import numpy as np

from everymask.core.arrays import Array, BoolArray, FloatArray, IntArray
from everymask.core.forms.outlines import Outlines
from everymask.core.segmentation import Segment
from everymask.data.dataset import Dataset
from everymask.data.feed.outlined import Outlined
from everymask.data.records import (
    Annotation,
    BoxOnly,
    LabelMapFile,
    MaskFile,
    Objects,
    PanopticFile,
    Polygons,
    Record,
    Rle,
    Shape,
    Truth,
)

_POLYGONS, _RLE, _MASK_FILE, _MASK_VALUE, _BOX_ONLY, _MASK_COLOUR = range(6)
_OBJECTS, _LABEL_MAP, _PANOPTIC, _OTHER = range(4)


def packed(dataset: Dataset) -> Dataset:
    """The same data set with its records in arrays; each is made anew whenever it is asked for."""
    return replace(dataset, records=PackedRecords(dataset.records))


@dataclass(frozen=True, slots=True)
class _Texts:
    """Strings in one array of bytes."""

    data: Array
    starts: IntArray

    @classmethod
    def of(cls, texts: Iterable[bytes]) -> _Texts:
        listed = list(texts)
        return cls(np.frombuffer(b"".join(listed), np.uint8), _starts(map(len, listed)))

    def __getitem__(self, index: int) -> bytes:
        return self.data[self.starts[index] : self.starts[index + 1]].tobytes()


class PackedRecords(Sequence[Record]):
    """A sequence of records, equal to those that it was made from; coordinates are kept in double precision."""

    def __init__(self, records: Iterable[Record]) -> None:
        listed = list(records)
        self._ids = _Texts.of(_encoded(record.id) for record in listed)
        self._images = _Texts.of(_encoded(str(record.image)) for record in listed)
        self._befores = _Texts.of(_encoded(str(record.before or "")) for record in listed)
        self._sizes = np.array([record.size for record in listed], np.int64).reshape(-1, 2)
        names = sorted({record.split for record in listed if record.split is not None})
        self._split_names = (None, *names)
        self._splits = np.array([self._split_names.index(record.split) for record in listed], np.int64)
        self._pack_truths([record.truth for record in listed])

    def _pack_truths(self, truths: list[Truth]) -> None:
        kinds = [_kind(truth) for truth in truths]
        self._truths = np.array(kinds, np.uint8)
        # Of truths without arrays of their own there are few different ones: each is kept once.
        others = {row: truth for row, (truth, kind) in enumerate(zip(truths, kinds, strict=True)) if kind == _OTHER}
        self._others = tuple(dict.fromkeys(others.values()))
        numbers = {truth: number for number, truth in enumerate(self._others)}
        self._other = np.zeros(len(truths), np.int64)
        self._other[list(others)] = [numbers[truth] for truth in others.values()]
        objects = [truth if isinstance(truth, Objects) else Objects() for truth in truths]
        maps = [truth if isinstance(truth, LabelMapFile) else LabelMapFile(Path()) for truth in truths]
        panoptic = [truth if isinstance(truth, PanopticFile) else PanopticFile(Path(), ()) for truth in truths]
        files = (truth.file if isinstance(truth, LabelMapFile | PanopticFile) else "" for truth in truths)
        self._files = _Texts.of(_encoded(str(file)) for file in files)
        most = max((len(truth.pixels) for truth in maps), default=0)
        pixels = [truth.pixels or (-1,) * most for truth in maps]
        self._pixels = np.array(pixels, np.int64).reshape(len(truths), most)
        self._segments = _starts(len(truth.segments) for truth in panoptic)
        self._pack_segments([segment for truth in panoptic for segment in truth.segments])
        annotations = [annotation for truth in objects for annotation in truth.annotations]
        self._objects = _starts(len(truth.annotations) for truth in objects)
        self._pack_annotations(annotations)
        self._ignored = len(annotations) + _starts(len(truth.ignored) for truth in objects)
        shapes = [annotation.shape for annotation in annotations]
        self._pack_shapes([*shapes, *(shape for truth in objects for shape in truth.ignored)])

    def _pack_segments(self, segments: list[Segment]) -> None:
        self._segment_ids = np.array([(segment.id, segment.class_id) for segment in segments], np.int64).reshape(-1, 2)
        self._segment_crowd: BoolArray = np.array([segment.crowd for segment in segments], np.bool_)
        scores = [np.nan if segment.score is None else segment.score for segment in segments]
        self._segment_scores: FloatArray = np.array(scores, np.float64)

    def _pack_annotations(self, objects: list[Annotation]) -> None:
        self._class_ids = np.array([annotation.class_id for annotation in objects], np.int64)
        self._crowd: BoolArray = np.array([annotation.crowd for annotation in objects], np.bool_)
        self._numbers = np.array([annotation.id or 0 for annotation in objects], np.int64)
        self._numbered: BoolArray = np.array([annotation.id is not None for annotation in objects], np.bool_)
        nothing = (np.nan,) * 4
        areas = [np.nan if annotation.area is None else annotation.area for annotation in objects]
        self._areas: FloatArray = np.array(areas, np.float64)
        boxes = [nothing if annotation.box is None else annotation.box for annotation in objects]
        self._boxes: FloatArray = np.array(boxes, np.float64).reshape(-1, 4)

    def _pack_shapes(self, shapes: list[Shape]) -> None:
        """Object `i` is of kind `_kinds[i]` and has the rings, or the text and the value, from `_places[i]` on."""
        self._kinds = np.zeros(len(shapes), np.uint8)
        self._places = np.zeros(len(shapes), np.int64)
        rings: list[FloatArray] = []
        texts: list[bytes] = []
        values = np.zeros(len(shapes), np.int64)
        self._counts = np.zeros(len(shapes), np.int64)
        for row, shape in enumerate(shapes):
            match shape:
                case Polygons(outlines):
                    self._kinds[row], self._places[row], self._counts[row] = _POLYGONS, len(rings), len(outlines)
                    rings += outlines
                case Rle(counts):
                    self._kinds[row], self._places[row] = _RLE, len(texts)
                    texts.append(counts)
                case MaskFile(file, value, coloured):
                    numbered = _MASK_COLOUR if coloured else _MASK_VALUE
                    self._kinds[row], self._places[row] = (_MASK_FILE if value is None else numbered), len(texts)
                    texts.append(_encoded(str(file)))
                    values[row] = value or 0
                case BoxOnly():
                    self._kinds[row] = _BOX_ONLY
        self._values = values
        self._texts = _Texts.of(texts)
        self._corners = _starts(len(ring) for ring in rings)
        flat = [np.asarray(ring, np.float64).reshape(-1, 2) for ring in rings]
        self._points: FloatArray = np.concatenate([np.zeros((0, 2)), *flat])

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Record, ...]: ...
    def __getitem__(self, index: int | slice) -> Record | tuple[Record, ...]:
        places = range(len(self))[index]
        return self._record(places) if isinstance(places, int) else tuple(map(self._record, places))

    def bare(self, index: int) -> Record:
        """The record, but without the objects and ignored regions of one that has objects."""
        height, width = self._sizes[index].tolist()
        image, before = Path(_decoded(self._images[index])), _decoded(self._befores[index])
        return Record(
            id=_decoded(self._ids[index]),
            image=image,
            size=(height, width),
            truth=self._truth(index),
            split=self._split_names[self._splits[index]],
            before=Path(before) if before else None,
        )

    def _truth(self, index: int) -> Truth:
        kind, file = int(self._truths[index]), Path(_decoded(self._files[index]))
        if kind == _LABEL_MAP:
            pixels = self._pixels[index].tolist()
            return LabelMapFile(file, () if -1 in pixels else tuple(pixels))
        if kind == _PANOPTIC:
            rows = slice(*self._segments[index : index + 2].tolist())
            columns = (self._segment_ids[rows], self._segment_scores[rows], self._segment_crowd[rows])
            listed = zip(*(column.tolist() for column in columns), strict=True)
            return PanopticFile(
                file,
                tuple(
                    Segment(number, class_id, None if math.isnan(score) else score, crowd)
                    for (number, class_id), score, crowd in listed
                ),
            )
        return self._others[self._other[index]] if kind == _OTHER else Objects()

    def outlined(self, index: int) -> Outlined | None:
        """The objects of a picture, if there are any and all of them are polygons; without making annotations."""
        first, last = self._objects[index : index + 2].tolist()
        rows = slice(first, last)
        counts = self._counts[rows]
        if first == last or (self._kinds[rows] != _POLYGONS).any() or not counts.all():
            return None
        ring = int(self._places[first])
        corners = self._corners[ring : ring + int(counts.sum()) + 1]
        numbers = np.where(self._numbered[rows], self._numbers[rows], np.arange(1, last - first + 1))
        outlines = Outlines(
            self._points[corners[0] : corners[-1]], corners - corners[0], np.repeat(np.arange(last - first), counts)
        )
        return Outlined(outlines, self._class_ids[rows], numbers, self._crowd[rows])

    def _record(self, index: int) -> Record:
        first, last = self._objects[index : index + 2].tolist()
        bare = self.bare(index)
        if self._truths[index] != _OBJECTS:
            return bare
        ignored = tuple(map(self._shape, range(*self._ignored[index : index + 2].tolist())))
        return replace(bare, truth=Objects(tuple(self._annotations(first, last)), ignored))

    def _annotations(self, first: int, last: int) -> Iterable[Annotation]:
        rows = slice(first, last)
        columns = (self._class_ids, self._boxes, self._crowd, self._numbers, self._numbered, self._areas)
        listed = zip(range(first, last), *(column[rows].tolist() for column in columns), strict=True)
        for row, class_id, (x1, y1, x2, y2), crowd, number, numbered, area in listed:
            box = None if math.isnan(x1) else (x1, y1, x2, y2)
            stated = None if math.isnan(area) else area
            yield Annotation(class_id, self._shape(row), box, crowd, number if numbered else None, stated)

    def _shape(self, row: int) -> Shape:
        kind, place = int(self._kinds[row]), int(self._places[row])
        if kind == _BOX_ONLY:
            return BoxOnly()
        if kind == _POLYGONS:
            corners = self._corners[place : place + int(self._counts[row]) + 1].tolist()
            return Polygons(tuple(self._points[begin:end] for begin, end in pairwise(corners)))
        if kind == _RLE:
            return Rle(self._texts[place])
        file = Path(_decoded(self._texts[place]))
        return MaskFile(file, None if kind == _MASK_FILE else int(self._values[row]), kind == _MASK_COLOUR)


def _kind(truth: Truth) -> int:
    match truth:
        case Objects():
            return _OBJECTS
        case LabelMapFile(before=None):
            return _LABEL_MAP
        case PanopticFile():
            return _PANOPTIC
        case _:
            return _OTHER


def _starts(lengths: Iterable[int]) -> IntArray:
    return np.cumsum([0, *lengths], dtype=np.int64)


def _encoded(text: str) -> bytes:
    # Names of files may hold bytes that are no text; Python carries them as surrogates.
    return text.encode("utf-8", "surrogateescape")


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
