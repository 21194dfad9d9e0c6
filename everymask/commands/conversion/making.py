"""From what is read to what is written: joined, with other classes, in splits, in tiles."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from everymask.commands.conversion.meanings import read_fractions, read_key, read_tiles
from everymask.commands.options import class_pairs
from everymask.commands.terminal import progress
from everymask.data.conversion.classes import change_classes
from everymask.data.conversion.losses import Losses, hidden_by_painting
from everymask.data.conversion.merging import merge_datasets
from everymask.data.conversion.tiles import TileCounts, Tiles, tile_pictures
from everymask.data.dataset import Dataset, not_annotated
from everymask.data.issues import IssueLog, Policy
from everymask.data.painting import Painting
from everymask.data.panoptic import PanopticCoding
from everymask.data.records import Record
from everymask.data.splits import draw_split, without_leaks
from everymask.errors import ConfigError, printable

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be done to a data set before it is written."""

    classes: dict[str, str]
    fractions: list[tuple[str, float]] | None
    seed: int
    group_of: Callable[[Record], str] | None
    tiles: Tiles | None


def read_changes(
    classes: Sequence[str], split: str | None, seed: int, group_by: str | None, tile: str | None
) -> Changes:
    """What the options ask for; `ConfigError` where one cannot be understood, or says nothing without another."""
    if group_by is not None and split is None:
        raise ConfigError("group-by says which pictures stay together in a split", hint="add --split 80/10/10")
    return Changes(
        class_pairs(classes),
        None if split is None else read_fractions(split),
        seed,
        None if group_by is None else read_key(group_by),
        None if tile is None else read_tiles(tile),
    )


@dataclass(slots=True)
class Made:
    """A data set ready to be written; how many objects went with their classes, what hides what where label maps are
    painted, and what became of tiles.
    """

    dataset: Dataset
    left_out: int = 0
    hidden: Losses | None = None
    tiles: TileCounts | None = None


def make(datasets: Sequence[Dataset], changes: Changes, spare: Path, policy: Policy) -> Made:
    """The data sets as one, as the options want it; label maps and tiles are written into the folder `spare`."""
    dataset = _joined(datasets, changes, spare, policy)
    made = Made(dataset)
    if changes.classes:
        made.dataset = change_classes(dataset, changes.classes)
        made.left_out = _count_objects(dataset) - _count_objects(made.dataset)
    annotated = made.dataset.annotated()
    if len(annotated) < len(dataset):
        _log.warning("%s", not_annotated(len(dataset) - len(annotated)))
    made.dataset = annotated
    if changes.fractions is not None and len(annotated):
        brought = annotated.splits()
        if brought:
            listed = ", ".join(f"{name} ({count})" for name, count in brought.items())
            _log.warning("the splits %s give way to new ones", listed)
        made.dataset = draw_split(annotated, seed=changes.seed, fractions=changes.fractions, group_of=changes.group_of)
    if _is_painted(made.dataset):
        with progress("looking for hidden objects") as move:
            made.hidden = hidden_by_painting(made.dataset, progress=move)
    if changes.tiles is not None:
        with progress("cutting") as move:
            made.dataset, made.tiles = tile_pictures(made.dataset, changes.tiles, spare / "tiles", progress=move)
    return made


def _joined(datasets: Sequence[Dataset], changes: Changes, spare: Path, policy: Policy) -> Dataset:
    """One data set; a picture that lies in two splits of it is a defect as everywhere, unless new ones are drawn."""
    if len(datasets) == 1:
        return datasets[0]
    drawn_anew = changes.fractions is not None
    with progress("joining") as move:
        merged = merge_datasets(datasets, spare / "maps", splits_follow=drawn_anew, progress=move)
    if drawn_anew:
        return merged
    issues = IssueLog(policy)
    kept = without_leaks(merged, issues)
    found = issues.finish(" and ".join(printable(dataset.root) for dataset in datasets))
    return replace(kept, issues=(*kept.issues, *found))


def _is_painted(dataset: Dataset) -> bool:
    """Whether its maps are painted of objects, which may hide each other."""
    coding = dataset.coding
    made = coding.painting if isinstance(coding, PanopticCoding) else None
    return isinstance(coding, Painting) or (made is not None and made.maps is None)


def _count_objects(dataset: Dataset) -> int:
    return sum(len(record.truth.annotations) for record in dataset.records)
