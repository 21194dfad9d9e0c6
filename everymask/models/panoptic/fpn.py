"""Panoptic FPN: Mask R-CNN for things and a semantic branch for stuff, on one feature pyramid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from everymask.core.arrays import IntArray
from everymask.core.segmentation import InstanceSet, PanopticMap, Segmentation, expected
from everymask.errors import ConfigError
from everymask.models.base import Batch, ClassRows, PanopticOutputs
from everymask.models.panoptic.semantic_branch import SemanticBranch
from everymask.models.regions.rcnn import RCNN
from everymask.models.regions.truths import trainable
from everymask.models.shares import count_per_process
from everymask.models.specs.panoptic import PanopticFPN
from everymask.models.steps import Steps, pixel_steps

IGNORED = -100


class PanopticRCNN(RCNN):
    """Pictures to things and stuff. All of Mask R-CNN bears the names that it has there, whose weights so fit.

    `ConfigError` where the spec does not say which of the classes are things.
    """

    spec: PanopticFPN

    def __init__(self, spec: PanopticFPN, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        if not spec.things or not all(0 <= thing < num_classes for thing in spec.things):
            raise ConfigError(
                f"a panoptic network finds things, which must be some of its {num_classes} classes, but they are "
                f"{list(spec.things)}",
                hint="a training takes them from the data set; choose a semantic network where nothing is counted",
            )
        super().__init__(spec, len(spec.things), pretrained_encoder=pretrained_encoder)
        self.num_classes = num_classes
        self.stuff: tuple[int, ...] = spec.stuff(num_classes)
        self.sem_seg_head: SemanticBranch = SemanticBranch(
            spec.fpn_channels, spec.semantic_channels, 1 + len(self.stuff), spec.strides[:-1]
        )

    @property
    def exact_parts(self) -> tuple[str, ...]:
        """The box predictor and the classifier of stuff."""
        return (*super().exact_parts, "sem_seg_head.predictor")

    @property
    def found_classes(self) -> tuple[int, ...]:
        """The things."""
        return self.spec.things

    def forward(self, images: Tensor, windows: Tensor | None = None) -> PanopticOutputs:  # type: ignore[override]
        """Things and stuff of pictures [B, C, H, W]; see `RCNN.forward`."""
        maps = self.backbone(images.to(self.backbone.dtype))
        return PanopticOutputs(self.detect(maps, images, windows), self._logits(maps, images).float(), self.spec)

    def look_into(self, images: Tensor, windows: Tensor, truth: Segmentation | None = None) -> Steps:
        """Those of Mask R-CNN, and what every pixel is: a thing, or which stuff."""
        maps = self.backbone(images)
        things = None if truth is None else trainable(self._things(expected(PanopticMap, truth, "")), "", masks=False)
        pixels = pixel_steps(self._logits(maps, images)[0].float(), "multiclass", (-1, *self.stuff))
        return replace(self.steps_of(maps, images, windows, things), pixels=pixels)

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The losses of Mask R-CNN for things, and cross-entropy of stuff, in which all things are one class."""
        maps = self.backbone(batch.images)
        truths = [expected(PanopticMap, truth, file) for truth, file in zip(batch.truths, batch.files, strict=True)]
        things = tuple(self._things(truth) for truth in truths)
        losses = self.region_losses(maps, replace(batch, truths=things), generator)
        logits = self._logits(maps, batch.images).float()
        size = (batch.images.shape[2], batch.images.shape[3])
        target = torch.from_numpy(np.stack([self._target(truth, size) for truth in truths])).long().to(logits.device)
        total = F.cross_entropy(logits, target, ignore_index=IGNORED, reduction="sum")
        known = count_per_process(int((target != IGNORED).sum()), logits)
        return losses | {"loss_sem_seg": self.spec.semantic_weight * total / known}

    def class_rows(self) -> ClassRows:
        """Rows of Mask R-CNN's heads for the things, those of the semantic branch for stuff."""
        things = super().class_rows()
        stuff = [f"sem_seg_head.predictor.{name}" for name in ("weight", "bias")]
        return ClassRows(
            {**things.counts, **dict.fromkeys(stuff, 1)},
            things.background,
            things.classifiers | {stuff[0]},
            {**dict.fromkeys(things.counts, "things"), **dict.fromkeys(stuff, "stuff")},
        )

    def _logits(self, maps: list[Tensor], images: Tensor) -> Tensor:
        logits: Tensor = self.sem_seg_head(maps[:-1])
        return logits[..., : images.shape[2], : images.shape[3]]

    def _things(self, truth: PanopticMap) -> InstanceSet:
        """The things of a truth as objects, whose classes are places among the things."""
        rows = {thing: row for row, thing in enumerate(self.spec.things)}
        found = replace(truth, segments=tuple(one for one in truth.segments if one.class_id in rows))
        objects = found.regions()
        return replace(
            objects,
            boxes=objects.boxes.astype(np.float32),
            class_ids=np.array([rows[one.class_id] for one in found.segments], np.int64),
            crowd=np.array([one.crowd for one in found.segments], np.bool_),
        )

    def _target(self, truth: PanopticMap, size: tuple[int, int]) -> IntArray:
        """[H, W] int16: 0 for things, from 1 on the stuff classes, `IGNORED` without truth and beyond the picture."""
        places = {class_id: place for place, class_id in enumerate(self.stuff, start=1)}
        values = [places.get(one.class_id, 0) for one in truth.segments]
        unknown = 1 + len(self.stuff)
        rows = truth.looked_up(values, unknown)
        target: IntArray = np.full(size, IGNORED, np.int16)
        np.copyto(target[: rows.shape[0], : rows.shape[1]], rows, where=rows != unknown, casting="unsafe")
        return target
