"""Pictures full of shapes, and a Mask R-CNN of torchvision's size and layout that has learned to find them.

COCO's official weights have a licence of their own and would have to be downloaded. For speed it matters only that a
network of that size reports a hundred objects per picture: it is trained briefly, once, and its threshold is lowered by
the bias of the background until it does.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from everymask.core.arrays import ByteArray
from everymask.core.label_sets import coco_labels
from everymask.core.masks import Masks
from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.data.feed.pipelines import Prepared, prepare
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.shapes import ShapesConfig, draw_shapes
from everymask.models.base import collate
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.checkpoint import load_model, save_model
from everymask.models.regions.rcnn import RCNN
from everymask.models.regions.roi_heads import BoxPredictor
from everymask.models.specs.regions import MaskRCNN

SIZE = (800, 1088)
PREPROCESS = Preprocess(resize=Resize(800, 1333))
_FILE = Path(__file__).resolve().parent / ".cache" / "crowds.safetensors"
_STEPS, _BATCH = 150, 2
_CPU = torch.device("cpu")
_EAGERNESS = 3.0


def crowd(index: int, size: tuple[int, int] = SIZE, tiles: tuple[int, int] = (8, 8)) -> Sample:
    """Picture `index`: a grid of pictures of the Shapes set, each with one to three objects."""
    tile = (size[0] // tiles[0], size[1] // tiles[1])
    config = ShapesConfig(pictures=10**6, size=tile, seed=7)
    image: ByteArray = np.zeros((*size, 3), np.uint8)
    parts, class_ids = [], []
    for number in range(tiles[0] * tiles[1]):
        sample = draw_shapes(config, index * 1000 + number)
        truth = sample.truth
        assert isinstance(truth, InstanceSet) and truth.masks is not None
        y, x = number // tiles[1] * tile[0], number % tiles[1] * tile[1]
        image[y : y + tile[0], x : x + tile[1]] = sample.image
        crops = [truth.masks.crop(row) for row in range(len(truth))]
        parts.append(Masks.from_crops(crops, truth.masks.windows[:, :2] + np.array([x, y]), size))
        class_ids.append(truth.class_ids)
    masks = Masks.concatenate(parts)
    return Sample(image, InstanceSet(masks.boxes(), np.concatenate(class_ids), masks=masks), id=f"crowd {index}")


def trained_detector(device: torch.device = _CPU) -> tuple[RCNN, Card]:
    """The Mask R-CNN; the first call trains it, on a CPU for a few minutes."""
    if not _FILE.exists():
        print(f"training the network of the benchmarks, {_STEPS} steps; it is kept in {_FILE}")
        save_model(_FILE, _train(device), Card(MaskRCNN(), coco_labels(), PREPROCESS))
    module, card = load_model(_FILE)
    assert isinstance(module, RCNN)
    return module, card


def _train(device: torch.device) -> RCNN:
    torch.manual_seed(0)
    # Few regions per picture are enough for shapes, and most of the work is in the regions.
    module = build(MaskRCNN(box_samples=64, rpn_post_nms=(300, 300)), len(coco_labels()))
    assert isinstance(module, RCNN)
    module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(module.parameters(), 4e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-4, _STEPS)
    pictures = [prepare(crowd(index, (256, 256), (2, 2)), Preprocess()) for index in range(40)]
    for step in range(_STEPS):
        chosen = rng(0, step, "benchmark batch").choice(len(pictures), _BATCH, replace=False)
        with torch.autocast(device.type, torch.bfloat16):
            losses = module.loss(collate([pictures[k] for k in chosen], 32).to(device, channels_last=True))
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(module.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        if step % 10 == 0:
            print(f"step {step}: loss {total.item():.3f}", flush=True)
    return _settled(module.cpu(), pictures)


def _settled(module: RCNN, pictures: list[Prepared]) -> RCNN:
    """With the statistics of norms that the last weights give (those of a short training lag behind), and eager."""
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        for start in range(0, len(pictures), _BATCH):
            module.backbone(collate(pictures[start : start + _BATCH], 32).images)
    predictor = module.roi_heads["box_predictor"]
    assert isinstance(predictor, BoxPredictor)
    predictor.cls_score.bias.data[0] -= _EAGERNESS
    return module.eval()
