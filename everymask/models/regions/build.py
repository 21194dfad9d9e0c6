"""From a spec to its detector of regions."""

from __future__ import annotations

from pathlib import Path

from everymask.models.regions.fast_rcnn import FastRCNNNetwork
from everymask.models.regions.rcnn import RCNN
from everymask.models.regions.rcnn_classic import RCNNClassicNetwork
from everymask.models.regions.refined.cascade import CascadeNetwork
from everymask.models.regions.refined.point_rend import PointRendNetwork
from everymask.models.specs.regions import CascadeMaskRCNN, CascadeRCNN, FasterRCNN, FastRCNN, PointRend, RCNNClassic


def build_regions(spec: FasterRCNN, num_classes: int, *, pretrained_encoder: Path | None = None) -> RCNN:
    """The untrained network of `spec` for `num_classes` classes, background aside; errors as in `RCNN`."""
    match spec:
        case RCNNClassic():
            return RCNNClassicNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case CascadeRCNN() | CascadeMaskRCNN():
            return CascadeNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case PointRend():
            return PointRendNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case FastRCNN():
            return FastRCNNNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case _:
            return RCNN(spec, num_classes, pretrained_encoder=pretrained_encoder)
