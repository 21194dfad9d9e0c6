"""Predictions that lie in files, judged as a model's own are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from everymask.core.labels import Labels
from everymask.core.sample import Sample
from everymask.core.segmentation import TaskName
from everymask.data.change.coding import CHANGE
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.panoptic_entries import has_segments
from everymask.data.formats.labelmaps.tables import read_table
from everymask.data.formats.table import find_formats
from everymask.data.issues import IssueLog
from everymask.data.pictures.read import pictures_among
from everymask.errors import ConfigError, DataError, printable
from everymask.infer.result import Result
from everymask.metrics.scores import Metric
from everymask.results.pairing import FoundPictures
from everymask.results.reading_objects import read_objects
from everymask.results.shards.plan import PLAN
from everymask.results.shards.reading import plan_of, read_shards
from everymask.tasks.table import task_named, task_of
from everymask.tasks.task import Judging, Limits, Task

TABLE = "predictions.json"
CLASSES = "classes.csv"
_MAPS = "maps"
_USUAL_DETECTIONS = 100


@dataclass(frozen=True, slots=True, repr=False)
class StoredPredictions:
    """What was predicted for the pictures of a data set, wherever that was done; it is evaluated like a model.

    `max_detections` is how many objects of a picture count: 100 as COCO counts, or as many as there are in the picture
    with the most.
    """

    source: Path
    task: Task[Any]
    found: FoundPictures
    max_detections: int = _USUAL_DETECTIONS
    splits: Path | None = None

    @property
    def labels(self) -> Labels:
        """The classes of the predictions."""
        return self.found.labels

    def answers(self, dataset: Dataset, batch: int = 1) -> Iterator[Result]:
        """What was predicted for each picture, which is not read: its size is known."""
        for row, record in enumerate(dataset.records):
            blank = np.broadcast_to(np.uint8(0), (*record.size, 1))
            sample = Sample(blank, dataset.truth(row), record.id, str(record.image))
            yield Result(sample, self.found.of(record.id, record.size), self.labels)

    def metrics(self, judging: Judging) -> Mapping[str, Metric[Any]]:
        """By what these predictions are judged."""
        limits = Limits(self.max_detections, self.found.masks)
        return self.task.metrics(self.labels, None, replace(judging, limits=limits))

    def with_detections(self, most: int) -> StoredPredictions:
        """The same predictions, of which the surest `most` of each picture count; `ConfigError` for less than one."""
        if most < 1:
            raise ConfigError(f"the number of detections must be at least 1, but got {most}")
        return replace(self, max_detections=most)

    def with_scores(self) -> StoredPredictions:
        """`ConfigError`: label maps in files do not say how probable their classes are."""
        raise ConfigError("calibration needs the probability of every pixel's class, which files of predictions lack")

    def __repr__(self) -> str:
        return f"<StoredPredictions {printable(self.source)}: {self.task.name}, {len(self.labels)} classes>"


def are_predictions(source: str | Path) -> bool:
    """Whether a path is a file or a folder of predictions, and no run folder, file of weights or annotated data set."""
    path = Path(source)
    if path.is_dir():
        written = (path / TABLE).is_file() or (path / _MAPS).is_dir() or (path / PLAN).is_file()
        return written or (bool(pictures_among(path.rglob("*"))) and not find_formats(path))
    return path.is_file() and path.suffix.lower() == ".json"


def task_of_predictions(source: str | Path) -> TaskName | None:
    """Which task the predictions of a path belong to; None: that of the data set."""
    path = Path(source)
    plan = plan_of(path)
    if plan is not None:
        return plan.task
    if path.is_file() or (path / TABLE).is_file():
        return "panoptic" if _has_segments(path) else "instance"
    if not (path / _MAPS).is_dir():
        return None
    return "change" if _says_change(path / CLASSES) else "semantic"


def _says_change(file: Path) -> bool:
    """Whether a table of classes begins with what did not change."""
    table = read_table(file, IssueLog("skip")) if file.is_file() else None
    return table is not None and table.labels().names[0] == CHANGE.names[0]


def _has_segments(path: Path) -> bool:
    """Whether a file, or the table of a folder, has segments."""
    return has_segments(path / TABLE if path.is_dir() else path)


def read_predictions(source: str | Path, dataset: Dataset) -> StoredPredictions:
    """The predictions for a data set that lie in files.

    - a `.json` file: COCO results, a list or with images and categories; or COCO panoptic, with a PNG for each picture
    - a folder that `everymask predict` wrote, also in shards
    - a folder of label maps for a data set of label maps, with a table of classes or in the data set's own numbers
    - a folder of maps of object numbers for a data set of objects with one class

    `DataError` for what is none of these, and where its pictures or sizes are others.

    >>> evaluate(read_predictions("results.json", dataset), dataset)
    """
    path = Path(source)
    if not path.exists():
        raise DataError(f"{printable(path)} does not exist", hint="give a .json file or a folder of predictions")
    plan = plan_of(path)
    if plan is not None:
        task = task_named(plan.task)
        shards = read_shards(path, plan, task.truth, dataset)
        return StoredPredictions(path, task, shards, max(_USUAL_DETECTIONS, shards.most))
    if path.is_dir() and not (path / TABLE).is_file():
        folder = path / _MAPS if (path / _MAPS).is_dir() else path
        task = task_of(dataset)
        return StoredPredictions(path, task, task.read_found(folder, dataset))
    if _has_segments(path):
        panoptic = task_named("panoptic")
        return StoredPredictions(path, panoptic, panoptic.read_found(path, dataset))
    found = read_objects(path / TABLE if path.is_dir() else path, dataset)
    return StoredPredictions(path, task_named("instance"), found, max(_USUAL_DETECTIONS, found.most))
