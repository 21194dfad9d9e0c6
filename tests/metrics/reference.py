"""Random objects, and pycocotools as the judge of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet

SIZE = (120, 150)
Picture = tuple[str, InstanceSet, InstanceSet]


def random_pictures(seed: int, *, pictures: int, objects: int, classes: int, crowd: float = 0.15) -> list[Picture]:
    """(id, truth, prediction): some truths found well, some badly, some missed, some inventions; empty pictures too."""
    rng = np.random.default_rng(seed)
    made: list[Picture] = []
    for index in range(pictures):
        count = 0 if index % 5 == 3 else int(rng.integers(1, objects + 1))
        low = rng.integers(0, (SIZE[1] - 6, SIZE[0] - 6), (count, 2))
        extent = rng.integers(4, 60, (count, 2))
        is_crowd = rng.random(count) < crowd
        extent[is_crowd] += 40
        class_ids = rng.integers(0, classes, count)
        truth = _objects(rng, low, extent, class_ids, crowd=is_crowd)
        found = 0 if index % 7 == 5 else int(rng.integers(1, objects + 10))
        pick = rng.integers(0, max(count, 1), found) if count else np.zeros(0, int)
        near = (
            low[pick] + rng.integers(-3, 4, (len(pick), 2)),
            np.maximum(extent[pick] + rng.integers(-4, 5, (len(pick), 2)), 2),
        )
        wild = rng.integers(0, 100, (found // 3, 2)), rng.integers(3, 40, (found // 3, 2))
        classes_found = np.where(rng.random(len(pick)) < 0.85, class_ids[pick], rng.integers(0, classes, len(pick)))
        prediction = _objects(
            rng,
            np.concatenate([near[0], wild[0]]),
            np.concatenate([near[1], wild[1]]),
            np.concatenate([classes_found, rng.integers(0, classes, len(wild[0]))]),
            scored=True,
        )
        made.append((f"{index:04}", truth, prediction))
    return made


def _objects(
    rng: np.random.Generator,
    low: np.ndarray,
    extent: np.ndarray,
    class_ids: np.ndarray,
    *,
    crowd: np.ndarray | None = None,
    scored: bool = False,
) -> InstanceSet:
    crops, corners = [], []
    for (x, y), (width, height) in zip(low.tolist(), extent.tolist(), strict=True):
        x1, y1 = max(x, 0), max(y, 0)
        x2, y2 = max(min(x + width, SIZE[1]), x1 + 1), max(min(y + height, SIZE[0]), y1 + 1)
        ys, xs = np.mgrid[0 : y2 - y1, 0 : x2 - x1]
        inside = (xs - (x2 - x1) / 2) ** 2 / (x2 - x1) ** 2 + (ys - (y2 - y1) / 2) ** 2 / (y2 - y1) ** 2 <= 0.25
        inside[(y2 - y1) // 2, (x2 - x1) // 2] = True
        crops.append(inside)
        corners.append((min(x1, SIZE[1] - 1), min(y1, SIZE[0] - 1)))
    masks = Masks.from_crops(crops, np.array(corners), SIZE) if crops else Masks.empty(SIZE)
    count = len(crops)
    return InstanceSet(
        boxes=masks.boxes(),
        class_ids=class_ids.astype(np.int64),
        # Distinct scores, so that no order of equal ones is left to chance.
        scores=(rng.permutation(count * 7)[:count] / (count * 7)).astype(np.float32) if scored else None,
        masks=masks,
        crowd=crowd,
    )


def coco_of(pictures: Sequence[Picture], classes: int) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """The same objects as COCO annotations and as results for "bbox" and "segm"."""
    truth: dict[str, Any] = {
        "images": [{"id": i, "height": SIZE[0], "width": SIZE[1]} for i in range(len(pictures))],
        "categories": [{"id": 10 + 3 * k, "name": f"class {k}"} for k in range(classes)],
        "annotations": [],
    }
    results: dict[str, list[dict[str, Any]]] = {"bbox": [], "segm": []}
    for index, (_, true, found) in enumerate(pictures):
        for objects, is_truth in ((true, True), (found, False)):
            assert objects.masks is not None
            strings, areas = objects.masks.to_rle(), objects.masks.areas().tolist()
            for row, (x1, y1, x2, y2) in enumerate(objects.boxes.astype(float).tolist()):
                entry = {"image_id": index, "category_id": 10 + 3 * int(objects.class_ids[row])}
                box = {"bbox": [x1, y1, x2 - x1, y2 - y1]}
                shape = {"segmentation": {"size": list(SIZE), "counts": strings[row].decode()}}
                if is_truth:
                    assert objects.crowd is not None
                    rest = {"id": len(truth["annotations"]) + 1, "iscrowd": int(objects.crowd[row]), "area": areas[row]}
                    truth["annotations"].append(entry | box | shape | rest)
                else:
                    assert objects.scores is not None
                    score = {"score": float(objects.scores[row])}
                    results["bbox"].append(entry | box | score)
                    results["segm"].append(entry | shape | score)
    return truth, results


def judged(truth: Mapping[str, Any], results: list[dict[str, Any]], kind: str, max_detections: int) -> COCOeval:
    """pycocotools' evaluation, accumulated."""
    true = COCO()
    true.dataset = dict(truth, info={})
    true.createIndex()
    evaluation = COCOeval(true, true.loadRes([dict(result) for result in results]), kind)
    evaluation.params.maxDets = [1, 10, max_detections]
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation


def twelve(evaluation: COCOeval) -> list[float]:
    """The numbers from the arrays, AP at the largest limit."""

    def mean(values: np.ndarray) -> float:
        return float(values[values > -1].mean()) if (values > -1).any() else -1.0

    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    return [
        mean(precision[:, :, :, 0, 2]),
        mean(precision[0, :, :, 0, 2]),
        mean(precision[5, :, :, 0, 2]),
        *(mean(precision[:, :, :, area, 2]) for area in (1, 2, 3)),
        *(mean(recall[:, :, 0, limit]) for limit in (0, 1, 2)),
        *(mean(recall[:, :, area, 2]) for area in (1, 2, 3)),
    ]
