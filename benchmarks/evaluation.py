"""Mask average precision of many detections, beside pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.compare import Bar, Disagreement, compare, compare_memory
from benchmarks.page import Section
from everymask.core.arrays import BoolArray
from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.metrics.instances import InstanceMetric

SIZE = (480, 640)
NUM_CLASSES = 80
PICTURES = 1000
DETECTIONS = 42  # in each picture
LABELS = Labels(tuple(f"class {index}" for index in range(NUM_CLASSES)))
SETTING = f"""{PICTURES:,} made-up pictures of 640 × 480 pixels with {NUM_CLASSES} classes, about 7 true objects and
{DETECTIONS} detections each: ragged ellipses of small, medium and large sizes; the detections are moved and scaled
copies of true objects, some of the wrong class, and false alarms. Each side starts from what its users hold in memory
after prediction: everymask from results with boxes and masks, pycocotools from COCO's annotations and results as parsed
JSON, whose masks are run-lengths already. Both end with the twelve numbers of masks, or of boxes and masks."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A ragged ellipse: centre and radii in pixels, phases of its three waves."""

    centre: tuple[float, float]
    radii: tuple[float, float]
    phases: tuple[float, float, float]

    def crop(self) -> tuple[BoolArray, tuple[int, int]]:
        """The part inside the picture, [h, w], and its upper left corner (x, y)."""
        low = np.maximum(np.floor(np.subtract(self.centre, np.multiply(self.radii, 1.4))), 0).astype(int)
        high = np.minimum(np.ceil(np.add(self.centre, np.multiply(self.radii, 1.4))), SIZE[::-1]).astype(int)
        x = (np.arange(low[0], high[0], dtype=np.float32) + 0.5 - self.centre[0]) / self.radii[0]
        y = (np.arange(low[1], high[1], dtype=np.float32)[:, None] + 0.5 - self.centre[1]) / self.radii[1]
        angle = np.arctan2(y, x)
        waves = sum(np.cos(n * angle + phase) / n for n, phase in zip((2, 3, 7), self.phases, strict=True))
        return x * x + y * y <= (1 + 0.3 * waves) ** 2, (int(low[0]), int(low[1]))


@dataclass(frozen=True, slots=True)
class Picture:
    id: str
    prediction: InstanceSet
    truth: InstanceSet


def made_up(pictures: int = PICTURES, detections: int = DETECTIONS) -> list[Picture]:
    """Pictures with truth and prediction; the same at every call."""
    return [_picture(index, detections) for index in range(pictures)]


def _picture(index: int, detections: int) -> Picture:
    draw = rng(0, index, "evaluation benchmark")
    true = [_blob(draw) for _ in range(1 + int(draw.poisson(6)))]
    classes = draw.integers(NUM_CLASSES, size=len(true))
    found = [_blob(draw) for _ in range(detections)]
    found_classes = draw.integers(NUM_CLASSES, size=detections)
    scores = draw.beta(1, 6, detections)
    # Two detections of three are meant for a true object; the nearer one is, the surer.
    for row in range(detections * 2 // 3):
        target = int(draw.integers(len(true)))
        error = draw.exponential(0.15)
        found[row] = _moved(draw, true[target], error)
        scores[row] = np.exp(-4 * error) * draw.uniform(0.5, 1)
        if draw.random() < 0.85:
            found_classes[row] = classes[target]
    prediction = replace(_instances(found, found_classes), scores=scores.astype(np.float32))
    return Picture(f"{index:05}", prediction, _instances(true, classes))


def _blob(draw: np.random.Generator) -> Blob:
    radius = float(np.clip(np.exp(draw.normal(3.2, 0.9)), 3, 200))
    stretch = float(np.exp(draw.normal(0, 0.3)))
    x, y = draw.uniform((0, 0), SIZE[::-1]).tolist()
    first, second, third = draw.uniform(0, 2 * np.pi, 3).tolist()
    return Blob((x, y), (radius * stretch, radius / stretch), (first, second, third))


def _moved(draw: np.random.Generator, blob: Blob, error: float) -> Blob:
    (x, y), (wide, tall) = blob.centre, blob.radii
    right, down = (draw.normal(0, error, 2) * 0.5).tolist()
    wider, taller = np.exp(draw.normal(0, error, 2) * 0.5).tolist()
    return replace(blob, centre=(x + right * wide, y + down * tall), radii=(wide * wider, tall * taller))


def _instances(blobs: list[Blob], classes: Any) -> InstanceSet:
    crops = [blob.crop() for blob in blobs]
    masks = Masks.from_crops([crop for crop, _ in crops], np.array([corner for _, corner in crops]), SIZE)
    return InstanceSet(masks.boxes(), np.asarray(classes, np.int64), masks=masks)


def as_coco(pictures: list[Picture]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The same truth and detections as parsed annotation and results files."""
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for index, picture in enumerate(pictures):
        boxes, areas = _geometry(picture.truth)
        for entry, box, area in zip(_entries(index, picture.truth), boxes, areas, strict=True):
            annotations.append({**entry, "id": len(annotations) + 1, "bbox": box, "area": area, "iscrowd": 0})
        boxes, _ = _geometry(picture.prediction)
        scores = np.asarray(picture.prediction.scores).tolist()
        for entry, box, score in zip(_entries(index, picture.prediction), boxes, scores, strict=True):
            results.append({**entry, "bbox": box, "score": score})
    images = [{"id": index, "height": SIZE[0], "width": SIZE[1]} for index in range(len(pictures))]
    categories = [{"id": index, "name": name} for index, name in enumerate(LABELS.names)]
    return {"images": images, "categories": categories, "annotations": annotations}, results


def _entries(image_id: int, objects: InstanceSet) -> list[dict[str, Any]]:
    counts = objects.masks.to_rle() if objects.masks is not None else []
    return [
        {"image_id": image_id, "category_id": class_id, "segmentation": {"size": list(SIZE), "counts": string.decode()}}
        for class_id, string in zip(objects.class_ids.tolist(), counts, strict=True)
    ]


def _geometry(objects: InstanceSet) -> tuple[list[list[float]], list[float]]:
    x1, y1, x2, y2 = objects.boxes.T.tolist()
    boxes = [[a, b, c - a, d - b] for a, b, c, d in zip(x1, y1, x2, y2, strict=True)]
    return boxes, [] if objects.masks is None else objects.masks.areas().astype(float).tolist()


def everymask_numbers(pictures: list[Picture]) -> list[float]:
    """AP, AP50, AP75, ... of the masks."""
    return list(_metric(pictures).numbers("segm").to_json().values())


def everymask_scores(pictures: list[Picture]) -> list[float]:
    """The numbers of boxes and of masks, out of all scores."""
    scores = _metric(pictures).compute()
    return [*scores.box.to_json().values(), *(scores.mask.to_json().values() if scores.mask else ())]


def _metric(pictures: list[Picture]) -> InstanceMetric:
    metric = InstanceMetric(LABELS)
    blank = np.broadcast_to(np.uint8(0), (*SIZE, 1))
    for picture in pictures:
        metric.update(picture.prediction, picture.truth, Sample(blank, id=picture.id))
    return metric


def pycocotools_numbers(
    truth: dict[str, Any], results: list[dict[str, Any]], kinds: tuple[str, ...] = ("segm",)
) -> list[float]:
    """The same numbers by the reference; the dictionaries are copied, because it writes into them."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    numbers: list[float] = []
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {**truth, "annotations": [dict(annotation) for annotation in truth["annotations"]]}
        coco.createIndex()
        for kind in kinds:
            # Next to a box it would take the detection's size from the box, for masks too.
            other = "bbox" if kind == "segm" else "segmentation"
            found = coco.loadRes([{key: result[key] for key in result if key != other} for result in results])
            evaluation = COCOeval(coco, found, kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            numbers += evaluation.stats.tolist()
    return numbers


def agreement(ours: list[float], theirs: list[float]) -> str:
    """In words how equal the numbers are; `Disagreement` where one differs by more than 1e-6."""
    if len(ours) != len(theirs) or not np.allclose(ours, theirs, rtol=0, atol=1e-6):
        raise Disagreement(f"everymask gives {ours}, pycocotools {theirs}")
    worst = float(np.abs(np.subtract(ours, theirs)).max())
    return f"AP {ours[-12]:.4f}, none of the {len(ours)} numbers differs by more than {worst:.1e}"


def prepare_ours() -> Callable[[], list[float]]:
    everymask_numbers(made_up(1, 1))  # loads libraries
    return partial(everymask_numbers, made_up())


def prepare_theirs() -> Callable[[], list[float]]:
    pycocotools_numbers(*as_coco(made_up(1, 1)))
    return partial(pycocotools_numbers, *as_coco(made_up()))


def run() -> Section:
    """mask AP of 1,000 pictures with 42,000 detections; peer: pycocotools"""
    pictures = made_up()
    coco = as_coco(pictures)
    paired = partial(compare, peer="pycocotools", same=agreement, rounds=5, count=PICTURES)
    masks = paired("mask numbers", partial(everymask_numbers, pictures), partial(pycocotools_numbers, *coco))
    both = paired(
        "box and mask numbers",
        partial(everymask_scores, pictures),
        partial(pycocotools_numbers, *coco, ("bbox", "segm")),
    )
    return Section(
        title="Evaluation",
        setting=SETTING,
        packages=("pycocotools",),
        threads="one on both sides",
        times=(masks, both),
        memory=(compare_memory("mask numbers", prepare_ours, prepare_theirs, peer="pycocotools"),),
        bars=(Bar(f"mask numbers of {PICTURES:,} pictures, {PICTURES * DETECTIONS:,} detections", masks.ratio, 15),),
        notes=("In the second row everymask computes curves, confusion and a score for each picture as well.",),
    )
