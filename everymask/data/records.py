"""What is known of one picture on disk: where it lies, and its truth as objects, a label file or a panoptic file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Protocol, TypeAlias

import numpy as np

from everymask.core.arrays import Array, FloatArray, IntArray
from everymask.core.masks import Masks
from everymask.core.segmentation import Segment
from everymask.data.issues import IssueLog
from everymask.data.panoptic import read_numbers
from everymask.data.pictures.read import read_label_map
from everymask.errors import DataError, printable


@dataclass(frozen=True, slots=True)
class Polygons:
    """An object outlined by rings [K, 2] (xy in pixels of the displayed picture); their union is the mask."""

    rings: tuple[FloatArray, ...]

    @property
    def extent(self) -> Box:
        """The xyxy box around all rings."""
        corners = self.rings[0] if len(self.rings) == 1 else np.concatenate(self.rings)
        (x1, y1), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        return x1, y1, x2, y2


@dataclass(frozen=True, slots=True)
class Rle:
    """An object as COCO's compressed run lengths over the whole picture."""

    counts: bytes


@dataclass(frozen=True, slots=True)
class MaskFile:
    """An object painted in a picture file: the pixels that equal `value`, or all that are not 0 where it is None.

    With `coloured` the file holds numbers as the colours of panoptic maps do: R + 256 G + 65536 B.
    """

    file: Path
    value: int | None = None
    coloured: bool = False

    def numbers(self) -> IntArray:
        """What the file holds, [H, W]; `DataError` where it cannot be read."""
        return read_numbers(self.file) if self.coloured else read_label_map(self.file)


@dataclass(frozen=True, slots=True)
class BoxOnly:
    """An object of which only the box is known."""


Shape: TypeAlias = Polygons | Rle | MaskFile | BoxOnly
Box: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Annotation:
    """One object: its class, outline, and xyxy box in pixels (None: the box of the mask).

    `area` is the file's own, in pixels (None: that of the mask); evaluation by object size goes by it.
    """

    class_id: int
    shape: Shape
    box: Box | None = None
    crowd: bool = False
    id: int | None = None
    area: float | None = None


Part: TypeAlias = int | Path | tuple[Annotation, ...] | tuple[Shape, ...] | tuple[tuple[int, int, bool], ...]
"""What a truth is made of: a number, a file, outlines, or rows of numbers."""


class Truth(Protocol):
    """The truth of a picture as its files say it: what can be known without decoding them."""

    @property
    def files(self) -> tuple[Path, ...]:
        """What it is read from, besides the picture and the annotation file of the whole data set."""

    @property
    def parts(self) -> dict[str, Part]:
        """All that it says, by the words that messages have for it."""

    @property
    def found(self) -> str:
        """What its picture has, as `"has objects"`."""

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """Its objects, where it is objects."""

    @property
    def classes(self) -> frozenset[int]:
        """The classes that it shows; empty too where that is not known without decoding."""

    @property
    def class_ids(self) -> tuple[int, ...]:
        """The class of each object or segment, crowds aside; empty where it lists none."""

    @property
    def num_objects(self) -> int:
        """How many things there are to be found one by one, crowds aside."""

    @property
    def pixels(self) -> tuple[int, ...]:
        """How many pixels each class has; empty: not counted."""


@dataclass(frozen=True, slots=True)
class Objects:
    """The truth of a picture as objects one by one; `ignored` are regions marked as having no truth, no objects."""

    found: ClassVar[str] = "has objects"
    pixels: ClassVar[tuple[int, ...]] = ()
    annotations: tuple[Annotation, ...] = ()
    ignored: tuple[Shape, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of masks."""
        shapes = (*(annotation.shape for annotation in self.annotations), *self.ignored)
        return tuple(shape.file for shape in shapes if isinstance(shape, MaskFile))

    @property
    def parts(self) -> dict[str, Part]:
        """How many objects there are, what they are, and where."""
        found: dict[str, Part] = {
            "number of objects": len(self.annotations),
            "classes of objects": tuple((0, item.class_id, item.crowd) for item in self.annotations),
            "outlines of objects": self.annotations,
        }
        return found | ({"regions without truth": self.ignored} if self.ignored else {})

    @property
    def classes(self) -> frozenset[int]:
        """The classes of the objects."""
        return frozenset(item.class_id for item in self.annotations)

    @property
    def class_ids(self) -> tuple[int, ...]:
        """The class of each object, crowds aside."""
        return tuple(item.class_id for item in self.annotations if not item.crowd)

    @property
    def num_objects(self) -> int:
        """How many there are, crowds aside."""
        return sum(not item.crowd for item in self.annotations)


@dataclass(frozen=True, slots=True)
class LabelMapFile:
    """The truth of a picture as a label file, and how many `pixels` of it each class has (empty: not counted).

    Of two dates `before` is the label file of the earlier one, if there is one; then `pixels` are those of both.
    """

    found: ClassVar[str] = "has a label map"
    annotations: ClassVar[tuple[Annotation, ...]] = ()
    class_ids: ClassVar[tuple[int, ...]] = ()
    num_objects: ClassVar[int] = 0
    file: Path
    pixels: tuple[int, ...] = ()
    before: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The map, and that of the earlier date."""
        return (self.file,) if self.before is None else (self.file, self.before)

    @property
    def parts(self) -> dict[str, Part]:
        """The map, and that of the earlier date."""
        earlier: dict[str, Part] = {} if self.before is None else {"label map of the earlier date": self.before}
        return {"label map": self.file} | earlier

    @property
    def classes(self) -> frozenset[int]:
        """The classes that have pixels; none where they are not counted."""
        return frozenset(name for name, count in enumerate(self.pixels) if count)


@dataclass(frozen=True, slots=True)
class PanopticFile:
    """The truth of a picture as a file of segment numbers, and what each segment is."""

    found: ClassVar[str] = "has a panoptic map"
    annotations: ClassVar[tuple[Annotation, ...]] = ()
    pixels: ClassVar[tuple[int, ...]] = ()
    file: Path
    segments: tuple[Segment, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """The map."""
        return (self.file,)

    @property
    def parts(self) -> dict[str, Part]:
        """The map, and what its segments are."""
        rows = tuple((segment.id, segment.class_id, segment.crowd) for segment in self.segments)
        return {"panoptic map": self.file, "classes of segments": rows}

    @property
    def classes(self) -> frozenset[int]:
        """The classes of the segments."""
        return frozenset(segment.class_id for segment in self.segments)

    @property
    def class_ids(self) -> tuple[int, ...]:
        """The class of each segment, crowds aside."""
        return tuple(segment.class_id for segment in self.segments if not segment.crowd)

    @property
    def num_objects(self) -> int:
        """How many segments there are, crowds aside."""
        return sum(not segment.crowd for segment in self.segments)


@dataclass(frozen=True, slots=True)
class NotAnnotated:
    """Nobody has said what the picture shows, which is something else than that it shows nothing."""

    found: ClassVar[str] = "is not annotated"
    annotations: ClassVar[tuple[Annotation, ...]] = ()
    pixels: ClassVar[tuple[int, ...]] = ()
    classes: ClassVar[frozenset[int]] = frozenset()
    class_ids: ClassVar[tuple[int, ...]] = ()
    num_objects: ClassVar[int] = 0
    files: ClassVar[tuple[Path, ...]] = ()

    @property
    def parts(self) -> dict[str, Part]:
        """Nothing."""
        return {}


@dataclass(frozen=True, slots=True)
class Record:
    """One picture on disk and its truth; `size` is (H, W) as displayed, `split` what the data set itself says.

    Where the truth is what changed between two dates, `image` is the later one and `before` the earlier, of one size.
    """

    id: str
    image: Path
    size: tuple[int, int]
    truth: Truth
    split: str | None = None
    before: Path | None = None

    @property
    def dates(self) -> tuple[Path, ...]:
        """The pictures in the order of time: the earlier one, if there is one, and the later."""
        return (self.image,) if self.before is None else (self.before, self.image)

    @property
    def objects(self) -> Objects:
        """The truth where it is objects; `DataError` where it is something else, or nothing is known."""
        if isinstance(self.truth, Objects):
            return self.truth
        raise other_truth(self, "objects")

    @property
    def annotated(self) -> bool:
        """Whether anything is known of what the picture shows."""
        return not isinstance(self.truth, NotAnnotated)


def other_truth(record: Record, expected: str) -> DataError:
    """The error where a picture has another truth than `expected`."""
    return DataError(f"{printable(record.image)}: expected {expected}, but the picture {record.truth.found}")


def things_of(record: Record, things: Sequence[int], *, coloured: bool, added: int = 0) -> tuple[Record, int]:
    """A picture with a panoptic map as one of objects, its segments of the classes `things` in their order, and how
    many segments it has besides; what is not annotated stays so. The map holds their numbers less what is `added`.
    """
    if not isinstance(record.truth, PanopticFile):
        return record, 0
    file, segments = record.truth.file, record.truth.segments
    objects = tuple(
        Annotation(things.index(one.class_id), MaskFile(file, one.id - added, coloured), crowd=one.crowd, id=one.id)
        for one in segments
        if one.class_id in things
    )
    return replace(record, truth=Objects(objects)), len(segments) - len(objects)


def label_file(record: Record) -> Path:
    """The label file of a picture; `DataError` where its truth is something else."""
    if isinstance(record.truth, LabelMapFile):
        return record.truth.file
    raise other_truth(record, "a label map")


def check_shapes(records: Iterable[Record], issues: IssueLog, file: object) -> tuple[tuple[Record, ...], bool]:
    """The records as a data set may hold them, and whether they are boxes only.

    Either every object has a mask or none has. In a mixture each object without one is noted as an error of `file`, and
    is left out where the policy allows that.
    """
    listed = tuple(records)
    has_mask = any(not isinstance(a.shape, BoxOnly) for record in listed for a in record.objects.annotations)
    has_box = any(isinstance(a.shape, BoxOnly) for record in listed for a in record.objects.annotations)
    if not (has_mask and has_box):
        return listed, has_box
    kept = []
    for record in listed:
        for annotation in record.objects.annotations:
            if isinstance(annotation.shape, BoxOnly):
                issues.error(
                    "no-mask",
                    f"an object of {printable(record.id)} has a box and no mask, while others have masks",
                    file=file,
                    where="" if annotation.id is None else f"annotation id {annotation.id}",
                    value=annotation.box,
                    hint="draw its outline, or remove the object",
                )
        masked = tuple(a for a in record.objects.annotations if not isinstance(a.shape, BoxOnly))
        kept.append(replace(record, truth=replace(record.objects, annotations=masked)))
    return tuple(kept), False


def check_picture(image: Array, size: tuple[int, int], file: Path) -> None:
    """`DataError` where a picture [H, W, C] is not of the recorded `size` (H, W)."""
    check_size(image.shape[:2], size, file, "picture")


def draw_shapes(shapes: Sequence[Shape], size: tuple[int, int], picture: Path) -> Masks:
    """One mask per shape, of the picture's `size` (H, W); a mask file is decoded once. `DataError` for boxes.

    Each kind of shape is rasterised in one go, then the order is restored.
    """
    polygons: list[tuple[int, Polygons]] = []
    runs: list[tuple[int, Rle]] = []
    painted: dict[MaskFile, list[tuple[int, int | None]]] = {}
    for row, shape in enumerate(shapes):
        match shape:
            case Polygons():
                polygons.append((row, shape))
            case Rle():
                runs.append((row, shape))
            case MaskFile(_, value):
                painted.setdefault(replace(shape, value=None), []).append((row, value))
            case BoxOnly():
                raise DataError(f"{printable(picture)}: object {row + 1} has a box and no mask, while others have")
    rows, parts = [], [Masks.empty(size)]
    if polygons:
        rows += [row for row, _ in polygons]
        parts.append(Masks.from_polygons([shape.rings for _, shape in polygons], size))
    if runs:
        rows += [row for row, _ in runs]
        parts.append(Masks.from_rle([shape.counts for _, shape in runs], size))
    for file, values in painted.items():
        rows += [row for row, _ in values]
        parts.append(_painted(file, [value for _, value in values], size))
    return Masks.concatenate(parts)[np.argsort(np.array(rows, np.int64), kind="stable")]


def _painted(file: MaskFile, values: Sequence[int | None], size: tuple[int, int]) -> Masks:
    ids = file.numbers()
    check_size(ids.shape, size, file.file, "mask")
    if None in values:
        parts = [Masks.from_dense((ids != 0 if value is None else ids == value)[None]) for value in values]
        return Masks.concatenate(parts)
    return Masks.from_ids(ids, np.array(values, np.int64))


def check_size(found: tuple[int, ...], expected: tuple[int, int], file: Path, what: str) -> None:
    """`DataError` where `what` a file holds is not of the picture's size (H, W)."""
    if tuple(found) == expected:
        return
    hint = f"the {what} was changed after it was annotated"
    if tuple(found) == expected[::-1]:
        hint = (
            "width and height are swapped: the annotations were made on the picture as stored, but its EXIF flag "
            "turns it; save the picture upright"
        )
    raise DataError(
        f"{printable(file)}: expected a {what} of {expected[1]} x {expected[0]} pixels, but it has "
        f"{found[1]} x {found[0]}",
        hint=hint,
    )
