"""The twelve COCO numbers are pycocotools' numbers."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Literal

import pytest
from metrics.reference import coco_of, judged, random_pictures, twelve

from everymask.errors import ConfigError, DataError
from everymask.metrics.average_precision import coco_numbers

IouType = Literal["bbox", "segm"]
kinds = pytest.mark.parametrize("kind", ["bbox", "segm"])

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


def values(numbers: object) -> list[float]:
    return list(numbers.to_json().values())


@kinds
def test_the_official_example(shared: Path, kind: IouType) -> None:
    folder = shared / "coco_eval"
    truth = json.loads((folder / "instances_val2014_100.json").read_text())
    results = json.loads((folder / f"instances_val2014_fake{kind}100_results.json").read_text())
    assert values(coco_numbers(truth, results, kind)) == pytest.approx(OFFICIAL[kind], abs=1e-12)


@kinds
@pytest.mark.parametrize("max_detections", [100, 20, 500])
@pytest.mark.parametrize("seed", range(3))
def test_random_objects_with_crowds_and_empty_pictures(kind: IouType, max_detections: int, seed: int) -> None:
    truth, results = coco_of(random_pictures(seed, pictures=16, objects=30, classes=3), 3)
    assert any(annotation["iscrowd"] for annotation in truth["annotations"])
    expected = twelve(judged(truth, results[kind], kind, max_detections))
    assert values(coco_numbers(truth, results[kind], kind, max_detections=max_detections)) == pytest.approx(
        expected, abs=1e-9
    )


@kinds
def test_many_objects_need_more_than_a_hundred_detections(kind: IouType) -> None:
    truth, results = coco_of(random_pictures(9, pictures=4, objects=320, classes=1), 1)
    assert values(coco_numbers(truth, results[kind], kind, max_detections=500)) == pytest.approx(
        twelve(judged(truth, results[kind], kind, 500)), abs=1e-9
    )
    numbers = [coco_numbers(truth, results[kind], kind, max_detections=limit).AP for limit in (100, 500)]
    assert numbers[0] < numbers[1]


def test_few_detections_cap_every_limit() -> None:
    truth, results = coco_of(random_pictures(4, pictures=8, objects=20, classes=1), 1)
    one, ten = (coco_numbers(truth, results["bbox"], "bbox", max_detections=limit) for limit in (1, 10))
    assert one.AR1 == one.AR10 == one.AR100 == ten.AR1 < ten.AR10 == ten.AR100


@kinds
def test_no_results_score_zero_and_no_truth_is_undefined(kind: IouType) -> None:
    truth, results = coco_of(random_pictures(0, pictures=6, objects=5, classes=2), 2)
    assert coco_numbers(truth, [], kind).AP == 0
    assert set(values(coco_numbers(truth | {"annotations": []}, results[kind], kind))) == {-1}


@kinds
def test_the_inputs_stay_as_they_are_and_nothing_is_said(
    kind: IouType, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    truth, results = coco_of(random_pictures(0, pictures=6, objects=5, classes=2), 2)
    before = copy.deepcopy((truth, results))
    coco_numbers(truth, results[kind], kind, max_detections=500)
    assert (truth, results) == before
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "found"),
    [
        pytest.param({"image_id": 99}, "image_id 99", id="C08 unknown picture"),
        pytest.param({"category_id": 1}, "category_id 1", id="C08 unknown class"),
        pytest.param({"score": None}, "no field 'score'", id="no score"),
        pytest.param({"segmentation": None}, "no field 'segmentation'", id="no mask"),
        pytest.param({"segmentation": {"size": 5}}, "could not read", id="C06 wrong type"),
    ],
)
def test_results_of_something_else_are_refused(
    change: dict[str, Any], found: str, capfd: pytest.CaptureFixture[str]
) -> None:
    truth, results = coco_of(random_pictures(0, pictures=6, objects=5, classes=2), 2)
    changed = {key: value for key, value in (results["segm"][2] | change).items() if value is not None}
    with pytest.raises(DataError, match=found):
        coco_numbers(truth, [*results["segm"][:2], changed], "segm")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(ConfigError, match=f"got {limit}"):
        coco_numbers({"images": [], "annotations": [], "categories": []}, [], "bbox", max_detections=limit)
