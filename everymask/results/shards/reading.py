"""Finished shards as the predictions for a data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from everymask.core.files import is_there
from everymask.core.labels import Labels
from everymask.core.segmentation import Segmentation
from everymask.data.dataset import Dataset
from everymask.errors import DataError, printable
from everymask.results.pairing import pair_names
from everymask.results.shards.pictures import FoundPicture, objects_of
from everymask.results.shards.plan import PLAN, Plan, read_plan
from everymask.results.shards.store import LocalStore, Store
from everymask.results.shards.tables import table_of
from everymask.results.shards.work import finished


@dataclass(frozen=True, slots=True)
class FoundShards:
    """What was found in the pictures of a data set, by their ids, as the task's type of truth."""

    folder: Path
    labels: Labels
    truth: type[Segmentation]
    pictures: Mapping[str, FoundPicture]
    unknown: int

    @property
    def masks(self) -> bool:
        """Whether all objects have masks."""
        return all(region.counts is not None for picture in self.pictures.values() for region in picture.regions)

    @property
    def most(self) -> int:
        """How many objects the picture with the most has."""
        return max((len(picture.regions) for picture in self.pictures.values()), default=0)

    def of(self, id_: str, size: tuple[int, int]) -> Segmentation:
        """What was found in a picture of `size` (H, W); `DataError` where it was not predicted, or has another size."""
        picture = self.pictures.get(id_)
        if picture is None or picture.error:
            reason = "it was not among the pictures" if picture is None else picture.error
            raise DataError(
                f"{printable(self.folder)}: there is no prediction for the picture {printable(id_)}: {reason}",
                hint="predict it too, or choose the part of the data set that was predicted: --split val",
            )
        if picture.size != size:
            raise DataError(
                f"{printable(self.folder)}: {printable(picture.file)} was predicted with {picture.size[1]} x "
                f"{picture.size[0]} pixels, but the data set's picture has {size[1]} x {size[0]}"
            )
        return self.truth.from_regions(objects_of(picture.regions, size), size, self.labels.ignore)


def plan_of(path: Path) -> Plan | None:
    """The plan of a folder that holds shards; None where it is another."""
    return read_plan(LocalStore(path)) if is_there(path / PLAN) else None


def read_shards(path: Path, plan: Plan, truth: type[Segmentation], dataset: Dataset) -> FoundShards:
    """The predictions in shards for the pictures of a data set; `DataError` where they are not finished."""
    store = LocalStore(path)
    missing = plan.shards - len(finished(store))
    if missing:
        raise DataError(
            f"the prediction in {printable(path)} is not finished: {missing:,} of {plan.shards:,} shards are missing",
            hint="go on with it: everymask predict ... --resume",
        )
    names = [picture.file for picture in _pictures(store, plan)]
    paired = pair_names(names, dataset, path)
    found = {paired[picture.file]: picture for picture in _pictures(store, plan) if picture.file in paired}
    return FoundShards(path, plan.labels, truth, found, len(names) - len(found))


def _pictures(store: Store, plan: Plan) -> Iterator[FoundPicture]:
    table = table_of(plan.table)
    for shard in range(plan.shards):
        yield from table.read(store, shard)
