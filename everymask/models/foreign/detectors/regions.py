"""What other programs' region networks have in common: the spec that their tensors tell, and rows of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from everymask.core.label_sets import coco_names
from everymask.core.labels import Labels, labels_of
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.errors import WeightsError
from everymask.models.foreign.whole import numbered, part
from everymask.models.specs.regions import FasterRCNN, MaskRCNN, RegionModelSpec, RegionProfile

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
_SCORES, _BOXES = "roi_heads.box_predictor.cls_score", "roi_heads.box_predictor.bbox_pred"
_PLANES = "roi_heads.mask_predictor.mask_fcn_logits"


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
    no row of boxes and masks. `WeightsError` where all classes share one box.
    """
    moved = dict(named)
    scores = named.get(f"{_SCORES}.bias")
    for kind in ("weight", "bias"):
        for name, rows, last in ((_SCORES, 1, True), (_BOXES, 4, False), (_PLANES, 1, False)):
            tensor = named.get(f"{name}.{kind}")
            if tensor is None:
                continue
            background = tensor[-1:] if last else tensor.new_zeros(rows, *tensor.shape[1:])
            moved[f"{name}.{kind}"] = torch.cat([background, tensor[:-1] if last else tensor])
            if scores is not None and not last and len(tensor) == rows != rows * (len(scores) - 1):
                raise WeightsError("the classes share one box or mask here, which the networks of everymask do not")
    return moved


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
    convs = _count(named, "roi_heads.box_head.{}.0.weight")
    layers = [f"fc{6 + k}" for k in range(9)] if not convs else [str(convs + 1 + 2 * k) for k in range(9)]
    widths = [named[f"roi_heads.box_head.{layer}.weight"].shape[0] for layer in layers
              if f"roi_heads.box_head.{layer}.weight" in named]  # fmt: skip
    if not widths:
        raise WeightsError(f"the weights by {origin} are not whole: the box head has no layers")
    values |= {"box_convs": convs, "box_fcs": tuple(widths)}
    if f"{_PLANES}.weight" not in named:
        return FasterRCNN(**(values | changes))
    masks = _count(named, "roi_heads.mask_head.{}.0.weight")
    values |= {
        "mask_convs": tuple(len(named[f"roi_heads.mask_head.{k}.0.weight"]) for k in range(masks)),
        "mask_norm": "roi_heads.mask_head.0.1.weight" in named,
        "mask_channels": part(named, "roi_heads.mask_predictor.conv5_mask.weight", origin, 4).shape[1],
    }
    return changes.pop("kind", MaskRCNN)(**(values | changes))


def class_count(named: Mapping[str, Tensor], origin: str) -> int:
    """How many classes there are besides background, which has a row already."""
    return len(part(named, f"{_SCORES}.bias", origin, 1)) - 1


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
