"""How other programs' region networks behave, and how they normalise pictures: red first, in 0-1."""

from __future__ import annotations

from dataclasses import replace

from everymask.models.specs.regions import RegionProfile

DETECTRON2 = RegionProfile(
    anchor_rounding=False,
    anchor_stride="fixed",
    roi_level="detectron2",
    roi_align="aligned",
    roi_sampling_ratio=0,
    mask_paste="detectron2",
)
"""Of encoders that stride in the 3x3 convolution; `stride_in_1x1` of Caffe's ResNets."""
MMDETECTION = replace(DETECTRON2, roi_level="mmdet")
BENCHMARK = RegionProfile(
    stride_in_1x1=True,
    norm_eps=0.0,
    anchor_origin="cell",
    anchor_stride="fixed",
    roi_level="detectron2",
    roi_ends="pixel",
)
"""Of maskrcnn-benchmark, and of Detectron, from which it has anchors and boxes; encoders as for `DETECTRON2`."""
MATTERPORT = RegionProfile(
    stride_in_1x1=True,
    norm_eps=1e-3,
    pool_padding="end",
    anchor_rounding=False,
    anchor_ratio="w/h",
    anchor_stride="fixed",
    rpn_box_weights=(10.0, 10.0, 5.0, 5.0),
    rpn_selection="joint",
    proposal_limits="frame",
    roi_level="matterport",
    roi_align="crop-and-resize",
    clamp_growth=False,
    inclusive_boxes=True,
    class_choice="argmax",
    mask_paste="matterport",
)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE = (123.675 / 255, 116.28 / 255, 103.53 / 255), (1 / 255, 1 / 255, 1 / 255)
"""Of Caffe's ResNets: bytes, of which the mean is taken off."""
CAFFE2 = (122.7717 / 255, 115.9465 / 255, 102.9801 / 255), CAFFE[1]
"""Of Detectron's ResNets."""
RESNEXT = CAFFE[0], (58.395 / 255, 57.12 / 255, 57.375 / 255)
"""Of ResNeXt-101-32x8d."""
