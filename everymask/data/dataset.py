"""An annotated data set: pictures on disk and what is drawn on them, kept small until a sample is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from everymask.core.arrays import Array, FloatArray
from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet, SemanticMap, TaskName
from everymask.data.coding import LabelCoding, read_ids
from everymask.data.issues import IssueLog
from everymask.data.painting import Painting, paint, painting_of
from everymask.data.pictures.read import read_image, read_label_map
from everymask.errors import ConfigError, DataError, Issue, printable


@dataclass(frozen=True, slots=True)
class Polygons:
    """An object outlined by rings [K, 2] (xy in pixels of the displayed picture); their union is the mask."""

    rings: tuple[FloatArray, ...]


@dataclass(frozen=True, slots=True)
class Rle:
    """An object as COCO's compressed run lengths over the whole picture."""

    counts: bytes


@dataclass(frozen=True, slots=True)
class MaskFile:
    """An object painted in a picture file: the pixels that equal `value`, or all that are not 0 where it is None."""

    file: Path
    value: int | None = None


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


@dataclass(frozen=True, slots=True)
class Record:
    """One picture on disk and its annotations; `size` is (H, W) as displayed, `split` what the data set itself says.

    In a semantic data set `label_map` is the file of its truth, and `pixels` how many pixels of it each class has.
    `ignored` are regions that were marked as having no truth; they are no objects.
    """

    id: str
    image: Path
    size: tuple[int, int]
    annotations: tuple[Annotation, ...]
    split: str | None = None
    label_map: Path | None = None
    pixels: tuple[int, ...] = ()
    ignored: tuple[Shape, ...] = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    """A sequence of samples that are read when asked for.

    `issues` are the defects and oddities that the reader met. `boxes_only` says that no object has a mask. `dataset[i]`
    decodes a picture and rasterises its objects; `truth(i)` rasterises without decoding the picture. The truth of a
    semantic data set is a label map; `coding` says which class what is stored in it stands for.
    """

    labels: Labels
    records: Sequence[Record]
    format: str
    root: Path
    issues: tuple[Issue, ...] = ()
    boxes_only: bool = False
    coding: LabelCoding | Painting | None = None

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        """One line, as a notebook shows it; the records of a large data set fill a screen."""
        splits = "".join(f", {count} {name}" for name, count in self.splits().items())
        return f"<Dataset {self.root}: {self.format}, {len(self)} pictures{splits}, {len(self.labels)} classes>"

    def __getitem__(self, index: int) -> Sample:
        """The picture and its truth; `DataError` where the file cannot be read or is not of the recorded size."""
        record = self.records[index]
        image = read_image(record.image)
        check_picture(image, record.size, record.image)
        return Sample(image=image, truth=self.truth(index), id=record.id, file=str(record.image))

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    @property
    def is_semantic(self) -> bool:
        """Whether the truth of a picture is a class for every pixel, rather than objects."""
        return self.coding is not None

    def semantic(self) -> Dataset:
        """The same pictures with a class for every pixel as their truth: the objects, and background where none is.

        A smaller object hides a larger one. There is no truth where a crowd is and no object, and in regions that are
        to be ignored, which hide and are hidden as objects are. `DataError` where the objects have no masks.
        """
        if self.is_semantic:
            return self
        if self.boxes_only:
            raise DataError(
                f"{printable(self.root)}: the annotations are boxes, and label maps need masks",
                hint="annotate outlines or masks",
            )
        labels, coding = painting_of(self.labels)
        return replace(self, labels=labels, coding=coding)

    def for_task(self, task: TaskName | None) -> Dataset:
        """The same pictures with the truth of a task: a class for every pixel (`semantic`), or objects; None: as it is.

        `ConfigError` where label maps were to be objects, `DataError` as in `semantic`.
        """
        if task == "instance" and self.is_semantic:
            raise ConfigError(
                f"{printable(self.root)} has label maps ({self.format}), which do not tell objects apart, and the task "
                "is instance",
                hint="leave out --task, choose a semantic network such as --model unet, or name the format of object "
                "maps: --format instance-pngs",
            )
        return self.semantic() if task == "semantic" else self

    def truth(self, index: int) -> InstanceSet | SemanticMap:
        """What one picture shows, without decoding it: its objects, or in a semantic data set its label map."""
        return self.label_map(index) if self.is_semantic else self.objects(index)

    def label_map(self, index: int) -> SemanticMap:
        """The label map of one picture of a semantic data set: class ids [H, W], and `labels.ignore` without truth.

        Ids are uint8, or uint16 where `labels.ignore` needs it.

        `DataError` where its file cannot be read, is not of the picture's size, or holds what stands for no class;
        `ConfigError` for a data set of objects.
        """
        record = self.records[index]
        if self.coding is None:
            raise ConfigError(
                f"{printable(self.root)} has objects, and label maps were asked for", hint="use dataset.semantic()"
            )
        if isinstance(self.coding, Painting):
            ignored = draw_shapes(record.ignored, record.size, record.image)
            ids = paint(self._objects(index), ignored, self.coding, self.labels.ignore, record.size)
            return SemanticMap(ids, ignore=self.labels.ignore)
        if record.label_map is None:
            raise DataError(f"{printable(record.image)}: the picture has no label map")
        ids = read_ids(record.label_map, self.coding, self.labels)
        _check_size(ids.shape, record.size, record.label_map, "label map")
        return SemanticMap(ids, ignore=self.labels.ignore)

    def objects(self, index: int) -> InstanceSet:
        """The objects of one picture, in the order of its annotations; a mask file is decoded once.

        `ids` are the annotations' own numbers, or their places counted from 1. `masks` is None where the data set
        has only boxes, `areas` where one object has none stated. An object with neither box nor a single pixel has the
        box (0, 0, 0, 0). `ConfigError` for a semantic data set.
        """
        if self.is_semantic:
            raise ConfigError(
                f"{printable(self.root)} has label maps (semantic segmentation), and objects were asked for",
                hint="label maps do not say where one object ends and the next begins: choose a semantic model",
            )
        return self._objects(index)

    def _objects(self, index: int) -> InstanceSet:
        record = self.records[index]
        objects = record.annotations
        masks = None if self.boxes_only else draw_shapes([item.shape for item in objects], record.size, record.image)
        boxes = np.zeros((len(objects), 4), np.float32) if masks is None else masks.boxes().astype(np.float32)
        for row, annotation in enumerate(objects):
            if annotation.box is not None:
                boxes[row] = annotation.box
        return InstanceSet(
            boxes=boxes,
            class_ids=np.array([annotation.class_id for annotation in objects], np.int64),
            masks=masks,
            ids=np.array([row + 1 if a.id is None else a.id for row, a in enumerate(objects)], np.int64),
            crowd=np.array([annotation.crowd for annotation in objects], np.bool_),
            areas=_stated_areas(objects),
        )

    def splits(self) -> dict[str, int]:
        """How many pictures each split has, in the order of the records; empty if the data set brings no splits."""
        return dict(Counter(record.split for record in self.records if record.split is not None))

    def split(self, name: str) -> Dataset:
        """The pictures of one split; `ConfigError` names the known splits."""
        known = self.splits()
        if name not in known:
            listed = ", ".join(f"{split} ({count})" for split, count in known.items()) or "none"
            hint = (
                ""
                if known
                else "take all of it; splits that a training drew come with its run folder, for the data it was given"
            )
            raise ConfigError(
                f"there is no split {name!r} in {printable(self.root)}; its splits are: {listed}", hint=hint
            )
        return replace(self, records=tuple(record for record in self.records if record.split == name))

    def subset(self, indices: Sequence[int]) -> Dataset:
        """The records at `indices`, in that order."""
        return replace(self, records=tuple(self.records[index] for index in indices))


def check_shapes(records: Iterable[Record], issues: IssueLog, file: object) -> tuple[tuple[Record, ...], bool]:
    """The records as a data set may hold them, and whether they are boxes only.

    Either every object has a mask or none has. In a mixture each object without one is noted as an error of `file`, and
    is left out where the policy allows that.
    """
    listed = tuple(records)
    has_mask = any(not isinstance(a.shape, BoxOnly) for record in listed for a in record.annotations)
    has_box = any(isinstance(a.shape, BoxOnly) for record in listed for a in record.annotations)
    if not (has_mask and has_box):
        return listed, has_box
    kept = []
    for record in listed:
        for annotation in record.annotations:
            if isinstance(annotation.shape, BoxOnly):
                issues.error(
                    "no-mask",
                    f"an object of {printable(record.id)} has a box and no mask, while others have masks",
                    file=file,
                    where="" if annotation.id is None else f"annotation id {annotation.id}",
                    value=annotation.box,
                    hint="draw its outline, or remove the object",
                )
        masked = tuple(a for a in record.annotations if not isinstance(a.shape, BoxOnly))
        kept.append(replace(record, annotations=masked))
    return tuple(kept), False


def check_picture(image: Array, size: tuple[int, int], file: Path) -> None:
    """`DataError` where a picture [H, W, C] is not of the recorded `size` (H, W)."""
    _check_size(image.shape[:2], size, file, "picture")


def _stated_areas(objects: Sequence[Annotation]) -> FloatArray | None:
    """The areas [N] that the annotations state; None where one states none, since some cannot be told from measured."""
    stated = [annotation.area for annotation in objects]
    return None if None in stated else np.array(stated, np.float64)


def draw_shapes(shapes: Sequence[Shape], size: tuple[int, int], picture: Path) -> Masks:
    """One mask per shape, of the picture's `size` (H, W); a mask file is decoded once. `DataError` for boxes.

    Each kind of shape is rasterised in one go, then the order is restored.
    """
    polygons: list[tuple[int, Polygons]] = []
    runs: list[tuple[int, Rle]] = []
    painted: dict[Path, list[tuple[int, int | None]]] = {}
    for row, shape in enumerate(shapes):
        match shape:
            case Polygons():
                polygons.append((row, shape))
            case Rle():
                runs.append((row, shape))
            case MaskFile(file, value):
                painted.setdefault(file, []).append((row, value))
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


def _painted(file: Path, values: Sequence[int | None], size: tuple[int, int]) -> Masks:
    ids = read_label_map(file)
    _check_size(ids.shape, size, file, "mask")
    if None in values:
        parts = [Masks.from_dense((ids != 0 if value is None else ids == value)[None]) for value in values]
        return Masks.concatenate(parts)
    return Masks.from_ids(ids, np.array(values, np.int64))


def _check_size(found: tuple[int, ...], expected: tuple[int, int], file: Path, what: str) -> None:
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
