"""Mask R-CNN on pictures full of objects, beside torchvision."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.compare import Bar, Comparison, Disagreement, compare, compare_memory
from benchmarks.crowds import SIZE, crowd, trained_detector
from benchmarks.page import Section
from everymask.api import load
from everymask.backends.pytorch import Precision, build_predictor
from everymask.core.arrays import ByteArray
from everymask.data.formats.table import read_dataset
from everymask.evaluate import evaluate
from everymask.infer.result import Result
from everymask.models.regions.rcnn import RCNN

PEER = "torchvision, eager"
NUCLEI = Path("../shared/data/nuclei")
TRAINED = Path("runs/nuclei")
SETTING = f"""Mask R-CNN with ResNet-50 and FPN in torchvision's layout (91 classes), the same weights on both sides,
trained for a few minutes on made-up pictures so that it finds about 100 objects in each picture of
{SIZE[0]} × {SIZE[1]} pixels. Both sides start from the picture as uint8 [H, W, 3] and end with boxes, classes, scores
and binary masks of the picture's size (torchvision's pasted masks above one half; ours compact)."""

Answer = list[dict[str, Tensor]]


def torchvision_model(module: RCNN, sides: tuple[int, int] = (800, 1333)) -> nn.Module:
    """The peer with these weights; pictures are resized to a short and at most a long side."""
    from torchvision.models.detection import maskrcnn_resnet50_fpn
    from torchvision.ops.misc import FrozenBatchNorm2d

    peer: nn.Module = maskrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=91,
        norm_layer=FrozenBatchNorm2d,
        min_size=sides[0],
        max_size=sides[1],
    )
    # Frozen norms count no batches.
    peer.load_state_dict({k: v for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")})
    return peer.eval()


def predict_by_torchvision(peer: nn.Module, pictures: list[ByteArray]) -> Answer:
    """Detections whose masks are bool [N, H, W], on the CPU."""
    where = next(peer.parameters()).device
    with torch.inference_mode():
        images = [torch.from_numpy(picture).to(where).permute(2, 0, 1).float() / 255 for picture in pictures]
        found: Answer = peer(images)
        plain = [{**item, "masks": item["masks"][:, 0] > 0.5} for item in found]
        return [{name: tensor.cpu() for name, tensor in item.items()} for item in plain]


def agreement(ours: Result | list[Result], theirs: Answer) -> str:
    """In words how equal the detections are; `Disagreement` beyond 1e-2 pixels, 1e-4 of score, 0.1 % of mask pixels."""
    boxes, scores, pixels = 0.0, 0.0, 0.0
    results = ours if isinstance(ours, list) else [ours]
    for result, other in zip(results, theirs, strict=True):
        found = result.instances
        if found.class_ids.tolist() != (other["labels"] - 1).tolist() or found.scores is None or found.masks is None:
            raise Disagreement(f"{len(found)} objects here, {len(other['labels'])} there, or other classes")
        boxes = max(boxes, float(np.abs(found.boxes - other["boxes"].numpy()).max(initial=0)))
        scores = max(scores, float(np.abs(found.scores - other["scores"].numpy()).max(initial=0)))
        dense = other["masks"].numpy()
        different = sum(int((found.masks.to_dense(row) != dense[row]).sum()) for row in range(len(found)))
        pixels = max(pixels, different / max(int(dense.sum()), 1))
    if boxes > 1e-2 or scores > 1e-4 or pixels > 1e-3:
        raise Disagreement(f"boxes differ by {boxes:.1e} pixels, scores by {scores:.1e}, masks by {pixels:.2%}")
    count = ", ".join(str(len(result.instances)) for result in results)
    return (
        f"{count} objects; boxes within {boxes:.0e} px, scores within {scores:.0e}, {pixels:.1e} of mask pixels differ"
    )


def likeness(ours: Result | list[Result], theirs: Answer) -> str:
    """What bfloat16 changes, in words; `Disagreement` where less than nine of ten objects have their like.

    The network was trained briefly and is unsure of much, so small differences decide which of several overlapping
    boxes is kept. What counts is the mask AP of a trained network, which is measured beside it.
    """
    results = ours if isinstance(ours, list) else [ours]
    total, found = 0, 0
    for result, other in zip(results, theirs, strict=True):
        masks = result.instances.masks
        assert masks is not None
        overlaps = type(masks).from_dense(other["masks"].numpy()).iou(masks)
        total += len(overlaps)
        found += int((overlaps.max(axis=1, initial=0) > 0.8).sum())
    if found < 0.9 * total:
        raise Disagreement(f"only {found} of {total} objects are found again")
    return f"{found} of torchvision's {total} objects are found with mask IoU above 0.8"


def ours(precision: Precision, count: int) -> Callable[[], list[Result]]:
    """Prediction of `count` pictures in one batch."""
    predictor = build_predictor(*trained_detector(), "cpu", precision=precision)
    pictures = [crowd(index).image for index in range(count)]
    return lambda: list(predictor.stream(pictures, batch=count))


def theirs(count: int) -> Callable[[], Answer]:
    """The same by torchvision."""
    peer = torchvision_model(trained_detector()[0])
    return partial(predict_by_torchvision, peer, [crowd(index).image for index in range(count)])


def nuclei_scores() -> tuple[float, float] | None:
    """Mask AP of the trained nuclei model on the validation pictures, exact and fast; None where it is not there."""
    if not TRAINED.is_dir() or not NUCLEI.is_dir():
        return None
    pictures = read_dataset(NUCLEI).split("val")
    values: list[Precision] = ["exact", "auto"]
    exact, fast = (
        evaluate(load(TRAINED, device="cpu", precision=precision), pictures, max_detections=500).headline
        for precision in values
    )
    return exact, fast


def run() -> Section:
    """Mask R-CNN R50-FPN on 800 x 1088 pixels, one picture and batches of four; peer: torchvision"""
    rows: list[Comparison] = []
    kinds: list[tuple[str, Precision, int, Callable[..., str]]] = [
        ("one picture, exact (float32)", "exact", 1, agreement),
        ("one picture, fast path (auto)", "auto", 1, likeness),
        ("four pictures, fast path (auto)", "auto", 4, likeness),
    ]
    for what, precision, count, same in kinds:
        calls = ours(precision, count), theirs(count)
        rows.append(compare(what, *calls, peer=PEER, same=same, rounds=7 if count == 1 else 3, count=count))
    memory = compare_memory("one picture, fast path", partial(ours, "auto", 1), partial(theirs, 1), peer=PEER)
    bars = [Bar(row.what, row.ratio, limit) for row, limit in zip(rows, (1.5, 2.8, 2.8), strict=True)]
    scores = nuclei_scores()
    if scores is None:
        notes = [f"The mask AP of the fast path was not measured: that needs {TRAINED} (see results.md) and {NUCLEI}."]
    else:
        bars.append(Bar("points of mask AP lost on nuclei", 100 * abs(scores[0] - scores[1]), 0.2, "", at_most=True))
        notes = [f"Mask AP on the nuclei's validation pictures: exact {scores[0]:.4f}, fast path {scores[1]:.4f}."]
    return Section(
        title="Prediction: Mask R-CNN",
        setting=SETTING,
        packages=("torch", "torchvision"),
        threads=f"{torch.get_num_threads()} on both sides",
        times=tuple(rows),
        memory=(memory,),
        bars=tuple(bars),
        notes=tuple(notes),
    )
