"""The pictures by which an exported network is checked: those that validated its training, and never those it learned
from; those are for calibration.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from everymask.core.arrays import FloatArray, IntArray
from everymask.core.sample import Sample
from everymask.data.dataset import Dataset
from everymask.data.feed.batches import stack, windows_of
from everymask.data.feed.pipelines import prepare
from everymask.data.feed.preprocess import Preprocess
from everymask.data.formats.table import read_dataset
from everymask.data.splits import read_split
from everymask.errors import ConfigError, DataError, EverymaskError, printable
from everymask.models.card import Card
from everymask.tasks.table import task_of
from everymask.train.folder.layout import SPLITS
from everymask.train.pictures import read_run_pictures, validation

_NOISE = ((96, 128), (157, 101))
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Annotated pictures for the check, and for calibration those that training learned from; None: there are none."""

    check: Dataset | None
    train: Dataset | None


def choose_pictures(source: str | Path, card: Card, data: Path | None, split: str | None, most: int) -> Chosen:
    """Up to `most` pictures of each kind, evenly spread.

    They are those of the run folder `source`, where its data still lie where training found them, or of the data set
    `data`: its validation pictures as training drew them, else its own split `split`, or "val", else all of it.
    `DataError` and `ConfigError` where `data` cannot be used; that a run's data are gone is only said.
    """
    folder, task = Path(source), task_of(card.spec).name
    found = _of_run(folder, card) if data is None else _divided(read_dataset(data, task=task), folder)
    if found is None:
        if split is not None:
            needed(None, f"the split {printable(split)} is asked for")
        return Chosen(None, None)
    if split is not None:
        checked: Dataset | None = found.split(split)
    else:
        checked = validation(found) or (found if data is not None and not found.splits() else None)
    train = found.split("train") if "train" in found.splits() else None
    if checked is not None and not len(checked.annotated()):
        raise DataError("there is no annotated picture to check by", hint="name others with --data and --split")
    return Chosen(_some(checked, most, task), _some(train, most, task))


def _of_run(folder: Path, card: Card) -> Dataset | None:
    try:
        pictures = read_run_pictures(folder, task_of(card.spec).name)
        return None if pictures is None else _divided(pictures, folder)
    except (EverymaskError, OSError, ValueError) as error:
        reason = error.message if isinstance(error, EverymaskError) else error
        _log.warning("the run's pictures cannot be read (%s), so the metric is not compared: --data", printable(reason))
        return None


def _divided(pictures: Dataset, folder: Path) -> Dataset:
    """With the splits that training drew, where it did so of these pictures."""
    if (folder / SPLITS).is_file():
        with suppress(DataError):
            return read_split(folder / SPLITS, pictures)
    return pictures


def _some(pictures: Dataset | None, most: int, task: str) -> Dataset | None:
    if pictures is None:
        return None
    annotated = pictures.annotated()
    rows = np.unique(np.linspace(0, len(annotated) - 1, min(most, len(annotated))).round().astype(int)).tolist()
    return annotated.subset(rows)


def inputs_of(pictures: Dataset, preprocess: Preprocess) -> Iterator[tuple[FloatArray, IntArray]]:
    """What the network is given for each picture alone: `Backend.run`'s arguments."""
    for row in range(len(pictures)):
        yield input_of(pictures[row], preprocess)


def input_of(sample: Sample, preprocess: Preprocess) -> tuple[FloatArray, IntArray]:
    """The same for one picture."""
    prepared = [prepare(Sample(sample.image, None, sample.id, sample.file), preprocess)]
    return stack(prepared, preprocess.divisor), windows_of(prepared)


def noise_for(preprocess: Preprocess) -> Iterator[tuple[FloatArray, IntArray]]:
    """Pictures of noise of two sizes, where there are no others."""
    random = np.random.default_rng(0)
    for size in _NOISE:
        image = random.random((*size, preprocess.channels * preprocess.dates), np.float32) * np.float32(
            min(preprocess.scale, 255)
        )
        stored = image if preprocess.scale <= 1 else image.astype(np.uint8 if preprocess.scale <= 255 else np.uint16)
        yield input_of(Sample(stored, id="noise"), preprocess)


def needed(pictures: Dataset | None, what: str) -> Dataset:
    """The pictures; `ConfigError` where there are none."""
    if pictures is None:
        raise ConfigError(
            f"{what}, but there are none: the model does not come from a run folder whose data are still there",
            hint="name them: --data DATA, with the splits train and val",
        )
    return pictures
