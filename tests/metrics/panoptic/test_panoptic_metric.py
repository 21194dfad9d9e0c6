"""Panoptic quality: equal to panopticapi's, by its rules for void and crowds, independent of order and parts."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import Labels
from everymask.core.randomness import rng
from everymask.core.segmentation import PanopticMap, Segment
from everymask.errors import ConfigError, DataError
from everymask.metrics.panoptic.metric import PanopticMetric
from everymask.metrics.panoptic.scores import PanopticScores
from tests.metrics.samples import named

LABELS = Labels(("cat", "dog", "sky"), things=frozenset({0, 1}))


def of(rows: list[list[int]], *segments: Segment) -> PanopticMap:
    return PanopticMap(np.array(rows, np.int32), segments)


def scored(*pairs: tuple[PanopticMap, PanopticMap], labels: Labels = LABELS) -> PanopticScores:
    metric = PanopticMetric(labels)
    for index, (found, truth) in enumerate(pairs):
        metric.update(found, truth, named(f"{index:03}", truth.size))
    return metric.compute()


def some_map(index: int, segments: int = 9, size: tuple[int, int] = (24, 30), *, crowd: bool = False) -> PanopticMap:
    """Blocks of a few pixels a side, some of which belong to no segment."""
    draw = rng(index, "panoptic blocks")
    blocks = draw.integers(0, segments + 1, (-(-size[0] // 6), -(-size[1] // 6)))
    numbers = np.append(0, draw.choice(1 << 24, segments, replace=False) | 1)
    ids = np.kron(numbers[blocks], np.ones((6, 6), np.int64))[: size[0], : size[1]].astype(np.int32)
    there = set(np.unique(ids).tolist())
    table = [
        Segment(number, int(draw.integers(len(LABELS))), crowd=crowd and bool(draw.random() < 0.3))
        for number in numbers[1:].tolist()
        if number in there
    ]
    return PanopticMap(ids, tuple(table))


def moved(truth: PanopticMap, index: int) -> PanopticMap:
    """A prediction for it: shifted, with other numbers, some of another class."""
    draw = rng(index, "panoptic moved")
    ids = np.roll(truth.ids, int(draw.integers(0, 3)), axis=1)
    table = [replace(one, crowd=False) for one in truth.segments]
    table = [replace(one, class_id=2) if draw.random() < 0.2 else one for one in table]
    return PanopticMap(ids, tuple(table))


def by_definition(pairs: list[tuple[PanopticMap, PanopticMap]]) -> dict[int, tuple[float, int, int, int]]:
    """IoU, TP, FP and FN by class: the paper's definition, segment by segment."""
    found = {k: [0.0, 0, 0, 0] for k in range(len(LABELS))}
    for prediction, truth in pairs:
        void = ~np.isin(truth.ids, [one.id for one in truth.segments])
        matched: set[int] = set()
        for one in truth.segments:
            here = truth.ids == one.id
            if one.crowd:
                continue
            for other in prediction.segments:
                there = prediction.ids == other.id
                if other.class_id != one.class_id:
                    continue
                overlap = (here & there).sum() / (here | (there & ~void)).sum()
                if overlap > 0.5:
                    found[one.class_id][0] += overlap
                    found[one.class_id][1] += 1
                    matched |= {other.id}
                    break
            else:
                found[one.class_id][3] += 1
        for other in prediction.segments:
            there = prediction.ids == other.id
            crowds = [one.id for one in truth.segments if one.crowd and one.class_id == other.class_id]
            untold = there & (void | np.isin(truth.ids, crowds))
            if other.id not in matched and untold.sum() <= 0.5 * there.sum():
                found[other.class_id][2] += 1
    return {k: (iou, tp, fp, fn) for k, (iou, tp, fp, fn) in found.items()}


def official(root: Path, folder: str, file: str, *, truth: bool) -> tuple[list[PanopticMap], Labels]:
    """The maps of COCO's panoptic sample in the order of the pictures, and its classes."""
    document = json.loads((root / file).read_text("utf-8"))
    categories = json.loads((root / "panoptic.json").read_text("utf-8"))["categories"]
    rows = {entry["id"]: row for row, entry in enumerate(categories)}
    maps = []
    for entry in sorted(document["annotations"], key=lambda entry: entry["image_id"]):
        with Image.open(root / folder / entry["file_name"]) as image:
            colours = np.asarray(image.convert("RGB")).astype(np.int32)
        table = [
            Segment(one["id"], rows[one["category_id"]], crowd=bool(one["iscrowd"]) if truth else False)
            for one in entry["segments_info"]
        ]
        maps.append(PanopticMap(colours @ np.array([1, 256, 65536], np.int32), tuple(table)))
    things = frozenset(row for row, entry in enumerate(categories) if entry["isthing"])
    return maps, Labels(tuple(entry["name"] for entry in categories), things=things)


def test_the_official_sample_scores_as_by_panopticapi(shared: Path) -> None:
    root = shared / "panoptic"
    truths, labels = official(root, "panoptic", "panoptic.json", truth=True)
    found, _ = official(root, "prediction", "prediction.json", truth=False)
    scores = scored(*zip(found, truths, strict=True), labels=labels)
    expected = json.loads((root / "expected.json").read_text("utf-8"))
    for mean, name in ((scores.every, "All"), (scores.things, "Things"), (scores.stuff, "Stuff")):
        own = {"pq": mean.pq, "sq": mean.sq, "rq": mean.rq, "n": mean.num_classes}
        assert own == pytest.approx(expected[name], abs=1e-6)


@pytest.mark.parametrize("crowd", [False, True])
def test_segments_are_matched_as_the_paper_says(crowd: bool) -> None:
    truths = [some_map(index, crowd=crowd) for index in range(12)]
    pairs = [(moved(truth, index), truth) for index, truth in enumerate(truths)]
    pairs += [(some_map(index + 50), truth) for index, truth in enumerate(truths[:3])]
    scores, expected = scored(*pairs), by_definition(pairs)
    total = scores.tallies.total()
    for k, (iou, tp, fp, fn) in expected.items():
        assert (total.matched[k], total.invented[k], total.missed[k]) == (tp, fp, fn)
        assert total.iou[k] == pytest.approx(iou, abs=1e-9)
        row = scores.per_class[LABELS.names[k]]
        assert row.pq == pytest.approx(iou / (tp + fp / 2 + fn / 2))
        assert row.pq == pytest.approx(row.sq * row.rq)
    assert total.matched.sum() > 20 and total.invented.all() and total.missed.all()


def test_more_pairs_than_are_counted_one_by_one_are_matched_alike() -> None:
    count = 300
    ids = np.repeat(np.arange(1, count + 1, dtype=np.int32), 4).reshape(20, -1)
    truth = PanopticMap(ids, tuple(Segment(number, number % 3) for number in range(1, count + 1)))
    total = scored((truth, truth)).tallies.total()
    assert total.matched.sum() == count == total.iou.sum()
    shifted = replace(truth, ids=np.roll(ids, 2, axis=1))
    assert scored((shifted, truth)).tallies.total().matched.sum() == 0
    shifted = replace(truth, ids=np.roll(ids, 1, axis=1))
    assert scored((shifted, truth)).tallies.total().iou.sum() == pytest.approx(count * 3 / 5)


def test_what_has_no_truth_counts_nowhere() -> None:
    truth = of([[1, 1, 1, 0, 0, 0, 0]], Segment(1, 0))
    # Two thirds of it in common, and a pixel beside: only where there is truth does that make the union larger.
    beside = of([[0, 4, 4, 4, 0, 0, 0]], Segment(4, 0))
    assert scored((beside, truth)).every.pq == pytest.approx(2 / 3)
    # More than half of it lies where there is no truth: not invented. Exactly half of it: it is.
    mostly = of([[0, 0, 5, 5, 5, 0, 0]], Segment(5, 1))
    half = of([[0, 5, 5, 5, 5, 0, 0]], Segment(5, 1))
    assert scored((mostly, truth)).tallies.total().invented.tolist() == [0, 0, 0]
    assert scored((half, truth)).tallies.total().invented.tolist() == [0, 1, 0]


def test_crowds_are_neither_matched_nor_missed() -> None:
    crowd = of([[7, 7, 7, 7, 2, 2, 2, 2]], Segment(7, 0, crowd=True), Segment(2, 2))
    same = of([[1, 1, 1, 1, 2, 2, 2, 2]], Segment(1, 0), Segment(2, 2))
    other = of([[1, 1, 1, 1, 2, 2, 2, 2]], Segment(1, 1), Segment(2, 2))
    inside, invented = scored((same, crowd)), scored((other, crowd))
    assert (inside.every.pq, inside.every.num_classes) == (1, 1)
    assert invented.per_class["dog"].num_found == 1 and invented.every.pq == pytest.approx(0.5)


def test_things_and_stuff_are_told_apart_and_classes_that_are_nowhere_left_out() -> None:
    truth = of([[1, 1, 2, 2]], Segment(1, 0), Segment(2, 2))
    found = of([[1, 1, 0, 0]], Segment(1, 0))
    scores = scored((found, truth))
    assert (scores.things.pq, scores.stuff.pq, scores.every.pq) == (1, 0, 0.5)
    assert math.isnan(scores.per_class["dog"].pq)
    assert (scores.things.num_classes, scores.every.num_classes) == (1, 2)
    nothing = scored((of([[0, 0]]), of([[0, 0]])))
    assert math.isnan(nothing.headline) and nothing.to_json()["all"]["pq"] is None


def test_pixels_are_told_by_class() -> None:
    truth = of([[1, 1, 2, 2, 0]], Segment(1, 0), Segment(2, 2))
    found = of([[1, 9, 9, 0, 9]], Segment(1, 0), Segment(9, 2))
    assert scored((found, truth)).confusion.tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]]


def test_order_and_parts_do_not_matter() -> None:
    metrics = [PanopticMetric(LABELS) for _ in range(3)]
    for index in (3, 0, 2, 1):
        truth = some_map(index)
        for metric in (metrics[0], metrics[1 + index % 2]):
            metric.update(moved(truth, index), truth, named(f"{index}", truth.size))
    metrics[1].merge(metrics[2])
    assert metrics[1].compute().to_json() == metrics[0].compute().to_json()
    with pytest.raises(DataError, match="'3' was scored before"):
        metrics[0].merge(metrics[2])
    with pytest.raises(ConfigError, match="labels"):
        metrics[0].merge(PanopticMetric(Labels(("cat",))))


def test_the_interval_holds_the_score_and_comes_from_pictures() -> None:
    pairs = [(moved(some_map(index), index), some_map(index)) for index in range(20)]
    scores = scored(*pairs)
    low, high = scores.interval
    assert low < scores.headline < high
    assert math.isnan(scored(pairs[0]).interval[0])
    assert np.array_equal(scores.resampled(7, seed=3), scores.resampled(7, seed=3))
    assert scores.resampled(4000, seed=1).mean() == pytest.approx(scores.headline, abs=0.02)


def test_what_cannot_be_scored_says_why() -> None:
    truth, metric = some_map(0), PanopticMetric(LABELS)
    sample = named("a.png", truth.size)
    for wrong, said in (
        (replace(truth, ids=truth.ids[:5]), r"'a.png' must be panoptic maps \[H, W\] of one size"),
        (
            replace(truth, segments=truth.segments[:-1]),
            r"the prediction for 'a.png' has segment .* which its table does not list",
        ),
        (replace(truth, segments=(replace(truth.segments[0], class_id=3),)), "has class 3, but the labels have"),
        (replace(truth, ids=-truth.ids), "has segment -"),
    ):
        with pytest.raises(DataError, match=said):
            metric.update(wrong, truth, sample)
    metric.update(truth, truth, sample)
    with pytest.raises(DataError, match="scored before"):
        metric.update(truth, truth, sample)
