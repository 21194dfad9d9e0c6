"""Training batches of real pictures with masks, beside torchvision's transforms v2."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.compare import Bar, Disagreement, compare
from benchmarks.page import Section
from everymask.core.segmentation import InstanceSet
from everymask.data.feed.augment import Augment
from everymask.data.feed.packed import packed
from everymask.data.feed.pipelines import InstancePipeline
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.formats.coco.instances import read_coco

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "coco128_seg"
SIDE, BATCH, EPOCHS = 640, 2, 2
CHECKED = 40  # pictures for which both sides are compared pixel by pixel
SCALE = (0.1, 2.0)
PREPROCESS = Preprocess(resize=Resize(SIDE, SIDE))
SETTING = f"""The pictures of coco128-seg that have objects: JPEG files and COCO annotations with polygons. Large-scale
jitter (a picture that fits into {SIDE} × {SIDE} pixels is resized by {SCALE[0]:g} to {SCALE[1]:g}), crop or padding to
{SIDE} × {SIDE}, mirroring of every second picture, no change of colours, batches of {BATCH}. Both sides begin with the
files and end with normalised float pictures, boxes, class numbers and masks in the process that trains. torchvision's
side is what its reference training does, with `CocoDetection`, `wrap_dataset_for_transforms_v2` and transforms v2. It
draws the factor of the jitter as everymask does, evenly on a logarithmic scale: torchvision's own even draw gives
larger pictures, and more work. One round is {EPOCHS} passes over all pictures, with the start of the workers."""


def our_pipeline(augment: Augment) -> InstancePipeline:
    """The pictures with objects, in the order of the file."""
    pictures = read_coco(DATA)
    chosen = [row for row, record in enumerate(pictures.records) if record.objects.annotations]
    return InstancePipeline(packed(pictures.subset(chosen)), PREPROCESS, augment, 0, (SIDE, SIDE))


def our_epochs(pipeline: InstancePipeline, workers: int) -> int:
    """How many pictures were delivered."""
    from everymask.train.loader import Order, read_batches

    order = Order(len(pipeline), BATCH)
    batches = read_batches(pipeline, order, first=0, last=EPOCHS * order.steps_per_epoch, workers=workers)
    return sum(len(batch.ids) for batch in batches)


def their_dataset(scale: tuple[float, float], flip: float = 0.0, *, cut: bool = True) -> Any:
    """The same pictures in the same order behind torchvision's transforms; with `cut` brought to one size."""
    import torch
    from torchvision import tv_tensors
    from torchvision.datasets import CocoDetection, wrap_dataset_for_transforms_v2
    from torchvision.transforms import v2

    class LogarithmicJitter(v2.ScaleJitter):  # type: ignore[misc]
        def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
            height, width = v2.functional.get_size(flat_inputs[0])
            factor = math.exp(torch.empty(1).uniform_(*map(math.log, scale)).item())
            factor *= min(SIDE / height, SIDE / width)
            return {"size": (max(1, int(height * factor)), max(1, int(width * factor)))}

    colour = tuple(round(255 * value) for value in PREPROCESS.mean)
    fill = {tv_tensors.Image: colour, "others": 0}
    steps = [
        v2.ToImage(),
        LogarithmicJitter((SIDE, SIDE), scale, antialias=True),
        *([v2.RandomCrop((SIDE, SIDE), pad_if_needed=True, fill=fill)] if cut else []),
        v2.RandomHorizontalFlip(flip),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(PREPROCESS.mean, PREPROCESS.std),
        v2.SanitizeBoundingBoxes(),
        v2.ToPureTensor(),
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        folder = DATA / "images" / "train2017"
        pictures = CocoDetection(str(folder), str(DATA / "instances.json"), transforms=v2.Compose(steps))
    pictures.ids = [number for number in pictures.ids if pictures.coco.getAnnIds(number)]
    return wrap_dataset_for_transforms_v2(pictures, target_keys=("boxes", "labels", "masks"))


def their_epochs(pictures: Any, workers: int) -> int:
    """How many pictures were delivered."""
    import torch
    from torch.utils.data import DataLoader

    order = [index for _ in range(EPOCHS) for index in torch.randperm(len(pictures)).tolist()]
    batches = DataLoader(
        pictures,
        BATCH,
        sampler=order,
        num_workers=workers,
        collate_fn=_listed,
        drop_last=True,
        multiprocessing_context="fork" if workers else None,
    )
    return sum(len(images) for images, _ in batches)


def _listed(pictures: Sequence[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    images, targets = zip(*pictures, strict=True)
    return list(images), list(targets)


def agreement(ours: int, theirs: int) -> str:
    """In words how equal pictures and masks are that are only resized to fit and not varied further."""
    if ours != theirs:
        raise Disagreement(f"everymask delivered {ours} pictures, torchvision {theirs}")
    pipeline, pictures = our_pipeline(Augment.none()), their_dataset((1.0, 1.0), cut=False)
    differences, common, either = [], 0, 0
    for index in range(CHECKED):
        image, target = pictures[index]
        prepared, masks = pipeline(0, index), target["masks"].numpy() > 0
        height, width = masks.shape[1:]
        differences.append(np.abs(prepared.image[:, :height, :width] - image.numpy()).mean())
        truth = prepared.truth
        if not isinstance(truth, InstanceSet) or truth.masks is None or len(truth) != len(masks):
            raise Disagreement(f"picture {index}: torchvision has {len(masks)} masks, everymask {truth}")
        for row, mask in enumerate(masks):
            drawn = truth.masks.to_dense(row)[:height, :width]
            common += int(np.count_nonzero(drawn & mask))
            either += int(np.count_nonzero(drawn | mask))
    overlap, difference = common / either, float(np.mean(differences))
    if overlap < 0.98 or difference > 0.1:
        raise Disagreement(f"masks overlap by {overlap:.3f}, pictures differ by {difference:.3f} standard deviations")
    return (
        f"without variation the masks of {CHECKED} pictures overlap by {overlap:.4f} (IoU), and pixels differ by "
        f"{difference:.4f} standard deviations on average"
    )


def run() -> Section:
    """training batches with masks, images per second; peer: torchvision transforms v2"""
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    augment = replace(Augment.none(), flip=0.5, scale=SCALE, min_area=1.0)
    pipeline, pictures = our_pipeline(augment), their_dataset(SCALE, 0.5)
    rows = [
        compare(
            f"{EPOCHS * len(pipeline)} pictures, {workers or 'no'} workers",
            partial(our_epochs, pipeline, workers),
            partial(their_epochs, pictures, workers),
            peer="torchvision",
            same=agreement,
            rounds=5,
            count=EPOCHS * len(pipeline),
        )
        for workers in (2, 0)
    ]
    return Section(
        title="Data pipeline",
        setting=SETTING,
        packages=("torch", "torchvision", "opencv-python-headless", "pillow"),
        threads="one in each process",
        times=tuple(rows),
        bars=(Bar("data pipeline, 2 workers", rows[0].ratio, 3),),
    )
