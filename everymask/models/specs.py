"""How to build each network: frozen values that are stored in checkpoints and never name code."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Literal, TypeAlias

from everymask.errors import ConfigError, WeightsError

Norm = Literal["batch", "frozen", "group"]
ENCODERS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "mobilenetv3_large_100",
    "mobilenetv3_small_100",
)


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
    anchor_ratio: Literal["h/w", "w/h"] = "h/w"
    """What `anchor_ratios` of the spec divide."""
    anchor_stride: Literal["image/feature", "fixed"] = "image/feature"
    """Anchors lie (padded image // feature) pixels apart, or the level's nominal 4, 8, 16, 32, 64."""
    rpn_box_weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    """Factors on (dx, dy, dw, dh) that the RPN predicts."""
    rpn_selection: Literal["per-level", "joint"] = "per-level"
    """Proposals compete within their pyramid level, or all together (top `rpn_pre_nms`, one NMS)."""
    roi_level: Literal["torchvision", "detectron2", "mmdet", "matterport"] = "torchvision"
    """The formula that sends a box to a pyramid level."""
    roi_align: Literal["aligned", "legacy", "crop-and-resize"] = "legacy"
    """RoIAlign with the half-pixel shift, without it, or TensorFlow's crop_and_resize."""
    roi_sampling_ratio: int = 2
    """Sampling points per RoIAlign bin and axis; 0 means as many as the bin has pixels."""
    box_weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    """Factors on (dx, dy, dw, dh) that the box head predicts."""
    clamp_growth: bool = True
    """A box may grow by at most 1000/16 in one regression step."""
    inclusive_boxes: bool = False
    """Boxes are predicted with inclusive far corners (width x2 - x1 between pixel centres), as matterport does."""
    class_choice: Literal["per-class", "argmax"] = "per-class"
    """Each class of a proposal is a candidate detection, or only its best class."""
    mask_paste: Literal["torchvision", "detectron2", "matterport"] = "torchvision"
    """How the small mask becomes pixels: sub-pixel rule, rounding of the box, and > or >= 0.5."""


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
    anchor_sizes: tuple[int, ...] = (32, 64, 128, 256, 512)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    rpn_channels: int = 256
    rpn_depth: int = 1
    rpn_pre_nms: tuple[int, int] = (2000, 1000)
    rpn_post_nms: tuple[int, int] = (2000, 1000)
    rpn_nms: float = 0.7
    rpn_samples: int = 256
    box_convs: int = 0
    box_fcs: tuple[int, ...] = (1024, 1024)
    box_samples: int = 512
    score_threshold: float = 0.05
    nms: float = 0.5
    max_detections: int = 100
    profile: RegionProfile = RegionProfile()

    def __post_init__(self) -> None:
        if self.encoder not in ENCODERS:
            raise ConfigError(f"there is no encoder {self.encoder!r}; the encoders are {', '.join(ENCODERS)}")
        if self.channels < 1:
            raise ConfigError(f"channels must be at least 1, but got {self.channels}")
        if len(self.anchor_sizes) != 5:
            raise ConfigError(f"anchor_sizes must be five numbers, one per pyramid level, but got {self.anchor_sizes}")
        if not all(0 <= value <= 1 for value in (self.score_threshold, self.nms, self.rpn_nms)):
            raise ConfigError("score_threshold, nms and rpn_nms must lie between 0 and 1")
        if self.max_detections < 1:
            raise ConfigError(f"max_detections must be at least 1, but got {self.max_detections}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRCNN(FasterRCNN):
    """Mask R-CNN: Faster R-CNN with a mask head (He et al. 2017).

    Defaults: torchvision's `maskrcnn_resnet50_fpn`, whose files it loads; `mask_rcnn_v2()` is its `_v2`.
    """

    mask_convs: tuple[int, ...] = (256, 256, 256, 256)
    mask_norm: bool = False
    mask_channels: int = 256


ModelSpec: TypeAlias = FasterRCNN | MaskRCNN
KINDS: dict[str, type[ModelSpec]] = {"mask-rcnn": MaskRCNN, "faster-rcnn": FasterRCNN}


def mask_rcnn_v2(**changes: Any) -> MaskRCNN:
    """torchvision's `maskrcnn_resnet50_fpn_v2` (Li et al. 2021, "Benchmarking detection transfer learning")."""
    v2: dict[str, Any] = {"fpn_norm": True, "rpn_depth": 2, "box_convs": 4, "box_fcs": (1024,), "mask_norm": True}
    return MaskRCNN(**(v2 | changes))


def mask_rcnn_small(**changes: Any) -> MaskRCNN:
    """A Mask R-CNN that trains from scratch on a CPU: ResNet-18, narrow, norms everywhere (He et al. 2019).

    With the norms in its heads it learns without pretrained weights; where there are some, larger networks are better.
    """
    small: dict[str, Any] = {
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
    return MaskRCNN(**(small | changes))


def faster_rcnn_v2(**changes: Any) -> FasterRCNN:
    """torchvision's `fasterrcnn_resnet50_fpn_v2`."""
    v2: dict[str, Any] = {"fpn_norm": True, "rpn_depth": 2, "box_convs": 4, "box_fcs": (1024,)}
    return FasterRCNN(**(v2 | changes))


def spec_to_json(spec: ModelSpec) -> dict[str, Any]:
    """The spec as plain JSON values, with its kind under `"kind"`."""
    kind = next(name for name, cls in KINDS.items() if type(spec) is cls)
    return {"kind": kind} | asdict(spec)


def spec_from_json(data: dict[str, Any]) -> ModelSpec:
    """The spec that `spec_to_json` wrote; `WeightsError` names an unknown kind or setting."""
    values = dict(data)
    kind = values.pop("kind", None)
    if kind not in KINDS:
        raise WeightsError(f"the model is of kind {kind!r}, but this version knows {', '.join(KINDS)}")
    profile = values.pop("profile", {})
    unknown = sorted(set(values) - {column.name for column in fields(KINDS[kind])})
    unknown += sorted(set(profile) - {column.name for column in fields(RegionProfile)})
    if unknown:
        raise WeightsError(
            f"the model has settings that this version does not know: {', '.join(unknown)}",
            hint="it was probably written by a newer everymask: upgrade with pip",
        )
    return KINDS[kind](**_tuples(KINDS[kind], values), profile=RegionProfile(**_tuples(RegionProfile, profile)))


def _tuples(cls: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no tuples: lists become tuples again where the field's default is one."""
    defaults = {column.name: column.default for column in fields(cls) if column.default is not MISSING}
    return {name: tuple(value) if isinstance(defaults.get(name), tuple) else value for name, value in values.items()}
