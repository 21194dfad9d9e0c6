"""What a picture contains: one type for truth and prediction of each task.

All of them answer to the same words, so that nobody needs to ask which one it is: `size`, `relabelled`, `rows`,
`to_ids`, `warped`, `countable`, `object_sizes`, `object_shapes`, `class_pixels`, `to_json` and `from_json`, in plain
values, and `regions` and `from_regions`, as what one table can hold; `noun` is what messages call them, `kind` what
JSON does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, Self, TypeAlias, TypeVar

import numpy as np

from everymask.core.arrays import Array, BoolArray, FloatArray, IntArray
from everymask.core.forms.plain import floats_from_json, floats_to_json, map_from_json, map_to_json
from everymask.core.geometry import Warp, nearest
from everymask.core.labels import ClassMap, Labels
from everymask.core.masks import Masks, painted
from everymask.core.rows import ClassArea, ObjectRow, class_areas, count_classes, shortest
from everymask.errors import DataError


@dataclass(frozen=True, slots=True)
class SemanticMap:
    """`ids`: class id of every pixel, [H, W] or [D, H, W].

    `scores`: the probability of that class, float32 in 0-1 of the same shape, 0 where there is no class. None for truth
    and where it was not asked for. `ignore` is what stands in `ids` where there is no truth, or no class: that of the
    labels whose classes these are.
    """

    noun: ClassVar[str] = "label maps"
    kind: ClassVar[str] = "semantic"
    ids: IntArray
    scores: FloatArray | None = None
    ignore: int = 255

    @property
    def size(self) -> tuple[int, int]:
        """(H, W), or the last two of [D, H, W]."""
        height, width = self.ids.shape[-2:]
        return int(height), int(width)

    @property
    def planes(self) -> dict[str, IntArray]:
        """The arrays of class ids by their names: `ids`, and that of another date where there is one."""
        return {"ids": self.ids}

    def each(self, change: Callable[[IntArray], IntArray]) -> Self:
        """The map with each of its planes changed, and without scores, which then say nothing."""
        changed: dict[str, Any] = {name: change(plane) for name, plane in self.planes.items()}
        return replace(self, **changed, scores=None)

    def relabelled(self, classes: ClassMap) -> Self:
        """The same map in the class ids of other labels."""
        none = min(len(classes.table) - 1, np.iinfo(self.ids.dtype).max)
        other = self.each(lambda plane: classes.table[np.minimum(plane, none)])
        return replace(other, scores=self.scores, ignore=int(classes.table[-1]))

    def rows(self, labels: Labels) -> list[ClassArea]:
        """The classes that the map shows, largest first; pixels without a class are in no row but in the whole."""
        return class_areas(count_classes(self.ids, len(labels)), labels)

    def to_ids(self) -> IntArray:
        """The class ids themselves."""
        return self.ids

    def object_sizes(self) -> FloatArray:
        """[0]: classes of pixels have no size."""
        return np.zeros(0)

    def object_shapes(self) -> FloatArray:
        """[0]: nor a shape."""
        return np.zeros(0)

    def countable(self, labels: Labels) -> SemanticMap:
        """The map itself."""
        return self

    def class_pixels(self, num_classes: int) -> IntArray:
        """How many pixels each class has, of all dates, [num_classes] int64; those without truth count nowhere."""
        counts = [count_classes(plane, num_classes)[:num_classes] for plane in self.planes.values()]
        total: IntArray = np.sum(counts, axis=0, dtype=np.int64)
        return total

    def warped(self, warp: Warp) -> Self:
        """The map of the warped picture; each pixel is the nearest, and `ignore` where the picture is not."""
        scores = None if self.scores is None else nearest(self.scores, warp, 0)
        return replace(self.each(lambda plane: nearest(plane, warp, self.ignore)), scores=scores)

    def to_json(self, labels: Labels, *, scores: bool) -> dict[str, Any]:
        """The map (that of an earlier date as `was`), and with `scores` how probable its classes are."""
        kept = {"scores": floats_to_json(self.scores)} if scores and self.scores is not None else {}
        return {"map" if name == "ids" else name: map_to_json(ids) for name, ids in self.planes.items()} | kept

    @classmethod
    def from_json(cls, data: dict[str, Any], size: tuple[int, int], labels: Labels) -> SemanticMap:
        """What `to_json` wrote, of a picture of `size`; errors as in `map_from_json` and `floats_from_json`."""
        scores = floats_from_json(data["scores"], size) if "scores" in data else None
        return cls(map_from_json(data["map"], size), scores, labels.ignore)

    def regions(self) -> InstanceSet:
        """Each class that the map [H, W] shows as one object, in the order of the classes."""
        shown = np.unique(self.ids)
        shown = shown[shown != self.ignore].astype(np.int64)
        masks = Masks.from_ids(self.ids, shown)
        return InstanceSet(masks.boxes(), shown, masks=masks)

    @classmethod
    def from_regions(cls, regions: InstanceSet, size: tuple[int, int], ignore: int) -> SemanticMap:
        """What `regions` gave, of a picture of `size` (H, W)."""
        masks = Masks.empty(size) if regions.masks is None else regions.masks
        return cls(painted(masks, regions.class_ids, ignore), ignore=ignore)


@dataclass(frozen=True, slots=True)
class ChangeMap(SemanticMap):
    """What changed between two dates: a label map whose class 0 is what did not, in the frame of the later date.

    Where it is known what became of what (semantic change), `ids` say what is there now and `was` [H, W] what was there
    before, in the same classes: both are 0 where nothing changed. None: only the change itself is known.
    """

    noun: ClassVar[str] = "change maps"
    kind: ClassVar[str] = "change"
    was: IntArray | None = None

    @property
    def planes(self) -> dict[str, IntArray]:
        """`ids`, and `was` where it is known."""
        return {"ids": self.ids} | ({} if self.was is None else {"was": self.was})

    def exchanged(self) -> ChangeMap:
        """The same change with the dates exchanged: what was is what is."""
        return self if self.was is None else replace(self, ids=self.was, was=self.ids, scores=None)

    @classmethod
    def from_json(cls, data: dict[str, Any], size: tuple[int, int], labels: Labels) -> ChangeMap:
        """What `to_json` wrote; errors as in `SemanticMap.from_json`."""
        found = SemanticMap.from_json(data, size, labels)
        was = map_from_json(data["was"], size) if "was" in data else None
        return cls(found.ids, found.scores, found.ignore, was)


@dataclass(frozen=True, slots=True)
class InstanceSet:
    """N objects of one picture; they may overlap.

    `boxes` [N, 4] are float32 xyxy in pixels of the picture (x2, y2 exclusive), `class_ids` [N] int64, `scores` [N]
    float32 in 0-1 (None for truth), `masks` N binary masks (None for boxes only), `ids` [N] the objects' own
    numbers, `crowd` [N] True where the annotation stands for a group (never trained on, not counted as a miss),
    `areas` [N] float64 what the annotation file states as their areas in pixels (None: nothing).

    Index with an int, a slice, integers or booleans to choose objects: `found[found.scores > 0.8]`.
    """

    noun: ClassVar[str] = "annotated objects"
    kind: ClassVar[str] = "instances"
    boxes: FloatArray
    class_ids: IntArray
    scores: FloatArray | None = None
    masks: Masks | None = None
    ids: IntArray | None = None
    crowd: BoolArray | None = None
    areas: FloatArray | None = None

    def __post_init__(self) -> None:
        count = len(self.class_ids)
        if self.boxes.shape != (count, 4):
            raise ValueError(f"boxes must be [{count}, 4] like class_ids [{count}], but got {list(self.boxes.shape)}")
        for name in ("scores", "masks", "ids", "crowd", "areas"):
            column = getattr(self, name)
            if column is not None and len(column) != count:
                raise ValueError(f"{name} must have {count} rows like class_ids, but got {len(column)}")

    def __len__(self) -> int:
        return len(self.class_ids)

    def __getitem__(self, which: int | slice | Array | list[int]) -> InstanceSet:
        rows = np.atleast_1d(np.arange(len(self))[which])
        chosen: dict[str, Any] = {
            column.name: None if getattr(self, column.name) is None else getattr(self, column.name)[rows]
            for column in fields(self)
        }
        return replace(self, **chosen)

    @property
    def size(self) -> tuple[int, int] | None:
        """(H, W) of the picture; None where there are boxes only, which do not say it."""
        return None if self.masks is None else self.masks.size

    def relabelled(self, classes: ClassMap) -> InstanceSet:
        """The same objects in the class ids of other labels."""
        return replace(self, class_ids=classes.table[self.class_ids].astype(np.int64))

    def rows(self, labels: Labels) -> list[ObjectRow]:
        """One row per object, in their order; without masks the area is the box's."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        areas = sides.prod(axis=1).round() if self.masks is None else self.masks.areas()
        return [
            ObjectRow(
                number=row + 1,
                name=labels.names[int(self.class_ids[row])],
                score=None if self.scores is None else shortest(self.scores[row]),
                area=int(areas[row]),
                box=(shortest(box[0]), shortest(box[1]), shortest(box[2]), shortest(box[3])),
            )
            for row, box in enumerate(self.boxes)
        ]

    def to_ids(self) -> IntArray:
        """Which object each pixel belongs to, [H, W] int32: 0 none, else the object's row + 1.

        Where objects overlap the surest is on top (of equals, and without scores, the first). `DataError` where the
        objects have no masks.
        """
        if self.masks is None:
            raise DataError("these objects have boxes but no masks, so there is no map of their pixels")
        ids = np.zeros(self.masks.size, np.int32)
        order = np.arange(len(self)) if self.scores is None else np.argsort(-self.scores, kind="stable")
        for row in order[::-1].tolist():
            x1, y1, x2, y2 = self.masks.windows[row].tolist()
            ids[y1:y2, x1:x2][self.masks.crop(row)] = row + 1
        return ids

    def object_sizes(self) -> FloatArray:
        """The square root of each object's area in pixels, of the box without masks; crowds and empty ones aside."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        areas = sides.prod(axis=1) if self.masks is None else self.masks.areas()
        sizes: FloatArray = np.sqrt(areas[(areas > 0) if self.crowd is None else (areas > 0) & ~self.crowd])
        return sizes

    def object_shapes(self) -> FloatArray:
        """The height of each object's box divided by its width; crowds and empty ones aside."""
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        whole = (sides > 0).all(axis=1)
        sides = sides[whole if self.crowd is None else whole & ~self.crowd]
        shapes: FloatArray = sides[:, 1] / sides[:, 0]
        return shapes

    def countable(self, labels: Labels) -> InstanceSet:
        """The objects themselves."""
        return self

    def class_pixels(self, num_classes: int) -> IntArray:
        """[num_classes] zeros: a pixel may belong to several objects, or to none."""
        return np.zeros(num_classes, np.int64)

    def warped(self, warp: Warp) -> InstanceSet:
        """The objects of the warped picture, one for each: boxes are moved and clipped, masks as `Masks.warped`.

        The box of a rotated object is the extent of its rotated box. What is no longer in the picture keeps its row,
        with an empty mask and a box without area. Stated areas are those of whole objects at their own scale, and stay
        while nothing is cut off or resized.
        """
        moved = warp.boxes(self.boxes)
        boxes = np.clip(moved, 0, np.array(warp.size[::-1] * 2))
        areas = self.areas if warp.is_exact and np.array_equal(moved, boxes) else None
        masks = None if self.masks is None else self.masks.warped(warp)
        return replace(self, boxes=boxes.astype(np.float32), masks=masks, areas=areas)

    def to_json(self, labels: Labels, *, scores: bool) -> dict[str, Any]:
        """A row for each object, in their order, with all that is known of it."""
        counts = None if self.masks is None else self.masks.to_rle()
        rows = []
        for row, class_id in enumerate(self.class_ids.tolist()):
            entry: dict[str, Any] = {"class_id": class_id, "class": labels.names[class_id]}
            if self.scores is not None:
                entry["score"] = shortest(self.scores[row])
            entry["box"] = [shortest(value) for value in self.boxes[row]]
            if counts is not None and self.masks is not None:
                entry["mask"] = {"size": list(self.masks.size), "counts": counts[row].decode("ascii")}
            if self.ids is not None:
                entry["id"] = int(self.ids[row])
            if self.crowd is not None:
                entry["crowd"] = bool(self.crowd[row])
            rows.append(entry)
        return {"objects": rows}

    @classmethod
    def from_json(cls, data: dict[str, Any], size: tuple[int, int], labels: Labels) -> InstanceSet:
        """What `to_json` wrote, of a picture of `size`.

        `DataError` for a mask of another size; `KeyError`, `TypeError` or `ValueError` where the rows are no objects.
        """
        rows = data["objects"]

        def column(name: str, dtype: type) -> Array | None:
            return np.array([row[name] for row in rows], dtype) if any(name in row for row in rows) else None

        masks = None
        if not rows or any("mask" in row for row in rows):
            for row in rows:
                if tuple(row["mask"]["size"]) != size:
                    raise DataError(f"a mask is of a picture of {row['mask']['size']}, but this one has {list(size)}")
            masks = Masks.from_rle([row["mask"]["counts"] for row in rows], size)
        return cls(
            boxes=np.array([row["box"] for row in rows], np.float32).reshape(-1, 4),
            class_ids=np.array([row["class_id"] for row in rows], np.int64),
            scores=np.zeros(0, np.float32) if not rows else column("score", np.float32),
            masks=masks,
            ids=column("id", np.int64),
            crowd=column("crowd", np.bool_),
        )

    def regions(self) -> InstanceSet:
        """The objects themselves."""
        return self

    @classmethod
    def from_regions(cls, regions: InstanceSet, size: tuple[int, int], ignore: int) -> InstanceSet:
        """The objects themselves."""
        return regions

    @classmethod
    def empty(cls, size: tuple[int, int], *, scored: bool = False) -> InstanceSet:
        """No objects in a picture of `size` (H, W)."""
        return cls(
            boxes=np.zeros((0, 4), np.float32),
            class_ids=np.zeros(0, np.int64),
            scores=np.zeros(0, np.float32) if scored else None,
            masks=Masks.empty(size),
        )


@dataclass(frozen=True, slots=True)
class Segment:
    """One row of a panoptic map's table."""

    id: int
    class_id: int
    score: float | None = None
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class PanopticMap:
    """`ids`: segment id of every pixel (0: none), and what each segment is."""

    noun: ClassVar[str] = "panoptic maps"
    kind: ClassVar[str] = "panoptic"
    ids: IntArray
    segments: tuple[Segment, ...] = field(default=())

    @property
    def size(self) -> tuple[int, int]:
        """(H, W), or the last two of [D, H, W]."""
        height, width = self.ids.shape[-2:]
        return int(height), int(width)

    def relabelled(self, classes: ClassMap) -> PanopticMap:
        """The same segments in the class ids of other labels."""
        return replace(
            self, segments=tuple(replace(one, class_id=int(classes.table[one.class_id])) for one in self.segments)
        )

    def rows(self, labels: Labels) -> list[ClassArea]:
        """The classes that the segments are of, largest first."""
        counts = self.class_pixels(len(labels))
        return class_areas(np.append(counts, self.ids.size - counts.sum()), labels)

    def to_ids(self) -> IntArray:
        """The segment ids themselves."""
        return self.ids

    def object_sizes(self) -> FloatArray:
        """The square root of each segment's pixels; crowds and empty ones aside."""
        areas = self.areas()
        return np.sqrt([areas[one.id] for one in self.segments if not one.crowd and areas.get(one.id)])

    def object_shapes(self) -> FloatArray:
        """The height of each segment's box divided by its width; crowds and empty ones aside."""
        areas = self.areas()
        found = [np.nonzero(self.ids == one.id) for one in self.segments if not one.crowd and areas.get(one.id)]
        return np.array([(np.ptp(rows) + 1) / (np.ptp(columns) + 1) for rows, columns in found], np.float64)

    def countable(self, labels: Labels) -> PanopticMap:
        """The same map, whose table has only the segments of things, which are counted one by one.

        All, where the labels do not say which classes are things.
        """
        if not labels.things:
            return self
        return replace(self, segments=tuple(one for one in self.segments if one.class_id in labels.things))

    def looked_up(self, values: Sequence[int], none: int) -> IntArray:
        """[H, W]: of each pixel what `values` say of its segment, in the order of the table, and `none` without one.

        uint8 where that holds all values, else uint16 or uint32.
        """
        numbers, dtype = self._numbers(), np.min_scalar_type(max([none, *values]))
        most = int(self.ids.max(initial=0))
        if most < _LOOKED_UP:
            # Pages of zeros cost nothing until they are touched.
            table = np.full(most + 1, none, dtype) if none else np.zeros(most + 1, dtype)
            there = (numbers > 0) & (numbers <= most)
            table[numbers[there]] = np.array(values, dtype)[there]
            found: IntArray = table[self.ids]
            return found
        known = np.append(numbers, 0)
        order = np.argsort(known, kind="stable")
        places = np.minimum(np.searchsorted(known[order], self.ids), len(known) - 1)
        rows = order[places]
        return np.where(known[rows] == self.ids, np.array([*values, none], dtype)[rows], dtype.type(none))

    def renumbered(self) -> PanopticMap:
        """The same segments, numbered from 1 in the order of the table, in the smallest type that holds that."""
        rows = range(1, len(self.segments) + 1)
        segments = (replace(one, id=row) for row, one in zip(rows, self.segments, strict=True))
        return PanopticMap(self.looked_up(rows, 0), tuple(segments))

    def _numbers(self) -> IntArray:
        return np.array([one.id for one in self.segments], np.int64)

    def class_pixels(self, num_classes: int) -> IntArray:
        """How many pixels the segments of each class have, [num_classes] int64."""
        areas = self.areas()
        counts = np.zeros(num_classes, np.int64)
        for one in self.segments:
            counts[one.class_id] += areas.get(one.id, 0)
        return counts

    def areas(self) -> dict[int, int]:
        """Segment id -> its pixels, where it has any; 0 stands for none."""
        stored, pixels = np.unique(self.ids, return_counts=True)
        return dict(zip(stored.tolist(), pixels.tolist(), strict=True))

    def warped(self, warp: Warp) -> PanopticMap:
        """The map of the warped picture; each pixel is the nearest, and 0 where the picture is not.

        Segments of which nothing is left have no row in the table.
        """
        ids = nearest(self.ids, warp, 0)
        left = set(np.unique(ids).tolist())
        return PanopticMap(ids, tuple(segment for segment in self.segments if segment.id in left))

    def to_json(self, labels: Labels, *, scores: bool) -> dict[str, Any]:
        """The map, and a row for each segment."""
        rows = [
            {"id": row.id, "class_id": row.class_id, "class": labels.names[row.class_id]}
            | ({} if row.score is None else {"score": row.score})
            | ({"crowd": True} if row.crowd else {})
            for row in self.segments
        ]
        return {"map": map_to_json(self.ids), "segments": rows}

    @classmethod
    def from_json(cls, data: dict[str, Any], size: tuple[int, int], labels: Labels) -> PanopticMap:
        """What `to_json` wrote, of a picture of `size`; errors as in `map_from_json`."""
        segments = [
            Segment(row["id"], row["class_id"], row.get("score"), row.get("crowd", False)) for row in data["segments"]
        ]
        return cls(map_from_json(data["map"], size), tuple(segments))

    def regions(self) -> InstanceSet:
        """Each segment as one object, in their order; with scores where all have one."""
        masks = Masks.from_ids(self.ids, self._numbers())
        scores = [one.score for one in self.segments if one.score is not None]
        return InstanceSet(
            masks.boxes(),
            np.array([one.class_id for one in self.segments], np.int64),
            np.array(scores, np.float32) if len(scores) == len(self.segments) else None,
            masks,
        )

    @classmethod
    def from_regions(cls, regions: InstanceSet, size: tuple[int, int], ignore: int) -> PanopticMap:
        """What `regions` gave, of a picture of `size` (H, W); the segments are numbered from 1."""
        numbers = np.arange(1, len(regions) + 1)
        scores = [None] * len(regions) if regions.scores is None else regions.scores.tolist()
        rows = zip(numbers.tolist(), regions.class_ids.tolist(), scores, strict=True)
        ids = painted(Masks.empty(size) if regions.masks is None else regions.masks, numbers, 0)
        return cls(ids, tuple(Segment(*row) for row in rows))


Segmentation: TypeAlias = SemanticMap | InstanceSet | PanopticMap | ChangeMap
Kind = TypeVar("Kind", bound=Segmentation)
Other = TypeVar("Other", bound=Segmentation)
Rows: TypeAlias = Sequence[ObjectRow] | Sequence[ClassArea]
TaskName: TypeAlias = Literal["semantic", "instance", "panoptic", "change"]
"""What truth is to say: of every pixel its class, objects one by one, both, or what changed between two dates."""
_LOOKED_UP = 1 << 24


def expected(kind: type[Kind], found: Segmentation | None, where: str) -> Kind:
    """What was `found`, which must be of a `kind`; else a `DataError` that says `where`."""
    if isinstance(found, kind):
        return found
    name = "nothing" if found is None else found.noun
    raise DataError(f"{where}: expected {kind.noun} as truth, but got {name}")


def expected_either(kind: type[Kind], other: type[Other], found: Segmentation | None, where: str) -> Kind | Other:
    """What was `found`, which must be of one of two kinds; else a `DataError` that says `where`."""
    return found if isinstance(found, other) else expected(kind, found, where)
