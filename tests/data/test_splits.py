"""Splits: drawn by seed and id, written, read again, and free of leaks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.instances import read_coco
from everymask.data.issues import IssueLog
from everymask.data.records import Objects, Record
from everymask.data.splits import draw_split, read_split, without_leaks, write_split
from everymask.errors import ConfigError, DataError


def dataset(count: int, root: Path = Path("set")) -> Dataset:
    records = tuple(Record(f"picture {row}", root / f"{row}.png", (4, 4), Objects()) for row in range(count))
    return Dataset(labels_of(["x"]), records, "fake", root)


def owners(drawn: Dataset) -> dict[str, str | None]:
    return {record.id: record.split for record in drawn.records}


@pytest.mark.parametrize(("count", "expected"), [(2, (1, 1)), (3, (2, 1)), (10, (8, 2)), (101, (81, 20))])
def test_the_parts_have_their_sizes(count, expected):
    assert draw_split(dataset(count), seed=0).splits().items() >= {"train": expected[0], "val": expected[1]}.items()


def test_three_parts_each_get_a_picture():
    fractions = (("train", 0.9), ("val", 0.05), ("test", 0.05))
    found = draw_split(dataset(3), seed=1, fractions=fractions).splits()
    assert sorted(found.items()) == [("test", 1), ("train", 1), ("val", 1)]


def test_order_does_not_matter_and_the_seed_does():
    made = dataset(40)
    backwards = made.subset(range(39, -1, -1))
    assert owners(draw_split(made, seed=3)) == owners(draw_split(backwards, seed=3))
    assert owners(draw_split(made, seed=3)) != owners(draw_split(made, seed=4))
    assert [record.id for record in draw_split(made, seed=3).records] == [record.id for record in made.records]


@pytest.mark.parametrize(
    "fractions", [(), (("train", 0.5), ("val", 0.4)), (("train", 1.2), ("val", -0.2)), (("a", 0.5), ("a", 0.5))]
)
def test_fractions_must_make_sense(fractions):
    with pytest.raises(ConfigError, match="add up to 1"):
        draw_split(dataset(9), seed=0, fractions=fractions)


def test_one_picture_cannot_be_split():
    with pytest.raises(DataError, match="cannot draw train and val from 1 picture\n"):
        draw_split(dataset(1), seed=0)


def test_what_is_written_is_read_again(tmp_path):
    drawn = draw_split(dataset(9), seed=0)
    write_split(tmp_path / "split.json", drawn)
    assert owners(read_split(tmp_path / "split.json", dataset(9))) == owners(drawn)
    assert set(json.loads((tmp_path / "split.json").read_text())) == {"train", "val", "checksum"}
    with pytest.raises(DataError, match="picture 0 has no split"):
        write_split(tmp_path / "other.json", dataset(3))
    assert not (tmp_path / "other.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": ["picture 0", "picture 1"], "val": []}, "stands in no split.*picture 2"),
        ({"train": ["picture 0", "picture 1"], "val": ["picture 2", "picture 0"]}, "/val/1.*stands in train already"),
        ({"train": ["picture 0", "picture 1", "cat"], "val": ["picture 2"]}, "/train/2.*no picture.*has this id"),
        ({"train": "picture 0"}, "stands in no split"),
        ([], "stands in no split"),
    ],
)
def test_a_split_that_does_not_fit_is_refused(tmp_path, content, message):
    (tmp_path / "split.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        read_split(tmp_path / "split.json", dataset(3))


def pictures(folder: Path, shades: list[int], splits: list[str | None]) -> Dataset:
    made = dataset(len(shades), folder)
    for record, shade in zip(made.records, shades, strict=True):
        Image.new("L", (4, 4), shade).save(record.image)
    records = tuple(replace(record, split=split) for record, split in zip(made.records, splits, strict=True))
    return replace(made, records=records)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    ("shades", "sizes"), [([1, 1, 2, 2, 3, 4, 5, 6, 7, 8], (8, 2)), ([1, 1, 1, 2], None), ([1, 1, 2, 3, 3, 3], None)]
)
def test_a34_equal_pictures_come_into_the_same_part(tmp_path, seed, shades, sizes):
    made = pictures(tmp_path, shades, [None] * len(shades))
    drawn = draw_split(made, seed=seed)
    parts = {
        shade: {drawn.records[row].split for row, other in enumerate(shades) if other == shade} for shade in shades
    }
    assert all(len(part) == 1 for part in parts.values())
    assert set.union(*parts.values()) == {"train", "val"}
    assert sizes in (None, (drawn.splits()["train"], drawn.splits()["val"]))
    assert owners(draw_split(made.subset(range(len(made) - 1, -1, -1)), seed=seed)) == owners(drawn)
    assert not without_leaks(drawn, IssueLog()).splits().items() ^ drawn.splits().items()


def test_equal_pictures_do_not_leave_a_part_empty(tmp_path):
    fractions = (("train", 0.8), ("val", 0.1), ("test", 0.1))
    for seed in range(12):
        drawn = draw_split(pictures(tmp_path, [1] * 7 + [2] * 2 + [3], [None] * 10), seed=seed, fractions=fractions)
        assert set(drawn.splits()) == {"train", "val", "test"}
    with pytest.raises(DataError, match="from 4 pictures of which only 1 differs"):
        draw_split(pictures(tmp_path, [1] * 4, [None] * 4), seed=0)


def test_c28_the_same_content_in_two_splits_is_found(tmp_path):
    made = pictures(tmp_path, [1, 2, 1, 3, 3], ["train", "val", "val", "train", "train"])
    issues = IssueLog("skip")
    kept = without_leaks(made, issues)
    assert [(issue.code, Path(issue.file).name, Path(issue.value).name) for issue in issues.issues] == [
        ("split-leak", "0.png", "2.png")
    ]
    assert [record.id for record in kept.records] == ["picture 1", "picture 2", "picture 3", "picture 4"]


@pytest.mark.parametrize("splits", [["train", "train"], [None, None], ["train", None]])
def test_repeats_within_a_split_are_no_leak(tmp_path, splits):
    issues = IssueLog("skip")
    assert len(without_leaks(pictures(tmp_path, [1, 1], splits), issues)) == 2
    assert not issues.issues


def test_large_files_that_begin_alike_are_told_apart(tmp_path):
    made = pictures(tmp_path, [1, 2], ["train", "val"])
    for record, end in zip(made.records, b"xy", strict=True):
        record.image.write_bytes(bytes(100_000) + bytes([end]))
    issues = IssueLog("skip")
    assert len(without_leaks(made, issues)) == 2


@pytest.mark.slow
def test_real_data_has_no_leak(shared):
    issues = IssueLog()
    assert len(without_leaks(read_coco(shared / "nuclei"), issues)) == 564
    assert not issues.issues


def test_real_halves_have_no_leak(shared):
    """The split of a real data set, by every fourth picture."""
    found = read_coco(shared / "nuclei" / "val.json")
    split = tuple(replace(record, split="val" if row % 4 else "train") for row, record in enumerate(found.records))
    issues = IssueLog()
    assert len(without_leaks(replace(found, records=split), issues)) == 100
    assert not issues.issues
