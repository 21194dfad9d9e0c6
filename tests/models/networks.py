"""Small networks of every kind, each built once per process, and what they learn from."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any, TypeVar

import numpy as np
import torch

from everymask.core.segmentation import PanopticMap, SemanticMap
from everymask.data.feed.pipelines import prepare
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.shapes import ShapesConfig, draw_shapes
from everymask.models.base import Batch, Network, collate
from everymask.models.build import build
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.change import BIT, ChangeFormer, Changer, ChangeSpec, FCSiam, SNUNet, TinyCD
from everymask.models.specs.detr import RFDETR, RFDETRSeg
from everymask.models.specs.onestage import YOLOX, OneStageSpec, RTMDet, RTMDetIns
from everymask.models.specs.panoptic import PanopticFPN
from everymask.models.specs.prompted import SAM, SAM2, PromptedModelSpec, PromptedSmall
from everymask.models.specs.queries import EoMT, Mask2Former, QuerySpec
from everymask.models.specs.regions import (
    ENCODERS,
    CascadeMaskRCNN,
    CascadeRCNN,
    FasterRCNN,
    FastRCNN,
    MaskRCNN,
    PointRend,
    RCNNClassic,
    RegionModelSpec,
    faster_rcnn_v2,
    mask_rcnn_v2,
)
from everymask.models.specs.semantic import (
    FCN,
    LRASPP,
    DeepLabV3,
    DeepLabV3Plus,
    HRNet,
    PIDNet,
    PSPNet,
    SegFormer,
    SemanticModelSpec,
    UNet,
    UNetPlusPlus,
    UPerNet,
    as_torchvision,
    unet_original,
)

CLASSES = 3
_BOXES: dict[str, Any] = {
    "encoder": "resnet18",
    "fpn_channels": 16,
    "rpn_channels": 16,
    "rpn_pre_nms": (200, 200),
    "rpn_post_nms": (100, 100),
    "box_fcs": (32,),
    "box_samples": 64,
    "anchor_sizes": (16, 32, 48, 64, 96),
}
_MASKS = _BOXES | {"mask_convs": (16, 16), "mask_channels": 16}
_POINTS: dict[str, Any] = {"coarse_fcs": (32,), "point_fcs": (16, 16), "start_side": 7, "subdivisions": 2}
REGIONS: dict[str, RegionModelSpec] = {
    "mask-rcnn": MaskRCNN(**_MASKS),
    "mask-rcnn-v2": mask_rcnn_v2(**_MASKS),
    "mask-rcnn-group": MaskRCNN(**_MASKS, norm="group"),
    "mask-rcnn-frozen": MaskRCNN(**_MASKS, norm="frozen"),
    "faster-rcnn": FasterRCNN(**_BOXES),
    "faster-rcnn-v2": faster_rcnn_v2(**_BOXES),
    "cascade-mask-rcnn": CascadeMaskRCNN(**_MASKS),
    "cascade-mask-rcnn-stages": CascadeMaskRCNN(**_MASKS, stage_masks=True, stage_scores="logits", fpn_bottom_up=True),
    "cascade-rcnn": CascadeRCNN(**_BOXES),
    "point-rend": PointRend(**_MASKS, **_POINTS),
    "faster-rcnn-last": FasterRCNN(**_BOXES, fpn_stages="last", shared_anchor_sizes=True),
}
_NARROW: dict[str, Any] = {"encoder": "resnet18", "decoder_channels": 64}
_WIDTHS = (64, 32, 32, 16, 16)
_LEVELS = (64, 32, 16, 8)
SEMANTIC: dict[str, SemanticModelSpec] = {
    "unet": UNet(encoder="resnet18", decoder_channels=_WIDTHS),
    "unet-transposed": UNet(encoder="resnet18", decoder_channels=_WIDTHS, upsampling="transposed"),
    "unet-original": replace(unet_original(), decoder_channels=_LEVELS),
    "unet-original-paper": replace(unet_original(decoder_norm="none"), decoder_channels=_LEVELS),
    "unet-original-bilinear": replace(unet_original(upsampling="bilinear"), decoder_channels=_LEVELS),
    "unet++": UNetPlusPlus(encoder="resnet18", decoder_channels=_WIDTHS),
    "unet++-deep": UNetPlusPlus(encoder="resnet18", decoder_channels=_WIDTHS, auxiliary=True),
    "deeplabv3": DeepLabV3(**_NARROW, rates=(1, 2, 3)),
    "deeplabv3-16": DeepLabV3(**_NARROW, output_stride=16, auxiliary=False),
    "deeplabv3+": DeepLabV3Plus(**_NARROW),
    "deeplabv3+-8": DeepLabV3Plus(**_NARROW, output_stride=8, auxiliary=True),
    "pspnet": PSPNet(**_NARROW),
    "pspnet-shallow": PSPNet(**_NARROW, depth=3),
    "upernet": UPerNet(**_NARROW),
    "segformer": SegFormer(decoder_channels=64),
    "fcn": FCN(encoder="resnet18"),
    "hrnet": HRNet(),
    "hrnet-ocr": HRNet(ocr=True, ocr_channels=64, ocr_key_channels=32),
    "lraspp": LRASPP(encoder="mobilenetv3_small_100"),
    "pidnet": PIDNet(),
}
PANOPTIC: dict[str, ModelSpec] = {
    "panoptic-fpn": PanopticFPN(**_MASKS, things=(0, 2), semantic_channels=16),
    "panoptic-fpn-norms": PanopticFPN(**_MASKS, things=(1,), semantic_channels=16, fpn_norm=True, norm="group"),
}
CHANGE: dict[str, ModelSpec] = {
    "tinycd": TinyCD(head="multiclass"),
    "fc-ef": FCSiam(head="multiclass", fusion="early", dropout=0.0),
    "fc-siam-conc": FCSiam(head="multiclass", fusion="concat", dropout=0.0),
    "fc-siam-diff": FCSiam(head="multiclass", fusion="difference", dropout=0.0),
    "bit": BIT(head="multiclass", decoder_depth=2),
    "snunet": SNUNet(head="multiclass", width=4),
    "changeformer": ChangeFormer(head="multiclass", decoder_channels=32),
    "changer-ex": Changer(head="multiclass", decoder_channels=32),
    "unet-early": UNet(encoder="resnet18", decoder_channels=_WIDTHS, fusion="early"),
    "unet-difference": UNet(encoder="resnet18", decoder_channels=_WIDTHS, fusion="difference"),
    "unet-original-concat": replace(unet_original(fusion="concat"), decoder_channels=_LEVELS),
    "segformer-concat": SegFormer(decoder_channels=64, fusion="concat"),
}
ONE_STAGE: dict[str, ModelSpec] = {
    "yolox": YOLOX(encoder="csp_darknet_tiny"),
    "rtmdet-ins": RTMDetIns(),
    "rtmdet": RTMDet(),
}
SEARCHED: dict[str, ModelSpec] = {
    "fast-rcnn": FastRCNN(**_BOXES),
    "r-cnn": RCNNClassic(**(_BOXES | {"rpn_post_nms": (20, 20)}), crop_side=32),
}
"""Of boxes that are searched in the pictures."""
DETECTORS = FasterRCNN | OneStageSpec | RFDETR
"""The specs of networks that find objects and nothing else."""
_QUERIES: dict[str, Any] = {
    "encoder": "mobilenetv3_small_100",
    "width": 32,
    "heads": 4,
    "pixel_layers": 1,
    "pixel_hidden": 32,
    "layers": 3,
    "hidden": 32,
    "queries": 10,
    "points": 256,
}
QUERIES: dict[str, ModelSpec] = {
    "mask2former": Mask2Former(**_QUERIES, task="panoptic", things=(0, 2)),
    "mask2former-instance": Mask2Former(**_QUERIES, task="instance"),
    "mask2former-semantic": Mask2Former(**_QUERIES, task="semantic"),
    "eomt": EoMT(
        encoder="vit_tiny_patch16_224", task="panoptic", things=(0, 2), queries=10, points=256, side=96, annealing=100
    ),
}
_DETR: dict[str, Any] = {
    "encoder": "vit_tiny_patch16_224",
    "patch": 16,
    "windows": 2,
    "side": 96,
    "width": 32,
    "heads": 4,
    "read_heads": 4,
    "layers": 2,
    "hidden": 32,
    "queries": 30,
    "groups": 2,
}
DETR: dict[str, ModelSpec] = {
    "rf-detr-seg": RFDETRSeg(**_DETR),
    "rf-detr": RFDETR(**(_DETR | {"width": 64, "groups": 1})),
}
SPECS: dict[str, ModelSpec] = REGIONS | SEMANTIC | PANOPTIC | CHANGE | ONE_STAGE | QUERIES | DETR | SEARCHED
PROMPTED: dict[str, PromptedModelSpec] = {
    "sam": SAM(encoder="vit_t", side=64),
    "mobile-sam": SAM(encoder="tiny_vit", side=64),
    "sam2": SAM2(side=64),
    "sam2-video": SAM2(side=64, memory="2.1"),
    "prompted-small": PromptedSmall(side=64, width=32),
}
# Encoders of all families; for semantic networks without a map at stride 2, with odd sizes of maps, with channels last.
OTHER_ENCODERS: dict[str, ModelSpec] = {
    f"mask-rcnn-{name}": MaskRCNN(**(_MASKS | {"encoder": name})) for name in ENCODERS if name != "resnet18"
} | {
    "unet-mit": UNet(encoder="mit_b0", decoder_channels=_WIDTHS),
    "unet-convnext": UNet(encoder="convnext_atto", decoder_channels=_WIDTHS, upsampling="transposed"),
    "unet-vgg": UNet(encoder="vgg11_bn", decoder_channels=_WIDTHS),
    "unet-mobilenetv2": UNet(encoder="mobilenetv2_100", decoder_channels=_WIDTHS),
    "unet-efficientnet-lite": UNet(encoder="tf_efficientnet_lite0", decoder_channels=_WIDTHS),
    "deeplabv3+-mobilenetv2": DeepLabV3Plus(encoder="mobilenetv2_100", decoder_channels=64),
    "unet-densenet": UNet(encoder="densenet121", decoder_channels=_WIDTHS, upsampling="transposed"),
    "unet++-convnext": UNetPlusPlus(encoder="convnext_atto", decoder_channels=_WIDTHS, auxiliary=True),
    "upernet-swin": UPerNet(encoder="swin_tiny_patch4_window7_224", decoder_channels=32, feature_norm=True),
    "deeplabv3+-mobilenet": DeepLabV3Plus(encoder="mobilenetv3_small_100", decoder_channels=64),
    "pspnet-efficientnet": PSPNet(encoder="efficientnet_b0", decoder_channels=64),
    "deeplabv3-mobilenet": as_torchvision(DeepLabV3(encoder="mobilenetv3_small_100", decoder_channels=64)),
    "lraspp-resnet": LRASPP(encoder="resnet18"),
    "mask2former-swin": Mask2Former(
        **(_QUERIES | {"encoder": "swin_tiny_patch4_window7_224"}), task="panoptic", things=(0,)
    ),
    "segformer-resnet": SegFormer(encoder="resnet18", decoder_channels=64),
    "fcn-mmsegmentation": FCN(encoder="resnet18", convs=2, joins_input=True, decoder_channels=32),
    "deeplabv3-mmsegmentation": DeepLabV3(**_NARROW, rates=(1, 2, 3), decoder="mmsegmentation"),
    "deeplabv3+-mmsegmentation": DeepLabV3Plus(**_NARROW, decoder="mmsegmentation"),
    "segformer-mmsegmentation": SegFormer(decoder_channels=64, decoder="mmsegmentation"),
}

AnySpec = TypeVar("AnySpec", bound=ModelSpec)


def with_channels(spec: AnySpec, channels: int) -> AnySpec:
    """The spec for pictures of so many bands; a detector gives its seven best guesses, however bad."""
    changes: dict[str, Any] = {"score_threshold": 0.0, "max_detections": 7} if isinstance(spec, DETECTORS) else {}
    return replace(spec, channels=channels, **changes)


def bands_of(spec: ModelSpec) -> int:
    """How many channels a network is fed: two dates have those of both."""
    compares = isinstance(spec, ChangeSpec) or getattr(spec, "fusion", None) is not None
    return 2 * spec.channels if compares else spec.channels


@lru_cache(maxsize=24)
def shared_network(spec: ModelSpec, classes: int = CLASSES) -> Network:
    """The network of a spec, initialised by seed 0, in evaluation mode; for those who leave it as it is."""
    torch.manual_seed(0)
    return build(spec, classes).eval()


def own_network(spec: ModelSpec, classes: int = CLASSES) -> Network:
    """A copy of it in training mode, to be changed."""
    return copy.deepcopy(shared_network(spec, classes)).train()


@cache
def bare_network(spec: ModelSpec, classes: int = CLASSES) -> Network:
    """The network without numbers: names and shapes alone."""
    with torch.device("meta"):
        return build(spec, classes)


def some_batch(spec: ModelSpec, classes: int = CLASSES, count: int = 2) -> Batch:
    """Pictures of what a network finds, with as many channels as it takes."""
    task = spec.task if isinstance(spec, QuerySpec) else None
    if isinstance(spec, PanopticFPN) or task == "panoptic":
        return panoptic_batch(count, spec.channels)
    if isinstance(spec, DETECTORS) or task == "instance":
        return object_batch(count, spec.channels)
    batch = map_batch(count=count, channels=bands_of(spec), classes=classes)
    if bands_of(spec) > spec.channels:  # what there is has come since the earlier date
        batch.images[:, : spec.channels] *= 0.1
    return batch


def object_batch(count: int = 2, channels: int = 3) -> Batch:
    """Shapes in pictures of 96 x 96."""
    preprocess = Preprocess(channels, mean=(0.5,) * channels, std=(0.25,) * channels, resize=Resize(96, 96))
    samples = [draw_shapes(ShapesConfig(pictures=count, seed=0), index) for index in range(count)]
    wide = [replace(s, image=np.repeat(s.image[..., :1], channels, axis=2)) if channels != 3 else s for s in samples]
    return collate([prepare(sample, preprocess) for sample in wide], preprocess.divisor)


def panoptic_batch(count: int = 2, channels: int = 3) -> Batch:
    """The same shapes as segments; the upper left corner has no truth."""
    batch = object_batch(count, channels)
    truths = [PanopticMap.from_regions(truth, truth.size, 255) for truth in batch.truths]
    for truth in truths:
        truth.ids[:8, :8] = 0
    return replace(batch, truths=tuple(truths))


def map_batch(size: tuple[int, int] = (32, 64), count: int = 2, channels: int = 3, classes: int = CLASSES) -> Batch:
    """Pictures whose brightness tells the class, in bands; the last rows are void."""
    ids = np.broadcast_to(np.arange(size[1]) * classes // size[1], size).astype(np.int64)
    images = torch.from_numpy(ids).float().expand(count, channels, *size) / classes
    images = images + 0.1 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    ids = np.where(np.arange(size[0])[:, None] < size[0] - 4, ids, 255)
    windows = torch.tensor([(0, 0, size[1], size[0])] * count)
    return Batch(images, windows, (SemanticMap(ids),) * count, ids=("a", "b")[:count], files=("a", "b")[:count])
