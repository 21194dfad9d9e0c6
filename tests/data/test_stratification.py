"""Splits in which every class has its share, and groups that stay together."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from everymask.core.labels import labels_of
from everymask.core.randomness import rng
from everymask.data.dataset import Dataset
from everymask.data.formats.table import read_dataset
from everymask.data.records import Annotation, BoxOnly, LabelMapFile, Objects, Record
from everymask.data.splits import draw_split
from everymask.errors import DataError

THREE = (("train", 0.8), ("val", 0.1), ("test", 0.1))


def dataset(shown: list[set[int]], *, folders: int = 1) -> Dataset:
    """Pictures that show these classes, in folders."""
    records = tuple(
        Record(
            f"p{row:04}",
            Path("set") / f"f{row % folders}" / f"p{row:04}.png",
            (4, 4),
            Objects(tuple(Annotation(name, BoxOnly(), (0, 0, 2, 2)) for name in sorted(names))),
        )
        for row, names in enumerate(shown)
    )
    return Dataset(labels_of(["a", "b", "c", "d"]), records, "fake", Path("set"), boxes_only=True)


def counts(drawn: Dataset) -> dict[str, Counter[int]]:
    found: dict[str, Counter[int]] = {}
    for record in drawn.records:
        found.setdefault(str(record.split), Counter()).update(record.truth.classes)
    return found


def mixed(pictures: int, seed: int) -> list[set[int]]:
    """Class 0 in most pictures, 1 in a third, 2 in a tenth, 3 in three of them."""
    random = rng(seed, "mixed")
    shown = [{0} if random.random() < 0.9 else set() for _ in range(pictures)]
    for name, count in ((1, pictures // 3), (2, pictures // 10), (3, 3)):
        for row in random.choice(pictures, count, replace=False).tolist():
            shown[row] = shown[row] | {name}
    return shown


@pytest.mark.parametrize("seed", range(8))
def test_every_class_has_its_share_in_every_split(seed):
    made = dataset(mixed(200, seed))
    drawn = draw_split(made, seed=seed, fractions=THREE)
    assert drawn.splits() == {"train": 160, "val": 20, "test": 20}
    found = counts(drawn)
    totals = counts(replace(made, records=tuple(replace(record, split="all") for record in made.records)))["all"]
    for name, share in THREE:
        for shown in (0, 1, 2):
            assert abs(found[name][shown] - share * totals[shown]) <= 2
        assert found[name][3] == 1  # three pictures, three splits


def test_the_draw_depends_on_the_seed_and_not_on_the_order():
    made = dataset(mixed(60, 1))

    def owners(drawn: Dataset) -> dict[str, str | None]:
        return {record.id: record.split for record in drawn.records}

    first = owners(draw_split(made, seed=5, fractions=THREE))
    assert first == owners(draw_split(made.subset(range(59, -1, -1)), seed=5, fractions=THREE))
    assert first != owners(draw_split(made, seed=6, fractions=THREE))


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_together(seed):
    made = dataset(mixed(120, seed), folders=12)
    drawn = draw_split(made, seed=seed, fractions=THREE, group_of=lambda record: record.image.parent.name)
    owners: dict[str, set[str | None]] = {}
    for record in drawn.records:
        owners.setdefault(record.image.parent.name, set()).add(record.split)
    assert all(len(splits) == 1 for splits in owners.values())
    assert set(drawn.splits()) == {"train", "val", "test"}
    assert drawn.splits()["train"] >= 80


def test_fewer_groups_than_splits_are_refused():
    with pytest.raises(DataError, match="from 9 pictures that make only 2 groups"):
        draw_split(
            dataset([{0}] * 9, folders=2), seed=0, fractions=THREE, group_of=lambda record: record.image.parent.name
        )


def test_where_all_pictures_show_the_same_nothing_has_changed():
    """The draw of earlier versions, which runs of one class were made with."""
    for shown in (set(), {0}, {1, 2}):
        drawn = draw_split(dataset([shown] * 10), seed=0)
        assert [record.id for record in drawn.records if record.split == "val"] == ["p0005", "p0007"]


def test_label_maps_are_dealt_by_the_classes_that_have_pixels():
    made = dataset([set()] * 20)
    pixels = [(9, 1) if row < 4 else (10, 0) for row in range(20)]
    truths = [LabelMapFile(Path(f"{row}.png"), counted) for row, counted in enumerate(pixels)]
    records = tuple(replace(record, truth=truth) for record, truth in zip(made.records, truths, strict=True))
    drawn = draw_split(replace(made, records=records), seed=0, fractions=(("train", 0.5), ("val", 0.5)))
    assert counts(drawn)["train"][1] == counts(drawn)["val"][1] == 2


@pytest.mark.parametrize("seed", range(3))
def test_of_many_rare_classes_most_come_into_small_splits(shared, seed):
    """71 classes in 128 pictures, of which val and test get 13 each; a blind draw misses about half of them there."""
    made = read_dataset(shared / "coco128_seg", format="yolo")
    totals = Counter(name for record in made.records for name in record.truth.classes)
    found = counts(draw_split(made, seed=seed, fractions=THREE))
    often = [name for name, count in totals.items() if count >= 3]
    assert len(often) == 49
    assert all(found["train"][name] for name in often)
    assert all(sum(not found[split][name] for name in often) <= 12 for split in ("val", "test"))
    assert all(found[split][name] for split in ("val", "test") for name, count in totals.items() if count >= 10)
