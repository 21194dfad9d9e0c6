"""An annotated data set: pictures on disk and what is drawn on them, kept small until a sample is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias, assert_never, get_args

import numpy as np

from everymask.core.arrays import FloatArray
from everymask.core.labels import Labels
from everymask.core.sample import Sample
from everymask.core.segmentation import ChangeMap, InstanceSet, PanopticMap, Segmentation, SemanticMap, TaskName
from everymask.data.change.coding import ChangeCoding, both_dates
from everymask.data.coding import LabelCoding, read_ids
from everymask.data.painting import Painting, paint, painting_of
from everymask.data.panoptic import (
    PanopticCoding,
    PanopticPainting,
    PanopticRule,
    connected_segments,
    paint_segments,
    read_grey_segments,
    read_segments,
)
from everymask.data.pictures.read import read_image
from everymask.data.records import (
    Annotation,
    LabelMapFile,
    PanopticFile,
    Record,
    check_picture,
    check_size,
    draw_shapes,
    label_file,
    other_truth,
    things_of,
)
from everymask.errors import ConfigError, DataError, Issue, counted, listed, printable

Kind: TypeAlias = Literal["objects", "label maps", "panoptic", "change maps"]
"""What the truth of a data set's pictures is."""
_WORDS: dict[Kind, str] = {kind: kind for kind in get_args(Kind)} | {"panoptic": "panoptic maps"}
_FLAT = (
    "leave out --task, choose a semantic network such as --model unet, or name the format of object maps: "
    "--format instance-pngs"
)
_TWO_DATES = (
    "what changed needs two dates: folders A/ and B/ (before/ and after/) with label/, or another --task",
    "leave out --task; a semantic network compares two dates with --fusion difference, concat or early",
)
STUFF_LEFT_OUT = "stuff-left-out"
_NO_RULE = "leave out --things and --stuff"
Coding: TypeAlias = LabelCoding | Painting | PanopticCoding | ChangeCoding
"""How what the files hold becomes a class, or a segment, for every pixel."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A sequence of samples that are read when asked for.

    `issues` are the defects and oddities that the reader met. `boxes_only` says that no object has a mask. `dataset[i]`
    decodes a picture and rasterises its truth; `truth(i)` rasterises without decoding the picture. `kind` says what the
    truth is; unless it is objects, `coding` says how it is stored or painted. Pictures may be `NotAnnotated`: what
    learns, judges or counts takes `annotated()`.
    """

    labels: Labels
    records: Sequence[Record]
    format: str
    root: Path
    issues: tuple[Issue, ...] = ()
    boxes_only: bool = False
    coding: Coding | None = None

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        """One line, as a notebook shows it; the records of a large data set fill a screen."""
        splits = "".join(f", {count} {name}" for name, count in self.splits().items())
        loose = sum(not record.annotated for record in self.records)
        pictures = f"{len(self)} pictures{splits}{f', {loose} not annotated' if loose else ''}"
        return f"<Dataset {self.root}: {self.format}, {pictures}, {len(self.labels)} classes>"

    def __getitem__(self, index: int) -> Sample:
        """The picture and its truth; `DataError` where a file cannot be read or is not of the recorded size."""
        record = self.records[index]
        images = [read_image(file) for file in record.dates]
        for image, file in zip(images, record.dates, strict=True):
            check_picture(image, record.size, file)
        before = None if record.before is None else images[0]
        return Sample(images[-1], self.truth(index), record.id, str(record.image), before)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    @property
    def kind(self) -> Kind:
        """What the truth of its pictures is."""
        match self.coding:
            case None:
                return "objects"
            case LabelCoding() | Painting():
                return "label maps"
            case PanopticCoding():
                return "label maps" if self.coding.classes else "panoptic"
            case ChangeCoding():
                return "change maps"
            case _:
                assert_never(self.coding)

    def require(self, kind: Kind) -> None:
        """`ConfigError` unless the truth is of that kind."""
        if self.kind != kind:
            raise self._other_kind(kind)

    def _other_kind(self, kind: Kind) -> ConfigError:
        hints: dict[tuple[Kind, Kind], str] = {
            ("objects", "label maps"): "use dataset.semantic()",
            ("label maps", "objects"): "label maps do not say where one object ends and the next begins: choose a "
            "semantic model",
        }
        message = f"{printable(self.root)} has {_WORDS[self.kind]}, and {_WORDS[kind]} were asked for"
        return ConfigError(message, hint=hints.get((self.kind, kind), ""))

    def annotated(self) -> Dataset:
        """The pictures that are annotated: the same data set where all are."""
        rows = [row for row, record in enumerate(self.records) if record.annotated]
        return self if len(rows) == len(self) else self.subset(rows)

    def semantic(self) -> Dataset:
        """The same pictures with a class for every pixel as their truth: the objects, and background where none is.

        A smaller object hides a larger one. There is no truth where a crowd is and no object, and in regions that are
        to be ignored, which hide and are hidden as objects are. Of panoptic maps it is the classes of the segments, of
        crowds too. `DataError` where the objects have no masks.
        """
        return self.for_task("semantic")

    def _painted(self) -> Dataset:
        if self.boxes_only:
            raise _boxes_refused(self.root, "label maps")
        labels, coding = painting_of(self.labels)
        return replace(self, labels=labels, coding=coding)

    def _segmented(self, rule: PanopticRule | None, asked: str) -> Dataset:
        """With segments that are made of objects or label maps."""
        if rule is None:
            raise ConfigError(
                f"{printable(self.root)} has {_WORDS[self.kind]} ({self.format}), which do not say what is counted one "
                f"by one, and {asked}",
                hint="say which classes are things and which are stuff: --things car,person, or --stuff sky,road",
            )
        if self.boxes_only:
            raise _boxes_refused(self.root, "panoptic maps")
        labels, coding = rule.applied(self.labels), self.coding
        if not isinstance(coding, LabelCoding | None):
            raise self._other_kind("panoptic")
        background = len(self.labels) if len(labels) > len(self.labels) and coding is None else None
        source = None if coding is None else self.labels
        painting = PanopticPainting(background, coding, source)
        return replace(self, labels=labels, coding=PanopticCoding(painting))

    def _flattened(self) -> Dataset:
        """With the classes of its segments alone."""
        assert isinstance(self.coding, PanopticCoding)
        labels = replace(self.labels, things=frozenset())
        return replace(self, labels=labels, coding=replace(self.coding, classes=True))

    def _things(self, asked: str, wanted: Kind) -> Dataset:
        """With its things as objects; an issue counts the segments of stuff, which are none."""
        coding = self.coding
        assert isinstance(coding, PanopticCoding)
        if coding.painting is not None or wanted != "objects":
            raise panoptic_refused(self, f"used where {asked}")
        things = sorted(self.labels.things)
        if not things:
            raise ConfigError(
                f"{printable(self.root)} has nothing but stuff, of which there are no objects, and {asked}",
                hint="set isthing to 1 for the classes that are counted one by one",
            )
        colours = tuple(self.labels.colours[row] for row in things)
        labels = Labels(tuple(self.labels.names[row] for row in things), colours)
        found = [things_of(record, things, coloured=not coding.grey, added=coding.added) for record in self.records]
        left = sum(count for _, count in found)
        note = f"{counted(left, 'segment')} of stuff, of which there are no objects: left out"
        issues = (Issue(STUFF_LEFT_OUT, note, str(self.root), severity="warning", count=left),) if left else ()
        records = tuple(record for record, _ in found)
        return replace(self, labels=labels, records=records, coding=None, issues=(*self.issues, *issues))

    def _check_rule(self, rule: PanopticRule | None) -> None:
        """`ConfigError` where a rule says something else than the data do."""
        if rule is None or not rule.strict or rule.applied(self.labels).things == self.labels.things:
            return
        names = [name for row, name in enumerate(self.labels.names) if row in self.labels.things]
        raise ConfigError(
            f"{printable(self.root)} says itself which classes are things: {listed(names)}", hint=_NO_RULE
        )

    def for_task(
        self, task: TaskName | None, *, rule: PanopticRule | None = None, why: str = "", hint: str = ""
    ) -> Dataset:
        """The same pictures with the truth of a task: a class for every pixel (`semantic`), objects, or both at once
        (`panoptic`), or what changed between two dates; None: as it is.

        Objects and label maps become panoptic by a `rule`, and the things of panoptic maps objects. `ConfigError` where
        label maps were to be objects, where a rule is missing or names other classes, where only one of the two has two
        dates, and where panoptic maps that have no things, or are made by a rule, were to be objects; `DataError` as in
        `semantic`. Where it was not the user who named the task, `why`
        says what asks for it, and `hint` what to do instead.
        """
        match task:
            case None:
                return self
            case "semantic":
                wanted: Kind = "label maps"
            case "instance":
                wanted = "objects"
            case "panoptic":
                wanted = "panoptic"
            case "change":
                wanted = "change maps"
            case _:
                assert_never(task)
        if rule is not None and rule.strict and wanted != "panoptic":
            raise ConfigError(f"things and stuff make panoptic maps, but the task is {task}", hint=_NO_RULE)
        if self.kind == wanted:
            self._check_rule(rule)
            return self
        if wanted == "label maps" and self.kind in ("objects", "panoptic"):
            return self._painted() if self.kind == "objects" else self._flattened()
        asked = why or f"the task is {task}"
        if wanted == "panoptic" and self.kind != "change maps":
            return self._segmented(rule, asked)
        if self.kind == "panoptic":
            return self._things(asked, wanted)
        if "change maps" in (self.kind, wanted):
            hint = hint or _TWO_DATES[self.kind == "change maps"]
        flat = (self.kind, wanted) == ("label maps", "objects")
        held = f"{printable(self.root)} has {_WORDS[self.kind]} ({self.format})"
        raise ConfigError(
            f"{held}{', which do not tell objects apart,' if flat else ''} and {asked}",
            hint=hint or (_FLAT if flat else f"leave out --task, or choose data with {_WORDS[wanted]}"),
        )

    def truth(self, index: int) -> Segmentation | None:
        """What one picture shows, without decoding it, as `kind` says; None where it is not annotated."""
        if not self.records[index].annotated:
            return None
        match self.kind:
            case "objects":
                return self.objects(index)
            case "label maps":
                return self.label_map(index)
            case "panoptic":
                return self.panoptic_map(index)
            case "change maps":
                return self.change_map(index)
            case _:
                assert_never(self.kind)

    def label_map(self, index: int) -> SemanticMap:
        """The label map of one picture of a semantic data set: class ids [H, W], and `labels.ignore` without truth.
        What changed between two dates is one too.

        Ids are uint8, or uint16 where `labels.ignore` needs it. `DataError` where the picture is not annotated, or its
        file cannot be read, is not of the picture's size, or holds what stands for no class; `ConfigError` for a data
        set of another kind.
        """
        record, ignore = self.records[index], self.labels.ignore
        match self.coding:
            case Painting() as painting:
                ignored = draw_shapes(record.objects.ignored, record.size, record.image)
                return SemanticMap(paint(self._objects(record), ignored, painting, ignore, record.size), ignore=ignore)
            case LabelCoding() as coding:
                file = label_file(record)
                ids = read_ids(file, coding, self.labels)
                check_size(ids.shape, record.size, file, "label map")
                return SemanticMap(ids, ignore=ignore)
            case ChangeCoding():
                return self.change_map(index)
            case PanopticCoding(classes=True) as coding:
                found = replace(self, coding=replace(coding, classes=False)).panoptic_map(index)
                return SemanticMap(found.looked_up([one.class_id for one in found.segments], ignore), ignore=ignore)
            case None | PanopticCoding():
                raise self._other_kind("label maps")
            case _:
                assert_never(self.coding)

    def change_map(self, index: int) -> ChangeMap:
        """What changed in one picture of two dates: class ids [H, W], 0 where nothing did, and `labels.ignore` without
        truth; with what was there before where there are labels of both dates. Errors as in `label_map`.
        """
        if not isinstance(self.coding, ChangeCoding):
            raise self._other_kind("change maps")
        maps = replace(self, coding=self.coding.maps)
        found, earlier = maps.label_map(index), self._label_before(index)
        if earlier is None:
            return ChangeMap(found.ids, ignore=found.ignore)
        record = self.records[index]
        labelled = replace(record, image=record.dates[0], truth=LabelMapFile(earlier))
        was = replace(maps, records=(labelled,)).label_map(0)
        return both_dates(was.ids, found.ids, found.ignore)

    def _label_before(self, index: int) -> Path | None:
        """The label file of the earlier date, if there is one."""
        truth = self.records[index].truth
        return truth.before if isinstance(truth, LabelMapFile) else None

    def panoptic_map(self, index: int) -> PanopticMap:
        """The segments of one picture of a panoptic data set: their numbers [H, W] int32, 0 where none is.

        `DataError` where the picture is not annotated, or its file cannot be read, is not of the picture's size, or
        holds a number that no segment has; `ConfigError` for a data set of another kind. Segments of objects or label
        maps are made as `PanopticPainting` says.
        """
        self.require("panoptic")
        record = self.records[index]
        coding = self.coding if isinstance(self.coding, PanopticCoding) else PanopticCoding()
        if coding.painting is not None:
            return self._made(record, coding.painting)
        if not isinstance(record.truth, PanopticFile):
            raise other_truth(record, "a panoptic map")
        file, segments = record.truth.file, record.truth.segments
        found = read_grey_segments(file, segments, coding.added) if coding.grey else read_segments(file, segments)
        check_size(found.ids.shape, record.size, record.truth.file, "panoptic map")
        return found

    def _made(self, record: Record, painting: PanopticPainting) -> PanopticMap:
        """The segments of one picture, made of its objects or its label map."""
        if painting.maps is None or painting.source is None:
            ignored = draw_shapes(record.objects.ignored, record.size, record.image)
            return paint_segments(self._objects(record), ignored, self.labels, painting.background)
        file = label_file(record)
        ids = read_ids(file, painting.maps, painting.source)
        check_size(ids.shape, record.size, file, "label map")
        return connected_segments(ids, self.labels, painting.source.ignore)

    def objects(self, index: int) -> InstanceSet:
        """The objects of one picture, in the order of its annotations; a mask file is decoded once.

        `ids` are the annotations' own numbers, or their places counted from 1. `masks` is None where the data set
        has only boxes, `areas` where one object has none stated. An object with neither box nor a single pixel has the
        box (0, 0, 0, 0). `DataError` where the picture is not annotated, `ConfigError` for a data set of another kind.
        """
        self.require("objects")
        return self._objects(self.records[index])

    def _objects(self, record: Record) -> InstanceSet:
        objects = record.objects.annotations
        shapes = [annotation.shape for annotation in objects]
        masks = None if self.boxes_only else draw_shapes(shapes, record.size, record.image)
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


def not_annotated(count: int) -> str:
    """What is said once where so many pictures are left out."""
    return f"{counted(count, 'picture')} {'is' if count == 1 else 'are'} not annotated, and left out"


def panoptic_refused(dataset: Dataset, what: str) -> ConfigError:
    """The error where a panoptic data set cannot be `what` yet."""
    return ConfigError(f"{printable(dataset.root)} is panoptic ({dataset.format}), and cannot be {what} yet")


def _boxes_refused(root: Path, what: str) -> DataError:
    return DataError(
        f"{printable(root)}: the annotations are boxes, and {what} need masks", hint="annotate outlines or masks"
    )


def _stated_areas(objects: Sequence[Annotation]) -> FloatArray | None:
    """The areas [N] that the annotations state; None where one states none, since some cannot be told from measured."""
    stated = [annotation.area for annotation in objects]
    return None if None in stated else np.array(stated, np.float64)
