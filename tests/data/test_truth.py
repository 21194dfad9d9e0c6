"""What is known of a picture is a value: objects, a label map, a panoptic map, or that nobody has annotated it."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import Labels, labels_of
from everymask.core.segmentation import PanopticMap, Segment
from everymask.data.damage import without_damaged
from everymask.data.dataset import Dataset
from everymask.data.doctor.examine import check
from everymask.data.feed.packed import packed
from everymask.data.fingerprint import fingerprint
from everymask.data.formats.labelmaps.cityscapes import read_cityscapes
from everymask.data.formats.table import read_dataset, write_dataset
from everymask.data.formats.unannotated import Loose, loose_records
from everymask.data.formats.voc.semantic import read_voc_semantic
from everymask.data.issues import IssueLog
from everymask.data.panoptic import PanopticCoding
from everymask.data.records import LabelMapFile, NotAnnotated, Objects, PanopticFile, Record
from everymask.data.shapes import write_shapes
from everymask.data.splits import draw_split, read_split, same_pictures, without_leaks, write_split
from everymask.errors import ConfigError, DataError
from everymask.settings.config import TrainConfig
from everymask.tasks.choice import settle_task, unseen_classes
from tests.data.semantic_files import blobs, make_semantic, put


def with_loose(dataset: Dataset, *, split: str | None = "test", copies: int = 1) -> Dataset:
    """The data set and pictures that are not annotated: copies of its first one."""
    first = dataset.records[0]
    loose = tuple(Record(f"loose{k}", first.image, first.size, NotAnnotated(), split) for k in range(copies))
    return replace(dataset, records=(loose[0], *dataset.records, *loose[1:]))


def shapes(folder: Path) -> Dataset:
    write_shapes(folder, train=2, val=2, size=64)
    return read_dataset(folder)


@pytest.fixture(params=["objects", "label maps", "painted"])
def known(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    if request.param == "label maps":
        return make_semantic(tmp_path, labels_of(["a", "b", "c"]))
    return shapes(tmp_path / "data").semantic() if request.param == "painted" else shapes(tmp_path / "data")


def test_of_a_picture_that_is_not_annotated_nothing_is_claimed(known: Dataset) -> None:
    mixed = with_loose(known, copies=2)
    assert "6 pictures" in repr(mixed) and "2 not annotated" in repr(mixed)
    assert mixed.truth(0) is None and mixed[0].truth is None and mixed[0].image.shape[2] == 3
    look = mixed.objects if known.kind == "objects" else mixed.label_map
    with pytest.raises(DataError, match="the picture is not annotated"):
        look(5)
    assert [record.id for record in mixed.annotated().records] == [record.id for record in known.records]
    assert known.annotated() is known
    assert not len(mixed.split("test").annotated()) and mixed.subset([0, 1]).annotated().records == known.records[:1]
    assert [packed(mixed).records[row].annotated for row in range(6)] == [False, True, True, True, True, False]


def test_check_counts_them_and_leaves_them_out_of_all_else(known: Dataset) -> None:
    expected, found = check(known), check(with_loose(known, copies=3))
    assert (expected.not_annotated, found.not_annotated, found.pictures) == (0, 3, 4)
    assert replace(found, not_annotated=0) == expected


def test_a_conversion_leaves_them_out_and_says_so(known: Dataset, tmp_path: Path, caplog) -> None:
    name = "coco" if known.kind == "objects" else "image-masks"
    with caplog.at_level(logging.WARNING):
        write_dataset(tmp_path / "out", with_loose(known, copies=2), name)
    assert "2 pictures are not annotated, and left out" in caplog.text
    assert len(read_dataset(tmp_path / "out")) == len(known)


def test_splits_leaks_and_damage_are_those_of_annotated_pictures(known: Dataset, tmp_path: Path) -> None:
    mixed = with_loose(known)
    issues = IssueLog()
    assert without_leaks(mixed, issues) is mixed and not issues.issues, "it is a copy of a training picture"
    assert same_pictures(mixed) == same_pictures(mixed, across_splits=True) == []
    drawn = draw_split(known, seed=1)
    write_split(tmp_path / "splits.json", drawn)
    again = read_split(tmp_path / "splits.json", mixed)
    assert again.records[0].split is None and again.splits() == drawn.splits()
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    damaged = replace(mixed, records=(replace(mixed.records[0], image=broken), *mixed.records[1:]))
    seen: list[tuple[int, int]] = []
    assert without_damaged(damaged, issues, progress=lambda *step: seen.append(step)) is damaged
    assert seen[-1] == (4, 4) and not issues.issues


def test_a_picture_of_another_kind_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    for truth, said in ((LabelMapFile(file), "has a label map"), (PanopticFile(file, ()), "has a panoptic map")):
        with pytest.raises(DataError, match=f"a.png: expected objects, but the picture {said}"):
            _ = Record("a", file, (4, 4), truth).objects
    maps = make_semantic(tmp_path, labels_of(["a", "b"]))
    with pytest.raises(DataError, match="expected a label map, but the picture has objects"):
        replace(maps, records=(replace(maps.records[0], truth=Objects()),)).label_map(0)
    with pytest.raises(ConfigError, match="has label maps, and panoptic maps were asked for"):
        maps.panoptic_map(0)


def test_ids_of_annotated_pictures_stay_and_what_cannot_be_read_is_noted(tmp_path: Path) -> None:
    for name in ("a.png", "sub/a.png", "b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (6, 5)).save(tmp_path / name)
    (tmp_path / "c.png").write_bytes(b"no picture")
    issues = IssueLog()
    loose = [Loose(tmp_path / name, "train") for name in ("a.png", "sub/a.png", "b.png", "c.png")]
    found = loose_records(loose, ["a", "b"], tmp_path, issues)
    assert [(record.id, record.size, record.split) for record in found] == [
        ("a-2", (5, 6), "train"), ("sub-a", (5, 6), "train"), ("b-2", (5, 6), "train"),
    ]  # fmt: skip
    issues.finish("not annotated pictures are no defects")
    assert [issue.severity for issue in issues.noted()] == ["warning"]
    assert "c.png" in issues.noted()[0].file and "left out" in issues.noted()[0].message


def test_voc_keeps_pictures_without_class_maps(tmp_path: Path) -> None:
    folders = ("JPEGImages", "SegmentationClass")
    put(tmp_path, "a", blobs(), folders=folders)
    put(tmp_path, "b", blobs(), folders=folders).unlink()
    found = read_voc_semantic(tmp_path)
    assert [(record.id, record.annotated) for record in found.records] == [("a", True), ("b", False)]
    assert ("not-listed", "b") in [(issue.code, issue.value) for issue in found.issues]
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    assert [record.id for record in read_voc_semantic(tmp_path).records] == ["a"]
    (lists / "test.txt").write_text("b\n")
    found = read_voc_semantic(tmp_path)
    assert [(record.id, record.annotated, record.split) for record in found.records][1:] == [("b", False, "test")]


def test_cityscapes_keeps_test_pictures(tmp_path: Path) -> None:
    for split, name in (("train", "aachen_000_1"), ("test", "berlin_000_1")):
        file = put(
            tmp_path,
            f"{name}_leftImg8bit",
            np.full((20, 30), 26 if split == "train" else 0, np.uint8),
            folders=(f"leftImg8bit/{split}/{name[:6]}", f"gtFine/{split}/{name[:6]}"),
            map_name=f"{name}_gtFine_labelIds.png",
        )
    file.unlink()
    found = read_cityscapes(tmp_path)
    assert [(record.split, record.annotated) for record in found.records] == [("train", True), ("test", False)]
    assert [issue.code for issue in found.issues if issue.code == "unlabelled"] == ["unlabelled"]


@pytest.fixture
def panoptic(tmp_path: Path) -> Dataset:
    ids = np.zeros((6, 8), np.int64)
    ids[:3], ids[3:, :4] = 3, 70_000
    colours = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=2).astype(np.uint8)
    records = []
    for number in range(2):
        Image.fromarray(np.full((6, 8, 3), 90, np.uint8)).save(tmp_path / f"{number}.jpg")
        Image.fromarray(colours).save(tmp_path / f"{number}.png")
        truth = PanopticFile(tmp_path / f"{number}.png", (Segment(3, 0), Segment(70_000, 1, crowd=True)))
        records.append(Record(f"{number}", tmp_path / f"{number}.jpg", (6, 8), truth, ("train", "val")[number]))
    labels = Labels(("sky", "car"), things=frozenset({1}))
    return Dataset(labels, tuple(records), "fake-panoptic", tmp_path, coding=PanopticCoding())


def test_panoptic_truth_is_read_divided_and_packed(panoptic: Dataset) -> None:
    assert (panoptic.kind, panoptic.for_task(None)) == ("panoptic", panoptic)
    for dataset in (panoptic, packed(panoptic), panoptic.split("train"), panoptic.subset([1])):
        found = dataset.truth(0)
        assert isinstance(found, PanopticMap) and isinstance(dataset[0].truth, PanopticMap)
        assert [segment.class_id for segment in found.segments] == [0, 1]
        assert found.ids.tolist() == [[3] * 8] * 3 + [[70_000] * 4 + [0] * 4] * 3
    assert panoptic.annotated() is panoptic
    first = panoptic.records[0]
    unknown = replace(panoptic, records=(replace(first, truth=PanopticFile(first.truth.file, (Segment(3, 0),))),))
    with pytest.raises(DataError, match=r"0.png: 12 pixels belong to segment 70000, .* the first is at x 0, y 3"):
        unknown.truth(0)
    with pytest.raises(DataError, match="expected a panoptic map of 9 x 6 pixels"):
        replace(panoptic, records=(replace(first, size=(6, 9)),)).truth(0)
    with pytest.raises(DataError, match="expected a panoptic map, but the picture has objects"):
        replace(panoptic, records=(replace(first, truth=Objects()),)).truth(0)


def test_panoptic_truth_is_measured(panoptic: Dataset) -> None:
    found = fingerprint(panoptic, seed=0)
    # Sky is no object, and the car is a crowd.
    assert found.object_sizes == () and found.max_objects == 1
    cars = replace(panoptic, labels=replace(panoptic.labels, things=frozenset({0})))
    assert fingerprint(cars, seed=0).object_sizes == pytest.approx([24**0.5] * 5, abs=0.01)
    assert found.class_shares == pytest.approx((24 / 36, 12 / 36), abs=1e-6)


def test_panoptic_truth_is_checked_and_chooses_its_task(panoptic: Dataset) -> None:
    summary = check(panoptic)
    assert (summary.task, summary.objects, summary.crowd, summary.empty) == ("panoptic", 2, 2, 0)
    assert summary.classes == {"sky": {"train": 1, "val": 1}, "car": {"train": 0, "val": 0}}
    assert summary.shares["car"] == pytest.approx({"train": 1 / 3, "val": 1 / 3}, abs=1e-6)
    assert summary.no_truth == pytest.approx(0.25) and "1 countable and 1 other" in summary.encoding
    task, model = settle_task(TrainConfig(data="x", out="y"), panoptic)
    assert (task.name, type(model).__name__) == ("panoptic", "PanopticFPN")
    assert unseen_classes(panoptic, None) == ()


def test_what_cannot_take_panoptic_truth_yet_says_so(panoptic: Dataset) -> None:
    for refused in (
        lambda: panoptic.for_task("change"),
        lambda: panoptic.label_map(0),
        lambda: panoptic.objects(0),
    ):
        with pytest.raises(ConfigError, match="panoptic"):
            refused()
