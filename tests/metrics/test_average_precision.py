"""The twelve COCO numbers are pycocotools' numbers."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from metrics.reference import SIZE, Picture, coco_of, judged, random_pictures, twelve

from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.errors import ConfigError
from everymask.metrics.average_precision import CocoNumbers, limits
from everymask.metrics.instances import InstanceMetric

IouType = Literal["bbox", "segm"]
kinds = pytest.mark.parametrize("kind", ["bbox", "segm"])

# AP, AP50, AP75, by size; AR1, AR10, AR100, by size.
OFFICIAL = {
    "segm": [
        0.3195452758576433, 0.5622883972521636, 0.29892653412086784, 0.3873740315997838, 0.31018272403369485,
        0.3269339071005138, 0.2682297225711534, 0.41544868114906375, 0.4168394992198818, 0.4694498622754236,
        0.37675922666197265, 0.3814715099715099,
    ],
    "bbox": [
        0.5045806987249628, 0.6969727247299577, 0.5729816669904824, 0.5856257209410443, 0.5193996948036719,
        0.5013978986347466, 0.38681277964578054, 0.5936795762842003, 0.595352982877607, 0.6398109626113442,
        0.5664205978994309, 0.5642905982905982,
    ],
}  # fmt: skip


def values(numbers: CocoNumbers) -> list[float]:
    return list(numbers.to_json().values())


def numbers_of(pictures: list[Picture], kind: IouType, *, classes: int = 3, max_detections: int = 100) -> CocoNumbers:
    metric = InstanceMetric(labels(classes), max_detections=max_detections)
    for id_, truth, prediction in pictures:
        metric.update(prediction, truth, SIZE, id_)
    return metric.numbers(kind)


def labels(classes: int) -> Labels:
    return Labels(tuple(f"class {index}" for index in range(classes)))


def objects(entries: list[dict[str, Any]], kind: IouType, class_ids: list[int], size: tuple[int, int]) -> InstanceSet:
    """COCO annotations or results of one picture, as they stand in the file."""
    boxes = np.array([entry.get("bbox", [0, 0, 0, 0]) for entry in entries], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    masks = [mask(entry["segmentation"], size) for entry in entries] if kind == "segm" else []
    return InstanceSet(
        boxes=boxes.astype(np.float32),
        class_ids=np.array([class_ids.index(entry["category_id"]) for entry in entries], np.int64),
        scores=np.array([entry.get("score", 0) for entry in entries], np.float32),
        masks=Masks.concatenate([Masks.empty(size), *masks]) if kind == "segm" else None,
        crowd=np.array([entry.get("iscrowd", 0) == 1 for entry in entries], bool),
    )


def mask(shape: Any, size: tuple[int, int]) -> Masks:
    if isinstance(shape, list):
        return Masks.from_polygons([[np.array(ring).reshape(-1, 2) for ring in shape]], size)
    return Masks.from_rle([shape["counts"]], size)


@kinds
def test_the_official_example(shared: Path, kind: IouType) -> None:
    folder = shared / "coco_eval"
    truth = json.loads((folder / "instances_val2014_100.json").read_text())
    results = json.loads((folder / f"instances_val2014_fake{kind}100_results.json").read_text())
    class_ids = sorted(category["id"] for category in truth["categories"])
    true, found = defaultdict(list), defaultdict(list)
    for entries, by_picture in ((truth["annotations"], true), (results, found)):
        for entry in entries:
            by_picture[entry["image_id"]].append(entry)
    metric = InstanceMetric(labels(len(class_ids)), masks=kind == "segm")
    for image in truth["images"]:
        size, id_ = (image["height"], image["width"]), image["id"]
        prediction, annotated = (objects(entries[id_], kind, class_ids, size) for entries in (found, true))
        areas = np.array([entry["area"] for entry in true[id_]])
        metric.update(prediction, replace(annotated, areas=areas), size, f"{id_:012}")
    assert values(metric.numbers(kind)) == pytest.approx(OFFICIAL[kind], abs=1e-12)


@kinds
@pytest.mark.parametrize("max_detections", [100, 20])
@pytest.mark.parametrize("crowd", [0, 0.3], ids=["no crowds", "crowds"])
@pytest.mark.parametrize("ties", [False, True], ids=["distinct scores", "equal scores"])
def test_random_objects(kind: IouType, max_detections: int, crowd: float, ties: bool) -> None:
    pictures = random_pictures(max_detections, pictures=12, objects=30, classes=3, crowd=crowd)
    if ties:
        # Within a class, between classes and between pictures.
        pictures = [(id_, truth, replace(found, scores=np.round(found.scores, 1))) for id_, truth, found in pictures]
    truth, results = coco_of(pictures, 3)
    assert any(annotation["iscrowd"] for annotation in truth["annotations"]) == (crowd > 0)
    expected = twelve(judged(truth, results[kind], kind, max_detections))
    found = values(numbers_of(pictures, kind, max_detections=max_detections))
    assert found == pytest.approx(expected, abs=1e-12)


@kinds
def test_many_objects_need_more_than_a_hundred_detections(kind: IouType) -> None:
    pictures = random_pictures(9, pictures=2, objects=250, classes=1)
    truth, results = coco_of(pictures, 1)
    some, all_ = (numbers_of(pictures, kind, classes=1, max_detections=limit) for limit in (100, 500))
    assert values(all_) == pytest.approx(twelve(judged(truth, results[kind], kind, 500)), abs=1e-12)
    assert some.AP < all_.AP


def test_few_detections_cap_every_limit() -> None:
    pictures = random_pictures(4, pictures=8, objects=20, classes=1)
    one, ten = (numbers_of(pictures, "bbox", classes=1, max_detections=limit) for limit in (1, 10))
    assert one.AR1 == one.AR10 == one.AR100 == ten.AR1 < ten.AR10 == ten.AR100


@kinds
def test_no_results_score_zero_and_no_truth_is_undefined(kind: IouType) -> None:
    pictures = random_pictures(0, pictures=6, objects=5, classes=2)
    assert numbers_of([(id_, truth, found[:0]) for id_, truth, found in pictures], kind).AP == 0
    assert set(values(numbers_of([(id_, truth[:0], found) for id_, truth, found in pictures], kind))) == {-1}


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(ConfigError, match=f"got {limit}"):
        limits(limit)
