"""mmdetection's Faster, Mask and Cascade R-CNN on ResNets and ResNeXts with a feature pyramid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from everymask.data.feed.preprocess import Resize
from everymask.models.foreign.detectors.openmmlab import normalisation_of, style_of
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
from everymask.models.foreign.whole import Rule, Whole, refuse_others, renamed
from everymask.models.specs.profiles import CAFFE, IMAGENET, MMDETECTION, RESNEXT

ORIGIN = "mmdetection"
SIGNS = ("rpn_head.rpn_conv.weight", "neck.lateral_convs.0.conv.weight", "neck.fpn_convs.0.conv.weight",
         "roi_head.bbox_head.fc_cls.weight", "bbox_head.conv_cls.weight")  # fmt: skip
_RULES: tuple[Rule, ...] = (
    (r"^backbone\.(conv1|bn1|layer[1-4]\.\d+\.(?:conv\d|bn\d|downsample\.\d))\.", r"backbone.body.\1."),
    (r"^neck\.lateral_convs\.([0-3])\.conv\.", r"backbone.fpn.inner_blocks.\1.0."),
    (r"^neck\.fpn_convs\.([0-3])\.conv\.", r"backbone.fpn.layer_blocks.\1.0."),
    (r"^neck\.lateral_convs\.([0-3])\.bn\.", r"backbone.fpn.inner_blocks.\1.1."),
    (r"^neck\.fpn_convs\.([0-3])\.bn\.", r"backbone.fpn.layer_blocks.\1.1."),
    (r"^rpn_head\.rpn_conv\.(?=\w+$)", "rpn.head.conv.0.0."),
    (r"^rpn_head\.rpn_cls\.", "rpn.head.cls_logits."),
    (r"^rpn_head\.rpn_reg\.", "rpn.head.bbox_pred."),
    (r"^neck\.downsample_convs\.([0-2])\.conv\.", r"backbone.fpn.down_blocks.\1.0."),
    (r"^neck\.downsample_convs\.([0-2])\.bn\.", r"backbone.fpn.down_blocks.\1.1."),
    (r"^neck\.pafpn_convs\.([0-2])\.conv\.", r"backbone.fpn.up_blocks.\1.0."),
    (r"^neck\.pafpn_convs\.([0-2])\.bn\.", r"backbone.fpn.up_blocks.\1.1."),
    (
        r"^roi_head\.bbox_head\.([0-2]\.)?shared_fcs\.(\d)\.",
        lambda found: f"roi_heads.box_head.{found[1] or ''}fc{6 + int(found[2])}.",
    ),
    (r"^roi_head\.bbox_head\.([0-2]\.)?fc_cls\.", r"roi_heads.box_predictor.\1cls_score."),
    (r"^roi_head\.bbox_head\.([0-2]\.)?fc_reg\.", r"roi_heads.box_predictor.\1bbox_pred."),
    (r"^roi_head\.mask_head\.([0-2]\.)?convs\.(\d)\.conv\.", r"roi_heads.mask_head.\1\2.0."),
    (r"^roi_head\.mask_head\.([0-2]\.)?upsample\.", r"roi_heads.mask_predictor.\1conv5_mask."),
    (r"^roi_head\.mask_head\.([0-2]\.)?conv_logits\.", r"roi_heads.mask_predictor.\1mask_fcn_logits."),
)
# Its spreads of deltas in the last stage are 0.033 and 0.067, not 1/30 and 1/15.
_STAGE_WEIGHTS = ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (1 / 0.033, 1 / 0.033, 1 / 0.067, 1 / 0.067))
_UNUSED = {
    r"^data_preprocessor\.": "the normalisation, which is stored with the model here",
    r"num_batches_tracked$": "counters of norms",
}
_RELATIVES = (
    (r"^roi_head\.(semantic_head|glbctx_head|feat_relay_head|mask_head\.\d\.conv_res)\.", "HTC or SCNet"),
    (r"^roi_head\.mask_iou_head\.", "Mask Scoring R-CNN"),
    (r"^roi_head\.point_head\.", "a PointRend"),
    (r"\.conv_offset\.", "a network with deformable convolutions"),
    (r"^backbone\.(stages|patch_embed|downsample_layers)\.", "a network on Swin or ConvNeXt"),
    (r"^backbone\.stage\d\.", "a network on HRNet, CSPNeXt or a relative"),
    (r"^backbone\.stem\.\d", "a network whose ResNet begins with three convolutions"),
    (r"^(bbox|mask)_head\.", "a detector without regions"),
)


def from_mmdetection(stored: Stored, tensors: Mapping[str, Tensor], file: str) -> Whole:
    """The network of a checkpoint of mmdetection 2 or 3; `WeightsError` where it is one that does not exist here.

    How pictures are normalised, and where the stages stride, stands in the settings that such files have; without them
    the name of the file tells caffe's ResNets, and others are as PyTorch's.
    """
    reads = "Faster, Mask and Cascade R-CNN on ResNets with a feature pyramid, and RTMDet"
    refuse_others(tensors, _RELATIVES, ORIGIN, reads)
    named, unused = renamed(tensors, _RULES, _UNUSED, ORIGIN)
    encoder = resnet_of(named, "backbone.body.", ORIGIN)
    style = style_of(stored.settings, file)
    said = normalisation_of(stored.settings)
    normal, blue_first = said or _usual(encoder, style)
    assumed = () if said else ("normalised as mmdetection does for this encoder, which the file does not say",)
    named = background_first(reversed_channels(named, "backbone.body.conv1.weight") if blue_first else named)
    profile = replace(MMDETECTION, stride_in_1x1=style == "caffe")
    cascade = any(name.startswith("roi_heads.box_predictor.0.") for name in named)
    changes = {"stage_box_weights": _STAGE_WEIGHTS, "stage_scores": "logits"} if cascade else {}
    spec = spec_of(named, profile, ORIGIN, **changes)
    labels, guessed = object_labels(class_count(named, ORIGIN), stored.classes)
    return Whole(ORIGIN, spec, named, labels, fed(normal, Resize(800, 1333, "mmdet")), unused, (*assumed, *guessed))


def _usual(encoder: str, style: str | None) -> tuple[tuple[tuple[float, ...], tuple[float, ...]], bool]:
    if encoder == "resnext101_32x8d":
        return RESNEXT, True
    return (CAFFE, True) if style == "caffe" else (IMAGENET, False)
