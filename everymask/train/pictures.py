"""The pictures of a training: read, and divided into those that train and those that validate."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from everymask.core.segmentation import TaskName
from everymask.data.dataset import Dataset
from everymask.data.formats.table import read_dataset
from everymask.data.splits import draw_split
from everymask.errors import ConfigError, DataError, counted, printable
from everymask.settings.config import TrainConfig
from everymask.train.folder.logs import reading_bar

_VALIDATION = ("val", "valid", "validation")


def read_pictures(config: TrainConfig, task: TaskName | None, screen: Console) -> Dataset:
    """The data set of `config` for a task (None: as annotated).

    To leave out what is damaged, all pictures are decoded before the first step.
    """
    with reading_bar(screen, "decoding") as move:
        return read_dataset(
            config.data,
            format=config.format,
            task=task,
            images=config.images,
            policy=config.on_defect,
            crowds=config.crowds,
            masks=config.masks,
            mask_threshold=config.mask_threshold,
            decode=config.on_defect == "skip",
            progress=move,
        )


def divided(pictures: Dataset, config: TrainConfig) -> Dataset:
    """The pictures with the splits they bring; where train or validation is missing there, drawn by the seed.

    `DataError` and `ConfigError` for splits that leave pictures over, or none to train on.
    """
    brought = pictures.splits()
    loose = len(pictures) - sum(brought.values())
    if brought and loose:
        raise DataError(
            f"{printable(config.data)}: {counted(loose, 'picture')} without a split, while others belong to "
            f"{', '.join(brought)}",
            hint="put every picture into train, val or test, or bring no splits at all",
        )
    if brought and "train" not in brought:
        raise ConfigError(
            f"{printable(config.data)} has no pictures for training; its splits are {', '.join(brought)}",
            hint="name one of its splits train, or give a data set without splits",
        )
    if any(name in brought for name in _VALIDATION):
        return pictures
    shares = [("val", config.val_fraction), ("test", 0.0 if set(brought) - {"train"} else config.test_fraction)]
    shares = [(name, share) for name, share in shares if share]
    fractions = [("train", 1 - sum(share for _, share in shares)), *shares]
    drawn = draw_split(pictures.split("train") if brought else pictures, seed=config.seed, fractions=fractions)
    others = tuple(record for record in pictures.records if record.split not in (None, "train"))
    return replace(drawn, records=(*drawn.records, *others))


def validation(pictures: Dataset) -> Dataset | None:
    """The pictures that validate."""
    name = next((name for name in _VALIDATION if name in pictures.splits()), None)
    return pictures.split(name) if name else None
