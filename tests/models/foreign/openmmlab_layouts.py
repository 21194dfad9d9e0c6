"""mmdetection's names for what Detectron2 calls otherwise: the same networks, stored by another program."""

from __future__ import annotations

import re
from typing import TypeVar

Value = TypeVar("Value")
_PLACES = {"fc1": "shared_fcs.0", "fc2": "shared_fcs.1", "cls_score": "fc_cls", "bbox_pred": "fc_reg"}
_PYTORCH = "img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)\n"
_CAFFE = "img_norm_cfg = dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], to_rgb=False)\n"
SETTINGS = {
    "pytorch": f"backbone=dict(type='ResNet', style='pytorch')\n{_PYTORCH}",
    "caffe": f"backbone=dict(type='ResNet', style='caffe')\n{_CAFFE}",
}


def mmdetection(named: dict[str, Value]) -> dict[str, Value]:
    """Detectron2's names as mmdetection's."""
    return {_renamed(name): value for name, value in named.items()}


def _renamed(name: str) -> str:
    name = re.sub(r"^backbone\.bottom_up\.stem\.conv1\.norm", "backbone.bn1", name)
    name = re.sub(r"^backbone\.bottom_up\.stem\.", "backbone.", name)
    name = re.sub(r"^backbone\.bottom_up\.res(\d)", lambda found: f"backbone.layer{int(found[1]) - 1}", name)
    name = re.sub(r"shortcut\.norm", "downsample.1", name).replace("shortcut", "downsample.0")
    name = re.sub(r"\.conv(\d)\.norm\.", r".bn\1.", name)
    name = re.sub(r"^backbone\.fpn_lateral(\d)", lambda found: f"neck.lateral_convs.{int(found[1]) - 2}.conv", name)
    name = re.sub(r"^backbone\.fpn_output(\d)", lambda found: f"neck.fpn_convs.{int(found[1]) - 2}.conv", name)
    name = name.replace("proposal_generator.rpn_head.conv", "rpn_head.rpn_conv")
    name = name.replace("proposal_generator.rpn_head.objectness_logits", "rpn_head.rpn_cls")
    name = name.replace("proposal_generator.rpn_head.anchor_deltas", "rpn_head.rpn_reg")
    name = re.sub(
        r"^roi_heads\.box_(?:head|predictor)\.(\d\.)?(\w+)",
        lambda found: f"roi_head.bbox_head.{found[1] or ''}{_PLACES[found[2]]}",
        name,
    )
    name = re.sub(
        r"^roi_heads\.mask_head\.(\d\.)?mask_fcn(\d)",
        lambda found: f"roi_head.mask_head.{found[1] or ''}convs.{int(found[2]) - 1}.conv",
        name,
    )
    name = re.sub(r"^roi_heads\.mask_head\.(\d\.)?deconv", r"roi_head.mask_head.\1upsample", name)
    return re.sub(r"^roi_heads\.mask_head\.(\d\.)?predictor", r"roi_head.mask_head.\1conv_logits", name)


def mmsegmentation(text: str) -> dict[str, dict[str, tuple[int, ...]]]:
    """Names and shapes by the configuration, from the printed key lists, which show the first block of each stage."""
    found = {}
    for block in text.split("##### ")[1:]:
        rows = re.findall(r"^([a-z]\S*) \(([\d, ]*)\)$", block, re.MULTILINE)
        shapes = {name: tuple(int(side) for side in shape.split(",") if side.strip()) for name, shape in rows}
        config = block.split()[0].rpartition("/")[2]
        found[config] = _all_blocks(shapes) if "pidnet" not in config else shapes
    return found


def _all_blocks(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    whole = dict(shapes)
    for name, shape in shapes.items():
        resnet = re.match(r"^backbone\.layer([1-4])\.0\.(?!downsample)(.*)$", name)
        mit = re.match(r"^backbone\.layers\.([0-3])\.1\.0\.(.*)$", name)
        if resnet:
            stage = int(resnet[1])
            own = (shape[0], 256 * 2 ** (stage - 1), 1, 1) if resnet[2] == "conv1.weight" else shape
            whole |= {f"backbone.layer{stage}.{k}.{resnet[2]}": own for k in range(1, (3, 4, 6, 3)[stage - 1])}
        if mit:
            whole[f"backbone.layers.{mit[1]}.1.1.{mit[2]}"] = shape
    return whole
