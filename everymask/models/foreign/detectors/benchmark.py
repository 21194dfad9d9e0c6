"""maskrcnn-benchmark's Faster and Mask R-CNN on ResNets with a feature pyramid: anchors and boxes are Detectron's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from everymask.data.feed.preprocess import Resize
from everymask.models.foreign.detectors.regions import (
    class_count,
    fed,
    object_labels,
    resnet_of,
    reversed_channels,
    spec_of,
)
from everymask.models.foreign.files.stored import Stored
from everymask.models.foreign.whole import Rule, Whole, refuse_others, renamed
from everymask.models.specs.profiles import BENCHMARK, CAFFE2

ORIGIN = "maskrcnn-benchmark"
SIGNS = ("roi_heads.box.feature_extractor.fc6.weight", "backbone.body.stem.conv1.weight",
         "roi_heads.box.feature_extractor.head.layer4.0.conv1.weight")  # fmt: skip
_RULES: tuple[Rule, ...] = (
    (r"^backbone\.body\.stem\.(conv1|bn1)\.", r"backbone.body.\1."),
    (r"^backbone\.body\.(layer[1-4]\.\d+\.(?:conv\d|bn\d|downsample\.\d))\.", r"backbone.body.\1."),
    (
        r"^backbone\.fpn\.fpn_(inner|layer)([1-4])\.",
        lambda found: f"backbone.fpn.{found[1]}_blocks.{int(found[2]) - 1}.0.",
    ),
    (r"^rpn\.head\.conv\.", "rpn.head.conv.0.0."),
    (r"^rpn\.head\.(cls_logits|bbox_pred)\.", r"rpn.head.\1."),
    (r"^roi_heads\.box\.feature_extractor\.(fc[67])\.", r"roi_heads.box_head.\1."),
    (r"^roi_heads\.box\.predictor\.(cls_score|bbox_pred)\.", r"roi_heads.box_predictor.\1."),
    (
        r"^roi_heads\.mask\.feature_extractor\.mask_fcn([1-4])\.",
        lambda found: f"roi_heads.mask_head.{int(found[1]) - 1}.0.",
    ),
    (r"^roi_heads\.mask\.predictor\.(conv5_mask|mask_fcn_logits)\.", r"roi_heads.mask_predictor.\1."),
)
_UNUSED = {
    r"\.cell_anchors\.": "anchors, which are calculated",
    r"num_batches_tracked$": "counters of norms",
}
_RELATIVES = (
    (r"^roi_heads\.box\.feature_extractor\.head\.", "a C4 network, without a feature pyramid"),
    (r"^roi_heads\.keypoint\.", "a Keypoint R-CNN"),
    (r"^rpn\.head\.(cls|bbox)_tower\.", "a RetinaNet"),
    (r"\.conv2\.offset\.", "a network with deformable convolutions"),
    (r"^roi_heads\.box\.feature_extractor\.xconvs\.", "a network whose box head has convolutions"),
)


def from_benchmark(stored: Stored, tensors: Mapping[str, Tensor], file: str) -> Whole:
    """The network of a `.pth` of maskrcnn-benchmark; `WeightsError` where it is one that does not exist here.

    Boxes there end with their last pixel, whose index is one less than where they end here: lengths, overlaps and
    deltas are the same. Regions are cut out up to that pixel, as there. Pictures are normalised and stages stride as in
    its model zoo: ResNets are Caffe2's, ResNeXts stride in the 3x3.
    """
    refuse_others(tensors, _RELATIVES, ORIGIN, "Faster R-CNN and Mask R-CNN on ResNets with a feature pyramid")
    named, unused = renamed(tensors, _RULES, _UNUSED, ORIGIN)
    named = reversed_channels(named, "backbone.body.conv1.weight")
    resnext = resnet_of(named, "backbone.body.", ORIGIN).startswith("resnext")
    spec = spec_of(named, replace(BENCHMARK, stride_in_1x1=not resnext), ORIGIN)
    labels, guessed = object_labels(class_count(named, ORIGIN))
    assumed = ("normalised as in its model zoo, which the file does not say",)
    return Whole(
        ORIGIN, spec, named, labels, fed(CAFFE2, Resize(800, 1333, "detectron2")), unused, (*assumed, *guessed)
    )
