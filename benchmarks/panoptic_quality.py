"""Panoptic quality of many pictures, beside panopticapi's way to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np

from benchmarks.compare import Bar, Disagreement, compare
from benchmarks.page import Section
from everymask.core.arrays import IntArray
from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import PanopticMap, Segment, expected
from everymask.data.scenery import LABELS, draw_scene
from everymask.data.shapes import ShapesConfig
from everymask.metrics.panoptic.metric import PanopticMetric

SIZE = (480, 640)
PICTURES = 40
MOST_OBJECTS = 12
SETTING = f"""{PICTURES} made-up pictures of 640 × 480 pixels: up to {MOST_OBJECTS} shapes before sky, ground and water
(`everymask.data.scenery`), and for each a prediction that is bent by some pixels, with some segments of another class
and some missing. Both sides start from the maps of segment numbers and the tables of segments in memory, and end with
PQ, SQ and RQ of all classes, things and stuff; everymask also with those of each class and picture, the confusion of
pixels and a bootstrap interval of 1,000 draws. The peer is the algorithm of panopticapi's `pq_compute_single_core`,
written down by its definition, since the package could not be installed: of each picture the areas of its predicted
segments and all pairs of segments by `numpy.unique`, these over numbers of 64 bits, then loops over dictionaries. The
areas of true segments are given, as the annotation file states them."""
_OFFSET = 1 << 32
_VOID = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture's truth and what was predicted for it."""

    id: str
    truth: PanopticMap
    found: PanopticMap
    areas: dict[int, int]
    """The pixels of the true segments."""


def made_up(count: int = PICTURES) -> list[Picture]:
    """Pictures with truth and prediction; the same at every call."""
    config = ShapesConfig(count, SIZE, MOST_OBJECTS)
    pictures = []
    for index in range(count):
        truth = expected(PanopticMap, draw_scene(config, index).truth, "scene")
        pictures.append(Picture(f"{index:04}", truth, _bent(truth, index), truth.areas()))
    return pictures


def _bent(truth: PanopticMap, index: int) -> PanopticMap:
    draw = rng(index, "panoptic benchmark")
    height, width = truth.size
    shifts = [cv2.resize(draw.normal(0, 4, (8, 10)).astype(np.float32), (width, height)) for _ in range(2)]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    kept = [one for one in truth.segments if draw.random() < 0.9]
    classes = [int(draw.integers(len(LABELS))) if draw.random() < 0.1 else one.class_id for one in kept]
    ids = replace(truth, segments=tuple(kept)).looked_up([one.id for one in kept], 0).astype(np.float32)
    bent = cv2.remap(ids, x + shifts[0], y + shifts[1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    table = [Segment(one.id, class_id, 0.9) for one, class_id in zip(kept, classes, strict=True)]
    numbers = bent.astype(np.int32)
    there = set(np.unique(numbers).tolist())
    return PanopticMap(numbers, tuple(one for one in table if one.id in there))


def by_everymask(pictures: Sequence[Picture]) -> dict[str, tuple[float, float, float]]:
    """PQ, SQ and RQ of all classes, things and stuff."""
    metric = PanopticMetric(LABELS)
    blank = np.broadcast_to(np.uint8(0), (*SIZE, 1))
    for picture in pictures:
        metric.update(picture.found, picture.truth, Sample(blank, id=picture.id))
    scores = metric.compute()
    means = {"all": scores.every, "things": scores.things, "stuff": scores.stuff}
    return {name: (mean.pq, mean.sq, mean.rq) for name, mean in means.items()}


def by_pairs(pictures: Sequence[Picture]) -> dict[str, tuple[float, float, float]]:
    """The same, one pair of segments after the other."""
    sums: dict[int, list[float]] = defaultdict(lambda: [0.0, 0, 0, 0])
    for picture in pictures:
        _add_picture(picture, sums)
    kinds = {"all": range(len(LABELS)), "things": LABELS.things, "stuff": set(range(len(LABELS))) - LABELS.things}
    return {name: _means([sums[k] for k in kind if k in sums]) for name, kind in kinds.items()}


def _add_picture(picture: Picture, sums: dict[int, list[float]]) -> None:
    true, found = ({one.id: one for one in side.segments} for side in (picture.truth, picture.found))
    true_area, found_area = picture.areas, _areas(picture.found.ids)
    codes = picture.truth.ids.astype(np.uint64) * np.uint64(_OFFSET) + picture.found.ids.astype(np.uint64)
    numbers, counts = np.unique(codes, return_counts=True)
    pairs = {
        (int(number) // _OFFSET, int(number) % _OFFSET): int(count)
        for number, count in zip(numbers, counts, strict=True)
    }
    true_hit, found_hit = set(), set()
    for (t, p), common in pairs.items():
        if t not in true or p not in found or true[t].crowd or true[t].class_id != found[p].class_id:
            continue
        iou = common / (true_area[t] + found_area[p] - common - pairs.get((_VOID, p), 0))
        if iou > 0.5:
            sums[true[t].class_id][0] += iou
            sums[true[t].class_id][1] += 1
            true_hit.add(t)
            found_hit.add(p)
    crowds = {}
    for t, one in true.items():
        if one.crowd:
            crowds[one.class_id] = t
        elif t not in true_hit:
            sums[one.class_id][2] += 1
    for p, one in found.items():
        ignored = pairs.get((_VOID, p), 0) + pairs.get((crowds.get(one.class_id, -1), p), 0)
        if p not in found_hit and ignored / found_area[p] <= 0.5:
            sums[one.class_id][3] += 1


def _areas(ids: IntArray) -> dict[int, int]:
    numbers, counts = np.unique(ids, return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def _means(rows: list[list[float]]) -> tuple[float, float, float]:
    judged = [row for row in rows if sum(row[1:])]
    whole = [row[1] + (row[2] + row[3]) / 2 for row in judged]
    qualities = [[row[0] / count for row, count in zip(judged, whole, strict=True)]]
    qualities += [[row[0] / row[1] if row[1] else 0.0 for row in judged]]
    qualities += [[row[1] / count for row, count in zip(judged, whole, strict=True)]]
    pq, sq, rq = (float(np.mean(column)) for column in qualities)
    return pq, sq, rq


def _same(mine: dict[str, tuple[float, float, float]], theirs: dict[str, tuple[float, float, float]]) -> str:
    farthest = max(abs(a - b) for name in mine for a, b in zip(mine[name], theirs[name], strict=True))
    if farthest > 1e-9:
        raise Disagreement(f"{mine} and {theirs}")
    return f"PQ {mine['all'][0]:.3f} on both sides, no number farther apart than {max(farthest, 1e-16):.0e}"


def run() -> Section:
    """Panoptic quality, beside panopticapi's way to it."""
    pictures = made_up()
    row = compare(
        f"PQ of {PICTURES} pictures",
        partial(by_everymask, pictures),
        partial(by_pairs, pictures),
        peer="panopticapi's algorithm",
        same=_same,
        count=PICTURES,
    )
    bars = (Bar("faster than panopticapi's algorithm", row.ratio, 10.0),)
    return Section("Panoptic quality", SETTING, (), "1 on both sides", times=(row,), bars=bars)
