"""Detectron2's Faster, Mask and Cascade R-CNN, PointRend and Panoptic FPN on ResNets with a feature pyramid."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from everymask.core.label_sets import coco_panoptic_labels
from everymask.core.labels import Labels
from everymask.data.feed.preprocess import Resize
from everymask.errors import WeightsError
from everymask.models.foreign.detectors import point_rend
from everymask.models.foreign.detectors.regions import (
    background_first,
    class_count,
    fed,
    object_labels,
    resnet_of,
    reversed_channels,
    spec_of,
)
from everymask.models.foreign.files.stored import Stored
from everymask.models.foreign.whole import Rule, Whole, part, refuse_others, renamed
from everymask.models.specs.panoptic import PanopticFPN
from everymask.models.specs.profiles import CAFFE, DETECTRON2, RESNEXT
from everymask.models.specs.regions import PointRend

ORIGIN = "Detectron2"
SIGNS = ("backbone.bottom_up.stem.conv1.weight", "backbone.res5.0.conv1.weight", "backbone.stem.conv1.weight",
         "backbone.net.patch_embed.proj.weight", "res2_0_branch2a_w")  # fmt: skip
_RESNET: tuple[Rule, ...] = (
    (r"^backbone\.bottom_up\.stem\.conv1\.norm\.", "backbone.body.bn1."),
    (r"^backbone\.bottom_up\.stem\.conv1\.weight$", "backbone.body.conv1.weight"),
    (
        r"^backbone\.bottom_up\.res([2-5])\.(\d+)\.(conv|shortcut)(\d?)\.(norm\.)?(?=\w+$)",
        lambda found: f"backbone.body.layer{int(found[1]) - 1}.{found[2]}.{_unit(found)}.",
    ),
)
_HEADS: tuple[Rule, ...] = (
    (
        r"^backbone\.fpn_(lateral|output)([2-5])\.(norm\.)?(?=\w+$)",
        lambda found: (
            f"backbone.fpn.{'inner' if found[1] == 'lateral' else 'layer'}_blocks.{int(found[2]) - 2}."
            f"{1 if found[3] else 0}."
        ),
    ),
    (r"^proposal_generator\.rpn_head\.conv\.conv(\d)\.", r"rpn.head.conv.\1.0."),
    (r"^proposal_generator\.rpn_head\.conv\.(?=\w+$)", "rpn.head.conv.0.0."),
    (r"^proposal_generator\.rpn_head\.objectness_logits\.", "rpn.head.cls_logits."),
    (r"^proposal_generator\.rpn_head\.anchor_deltas\.", "rpn.head.bbox_pred."),
    (r"^roi_heads\.box_predictor\.([0-2]\.)?(cls_score|bbox_pred)\.(?=\w+$)", r"roi_heads.box_predictor.\1\2."),
    (
        r"^roi_heads\.(box_head\.(?:[0-2]\.)?|mask_head\.)(?:conv|mask_fcn)(\d)\.(norm\.)?(?=\w+$)",
        lambda found: f"roi_heads.{found[1]}{int(found[2]) - 1}.{1 if found[3] else 0}.",
    ),
    (r"^roi_heads\.mask_head\.deconv\.", "roi_heads.mask_predictor.conv5_mask."),
    (r"^roi_heads\.mask_head\.predictor\.", "roi_heads.mask_predictor.mask_fcn_logits."),
    (r"^sem_seg_head\.(p[2-5]\.\d)\.norm\.", r"sem_seg_head.\1.1."),
    (r"^sem_seg_head\.(p[2-5]\.\d)\.(?=\w+$)", r"sem_seg_head.\1.0."),
    (r"^sem_seg_head\.predictor\.", "sem_seg_head.predictor."),
)
_UNUSED = {
    r"^pixel_(mean|std)$": "the normalisation, which is stored with the model here",
    r"\.cell_anchors(\.|$)|\.anchor_generator\.": "anchors, which are calculated",
    r"num_batches_tracked$": "counters of norms",
}
_RELATIVES = (
    (r"^res\d_\d_branch", "Caffe2's names: an ImageNet encoder of Detectron2, which its own code converts"),
    (r"^backbone\.net\.", "ViTDet, whose encoder is a transformer"),
    (r"^roi_heads\.keypoint_", "a Keypoint R-CNN"),
    (r"^roi_heads\.mask_(head\.)?coarse_head\.reduce_channel_dim_conv\.", "a PointRend with narrower coarse masks"),
    (r"\.conv2_offset\.", "a network with deformable convolutions"),
    (r"^roi_heads\.res5\.", "a C4 network, without a feature pyramid"),
    (r"^backbone\.(res\d|stem)\.", "a network without a feature pyramid (C4 or DC5)"),
    (r"^backbone\.bottom_up\.s\d\.", "a network on a RegNet"),
    (r"^head\.(cls|bbox)_subnet\.", "a RetinaNet"),
    (r"^sem_seg_head\.(pixel_decoder|predictor\.(transformer|query|class_embed))", "Mask2Former or a relative"),
)


def from_detectron2(stored: Stored, tensors: Mapping[str, Tensor], file: str) -> Whole:
    """The network of a `model_final.pkl` or `.pth`; `WeightsError` where it is one that does not exist here.

    Files do not say how pictures are normalised (older ones apart), nor where stages stride. Both follow from the
    encoder that Detectron2 begins with: ResNets are Caffe's, which stride in the 1x1 convolution and whose channels
    keep their spread; ResNeXts stride in the 3x3 and divide by it. Networks with group norm stride in the 3x3.
    """
    reads = "Faster R-CNN, Mask R-CNN, Cascade R-CNN, PointRend and Panoptic FPN on ResNets with a feature pyramid"
    refuse_others(tensors, _RELATIVES, ORIGIN, reads)
    named, unused = renamed(tensors, (*_RESNET, *point_rend.RULES, *_HEADS, *_box_layers(tensors)), _UNUSED, ORIGIN)
    if not any(name.startswith("roi_heads.") for name in named):
        raise WeightsError(
            "these are weights by Detectron2 of a network that only proposes regions, or of an encoder",
            hint="take a Faster R-CNN or Mask R-CNN",
        )
    normal, assumed, reverse = _normalisation(named, tensors)
    named = background_first(reversed_channels(named, "backbone.body.conv1.weight") if reverse else named)
    count = class_count(named, ORIGIN)
    grouped = "backbone.body.bn1.running_mean" not in named
    profile = replace(DETECTRON2, stride_in_1x1=not grouped and normal[1] == CAFFE[1])
    labels, guessed = object_labels(count)
    changes: dict[str, Any] = {}
    if point_rend.has_points(named):
        named, changes = point_rend.points_apart(named, count, ORIGIN)
        changes |= {"kind": PointRend}
    if "sem_seg_head.predictor.weight" in named:
        labels, guessed = _panoptic_labels(labels, len(part(named, "sem_seg_head.predictor.bias", ORIGIN, 1)) - 1)
        width = len(part(named, "sem_seg_head.p2.0.0.weight", ORIGIN, 4))
        changes = {"kind": PanopticFPN, "things": tuple(range(count)), "semantic_channels": width}
    spec = spec_of(named, profile, ORIGIN, **changes)
    preprocess = fed(normal, Resize(800, 1333, "detectron2"))
    return Whole(ORIGIN, spec, named, labels, preprocess, unused, (*assumed, *guessed))


def _unit(found: re.Match[str]) -> str:
    """Our name for a convolution of a block, or for its norm."""
    if found[3] == "shortcut":
        return f"downsample.{1 if found[5] else 0}"
    return f"{'bn' if found[5] else 'conv'}{found[4]}"


def _box_layers(tensors: Mapping[str, Tensor]) -> tuple[Rule, ...]:
    """Fully connected layers have names of their own, or follow convolutions and are counted with them."""
    convs = sum(re.fullmatch(r"roi_heads\.box_head\.(0\.)?conv\d\.weight", name) is not None for name in tensors)
    first = convs + 1

    def layer(found: re.Match[str]) -> str:
        place = int(found[2])
        return f"roi_heads.box_head.{found[1] or ''}{first + 2 * (place - 1) if convs else f'fc{5 + place}'}."

    return ((r"^roi_heads\.box_head\.([0-2]\.)?fc(\d)\.", layer),)


def _normalisation(named: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> tuple[Any, tuple[str, ...], bool]:
    """Mean and spread of red, green and blue, what of it is assumed, and whether the network takes blue first."""
    mean, std = tensors.get("pixel_mean"), tensors.get("pixel_std")
    if mean is not None and std is not None and mean.numel() == std.numel() == 3 and bool((std > 0).all()):
        means, stds = ([float(value) / 255 for value in part.flatten()] for part in (mean, std))
        if all(0 <= value <= 1 for value in means):
            blue_first = means[0] <= means[2]
            order = slice(None, None, -1 if blue_first else 1)
            return (tuple(means[order]), tuple(stds[order])), (), blue_first
    resnext = resnet_of(named, "backbone.body.", ORIGIN).startswith("resnext")
    usual = RESNEXT if resnext else CAFFE
    return usual, ("normalised as Detectron2 does for this encoder, which the file does not say",), True


def _panoptic_labels(things: Labels, stuff: int) -> tuple[Labels, tuple[str, ...]]:
    known = coco_panoptic_labels()
    if (len(things), stuff) == (len(known.things), len(known) - len(known.things)):
        return known, ("its 80 things and 53 kinds of stuff are taken for COCO's",)
    names = (*things.names, *(f"stuff {number}" for number in range(stuff)))
    return Labels(names, things=frozenset(range(len(things)))), ("the file does not name its classes",)
