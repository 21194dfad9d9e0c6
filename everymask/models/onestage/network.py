"""What one-stage detectors share, whatever their maps are made of."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from everymask.core.segmentation import InstanceSet
from everymask.models.base import Batch, ClassRows, Network
from everymask.models.onestage.places import STRIDES
from everymask.models.regions.truths import trainable
from everymask.models.specs.onestage import DIVISOR, OneStageModelSpec
from everymask.models.tracing import tracing


class OneStageNetwork(Network):
    """Says of every place of three maps what is there; predicts in the network's frame."""

    spec: OneStageModelSpec
    one_by_one = True
    has_masks = False
    classifiers: str
    """What the last layers for the classes are called, one for each map."""

    def __init__(self, spec: OneStageModelSpec, num_classes: int) -> None:
        super().__init__()
        self.spec = spec
        self.num_classes = num_classes

    def with_detections(self, most: int) -> OneStageNetwork:
        """Up to `most` objects in a picture: every place is looked at anyway."""
        twin = copy.copy(self)
        twin.spec = replace(self.spec, max_detections=most)
        return twin

    def class_rows(self) -> ClassRows:
        """A row for each class on each map."""
        names = [f"{self.classifiers}.{level}.{kind}" for level in range(len(STRIDES)) for kind in ("weight", "bias")]
        return ClassRows(dict.fromkeys(names, 1), 0, frozenset(name for name in names if name.endswith("weight")))

    def padded(self, images: Tensor) -> Tensor:
        """The pictures [B, C, H, W], filled up to sides that are multiples of 32, and with what the weights' padding
        stands for added.
        """
        shift = self.spec.profile.padding
        if not tracing():  # a graph is given such sides alone
            images = F.pad(images, (0, -images.shape[3] % DIVISOR, 0, -images.shape[2] % DIVISOR))
        return images + images.new_tensor(shift)[:, None, None] if shift else images

    def truths(self, batch: Batch) -> tuple[list[InstanceSet], list[Tensor], list[Tensor]]:
        """The objects of each picture that can be learned, their boxes [T, 4] and their class ids [T]."""
        device = batch.images.device
        truths = [
            trainable(truth, file, masks=self.has_masks) for truth, file in zip(batch.truths, batch.files, strict=True)
        ]
        boxes = [torch.tensor(truth.boxes, dtype=torch.float32, device=device) for truth in truths]
        return truths, boxes, [torch.tensor(truth.class_ids, device=device) for truth in truths]
