"""maskrcnn-benchmark's names for what Detectron2 calls otherwise, with background in the first rows of all heads."""

from __future__ import annotations

import re
from typing import TypeVar

from tests.models.foreign.region_layouts import Shapes

Value = TypeVar("Value")
_NAMES = {
    "proposal_generator.rpn_head.conv": "rpn.head.conv",
    "proposal_generator.rpn_head.objectness_logits": "rpn.head.cls_logits",
    "proposal_generator.rpn_head.anchor_deltas": "rpn.head.bbox_pred",
    "roi_heads.box_head.fc1": "roi_heads.box.feature_extractor.fc6",
    "roi_heads.box_head.fc2": "roi_heads.box.feature_extractor.fc7",
    "roi_heads.box_predictor": "roi_heads.box.predictor",
    "roi_heads.mask_head.mask_fcn": "roi_heads.mask.feature_extractor.mask_fcn",
    "roi_heads.mask_head.deconv": "roi_heads.mask.predictor.conv5_mask",
    "roi_heads.mask_head.predictor": "roi_heads.mask.predictor.mask_fcn_logits",
}


def with_background(shapes: Shapes) -> Shapes:
    """Boxes and masks have rows for background too."""
    more = {"bbox_pred": 4, "mask_head.predictor": 1}
    return {
        name: (shape[0] + next((rows for part, rows in more.items() if part in name), 0), *shape[1:])
        for name, shape in shapes.items()
    }


def benchmark(named: dict[str, Value]) -> dict[str, Value]:
    """Detectron2's names as maskrcnn-benchmark's."""
    return {_renamed(name): value for name, value in named.items()}


def _renamed(name: str) -> str:
    for theirs, ours in _NAMES.items():
        name = name.replace(theirs, ours)
    name = re.sub(r"^backbone\.bottom_up\.stem\.conv1\.norm", "backbone.body.stem.bn1", name)
    name = name.replace("backbone.bottom_up.stem.", "backbone.body.stem.")
    name = re.sub(r"^backbone\.bottom_up\.res(\d)", lambda found: f"backbone.body.layer{int(found[1]) - 1}", name)
    name = re.sub(r"shortcut\.norm", "downsample.1", name).replace("shortcut", "downsample.0")
    name = re.sub(r"\.conv(\d)\.norm\.", r".bn\1.", name)
    name = re.sub(r"^backbone\.fpn_lateral(\d)", lambda found: f"backbone.fpn.fpn_inner{int(found[1]) - 1}", name)
    return re.sub(r"^backbone\.fpn_output(\d)", lambda found: f"backbone.fpn.fpn_layer{int(found[1]) - 1}", name)
