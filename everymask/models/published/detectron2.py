"""Detectron2's published weights that networks here take: their licence, CC BY-SA 3.0, binds what is made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from everymask.core.label_sets import coco_names, coco_panoptic_labels
from everymask.core.labels import labels_of
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.models.published.weights import Weights
from everymask.models.specs.panoptic import PanopticFPN
from everymask.models.specs.profiles import CAFFE, DETECTRON2, RESNEXT
from everymask.models.specs.regions import CascadeMaskRCNN, FasterRCNN, MaskRCNN

_SERVER = "https://dl.fbaipublicfiles.com/detectron2/"
_CITYSCAPES = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
_JITTERED: dict[str, Any] = {
    "norm": "batch", "fpn_norm": True, "rpn_depth": 2, "box_convs": 4, "box_fcs": (1024,), "mask_norm": True
}  # fmt: skip
_ENCODERS = {"R_50": "resnet50", "R_101": "resnet101", "X_101_32x8d": "resnext101_32x8d"}
# By the folder: configuration, number and digest, box AP, mask AP, and PQ (0: not measured, or no part of it).
_ROWS: dict[str, tuple[tuple[str, str, float, float, float], ...]] = {
    "COCO-Detection": (
        ("faster_rcnn_R_50_FPN_1x", "137257794/b275ba", 0.379, 0, 0),
        ("faster_rcnn_R_50_FPN_3x", "137849458/280758", 0.402, 0, 0),
        ("faster_rcnn_R_101_FPN_3x", "137851257/f6e8b1", 0.420, 0, 0),
        ("faster_rcnn_X_101_32x8d_FPN_3x", "139173657/68b088", 0.430, 0, 0),
    ),
    "COCO-InstanceSegmentation": (
        ("mask_rcnn_R_50_FPN_1x", "137260431/a54504", 0.386, 0.352, 0),
        ("mask_rcnn_R_50_FPN_3x", "137849600/f10217", 0.410, 0.372, 0),
        ("mask_rcnn_R_101_FPN_3x", "138205316/a3ec72", 0.429, 0.386, 0),
        ("mask_rcnn_X_101_32x8d_FPN_3x", "139653917/2d9806", 0.443, 0.395, 0),
    ),
    "new_baselines": (
        ("mask_rcnn_R_50_FPN_100ep_LSJ", "42047764/bb69de", 0.446, 0.403, 0),
        ("mask_rcnn_R_50_FPN_200ep_LSJ", "42047638/89a8d3", 0.463, 0.417, 0),
        ("mask_rcnn_R_50_FPN_400ep_LSJ", "42019571/14d201", 0.474, 0.425, 0),
        ("mask_rcnn_R_101_FPN_100ep_LSJ", "42025812/4f7b58", 0.464, 0.416, 0),
        ("mask_rcnn_R_101_FPN_200ep_LSJ", "42131867/0bb7ae", 0.480, 0.431, 0),
        ("mask_rcnn_R_101_FPN_400ep_LSJ", "42073830/f96b26", 0.489, 0.437, 0),
    ),
    "COCO-PanopticSegmentation": (
        ("panoptic_fpn_R_50_1x", "139514544/dbfeb4", 0.376, 0.347, 0.394),
        ("panoptic_fpn_R_50_3x", "139514569/c10459", 0.400, 0.365, 0.415),
        ("panoptic_fpn_R_101_3x", "139514519/cafdb1", 0.424, 0.385, 0.430),
    ),
    "Misc": (
        ("cascade_mask_rcnn_R_50_FPN_1x", "138602847/e9d89b", 0.421, 0.364, 0),
        ("cascade_mask_rcnn_R_50_FPN_3x", "144998488/480dd8", 0.443, 0.385, 0),
    ),
    "Cityscapes": (("mask_rcnn_R_50_FPN", "142423278/af9cf5", 0, 0.365, 0),),
}
# Parameters by configuration, and whether it is that for Cityscapes.
_PARAMS: dict[tuple[str, bool], int] = {
    ("faster_rcnn_R_50_FPN_1x", False): 41_704_036,
    ("faster_rcnn_R_50_FPN_3x", False): 41_704_036,
    ("faster_rcnn_R_101_FPN_3x", False): 60_643_940,
    ("faster_rcnn_X_101_32x8d_FPN_3x", False): 104_788_580,
    ("mask_rcnn_R_50_FPN_1x", False): 44_347_573,
    ("mask_rcnn_R_50_FPN_3x", False): 44_347_573,
    ("mask_rcnn_R_101_FPN_3x", False): 63_287_477,
    ("mask_rcnn_X_101_32x8d_FPN_3x", False): 107_432_117,
    ("mask_rcnn_R_50_FPN_100ep_LSJ", False): 46_305_589,
    ("mask_rcnn_R_50_FPN_200ep_LSJ", False): 46_305_589,
    ("mask_rcnn_R_50_FPN_400ep_LSJ", False): 46_305_589,
    ("mask_rcnn_R_101_FPN_100ep_LSJ", False): 65_297_717,
    ("mask_rcnn_R_101_FPN_200ep_LSJ", False): 65_297_717,
    ("mask_rcnn_R_101_FPN_400ep_LSJ", False): 65_297_717,
    ("panoptic_fpn_R_50_1x", False): 45_978_347,
    ("panoptic_fpn_R_50_3x", False): 45_978_347,
    ("panoptic_fpn_R_101_3x", False): 64_918_251,
    ("cascade_mask_rcnn_R_50_FPN_1x", False): 71_985_183,
    ("cascade_mask_rcnn_R_50_FPN_3x", False): 71_985_183,
    ("mask_rcnn_R_50_FPN", True): 43_960_069,
}


def detectron2_rows() -> tuple[Weights, ...]:
    """Of its model zoo Faster, Mask and Cascade R-CNN and Panoptic FPN on ResNets with a feature pyramid."""
    return tuple(
        _row(folder, config, file, dict(zip(("box AP", "mask AP", "PQ"), metrics, strict=True)))
        for folder, rows in _ROWS.items()
        for config, file, *metrics in rows
    )


def _row(folder: str, config: str, file: str, metrics: dict[str, float]) -> Weights:
    number, digest = file.split("/")
    title = next(key for key in ("X_101_32x8d", "R_101", "R_50") if key in config)
    resnext, city = title.startswith("X"), folder == "Cityscapes"
    normal = RESNEXT if resnext else CAFFE
    labels = labels_of(_CITYSCAPES if city else coco_names())
    options: dict[str, Any] = {"norm": "frozen", **(_JITTERED if "LSJ" in config else {})}
    options |= {"encoder": _ENCODERS[title], "rpn_post_nms": (1000, 1000)}
    options["profile"] = replace(DETECTRON2, stride_in_1x1=not resnext)
    kind: type[FasterRCNN] = FasterRCNN if config.startswith("faster") else MaskRCNN
    if config.startswith("cascade"):
        kind = CascadeMaskRCNN
    if config.startswith("panoptic"):
        kind, labels = PanopticFPN, coco_panoptic_labels()
        options["things"] = tuple(sorted(labels.things))
    return Weights(
        name=f"detectron2-{'cityscapes-' if city else ''}{config.replace('_', '-').lower()}",
        spec=kind(**options),
        labels=labels,
        preprocess=Preprocess(
            mean=normal[0], std=normal[1], resize=Resize(*((1024, 2048) if city else (800, 1333)), "detectron2")
        ),
        url=f"{_SERVER}{folder}/{config}/{number}/model_final_{digest}.pkl",
        sha256="",
        md5=digest,
        licence=f"CC BY-SA 3.0 (Detectron2); trained on {'Cityscapes' if city else 'COCO 2017'}",
        metrics=tuple((name, value) for name, value in metrics.items() if value),
        params=_PARAMS[config, city],
        megabytes=round(4.02 * _PARAMS[config, city] / 1e6, 0),
        recipe="https://github.com/facebookresearch/detectron2/blob/main/MODEL_ZOO.md",
        auto=False,
    )
