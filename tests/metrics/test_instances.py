"""Scores of instance sets: pycocotools' numbers, and the same whichever way the pictures came."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from metrics.reference import SIZE, Picture, coco_of, judged, random_pictures, twelve

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.errors import ConfigError, DataError
from everymask.metrics.instances import InstanceMetric, InstanceScores

LABELS = labels_of(["disc", "square", "star"])


def scores_of(pictures: list[Picture], **options: Any) -> InstanceScores:
    metric = InstanceMetric(LABELS, **options)
    for id_, truth, prediction in pictures:
        metric.update(prediction, truth, SIZE, id_)
    return metric.compute()


@pytest.mark.parametrize("max_detections", [100, 12, 500])
@pytest.mark.parametrize("seed", range(3))
def test_numbers_classes_and_curves_are_pycocotools(seed: int, max_detections: int) -> None:
    pictures = random_pictures(seed, pictures=14, objects=25, classes=3)
    scores = scores_of(pictures, max_detections=max_detections)
    truth, results = coco_of(pictures, 3)
    box, mask = (judged(truth, results[kind], kind, max_detections) for kind in ("bbox", "segm"))
    assert list(scores.box.to_json().values()) == pytest.approx(twelve(box), abs=1e-9)
    assert list(scores.mask.to_json().values()) == pytest.approx(twelve(mask), abs=1e-9)
    precision = mask.eval["precision"][:, :, :, 0, 2]
    for k, name in enumerate(LABELS.names):
        score = scores.per_class[name]
        found = [score.AP, score.AP50]
        assert found == pytest.approx([precision[..., k].mean(), precision[0, :, k].mean()], abs=1e-9)
        assert score.num_truths == sum(
            a["category_id"] == 10 + 3 * k and not a["iscrowd"] for a in truth["annotations"]
        )
        assert scores.precision_recall.at_50[name] == pytest.approx(precision[0, :, k], abs=1e-9)
        assert scores.precision_recall.at_75[name] == pytest.approx(precision[5, :, k], abs=1e-9)
    assert scores.precision_recall.mean_75 == pytest.approx(precision[5].mean(axis=1), abs=1e-9)
    assert scores.precision_recall.recall == pytest.approx(np.linspace(0, 1, 101))
    assert (scores.max_detections, scores.num_pictures) == (max_detections, 14)


def test_pictures_count_what_pycocotools_matched() -> None:
    pictures = random_pictures(3, pictures=14, objects=25, classes=3)
    truth, results = coco_of(pictures, 3)
    evaluation = judged(truth, results["segm"], "segm", 100)
    expected = {index: [0, 0, 0] for index in range(len(pictures))}
    # One entry per class, size range and picture; the first range holds objects of all sizes.
    for entry in evaluation.evalImgs:
        if entry is None or entry["aRng"] != evaluation.params.areaRng[0]:
            continue
        sure = np.array(entry["dtScores"]) >= 0.4
        counts = sure & ~entry["dtIgnore"][0].astype(bool)
        row = expected[entry["image_id"]]
        row[0] += int((1 - np.asarray(entry["gtIgnore"], int)).sum())
        row[1] += int(counts.sum())
        row[2] += int((counts & (entry["dtMatches"][0] > 0)).sum())
    scores = scores_of(pictures, score_threshold=0.4)
    found = [[p.num_truths, p.num_found, p.num_matched] for p in scores.pictures]
    assert found == list(expected.values())
    assert [p.id for p in scores.pictures] == [id_ for id_, _, _ in pictures]
    assert any(matched for _, _, matched in expected.values())
    for picture in scores.pictures:
        total = picture.num_truths + picture.num_found
        assert picture.f1 == pytest.approx(2 * picture.num_matched / total if total else 1)


def square(x: int, y: int, side: int = 20) -> tuple[int, int, int, int]:
    return x, y, x + side, y + side


def instances(
    *objects: tuple[tuple[int, int, int, int], int], scores: list[float] | None = None, crowd: int = -1
) -> InstanceSet:
    crops = [np.ones((y2 - y1, x2 - x1), bool) for (x1, y1, x2, y2), _ in objects]
    masks = Masks.from_crops(crops, np.array([box[:2] for box, _ in objects]).reshape(-1, 2), SIZE)
    return InstanceSet(
        boxes=masks.boxes(),
        class_ids=np.array([class_id for _, class_id in objects], np.int64),
        scores=None if scores is None else np.array(scores, np.float32),
        masks=masks,
        crowd=np.arange(len(objects)) == crowd,
    )


def test_confusion_and_picture_scores_by_hand() -> None:
    truth = instances((square(0, 0), 0), (square(30, 0), 1), (square(60, 0), 2), ((0, 60, 80, 120), 0), crowd=3)
    prediction = instances(
        (square(1, 0), 0),  # right
        (square(30, 1), 2),  # a square taken for a star
        (square(100, 80), 1),  # nothing there
        (square(10, 70), 0),  # on the crowd: neither right nor wrong
        (square(60, 0), 2),  # right, but not sure enough
        scores=[0.9, 0.8, 0.7, 0.95, 0.3],
    )
    scores = scores_of([("a", truth, prediction), ("b", InstanceSet.empty(SIZE), InstanceSet.empty(SIZE, scored=True))])
    assert scores.confusion.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
    first, second = scores.pictures
    assert (first.id, first.num_truths, first.num_found, first.num_matched) == ("a", 3, 3, 1)
    assert first.f1 == pytest.approx(1 / 3)
    assert (second.num_truths, second.num_found, second.f1) == (0, 0, 1)


def test_a_score_at_the_threshold_counts() -> None:
    picture = ("a", instances((square(0, 0), 0)), instances((square(0, 0), 0), scores=[0.7]))
    assert scores_of([picture], score_threshold=0.7).pictures[0].num_matched == 1


def test_perfect_predictions_score_one_everywhere() -> None:
    pictures = [
        (id_, truth, replace(truth, scores=np.ones(len(truth), np.float32), crowd=None))
        for id_, truth, _ in random_pictures(1, pictures=6, objects=8, classes=3, crowd=0)
    ]
    scores = scores_of(pictures)
    found = [scores.box.AP, scores.mask.AP, scores.mask.AR100]
    assert found == pytest.approx([1, 1, 1])
    assert all(picture.f1 == 1 for picture in scores.pictures)
    assert scores.confusion.sum() == np.trace(scores.confusion[:3, :3]) == sum(len(truth) for _, truth, _ in pictures)


def test_what_lies_on_a_crowd_counts_nowhere_however_often() -> None:
    truth = instances(((0, 0, 80, 80), 0), crowd=0)
    prediction = instances((square(0, 0), 0), (square(30, 0), 1), (square(60, 0), 1), scores=[0.9, 0.8, 0.7])
    scores = scores_of([("a", truth, prediction)])
    assert scores.confusion.sum() == 0


def test_numbers_alone_are_those_of_all_scores() -> None:
    pictures = random_pictures(7, pictures=9, objects=12, classes=3)
    metric = InstanceMetric(LABELS)
    for id_, truth, prediction in pictures:
        metric.update(prediction, truth, SIZE, id_)
    scores = metric.compute()
    assert (metric.numbers("bbox"), metric.numbers("segm")) == (scores.box, scores.mask)
    with pytest.raises(ConfigError, match="without masks"):
        InstanceMetric(LABELS, masks=False).numbers("segm")


def test_what_is_kept_does_not_grow_with_the_pixels() -> None:
    sizes = []
    for side in (30, 3000):
        masks = Masks.from_crops([np.ones((side, side), bool)], np.zeros((1, 2), int), (side, side))
        found = InstanceSet(masks.boxes(), np.zeros(1, np.int64), np.ones(1, np.float32), masks)
        metric = InstanceMetric(LABELS)
        metric.update(found, replace(found, scores=None), (side, side), "a")
        sizes.append(len(pickle.dumps(metric)))
    assert sizes[0] == pytest.approx(sizes[1], abs=16)


def test_order_and_parts_make_no_difference() -> None:
    pictures = random_pictures(5, pictures=11, objects=15, classes=3)
    # Equal scores, whose order would matter.
    pictures = [(i, t, replace(p, scores=np.round(p.scores, 1))) for i, t, p in pictures]
    whole = scores_of(pictures).to_json()
    assert scores_of(pictures[::-1]).to_json() == whole
    parts = []
    for start in range(3):
        part = InstanceMetric(LABELS)
        for id_, truth, prediction in pictures[start::3]:
            part.update(prediction, truth, SIZE, id_)
        parts.append(pickle.loads(pickle.dumps(part)))
    parts[2].merge(parts[0])
    parts[2].merge(parts[1])
    assert parts[2].compute().to_json() == parts[2].compute().to_json() == whole


def test_boxes_only() -> None:
    pictures = random_pictures(6, pictures=8, objects=10, classes=3)
    bare = [(i, replace(t, masks=None), replace(p, masks=None)) for i, t, p in pictures]
    scores = scores_of(bare, masks=False)
    assert scores.mask is None and scores.to_json()["mask"] is None
    assert scores.per_class["disc"].AP50 > 0
    # The truth's size is its mask's where it has one; a bare box has its own.
    found, expected = (list(part.box.to_json().values()) for part in (scores, scores_of(pictures)))
    assert found[:3] == pytest.approx(expected[:3])
    assert scores_of(pictures, masks=False).box == scores_of(pictures).box


def test_nothing_seen_nothing_there_nothing_found() -> None:
    nothing, none = InstanceSet.empty(SIZE), InstanceSet.empty(SIZE, scored=True)
    for pictures in ([], [("a", nothing, none)]):
        scores = scores_of(pictures)
        assert set(scores.box.to_json().values()) == set(scores.mask.to_json().values()) == {-1}
        assert scores.per_class["star"].AP == -1 and scores.precision_recall.at_50 == {}
        assert scores.confusion.tolist() == np.zeros((4, 4), int).tolist()
    assert scores_of([("a", instances((square(0, 0), 0)), none)]).mask.AP == 0
    assert scores_of([("a", nothing, instances((square(0, 0), 0), scores=[1]))]).pictures[0].f1 == 0


def test_json_is_plain_and_complete() -> None:
    scores = scores_of(random_pictures(2, pictures=5, objects=6, classes=2))
    data = json.loads(json.dumps(scores.to_json(), allow_nan=False))
    assert data["mask"]["AP50"] == scores.mask.AP50
    assert list(data["mask"]) == [
        "AP",
        "AP50",
        "AP75",
        "APs",
        "APm",
        "APl",
        "AR1",
        "AR10",
        "AR100",
        "ARs",
        "ARm",
        "ARl",
    ]
    assert data["per_class"]["star"]["AP"] == -1 and data["per_class"]["star"]["num_truths"] == 0
    assert len(data["precision_recall"]["at_50"]["disc"]) == 101 and "star" not in data["precision_recall"]["at_50"]
    assert data["num_pictures"] == len(data["pictures"]) == 5


def test_nothing_is_said_and_no_file_is_made(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    scores_of(random_pictures(0, pictures=6, objects=5, classes=3), max_detections=500)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


ONE = instances((square(0, 0), 0))
FOUND = instances((square(0, 0), 0), scores=[0.5])


@pytest.mark.parametrize(
    ("prediction", "truth", "found"),
    [
        pytest.param(ONE, FOUND, "no scores", id="swapped"),
        pytest.param(replace(FOUND, masks=None), ONE, "prediction for 'x' has no masks", id="prediction without masks"),
        pytest.param(FOUND, replace(ONE, masks=None), "truth of 'x' has no masks", id="truth without masks"),
        pytest.param(replace(FOUND, class_ids=np.array([3])), ONE, "class 3", id="class unknown"),
        pytest.param(FOUND, replace(ONE, class_ids=np.array([-1])), "class -1", id="class negative"),
        pytest.param(replace(FOUND, scores=np.array([np.nan])), ONE, "scores that are not finite", id="score nan"),
        pytest.param(FOUND, replace(ONE, boxes=np.full((1, 4), np.inf)), "boxes that are not finite", id="box inf"),
        pytest.param(FOUND, replace(ONE, masks=ONE.masks.resize((60, 75))), r"\(60, 75\)", id="mask size"),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(prediction: InstanceSet, truth: InstanceSet, found: str) -> None:
    metric = InstanceMetric(LABELS)
    with pytest.raises(DataError, match=found):
        metric.update(prediction, truth, SIZE, "x")
    assert metric.compute().num_pictures == 0


def test_stated_areas_must_be_finite() -> None:
    metric = InstanceMetric(LABELS)
    with pytest.raises(DataError, match="the truth of 'x' has areas that are not finite"):
        metric.update(FOUND, replace(ONE, areas=np.array([np.nan])), SIZE, "x")
    assert metric.compute().num_pictures == 0


def test_a_picture_counts_once() -> None:
    metric, other = InstanceMetric(LABELS), InstanceMetric(LABELS)
    metric.update(FOUND, ONE, SIZE, "x")
    other.update(FOUND, ONE, SIZE, "x")
    with pytest.raises(DataError, match="'x' was scored before"):
        metric.update(FOUND, ONE, SIZE, "x")
    with pytest.raises(DataError, match="'x' was scored before"):
        metric.merge(other)


@pytest.mark.parametrize("options", [{"max_detections": 9}, {"masks": False}, {"score_threshold": 0.1}])
def test_metrics_set_up_differently_do_not_merge(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        InstanceMetric(LABELS).merge(InstanceMetric(LABELS, **options))
    with pytest.raises(ConfigError, match="labels"):
        InstanceMetric(LABELS, **options).merge(InstanceMetric(labels_of(["disc"]), **options))
