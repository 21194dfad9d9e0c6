"""Label maps and maps of object numbers that were predicted elsewhere, one file per picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.segmentation import ChangeMap, InstanceSet, SemanticMap
from everymask.data.coding import LabelCoding, numbers, read_ids
from everymask.data.dataset import Dataset
from everymask.data.formats.labelmaps.tables import find_table, read_table
from everymask.data.issues import IssueLog
from everymask.data.pictures.read import pictures_among, read_header, read_label_map
from everymask.errors import DataError, counted, printable
from everymask.results.pairing import pair_names
from everymask.results.writing_semantic import FOLDERS

_COLOURS = 3


@dataclass(frozen=True, slots=True)
class FoundMaps:
    """A label file for each picture, by the picture's id, and how what it holds becomes classes of `labels`."""

    folder: Path
    labels: Labels
    files: Mapping[str, Path]
    coding: LabelCoding
    unknown: int
    masks: bool = True

    def of(self, id_: str, size: tuple[int, int]) -> SemanticMap:
        """The label map of a picture of `size` (H, W); `DataError` where there is none, or one of another size."""
        file = _file_of(id_, self.files, self.folder)
        ids = read_ids(file, self.coding, self.labels)
        _check_size(ids.shape, size, file)
        return SemanticMap(ids, ignore=self.labels.ignore)


@dataclass(frozen=True, slots=True)
class FoundNumbers:
    """A map of object numbers for each picture, by the picture's id; all objects are of the one class, equally sure."""

    folder: Path
    labels: Labels
    files: Mapping[str, Path]
    unknown: int
    masks: bool = True

    def of(self, id_: str, size: tuple[int, int]) -> InstanceSet:
        """The objects of a picture of `size` (H, W): each number but 0 is one."""
        file = _file_of(id_, self.files, self.folder)
        ids = read_label_map(file)
        _check_size(ids.shape, size, file)
        found = np.unique(ids)
        masks = Masks.from_ids(ids, found[found != 0])
        count = len(masks)
        return InstanceSet(
            masks.boxes().astype(np.float32), np.zeros(count, np.int64), np.ones(count, np.float32), masks
        )


def read_maps(folder: Path, dataset: Dataset) -> FoundMaps:
    """The label maps of a folder. A table of classes in it says what they hold (see
    `everymask.data.formats.labelmaps.tables`); without one they hold what the data set's own label maps do, or its
    classes counted from 0.
    """
    files, unknown = _files(folder, dataset)
    file, issues = find_table([folder, folder.parent]), IssueLog("strict")
    table = None if file is None else read_table(file, issues)
    issues.finish(printable(folder))
    if table is not None:
        coloured = table.coloured and read_header(next(iter(files.values()))).channels >= _COLOURS
        return FoundMaps(folder, table.labels(), files, table.colours() if coloured else table.numbers(), unknown)
    labels, coding = dataset.labels, dataset.coding
    if not isinstance(coding, LabelCoding):
        coding = numbers(len(labels), "the data set's classes", void={labels.ignore})
    return FoundMaps(folder, labels, files, coding, unknown)


@dataclass(frozen=True, slots=True)
class FoundChanges:
    """Maps of what changed, and of what was there before, if there are any."""

    maps: FoundMaps
    before: FoundMaps | None

    @property
    def labels(self) -> Labels:
        """The classes, of which the first is what did not change."""
        return self.maps.labels

    @property
    def unknown(self) -> int:
        """How many files belong to no picture."""
        return self.maps.unknown

    @property
    def masks(self) -> bool:
        """There are no objects."""
        return self.maps.masks

    def of(self, id_: str, size: tuple[int, int]) -> ChangeMap:
        """The change map of a picture of `size` (H, W); errors as in `FoundMaps`."""
        found = self.maps.of(id_, size)
        was = None if self.before is None else self.before.of(id_, size).ids
        return ChangeMap(found.ids, ignore=found.ignore, was=was)


def read_changes(folder: Path, dataset: Dataset) -> FoundChanges:
    """The change maps of a folder, read as `read_maps` does, and those beside it in `maps_before/`."""
    earlier = folder.with_name(FOLDERS["was"])
    return FoundChanges(read_maps(folder, dataset), read_maps(earlier, dataset) if earlier.is_dir() else None)


def read_numbers(folder: Path, dataset: Dataset) -> FoundNumbers:
    """The maps of object numbers of a folder, for a data set with one class; `DataError` for one with more."""
    if len(dataset.labels) != 1:
        raise DataError(
            f"{printable(folder)}: maps of object numbers do not say which of the {len(dataset.labels)} classes an "
            "object has",
            hint="give COCO results (a .json file) for data sets with several classes",
        )
    files, unknown = _files(folder, dataset)
    return FoundNumbers(folder, dataset.labels, files, unknown)


def _files(folder: Path, dataset: Dataset) -> tuple[dict[str, Path], int]:
    """The file of each picture by its id, and how many files are of no picture; `DataError` where none is."""
    found = {path.relative_to(folder).as_posix(): path for path in pictures_among(sorted(folder.rglob("*")))}
    if not found:
        raise DataError(f"{printable(folder)}: there is no label map in it", hint="label maps are PNG or TIFF files")
    paired = pair_names(found, dataset, folder)
    files = {id_: found[name] for name, id_ in paired.items()}
    return files, len(found) - len(files)


def _file_of(id_: str, files: Mapping[str, Path], folder: Path) -> Path:
    if id_ not in files:
        raise DataError(
            f"{printable(folder)}: there is no prediction for the picture {printable(id_)}, but for "
            f"{counted(len(files), 'other')}",
            hint="predict it too, or choose the part of the data set that was predicted: --split val",
        )
    return files[id_]


def _check_size(found: tuple[int, ...], size: tuple[int, int], file: Path) -> None:
    if tuple(found) != size:
        raise DataError(
            f"{printable(file)}: expected a map of {size[1]} x {size[0]} pixels, as the picture, but it has "
            f"{found[1]} x {found[0]}"
        )
