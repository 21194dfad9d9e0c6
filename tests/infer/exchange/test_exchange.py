"""Results in the types of other packages are the same results when they come back."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet, PanopticMap, Segment, SemanticMap
from everymask.errors import DataError, MissingExtra
from everymask.infer.result import Result

LABELS = Labels(("cell", "dust", "hair"))
PICTURE = np.full((20, 30, 3), 50, np.uint8)


def objects(**changed: Any) -> Result:
    """Three squares, of which the first two overlap."""
    dense = np.zeros((3, 20, 30), bool)
    dense[0, 2:8, 2:8] = dense[1, 5:12, 5:12] = dense[2, 12:15, 20:28] = True
    masks = Masks.from_dense(dense)
    found = InstanceSet(masks.boxes(), np.array([0, 2, 0]), np.array([0.5, 0.9, 0.25], np.float32), masks)
    return Result(Sample(PICTURE, id="a"), replace(found, **changed), LABELS)


def label_map() -> Result:
    ids = np.zeros((20, 30), np.uint8)
    ids[5:, 10:], ids[:2] = 2, 255
    return Result(Sample(PICTURE, id="a"), SemanticMap(ids), LABELS)


def panoptic_map() -> Result:
    ids = np.zeros((20, 30), np.int32)
    ids[2:9, 2:9], ids[10:] = 1, 2
    return Result(Sample(PICTURE, id="a"), PanopticMap(ids, (Segment(1, 2, 0.5), Segment(2, 0, 0.75))), LABELS)


def nothing() -> Result:
    return Result(Sample(PICTURE), InstanceSet.empty((20, 30), scored=True), LABELS)


def boxes() -> Result:
    return objects(masks=None)


def assert_same(found: Result, wanted: Result) -> None:
    ours, theirs = found.instances, wanted.instances
    np.testing.assert_array_equal(ours.boxes, theirs.boxes)
    np.testing.assert_array_equal(ours.class_ids, theirs.class_ids)
    for name in ("scores", "ids"):
        if getattr(theirs, name) is not None:
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert (ours.masks is None) == (theirs.masks is None)
    if ours.masks is not None and theirs.masks is not None:
        assert ours.masks.to_rle() == theirs.masks.to_rle()


def through_supervision(result: Result) -> Result:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("supervision", reason="pip install --no-deps supervision (docs/dependencies.md)")
    return Result.from_supervision(result.to_supervision(), PICTURE, LABELS)


def through_pandas(result: Result) -> Result:
    pytest.importorskip("pandas")
    return Result.from_pandas(result.to_pandas(), PICTURE, LABELS)


def through_xarray(result: Result) -> Result:
    pytest.importorskip("xarray")
    return Result.from_xarray(result.to_xarray(), PICTURE)


def through_torchvision(result: Result) -> Result:
    return Result.from_torchvision(result.to_torchvision(), PICTURE, LABELS)


def through_coco(result: Result) -> Result:
    return Result.from_coco(result.to_coco(), PICTURE, LABELS)


ROUNDS = (through_supervision, through_pandas, through_xarray, through_torchvision, through_coco)


@pytest.mark.parametrize("made", [objects, boxes, nothing])
@pytest.mark.parametrize("there_and_back", ROUNDS)
def test_objects_come_back(there_and_back: Callable[[Result], Result], made: Callable[[], Result]) -> None:
    if made is nothing and there_and_back is through_coco:
        pytest.skip("a list without entries does not say whether there would be masks")
    found = there_and_back(made())
    assert_same(found, made())
    assert found.labels.names == LABELS.names


@pytest.mark.parametrize("made", [label_map, panoptic_map])
def test_maps_come_back_from_xarray(made: Callable[[], Result]) -> None:
    found, wanted = through_xarray(made()), made()
    assert type(found.segmentation) is type(wanted.segmentation)
    np.testing.assert_array_equal(found.to_ids(), wanted.to_ids())
    assert found.table() == wanted.table()
    regions = [replace(each, segmentation=each.segmentation.regions()) for each in (found, wanted)]
    assert_same(*regions)


@pytest.mark.parametrize("made", [label_map, panoptic_map])
@pytest.mark.parametrize("there_and_back", ROUNDS[:2] + ROUNDS[3:4])
def test_of_maps_each_region_is_an_object(
    there_and_back: Callable[[Result], Result], made: Callable[[], Result]
) -> None:
    regions = replace(made(), segmentation=made().segmentation.regions())
    assert_same(there_and_back(made()), regions)


def test_a_label_map_comes_back_from_pillow() -> None:
    found = Result.from_pil(label_map().to_pil(), PICTURE, LABELS)
    np.testing.assert_array_equal(found.semantic.ids, label_map().semantic.ids)
    assert found.semantic.ids.dtype == np.uint8
    palette = Image.fromarray(label_map().semantic.ids).convert("L")
    palette.putpalette([7] * 768)
    assert palette.mode == "P"
    np.testing.assert_array_equal(Result.from_pil(palette, PICTURE, LABELS).semantic.ids, label_map().semantic.ids)


def test_many_objects_are_numbered_in_a_picture_of_16_bits() -> None:
    ids = np.arange(600, dtype=np.int32).reshape(20, 30)
    segments = tuple(Segment(number, 0) for number in range(1, 600))
    picture = Result(Sample(PICTURE), PanopticMap(ids, segments), LABELS).to_pil()
    assert picture.mode == "I;16"
    np.testing.assert_array_equal(np.asarray(picture), ids)
    with pytest.raises(DataError, match="70,000"):
        Result(Sample(PICTURE), PanopticMap(ids + 69_401, ()), LABELS).to_pil()


def test_supervision_has_class_names_and_gives_labels() -> None:
    through_supervision(objects())  # or skip
    detections = objects(ids=np.array([7, 8, 9])).to_supervision()
    assert list(detections.data["class_name"]) == ["cell", "hair", "cell"]
    found = Result.from_supervision(detections[detections.confidence > 0.4], PICTURE)
    assert found.labels.names == ("cell", "class 1", "hair")
    assert found.instances.ids is not None and found.instances.ids.tolist() == [7, 8]
    detections.class_id = None
    detections.data = {}
    assert Result.from_supervision(detections, PICTURE).labels.names == ("object",)


def test_torchvision_counts_from_one_and_answers_in_probabilities() -> None:
    target = objects(crowd=np.array([False, True, False])).to_torchvision()
    assert target["labels"].tolist() == [1, 3, 1] and target["labels"].dtype == torch.int64
    assert target["masks"].dtype == torch.uint8 and target["masks"].shape == (3, 20, 30)
    assert target["iscrowd"].tolist() == [0, 1, 0]
    assert target["area"].tolist() == [36.0, 49.0, 24.0]
    answer = {**target, "masks": target["masks"][:, None] * 0.75 + 0.1}
    assert_same(Result.from_torchvision(answer, PICTURE, LABELS), objects())


def test_frames_name_classes() -> None:
    pandas = pytest.importorskip("pandas")
    frame = objects().to_pandas()
    assert [*frame.columns] == ["class", "score", "area", "x1", "y1", "x2", "y2", "mask"]
    assert frame.groupby("class")["area"].sum().to_dict() == {"cell": 60, "hair": 49}
    sure = Result.from_pandas(frame[frame["score"] > 0.4], PICTURE)
    assert sure.labels.names == ("cell", "hair")
    assert sure.instances.class_ids.tolist() == [0, 1]
    assert isinstance(frame, pandas.DataFrame)


def test_xarray_holds_overlapping_objects_whole_and_others_as_a_map() -> None:
    pytest.importorskip("xarray")
    assert "mask" in objects().to_xarray()
    apart = replace(objects(), segmentation=objects().instances[[0, 2]])
    data = apart.to_xarray()
    assert "mask" not in data
    assert data["number"].dims == ("y", "x")
    assert [str(name) for name in data["class_name"].values] == ["cell", "cell"]
    assert_same(Result.from_xarray(data, PICTURE), apart)


SMALL = PICTURE[:5]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Result.from_torchvision(objects().to_torchvision(), SMALL, LABELS), r"\[N, 5, 30\]"),
        (lambda: Result.from_torchvision({"boxes": torch.zeros(0, 4)}, PICTURE, LABELS), "labels is missing"),
        (
            lambda: Result.from_torchvision({"boxes": torch.zeros(1, 4), "labels": torch.zeros(1)}, PICTURE, LABELS),
            "background",
        ),
        (
            lambda: Result.from_torchvision({"boxes": torch.zeros(2, 4), "labels": torch.ones(1)}, PICTURE, LABELS),
            "same objects",
        ),
        (lambda: Result.from_torchvision(objects().to_torchvision(), PICTURE, Labels(("cell",))), "0 to 0.*got 2"),
        (lambda: Result.from_pandas(objects().to_pandas().drop(columns="x1"), PICTURE), "x1 is missing"),
        (lambda: Result.from_pandas(objects().to_pandas(), PICTURE, Labels(("cell",))), "got 'hair'"),
        (lambda: Result.from_xarray(objects().to_xarray().drop_vars("box"), PICTURE), "box"),
        (lambda: Result.from_pil(Image.new("RGB", (30, 20)), PICTURE, LABELS), "mode RGB"),
        (lambda: Result.from_pil(Image.new("L", (20, 30)), PICTURE, LABELS), "20 x 30"),
        (lambda: Result.from_pil(Image.new("L", (30, 20), 9), PICTURE, LABELS), "got 9"),
        (lambda: Result.from_coco([{"image_id": 1}, {"image_id": 2}], PICTURE, LABELS), "2 pictures"),
        (lambda: Result.from_coco([{**objects().to_coco()[0], "category_id": 4}], PICTURE, LABELS), "/0/category_id"),
    ],
)
def test_what_cannot_be_is_named(made: Callable[[], Result], said: str) -> None:
    for package in ("pandas", "xarray"):
        pytest.importorskip(package)
    with pytest.raises(DataError, match=said):
        made()


@pytest.mark.parametrize("package", ["supervision", "pandas", "xarray"])
def test_a_package_that_is_missing_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=f"this needs {package}: pip install {package}"):
        getattr(objects(), f"to_{package}")()
