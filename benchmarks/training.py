"""A training step of Mask R-CNN, beside torchvision's model in the same loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.compare import Bar, Disagreement, compare, compare_memory
from benchmarks.crowds import crowd
from benchmarks.page import Section
from everymask.backends.devices import has_fast_bf16
from everymask.core.segmentation import InstanceSet
from everymask.data.feed.pipelines import prepare
from everymask.data.feed.preprocess import Preprocess
from everymask.models.base import Batch, collate
from everymask.models.build import build
from everymask.models.specs.regions import MaskRCNN

SIZE, TILES = (640, 640), (5, 5)
CLASSES = 90
SETTING = """One optimizer step (SGD with momentum) of Mask R-CNN with ResNet-50 and FPN and 91 classes on 2 pictures of
640 × 640 pixels with about 50 objects each: losses, gradients, update, with torchvision's settings on both sides (512
regions per picture, batch norm learning). The pictures lie in memory, normalised; torchvision gets the masks as dense
tensors, as it asks for them."""


def batch(count: int = 2, size: tuple[int, int] = SIZE, tiles: tuple[int, int] = TILES) -> Batch:
    """Pictures with their truth."""
    return collate([prepare(crowd(index, size, tiles), Preprocess()) for index in range(count)], 32)


def truth_of(pictures: Batch) -> list[dict[str, Tensor]]:
    """The truth as torchvision takes it, where the pictures lie."""
    targets = []
    for truth in pictures.truths:
        assert isinstance(truth, InstanceSet) and truth.masks is not None
        masks = np.stack([truth.masks.to_dense(row) for row in range(len(truth))])
        targets.append(
            {
                "boxes": torch.from_numpy(truth.boxes),
                "labels": torch.from_numpy(truth.class_ids) + 1,
                "masks": torch.from_numpy(masks).to(torch.uint8),
            }
        )
    where = pictures.images.device
    return [{name: tensor.to(where) for name, tensor in target.items()} for target in targets]


def torchvision_network(regions: int = 512) -> nn.Module:
    """Its network without its resize and normalisation, which are no part of the comparison."""
    from torchvision.models.detection import maskrcnn_resnet50_fpn
    from torchvision.models.detection.image_list import ImageList

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = maskrcnn_resnet50_fpn(
                weights=None, weights_backbone=None, num_classes=1 + CLASSES, box_batch_size_per_image=regions
            )

        def forward(self, images: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
            pictures = ImageList(images, [(images.shape[2], images.shape[3])] * len(images))
            maps = self.model.backbone(images)
            proposals, losses = self.model.rpn(pictures, maps, targets)
            _, others = self.model.roi_heads(maps, proposals, pictures.image_sizes, targets)
            return {**losses, **others}

    torch.manual_seed(0)
    return Network().train()


def step(optimizer: torch.optim.Optimizer, losses: Callable[[], dict[str, Tensor]], *, bf16: bool) -> float:
    """The sum of the losses before the update."""
    where = next(value for group in optimizer.param_groups for value in group["params"]).device.type
    with torch.autocast(where, torch.bfloat16) if bf16 else nullcontext():
        total = torch.stack([loss.float() for loss in losses().values()]).sum()
    optimizer.zero_grad()
    total.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return total.item()


def ours() -> Callable[[], float]:
    """A step as `everymask train` makes it: channels last, bfloat16 where the hardware calculates it."""
    torch.manual_seed(0)
    module = build(MaskRCNN(), CLASSES).to(memory_format=torch.channels_last).train()
    pictures = batch().to("cpu", channels_last=True)
    optimizer = torch.optim.SGD(module.parameters(), 1e-4, momentum=0.9)
    bf16 = has_fast_bf16(torch.device("cpu"))
    return partial(step, optimizer, lambda: module.loss(pictures), bf16=bf16)


def theirs(*, bf16: bool) -> Callable[[], float]:
    """The same step of torchvision's model, as its references write it (float32) or under autocast."""
    network, pictures = torchvision_network(), batch()
    targets = truth_of(pictures)
    optimizer = torch.optim.SGD(network.parameters(), 1e-4, momentum=0.9)
    return partial(step, optimizer, lambda: network(pictures.images, targets), bf16=bf16)


def agreement(mine: float, other: float) -> str:
    """In words how near the losses are; both networks begin with other random weights and draw other regions."""
    if not 0.5 < mine / other < 2:
        raise Disagreement(f"the losses are {mine:.3f} and {other:.3f}")
    return f"losses {mine:.2f} and {other:.2f} (random weights and regions; equality to 1e-4 is tested in tests/models)"


def run() -> Section:
    """a training step of Mask R-CNN R50-FPN, 2 pictures of 640 x 640; peer: torchvision's model in the same loop"""
    mine = ours()
    plain = compare("a step", mine, theirs(bf16=False), peer="torchvision, float32", same=agreement, rounds=5)
    autocast = compare("a step", mine, theirs(bf16=True), peer="torchvision, autocast", same=agreement, rounds=3)
    memory = compare_memory("a step", ours, partial(theirs, bf16=False), peer="torchvision, float32")
    return Section(
        title="Training: Mask R-CNN",
        setting=SETTING,
        packages=("torch", "torchvision"),
        threads=f"{torch.get_num_threads()} on both sides",
        times=(plain, autocast),
        memory=(memory,),
        bars=(
            Bar("faster than torchvision's model in float32", plain.ratio, 2),
            Bar("peak memory beside it", memory.ratio, 0.8, at_most=True),
        ),
        notes=(f"everymask trains in {'bfloat16 by autocast' if has_fast_bf16(torch.device('cpu')) else 'float32'}.",),
    )
