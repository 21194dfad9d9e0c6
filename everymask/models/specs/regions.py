"""How to build each network that finds objects: frozen values that are stored in checkpoints and never name code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self, TypeAlias

from everymask.classical.selective_search import SelectiveSearch
from everymask.errors import ConfigError
from everymask.models.specs.family import Family

Norm = Literal["batch", "frozen", "group"]
Stages = Literal["all", "last"]
MaskPaste = Literal["torchvision", "detectron2", "matterport", "frame", "quarter frame"]
ENCODERS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "mobilenetv3_large_100",
    "mobilenetv3_small_100",
    "mobilenetv2_100",
    "tf_efficientnet_lite0",
    "resnext101_64x4d",
)
RARE_ENCODERS = ("resnext101_32x4d",)
"""Of other programs' checkpoints; not offered, for its ImageNet weights may not be used commercially."""

_PROPOSALS_FOR_EACH = 4


@dataclass(frozen=True, slots=True)
class RegionProfile:
    """Where the implementations of Mask R-CNN differ although the paper is the same.

    The defaults are torchvision's. With the other values one network runs the weights of Detectron2, mmdetection and
    matterport unchanged.
    """

    stride_in_1x1: bool = False
    """The first block of stages 3-5 strides in its 1x1 convolution (MSRA, caffe), not in its 3x3."""
    norm_eps: float = 1e-5
    """Epsilon of the encoder's batch norm: 1e-5, torchvision's legacy detectors 0, matterport 1e-3."""
    pool_padding: Literal["symmetric", "end"] = "symmetric"
    """The stem's 3x3 max-pool pads one pixel on each side, or (TensorFlow's "same") only at right and bottom."""
    anchor_rounding: bool = True
    """Base anchors are rounded to whole pixels."""
    anchor_origin: Literal["corner", "cell"] = "corner"
    """Anchors lie around the corner of each cell, or in its middle, where their sides are those of the stride's square,
    rounded at each ratio and then made as large as the anchor (Detectron of 2018 and maskrcnn-benchmark)."""
    anchor_ratio: Literal["h/w", "w/h"] = "h/w"
    """What `anchor_ratios` of the spec divide."""
    anchor_stride: Literal["image/feature", "fixed"] = "image/feature"
    """Anchors lie (padded image // feature) pixels apart, or the level's nominal 4, 8, 16, 32, 64."""
    rpn_box_weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    """Factors on (dx, dy, dw, dh) that the RPN predicts."""
    rpn_selection: Literal["per-level", "joint"] = "per-level"
    """Proposals compete within their pyramid level, or all together (top `rpn_pre_nms`, one NMS)."""
    proposal_limits: Literal["picture", "frame"] = "picture"
    """Proposals are cut to the picture, or may reach into its padding. Detections are always cut to the picture."""
    roi_level: Literal["torchvision", "detectron2", "mmdet", "matterport"] = "torchvision"
    """The formula that sends a box to a pyramid level."""
    roi_align: Literal["aligned", "legacy", "crop-and-resize", "max"] = "legacy"
    """RoIAlign with the half-pixel shift, without it, TensorFlow's crop_and_resize, or RoIPool: the largest of each
    bin."""
    roi_sampling_ratio: int = 2
    """Sampling points per RoIAlign bin and axis; 0 means as many as the bin has pixels."""
    box_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    """Factors on (dx, dy, dw, dh) that the box head predicts."""
    roi_ends: Literal["edge", "pixel"] = "edge"
    """Where regions are cut out a box ends at the far edge of its last pixel, or where that pixel begins (Detectron of
    2018 and maskrcnn-benchmark)."""
    clamp_growth: bool = True
    """A box may grow by at most 1000/16 in one regression step."""
    inclusive_boxes: bool = False
    """Boxes are predicted with inclusive far corners (width x2 - x1 between pixel centres), as matterport does."""
    class_choice: Literal["per-class", "argmax"] = "per-class"
    """Each class of a proposal is a candidate detection, or only its best class."""
    mask_paste: MaskPaste = "torchvision"
    """How the small mask becomes pixels: sub-pixel rule, rounding of the box, and > or >= 0.5."""

    @property
    def least_side(self) -> int:
        """How many pixels of a box are left where it is cut to a picture that it lies outside of."""
        return 1 if self.roi_ends == "pixel" else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FasterRCNN:
    """Faster R-CNN with a feature pyramid (Ren et al. 2015; Lin et al. 2017).

    Defaults: torchvision's `fasterrcnn_resnet50_fpn`, whose files it loads. `channels` is what a picture has;
    pairs such as `rpn_pre_nms` are (training, prediction).
    """

    encoder: str = "resnet50"
    channels: int = 3
    norm: Norm = "batch"
    fpn_channels: int = 256
    fpn_norm: bool = False
    fpn_stages: Stages = "all"
    """The pyramid stands on the ends of the encoder's stages (strides 4 to 32), or on the first block and the end of
    the last one (both at stride 32), as in torchvision's MobileNetV3 detectors."""
    fpn_bottom_up: bool = False
    """After the way down the maps go up again, each with what finer ones found (PAFPN: Liu et al. 2018)."""
    anchor_sizes: tuple[int, ...] = (32, 64, 128, 256, 512)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    shared_anchor_sizes: bool = False
    """Every pyramid level has anchors of all sizes; otherwise the first level has the first size, and so on."""
    rpn_channels: int = 256
    rpn_depth: int = 1
    rpn_pre_nms: tuple[int, int] = (2000, 1000)
    rpn_post_nms: tuple[int, int] = (2000, 1000)
    rpn_nms: float = 0.7
    rpn_score_threshold: float = 0.0
    rpn_samples: int = 256
    box_convs: int = 0
    box_fcs: tuple[int, ...] = (1024, 1024)
    box_samples: int = 512
    score_threshold: float = 0.05
    nms: float = 0.5
    max_detections: int = 100
    profile: RegionProfile = RegionProfile()

    def __post_init__(self) -> None:
        if self.encoder not in (*ENCODERS, *RARE_ENCODERS):
            raise ConfigError(f"there is no encoder {self.encoder!r}; the encoders are {', '.join(ENCODERS)}")
        if self.channels < 1:
            raise ConfigError(f"channels must be at least 1, but got {self.channels}")
        levels = len(self.strides)
        if not self.shared_anchor_sizes and len(self.anchor_sizes) != levels:
            raise ConfigError(
                f"anchor_sizes must be {levels} numbers, one per pyramid level, but got {self.anchor_sizes}"
            )
        if not self.anchor_sizes:
            raise ConfigError("anchor_sizes must have at least one number, but is empty")
        if not all(
            0 <= value <= 1 for value in (self.score_threshold, self.nms, self.rpn_nms, self.rpn_score_threshold)
        ):
            raise ConfigError("score_threshold, nms, rpn_nms and rpn_score_threshold must lie between 0 and 1")
        if self.max_detections < 1:
            raise ConfigError(f"max_detections must be at least 1, but got {self.max_detections}")

    def with_detections(self, most: int) -> Self:
        """The same for up to `most` objects in a picture, with at least four proposals for each of them."""
        pre, post = (
            (training, max(predicting, _PROPOSALS_FOR_EACH * most))
            for training, predicting in (self.rpn_pre_nms, self.rpn_post_nms)
        )
        return replace(self, max_detections=most, rpn_pre_nms=pre, rpn_post_nms=post)

    @property
    def strides(self) -> tuple[int, ...]:
        """The stride of each pyramid level."""
        return (4, 8, 16, 32, 64) if self.fpn_stages == "all" else (32, 32, 64)

    @property
    def pooled_levels(self) -> int:
        """From how many of the first levels regions are pooled: all but the last, and the first of equal strides."""
        return len(set(self.strides[:-1]))

    @property
    def anchors_per_place(self) -> int:
        """How many anchors lie around each pixel of a level."""
        return len(self.anchor_ratios) * (len(self.anchor_sizes) if self.shared_anchor_sizes else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRCNN(FasterRCNN):
    """Mask R-CNN: Faster R-CNN with a mask head (He et al. 2017).

    Defaults: torchvision's `maskrcnn_resnet50_fpn`, whose files it loads; `mask_rcnn_v2()` is its `_v2`.
    """

    mask_convs: tuple[int, ...] = (256, 256, 256, 256)
    mask_norm: bool = False
    mask_channels: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class PointRend(MaskRCNN):
    """Mask R-CNN with PointRend (Kirillov et al. 2020): a coarse mask of each object, then what it is at points, again
    and again where that is least sure.

    Masks have `start_side` * 2 ** `subdivisions` pixels a side: 224 by Detectron2's defaults, which these are. The
    settings of Mask R-CNN's mask head (`mask_...`) are not used.
    """

    coarse_side: int = 7
    """Of the coarse mask, which sees twice as many places a side of the finest map."""
    coarse_fcs: tuple[int, ...] = (1024, 1024)
    point_fcs: tuple[int, ...] = (256, 256, 256)
    train_points: int = 196
    """Of each object, three quarters of them where the coarse mask is least sure."""
    start_side: int = 28
    """First every pixel of a mask of this side is asked, then as many of each finer one."""
    subdivisions: int = 3

    def __post_init__(self) -> None:
        MaskRCNN.__post_init__(self)
        if self.fpn_stages != "all":
            raise ConfigError('points are read from the map of stride 4: leave fpn_stages at "all"')
        if min(self.coarse_side, self.start_side, self.train_points) < 1 or not self.coarse_fcs or not self.point_fcs:
            raise ConfigError(
                "coarse_side, start_side and train_points must be at least 1, and coarse_fcs and point_fcs have a layer"
            )
        if not 0 <= self.subdivisions <= 5:
            raise ConfigError(f"subdivisions must lie between 0 and 5, but are {self.subdivisions}")


Weighted: TypeAlias = tuple[float, float, float, float]
StageScores = Literal["probabilities", "logits"]
_STAGE_WEIGHTS: tuple[Weighted, ...] = ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeRCNN(FasterRCNN):
    """Cascade R-CNN (Cai and Vasconcelos 2018): box heads one after the other. Each sees the boxes that the one
    before has moved, and learns to tell better ones from worse.

    Of `profile` the box weights are not used. Defaults: the paper's and Detectron2's.
    """

    stage_ious: tuple[float, ...] = (0.5, 0.6, 0.7)
    """By how much a box overlaps with an object that it stands for, in each stage."""
    stage_box_weights: tuple[Weighted, ...] = _STAGE_WEIGHTS
    """Factors on (dx, dy, dw, dh) that the box head of each stage predicts, of a box that all classes share."""
    stage_losses: tuple[float, ...] = (1.0, 0.5, 0.25)
    """What the losses of each stage count."""
    stage_scores: StageScores = "probabilities"
    """What is averaged over the stages: probabilities (Detectron2), or what they are the softmax of (mmdetection)."""

    def __post_init__(self) -> None:
        # A class with slots is made anew by its decorator, which `super` without arguments does not find.
        FasterRCNN.__post_init__(self)
        _check_stages(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeMaskRCNN(MaskRCNN):
    """Cascade Mask R-CNN: `CascadeRCNN` with a mask head, which sees what the last stage has found."""

    stage_ious: tuple[float, ...] = (0.5, 0.6, 0.7)
    stage_box_weights: tuple[Weighted, ...] = _STAGE_WEIGHTS
    stage_losses: tuple[float, ...] = (1.0, 0.5, 0.25)
    stage_scores: StageScores = "probabilities"
    stage_masks: bool = False
    """Every stage has a mask head, and what they say is averaged (mmdetection)."""

    def __post_init__(self) -> None:
        MaskRCNN.__post_init__(self)
        _check_stages(self)


def _check_stages(spec: CascadeRCNN | CascadeMaskRCNN) -> None:
    stages = len(spec.stage_ious)
    if not stages or {len(spec.stage_box_weights), len(spec.stage_losses)} != {stages}:
        raise ConfigError(
            "stage_ious, stage_box_weights and stage_losses must have a value for each stage, but have "
            f"{stages}, {len(spec.stage_box_weights)} and {len(spec.stage_losses)}"
        )
    if not all(0 < iou <= 1 for iou in spec.stage_ious):
        raise ConfigError(f"stage_ious must lie above 0 and up to 1, but are {spec.stage_ious}")
    if not all(weight > 0 for weights in spec.stage_box_weights for weight in weights):
        raise ConfigError(f"stage_box_weights must be above 0, but are {spec.stage_box_weights}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FastRCNN(FasterRCNN):
    """Fast R-CNN (Girshick 2015), on a feature pyramid: selective search finds the boxes that the heads look at.

    Defaults: RoIPool, as in the paper; `RegionProfile()` has RoIAlign. Of what is said of anchors and of the RPN only
    `rpn_post_nms` has a meaning: so many boxes are looked at. Pictures are searched at up to `search_side` pixels.
    """

    search_scales: tuple[int, ...] = (50, 100)
    search_side: int = 500
    rpn_post_nms: tuple[int, int] = (2000, 2000)
    profile: RegionProfile = RegionProfile(roi_align="max")

    @property
    def search(self) -> SelectiveSearch:
        """How boxes are searched; `ConfigError` where that cannot be."""
        return SelectiveSearch(self.search_scales, self.search_side)


@dataclass(frozen=True, slots=True, kw_only=True)
class RCNNClassic(FastRCNN):
    """R-CNN (Girshick et al. 2014), for teaching: every searched box is cut out of the picture, warped to a square of
    `crop_side` pixels with `context` (a share of its sides) around it, and seen by itself.

    The encoder never learns; linear SVMs tell the classes, and a linear regression moves the boxes. Each picture takes
    `rpn_post_nms` times the encoder's time for a crop.
    """

    encoder: str = "resnet18"
    crop_side: int = 64
    context: float = 0.15
    rpn_post_nms: tuple[int, int] = (2000, 300)
    box_samples: int = 64
    nms: float = 0.3
    profile: RegionProfile = RegionProfile()

    def __post_init__(self) -> None:
        if self.crop_side < 32 or self.crop_side % 32:
            raise ConfigError(f"crop_side must be a multiple of 32, but got {self.crop_side}")
        super(FastRCNN, self).__post_init__()


CascadeSpec: TypeAlias = CascadeRCNN | CascadeMaskRCNN
RegionModelSpec: TypeAlias = FasterRCNN | MaskRCNN | FastRCNN | RCNNClassic | CascadeSpec | PointRend
REGION_KINDS: dict[str, type[RegionModelSpec]] = {
    "mask-rcnn": MaskRCNN,
    "faster-rcnn": FasterRCNN,
    "fast-rcnn": FastRCNN,
    "r-cnn": RCNNClassic,
    "cascade-rcnn": CascadeRCNN,
    "cascade-mask-rcnn": CascadeMaskRCNN,
    "point-rend": PointRend,
}


def mask_rcnn_v2(**changes: Any) -> MaskRCNN:
    """torchvision's `maskrcnn_resnet50_fpn_v2` (Li et al. 2021, "Benchmarking detection transfer learning")."""
    v2: dict[str, Any] = {"fpn_norm": True, "rpn_depth": 2, "box_convs": 4, "box_fcs": (1024,), "mask_norm": True}
    return MaskRCNN(**(v2 | changes))


SMALL: dict[str, Any] = {
    "encoder": "resnet18",
    "fpn_channels": 64,
    "fpn_norm": True,
    "rpn_channels": 64,
    "rpn_pre_nms": (500, 500),
    "rpn_post_nms": (200, 200),
    "box_convs": 2,
    "box_fcs": (256,),
    "box_samples": 64,
    "mask_convs": (64, 64),
    "mask_norm": True,
    "mask_channels": 64,
}
"""Of a network with a mask head: narrow, with norms everywhere (He et al. 2019)."""


def mask_rcnn_small(**changes: Any) -> MaskRCNN:
    """A Mask R-CNN that trains from scratch on a CPU: ResNet-18, narrow, norms everywhere (He et al. 2019).

    With the norms in its heads it learns without pretrained weights; where there are some, larger networks are better.
    """
    return MaskRCNN(**(SMALL | changes))


def faster_rcnn_v2(**changes: Any) -> FasterRCNN:
    """torchvision's `fasterrcnn_resnet50_fpn_v2`."""
    v2: dict[str, Any] = {"fpn_norm": True, "rpn_depth": 2, "box_convs": 4, "box_fcs": (1024,)}
    return FasterRCNN(**(v2 | changes))


def faster_rcnn_small(**changes: Any) -> FasterRCNN:
    """A Faster R-CNN that trains from scratch on a CPU, as `mask_rcnn_small`."""
    return FasterRCNN(**(_small(FasterRCNN) | changes))


def fast_rcnn_small(**changes: Any) -> FastRCNN:
    """A Fast R-CNN that trains from scratch on a CPU: pictures are searched at up to 300 pixels."""
    return FastRCNN(**(_small(FastRCNN) | {"rpn_post_nms": (2000, 500), "search_side": 300} | changes))


def cascade_mask_rcnn_small(**changes: Any) -> CascadeMaskRCNN:
    """A Cascade Mask R-CNN that trains from scratch on a CPU, as `mask_rcnn_small`."""
    return CascadeMaskRCNN(**(SMALL | changes))


def cascade_rcnn_small(**changes: Any) -> CascadeRCNN:
    """A Cascade R-CNN that trains from scratch on a CPU, as `faster_rcnn_small`."""
    return CascadeRCNN(**(_small(CascadeRCNN) | changes))


def point_rend_small(**changes: Any) -> PointRend:
    """A PointRend that trains from scratch on a CPU, as `mask_rcnn_small`; its masks are 56 pixels wide."""
    small = {"coarse_fcs": (256,), "point_fcs": (64, 64, 64), "start_side": 14, "subdivisions": 2, "train_points": 98}
    return PointRend(**(SMALL | small | changes))


def _small(kind: type[FasterRCNN]) -> dict[str, Any]:
    known = {column.name for column in fields(kind)}
    return {name: value for name, value in SMALL.items() if name in known}


RegionName: TypeAlias = Literal[
    "mask-rcnn",
    "mask-rcnn-v2",
    "mask-rcnn-small",
    "faster-rcnn",
    "faster-rcnn-v2",
    "faster-rcnn-small",
    "fast-rcnn",
    "fast-rcnn-small",
    "r-cnn",
    "cascade-mask-rcnn",
    "cascade-mask-rcnn-small",
    "cascade-rcnn",
    "cascade-rcnn-small",
    "point-rend",
    "point-rend-small",
]
_NAMED: dict[RegionName, Callable[..., RegionModelSpec]] = {
    "mask-rcnn": MaskRCNN,
    "mask-rcnn-v2": mask_rcnn_v2,
    "mask-rcnn-small": mask_rcnn_small,
    "faster-rcnn": FasterRCNN,
    "faster-rcnn-v2": faster_rcnn_v2,
    "faster-rcnn-small": faster_rcnn_small,
    "fast-rcnn": FastRCNN,
    "fast-rcnn-small": fast_rcnn_small,
    "r-cnn": RCNNClassic,
    "cascade-mask-rcnn": CascadeMaskRCNN,
    "cascade-mask-rcnn-small": cascade_mask_rcnn_small,
    "cascade-rcnn": CascadeRCNN,
    "cascade-rcnn-small": cascade_rcnn_small,
    "point-rend": PointRend,
    "point-rend-small": point_rend_small,
}
REGIONS = Family("objects", "networks that find objects", REGION_KINDS, _NAMED, ENCODERS)
