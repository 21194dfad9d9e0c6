"""OpenMMLab's published weights that networks here take."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from everymask.core.label_sets import ADE20K, CITYSCAPES, coco_names, voc_labels
from everymask.core.labels import Labels, labels_of
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.models.published.weights import Weights
from everymask.models.specs.profiles import CAFFE, IMAGENET, MMDETECTION
from everymask.models.specs.regions import MaskRCNN
from everymask.models.specs.semantic import (
    FCN,
    DeepLabV3,
    DeepLabV3Plus,
    PIDNet,
    PSPNet,
    SegFormer,
    SemanticModelSpec,
    UPerNet,
)

# Which mmsegmentation's SegFormers began with.
_MIT = "NVIDIA Source Code License (non-commercial) of the encoder's ImageNet weights; "
_SERVER = "https://download.openmmlab.com/"
_ENCODERS = {"r50": "resnet50", "r101": "resnet101", "x101_32x4d": "resnext101_32x4d", "x101_64x4d": "resnext101_64x4d"}
# Configuration without "mask_rcnn_" and "_coco", what the file's name says besides, box and mask AP.
_MASK_RCNN = (
    ("r50_caffe_fpn_1x", "bbox_mAP-0.38__segm_mAP-0.344_20200504_231812-0ebd1859", 0.380, 0.344),
    ("r50_fpn_1x", "20200205-d4b0c5d6", 0.382, 0.347),
    ("r50_fpn_2x", "bbox_mAP-0.392__segm_mAP-0.354_20200505_003907-3e542a40", 0.392, 0.354),
    ("r101_caffe_fpn_1x", "20200601_095758-805e06c1", 0.404, 0.364),
    ("r101_fpn_1x", "20200204-1efe0ed5", 0.400, 0.361),
    ("r101_fpn_2x", "bbox_mAP-0.408__segm_mAP-0.366_20200505_071027-14b391c7", 0.408, 0.366),
    ("x101_32x4d_fpn_1x", "20200205-478d0b67", 0.419, 0.375),
    ("x101_32x4d_fpn_2x", "bbox_mAP-0.422__segm_mAP-0.378_20200506_004702-faef898c", 0.422, 0.378),
    ("x101_64x4d_fpn_1x", "20200201-9352eb0d", 0.428, 0.384),
    ("x101_64x4d_fpn_2x", "20200509_224208-39d6f70c", 0.427, 0.381),
    ("r50_caffe_fpn_mstrain-poly_2x", "bbox_mAP-0.403__segm_mAP-0.365_20200504_231822-a75c98ce", 0.403, 0.365),
    ("r50_caffe_fpn_mstrain-poly_3x", "bbox_mAP-0.408__segm_mAP-0.37_20200504_163245-42aa3d00", 0.408, 0.370),
    ("r50_fpn_mstrain-poly_3x", "20210524_201154-21b550bb", 0.409, 0.371),
    ("r101_fpn_mstrain-poly_3x", "20210524_200244-5675c317", 0.427, 0.385),
    ("r101_caffe_fpn_mstrain-poly_3x", "20210526_132339-3c33ce02", 0.429, 0.385),
    ("x101_32x4d_fpn_mstrain-poly_3x", "20210524_201410-abcd7859", 0.436, 0.390),
    ("x101_64x4d_fpn_mstrain-poly_3x", "20210526_120447-c376f129", 0.445, 0.397),
)
# By the folder: configuration, what the file's name says besides, mIoU.
_SEMANTIC: dict[str, tuple[tuple[str, str, float], ...]] = {
    "fcn": (
        ("fcn_r50-d8_512x1024_80k_cityscapes", "20200606_113019-03aa804d", 0.7361),
        ("fcn_r101-d8_512x1024_80k_cityscapes", "20200606_113038-3fb937eb", 0.7513),
    ),
    "pspnet": (
        ("pspnet_r50-d8_512x1024_80k_cityscapes", "20200606_112131-2376f12b", 0.7855),
        ("pspnet_r101-d8_512x1024_80k_cityscapes", "20200606_112211-e1e1100f", 0.7976),
    ),
    "deeplabv3": (
        ("deeplabv3_r50-d8_512x1024_80k_cityscapes", "20200606_113404-b92cfdd4", 0.7932),
        ("deeplabv3_r101-d8_512x1024_80k_cityscapes", "20200606_113503-9e428899", 0.8020),
    ),
    "deeplabv3plus": (
        ("deeplabv3plus_r50-d8_512x1024_80k_cityscapes", "20200606_114049-f9fb496d", 0.8009),
        ("deeplabv3plus_r101-d8_512x1024_80k_cityscapes", "20200606_114143-068fcfe9", 0.8097),
    ),
    "upernet": (
        ("upernet_r50_512x1024_80k_cityscapes", "20200607_052207-848beca8", 0.7819),
        ("upernet_r101_512x1024_80k_cityscapes", "20200607_002403-f05f2345", 0.7940),
        ("upernet_r50_512x512_160k_ade20k", "20200615_184328-8534de8d", 0.4205),
        ("upernet_r101_512x512_160k_ade20k", "20200615_161951-91b32684", 0.4382),
        ("upernet_r50_512x512_40k_voc12aug", "20200613_162257-ca9bcc6b", 0.7592),
        ("upernet_r101_512x512_40k_voc12aug", "20200613_163549-e26476ac", 0.7743),
    ),
    "segformer": (
        ("segformer_mit-b0_512x512_160k_ade20k", "20210726_101530-8ffa8fda", 0.3741),
        ("segformer_mit-b1_512x512_160k_ade20k", "20210726_112106-d70e859d", 0.4097),
        ("segformer_mit-b2_512x512_160k_ade20k", "20210726_112103-cbd414ac", 0.4558),
        ("segformer_mit-b3_512x512_160k_ade20k", "20210726_081410-962b98d2", 0.4782),
        ("segformer_mit-b4_512x512_160k_ade20k", "20210728_183055-7f509d7d", 0.4846),
        ("segformer_mit-b5_512x512_160k_ade20k", "20210726_145235-94cedf59", 0.4913),
        ("segformer_mit-b0_8x1_1024x1024_160k_cityscapes", "20211208_101857-e7f88502", 0.7654),
        ("segformer_mit-b1_8x1_1024x1024_160k_cityscapes", "20211208_064213-655c7b3f", 0.7856),
        ("segformer_mit-b2_8x1_1024x1024_160k_cityscapes", "20211207_134205-6096669a", 0.8108),
        ("segformer_mit-b3_8x1_1024x1024_160k_cityscapes", "20211206_224823-a8f8a177", 0.8194),
        ("segformer_mit-b4_8x1_1024x1024_160k_cityscapes", "20211207_080709-07f6c333", 0.8189),
        ("segformer_mit-b5_8x1_1024x1024_160k_cityscapes", "20211206_072934-87a052ec", 0.8225),
    ),
    "pidnet": (
        ("pidnet-s_2xb6-120k_1024x1024-cityscapes", "20230302_191700-bb8e3bcc", 0.7874),
        ("pidnet-m_2xb6-120k_1024x1024-cityscapes", "20230301_143452-f9bcdbf3", 0.8022),
    ),
}
_PARAMS: dict[str, int] = {
    "resnet50": 44_347_573,
    "resnet101": 63_287_477,
    "resnext101_32x4d": 62_883_509,
    "resnext101_64x4d": 102_096_053,
    "fcn-resnet50c-cityscapes": 49_497_734,
    "fcn-resnet101c-cityscapes": 68_489_862,
    "pspnet-resnet50c-cityscapes": 48_975_494,
    "pspnet-resnet101c-cityscapes": 67_967_622,
    "deeplabv3-resnet50c-cityscapes": 68_113_030,
    "deeplabv3-resnet101c-cityscapes": 87_105_158,
    "deeplabv3plus-resnet50c-cityscapes": 43_589_878,
    "deeplabv3plus-resnet101c-cityscapes": 62_582_006,
    "upernet-resnet50c-cityscapes": 66_415_238,
    "upernet-resnet101c-cityscapes": 85_407_366,
    "upernet-resnet50c-ade20k": 66_516_108,
    "upernet-resnet101c-ade20k": 85_508_236,
    "upernet-resnet50c-voc12aug": 66_416_778,
    "upernet-resnet101c-voc12aug": 85_408_906,
    "segformer-mit_b0-ade20k": 3_753_718,
    "segformer-mit_b1-ade20k": 13_716_822,
    "segformer-mit_b2-ade20k": 24_761_686,
    "segformer-mit_b3-ade20k": 44_637_526,
    "segformer-mit_b4-ade20k": 61_408_086,
    "segformer-mit_b5-ade20k": 82_008_406,
    "segformer-mit_b0-cityscapes": 3_720_051,
    "segformer-mit_b1-cityscapes": 13_683_155,
    "segformer-mit_b2-cityscapes": 24_728_019,
    "segformer-mit_b3-cityscapes": 44_603_859,
    "segformer-mit_b4-cityscapes": 61_374_419,
    "segformer-mit_b5-cityscapes": 81_974_739,
    "pidnet-pidnet_s-cityscapes": 7_720_935,
    "pidnet-pidnet_m-cityscapes": 28_763_111,
}


def mmdetection_rows() -> tuple[Weights, ...]:
    """mmdetection's Mask R-CNNs."""
    return tuple(_mask_rcnn(*row) for row in _MASK_RCNN)


def mmsegmentation_rows() -> tuple[Weights, ...]:
    """mmsegmentation's networks of the kinds that exist here, the best of each kind and encoder."""
    return tuple(_semantic(folder, *row) for folder, rows in _SEMANTIC.items() for row in rows)


def _mask_rcnn(config: str, file: str, box_ap: float, mask_ap: float) -> Weights:
    caffe, encoder = "caffe" in config, next(name for name in reversed(_ENCODERS) if config.startswith(name))
    normal = CAFFE if caffe else IMAGENET
    title = f"mask_rcnn_{config}_coco"
    spec = MaskRCNN(
        encoder=_ENCODERS[encoder],
        norm="frozen",
        rpn_post_nms=(1000, 1000),
        profile=replace(MMDETECTION, stride_in_1x1=caffe),
    )
    return Weights(
        name=f"mmdetection-mask-rcnn-{config.replace('_', '-')}",
        spec=spec,
        labels=labels_of(coco_names()),
        preprocess=Preprocess(mean=normal[0], std=normal[1], resize=Resize(800, 1333, "mmdet")),
        url=f"{_SERVER}mmdetection/v2.0/mask_rcnn/{title}/{title}_{file}.pth",
        metrics=(("box AP", box_ap), ("mask AP", mask_ap)),
        recipe="https://github.com/open-mmlab/mmdetection/tree/main/configs/mask_rcnn",
        **_shared(file, spec.encoder, "mmdetection", "COCO 2017"),
    )


def _semantic(folder: str, config: str, file: str, miou: float) -> Weights:
    data = next(name for name in ("cityscapes", "ade20k", "voc12aug") if name in config)
    labels: Labels = {"cityscapes": CITYSCAPES, "ade20k": ADE20K, "voc12aug": voc_labels()}[data]
    found = re.search(r"(?<=_)r\d+|mit-b\d|pidnet-[sm]", config)
    assert found is not None
    spec = _network(folder, found[0].replace("-", "_"))
    resize = Resize(rule="none") if data == "cityscapes" else Resize(512, 2048, "mmdet")
    titles = {"cityscapes": "Cityscapes", "ade20k": "ADE20K", "voc12aug": "Pascal VOC 2012"}
    return Weights(
        name=f"mmsegmentation-{folder}-{found[0].removeprefix('pidnet-')}-{data}",
        spec=spec,
        labels=labels,
        preprocess=Preprocess(resize=resize),
        url=f"{_SERVER}mmsegmentation/v0.5/{folder}/{config}/{config}_{file}.pth",
        metrics=(("mIoU", miou),),
        recipe=f"https://github.com/open-mmlab/mmsegmentation/tree/main/configs/{folder}",
        **_shared(file, f"{folder}-{spec.encoder}-{data}", "mmsegmentation", titles[data]),
    )


def _network(folder: str, size: str) -> SemanticModelSpec:
    encoder = {"r50": "resnet50c", "r101": "resnet101c"}.get(size, size)
    whole: dict[str, Any] = {"decoder_channels": 512, "decoder": "mmsegmentation"}
    match folder:
        case "fcn":
            return FCN(encoder=encoder, convs=2, joins_input=True, decoder_channels=512)
        case "pspnet":
            return PSPNet(encoder=encoder)
        case "deeplabv3":
            return DeepLabV3(encoder=encoder, **whole)
        case "deeplabv3plus":
            return DeepLabV3Plus(encoder=encoder, output_stride=8, rates=(12, 24, 36), auxiliary=True, **whole)
        case "upernet":
            return UPerNet(encoder=encoder)
        case "segformer":
            return SegFormer(encoder=encoder, decoder="mmsegmentation")
        case _:
            return PIDNet(encoder=encoder)


def _shared(file: str, counted_as: str, program: str, data: str) -> dict[str, Any]:
    params = _PARAMS[counted_as]
    return {
        "sha256": file.rpartition("-")[2],
        "licence": (_MIT if "-mit_b" in counted_as else "") + f"Apache-2.0 ({program}); trained on {data}",
        "params": params,
        "megabytes": round(4.02 * params / 1e6, 0),
        "auto": False,
    }
