"""What other programs' region networks have in common: the spec that their tensors tell, and rows of classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from everymask.core.label_sets import coco_names
from everymask.core.labels import Labels, labels_of
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.errors import WeightsError
from everymask.models.foreign.whole import numbered, part
from everymask.models.specs.regions import (
    CascadeMaskRCNN,
    CascadeRCNN,
    FasterRCNN,
    MaskRCNN,
    PointRend,
    RegionModelSpec,
    RegionProfile,
)

# Blocks of the third stage, channels of the first block's middle convolution and of each of its groups.
_RESNETS = {
    (2, None, 64): "resnet18",
    (6, None, 64): "resnet34",
    (6, 64, 64): "resnet50",
    (23, 64, 64): "resnet101",
    (6, 128, 4): "resnext50_32x4d",
    (23, 128, 4): "resnext101_32x4d",
    (23, 256, 8): "resnext101_32x8d",
    (23, 256, 4): "resnext101_64x4d",
}
_SCORES = re.compile(r"roi_heads\.box_predictor\.(\d\.)?cls_score\.(weight|bias)")
_BOXES = re.compile(r"roi_heads\.box_predictor\.bbox_pred\.(weight|bias)")
_PLANES = re.compile(r"roi_heads\.mask_predictor\.(\d\.)?mask_fcn_logits\.(weight|bias)")
_STAGES = 3


def resnet_of(named: Mapping[str, Tensor], prefix: str, origin: str) -> str:
    """The ResNet or ResNeXt whose tensors' names begin with `prefix`, by timm's name."""
    blocks = len({name.split(".")[prefix.count(".") + 1] for name in named if name.startswith(f"{prefix}layer3.")})
    first = part(named, f"{prefix}layer1.0.conv2.weight", origin, 4)
    deep = f"{prefix}layer1.0.conv3.weight" in named
    encoder = _RESNETS.get((blocks, len(first) if deep else None, first.shape[1]))
    if encoder is None:
        raise WeightsError(
            f"the weights by {origin} are of a ResNet with {blocks} blocks in its third stage, {len(first)} channels "
            f"and {first.shape[1]} in each group, which does not exist here",
            hint=f"there are {', '.join(_RESNETS.values())}",
        )
    return encoder


def background_first(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with a row of background before those of the classes, where it was the last row of the class scores and
    no row of boxes and masks. `WeightsError` where all classes share one box without a cascade, or one mask.
    """
    moved, classes = dict(named), _classes(named)
    for name, tensor in named.items():
        if _SCORES.fullmatch(name):
            moved[name] = torch.cat([tensor[-1:], tensor[:-1]])
            continue
        rows = 4 if _BOXES.fullmatch(name) else 1 if _PLANES.fullmatch(name) else 0
        if not rows:
            continue
        if classes is not None and len(tensor) == rows != rows * classes:
            raise WeightsError("the classes share one box or mask here, which the networks of everymask do not")
        moved[name] = torch.cat([tensor.new_zeros(rows, *tensor.shape[1:]), tensor])
    return moved


def _classes(named: Mapping[str, Tensor]) -> int | None:
    """How many classes there are besides background, where anything says it."""
    found = next((tensor for name, tensor in named.items() if _SCORES.fullmatch(name)), None)
    return None if found is None or not found.ndim else len(found) - 1


def reversed_channels(named: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The same for pictures whose channels come in the other order: red, green, blue instead of blue, green, red."""
    return named | {name: named[name].flip(1)} if name in named and named[name].ndim == 4 else named


def spec_of(named: Mapping[str, Tensor], profile: RegionProfile, origin: str, **changes: Any) -> RegionModelSpec:
    """The network whose tensors these are, under our names; `changes` are what tensors do not tell."""
    encoder = resnet_of(named, "backbone.body.", origin)
    ratios = (0.5, 1.0, 2.0)
    anchors = len(part(named, "rpn.head.cls_logits.weight", origin, 4))
    if anchors != len(ratios):
        raise WeightsError(
            f"the weights by {origin} have {anchors} anchors at each place, and do not say of which sizes and shapes; "
            f"the usual are {len(ratios)}"
        )
    fpn_norm = "backbone.fpn.inner_blocks.0.1.weight" in named
    grouped = "backbone.body.bn1.running_mean" not in named
    values: dict[str, Any] = {
        "encoder": encoder,
        "channels": part(named, "backbone.body.conv1.weight", origin, 4).shape[1],
        "norm": "group" if grouped else "batch" if fpn_norm else "frozen",
        "fpn_channels": len(part(named, "backbone.fpn.inner_blocks.0.0.weight", origin, 4)),
        "fpn_norm": fpn_norm,
        "rpn_channels": len(part(named, "rpn.head.conv.0.0.weight", origin, 4)),
        "rpn_depth": _count(named, "rpn.head.conv.{}.0.weight"),
        "rpn_post_nms": (1000, 1000),
        "profile": profile,
    }
    if "backbone.fpn.down_blocks.0.0.weight" in named:
        values["fpn_bottom_up"] = True
    stages = _count(named, "roi_heads.box_predictor.{}.cls_score.weight")
    if stages not in (0, _STAGES):
        raise WeightsError(
            f"the weights by {origin} are of a cascade of {stages} stages, and do not say by how much boxes overlap "
            f"with objects in each; the usual are {_STAGES}"
        )
    head = "roi_heads.box_head.0" if stages else "roi_heads.box_head"
    convs = _count(named, head + ".{}.0.weight")
    layers = [f"fc{6 + k}" for k in range(9)] if not convs else [str(convs + 1 + 2 * k) for k in range(9)]
    widths = [len(named[f"{head}.{layer}.weight"]) for layer in layers if f"{head}.{layer}.weight" in named]
    if not widths:
        raise WeightsError(f"the weights by {origin} are not whole: the box head has no layers")
    values |= {"box_convs": convs, "box_fcs": tuple(widths)}
    kind = changes.pop("kind", MaskRCNN)
    if kind is PointRend:
        return PointRend(**(values | changes))
    if not any(_PLANES.fullmatch(name) for name in named):
        return CascadeRCNN(**(values | changes)) if stages else FasterRCNN(**(values | changes))
    own = ".0" if "roi_heads.mask_predictor.0.mask_fcn_logits.weight" in named else ""
    planes = f"roi_heads.mask_head{own}"
    masks = _count(named, planes + ".{}.0.weight")
    values |= {
        "mask_convs": tuple(len(named[f"{planes}.{k}.0.weight"]) for k in range(masks)),
        "mask_norm": f"{planes}.0.1.weight" in named,
        "mask_channels": part(named, f"roi_heads.mask_predictor{own}.conv5_mask.weight", origin, 4).shape[1],
    }
    if stages:
        return CascadeMaskRCNN(stage_masks=bool(own), **(values | changes))
    return kind(**(values | changes))


def class_count(named: Mapping[str, Tensor], origin: str) -> int:
    """How many classes there are besides background, which has a row already."""
    first = "0." if "roi_heads.box_predictor.0.cls_score.bias" in named else ""
    return len(part(named, f"roi_heads.box_predictor.{first}cls_score.bias", origin, 1)) - 1


def object_labels(count: int, names: tuple[str, ...] = ()) -> tuple[Labels, tuple[str, ...]]:
    """The classes as the file names them, or as COCO does where there are 80; and what that assumes."""
    if len(names) == count and len(set(names)) == count and all(name.strip() for name in names):
        return labels_of(names), ()
    if count == len(coco_names()):
        return labels_of(coco_names()), ("its 80 classes are taken for COCO's",)
    return numbered(count), ("the file does not name its classes; they are called by their numbers",)


def fed(normal: tuple[tuple[float, ...], tuple[float, ...]], resize: Resize) -> Preprocess:
    """Pictures of bytes in the order red, green, blue."""
    return Preprocess(mean=normal[0], std=normal[1], resize=resize)


def _count(named: Mapping[str, Tensor], pattern: str) -> int:
    count = 0
    while pattern.format(count) in named:
        count += 1
    return count
