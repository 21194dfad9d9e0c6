"""From a spec to its network."""

from __future__ import annotations

from typing import assert_never

from everymask.models.rcnn import RCNN
from everymask.models.specs import FasterRCNN, MaskRCNN, ModelSpec


def build(spec: ModelSpec, num_classes: int, *, pretrained_encoder: bool = False) -> RCNN:
    """The untrained network of `spec` for `num_classes` classes, not counting background."""
    match spec:
        case MaskRCNN() | FasterRCNN():
            return RCNN(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case _:
            assert_never(spec)
