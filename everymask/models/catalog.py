"""Pretrained weights: one row each, with where they lie, what they are worth and under which licence they stand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from everymask.core.label_sets import coco_80_labels, coco_labels, voc_labels
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.errors import ConfigError
from everymask.models.published.detectron2 import detectron2_rows
from everymask.models.published.openmmlab import mmdetection_rows, mmsegmentation_rows
from everymask.models.published.weights import Weights
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.detr import DETR, DetrName, RFDETRSeg, detr_preprocess
from everymask.models.specs.onestage import (
    ONE_STAGE,
    OneStageName,
    published_preprocess,
    published_profile,
)
from everymask.models.specs.prompted import (
    PROMPTED,
    PromptedName,
    prompted_labels,
    prompted_preprocess,
)
from everymask.models.specs.regions import FasterRCNN, MaskRCNN, RegionProfile, faster_rcnn_v2, mask_rcnn_v2
from everymask.models.specs.semantic import FCN, LRASPP, DeepLabV3, SemanticModelSpec, as_torchvision

# torchvision's first detectors were trained with batch norm whose epsilon was 0.
_LEGACY = RegionProfile(norm_eps=0.0)
# torchvision's MobileNetV3 detectors: two maps of the last stage, fifteen anchors around each of their pixels.
_MOBILENET = FasterRCNN(
    encoder="mobilenetv3_large_100",
    norm="frozen",
    fpn_stages="last",
    shared_anchor_sizes=True,
    rpn_score_threshold=0.05,
)
_RESIZE = Resize()
# torchvision's segmentation takes a short side of 520 pixels, resized by Pillow, and any long side. Where that is no
# whole number it rounds down, this rule to the nearest: pictures may be one pixel longer.
_SEMANTIC_RESIZE = Resize(520, 100_000, "detectron2")
_SERVER = "https://download.pytorch.org/models/"

_PROMPTED_ROW: TypeAlias = tuple[PromptedName, str, str, tuple[tuple[str, float], ...], tuple[int, float]]
# By the folder of the files and the repository of the code: name, file, hash, metrics, parameters and megabytes.
_PROMPTED: dict[tuple[str, str], tuple[_PROMPTED_ROW, ...]] = {
    ("https://dl.fbaipublicfiles.com/segment_anything/", "facebookresearch/segment-anything"): (
        (
            "sam-b",
            "sam_vit_b_01ec64.pth",
            "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            (("mask AP (ViTDet-H's boxes)", 0.434), ("1-click mIoU on SA-23", 0.559)),
            (93_735_472, 375.0),
        ),
        (
            "sam-l",
            "sam_vit_l_0b3195.pth",
            "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            (("mask AP (ViTDet-H's boxes)", 0.462),),
            (312_342_832, 1249.5),
        ),
        (
            "sam-h",
            "sam_vit_h_4b8939.pth",
            "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            (("mask AP (ViTDet-H's boxes)", 0.466), ("1-click mIoU on SA-23", 0.581)),
            (641_090_608, 2564.6),
        ),
    ),
    ("https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/", "ChaoningZhang/MobileSAM"): (
        (
            "mobile-sam",
            "mobile_sam.pt",
            "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
            (("mask AP (ViTDet-H's boxes)", 0.410), ("1-click mIoU on COCO", 0.437)),
            (9_808_452, 40.7),
        ),
    ),
    ("https://dl.fbaipublicfiles.com/segment_anything_2/092824/", "facebookresearch/sam2"): (
        (
            "sam2.1-t",
            "sam2.1_hiera_tiny.pt",
            "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
            (("J&F on SA-V", 0.765),),
            (31_440_721, 156.0),
        ),
        (
            "sam2.1-s",
            "sam2.1_hiera_small.pt",
            "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
            (("J&F on SA-V", 0.766),),
            (38_538_577, 184.4),
        ),
        (
            "sam2.1-b+",
            "sam2.1_hiera_base_plus.pt",
            "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
            (("J&F on SA-V", 0.782),),
            (73_328_401, 323.6),
        ),
        (
            "sam2.1-l",
            "sam2.1_hiera_large.pt",
            "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
            (("J&F on SA-V", 0.795), ("1-click mIoU on SA-37", 0.664)),
            (216_924_865, 898.1),
        ),
    ),
}

_OPENMMLAB = "https://download.openmmlab.com/mmdetection/v3.0/rtmdet/"
# The name, the training, when it was and the hash; box AP and mask AP (0: no masks); parameters and megabytes.
_RTMDET: tuple[tuple[OneStageName, str, str, tuple[float, float], tuple[int, float]], ...] = (
    ("rtmdet-ins-tiny", "rtmdet-ins_tiny_8xb32", "20221130_151727-ec670f7e", (0.405, 0.354), (5_638_187, 22.6)),
    ("rtmdet-ins-s", "rtmdet-ins_s_8xb32", "20221121_212604-fdc5d7ec", (0.440, 0.387), (10_183_311, 40.8)),
    ("rtmdet-ins-m", "rtmdet-ins_m_8xb32", "20221123_001039-6eba602e", (0.488, 0.421), (27_575_111, 110.5)),
    ("rtmdet-ins-l", "rtmdet-ins_l_8xb32", "20221124_103237-78d1d652", (0.512, 0.437), (57_365_663, 229.8)),
    ("rtmdet-ins-x", "rtmdet-ins_x_8xb16", "20221124_111313-33d4595b", (0.524, 0.446), (102_703_767, 411.3)),
    ("rtmdet-tiny", "rtmdet_tiny_8xb32", "20220902_112414-78e30dcc", (0.409, 0.0), (4_896_168, 19.7)),
    ("rtmdet-s", "rtmdet_s_8xb32", "20220905_161602-387a891e", (0.445, 0.0), (8_886_924, 35.6)),
    ("rtmdet-m", "rtmdet_m_8xb32", "20220719_112220-229f527c", (0.491, 0.0), (24_709_188, 99.0)),
    ("rtmdet-l", "rtmdet_l_8xb32", "20220719_112030-5a0be7c4", (0.513, 0.0), (52_315_804, 209.6)),
    ("rtmdet-x", "rtmdet_x_8xb32", "20220715_230555-cc79b9ae", (0.526, 0.0), (94_855_572, 379.9)),
)

_ROBOFLOW = "https://storage.googleapis.com/rfdetr/"
# The name, the file and its MD5 as rfdetr's own list has it; mask AP, of the last one box AP; parameters and megabytes.
# The smaller detectors of boxes are all called checkpoint_best_regular.pth, as any training of rfdetr is.
_RF_DETR: tuple[tuple[DetrName, str, str, float, tuple[int, float]], ...] = (
    ("rf-detr-seg-nano", "rf-detr-seg-n-ft.pth", "9995497791d0ff1664a1d9ddee9cfd20", 0.403, (33_537_513, 134.3)),
    ("rf-detr-seg-small", "rf-detr-seg-s-ft.pth", "0a2a3006381d0c42853907e700eadd08", 0.431, (33_671_145, 134.8)),
    ("rf-detr-seg-medium", "rf-detr-seg-m-ft.pth", "a49af1562c3719227ad43d0ca53b4c7a", 0.453, (35_654_297, 142.8)),
    ("rf-detr-seg-large", "rf-detr-seg-l-ft.pth", "275f7b094909544ed2841c94a677d07e", 0.471, (35_834_009, 143.5)),
    ("rf-detr-large", "rf-detr-large-2026.pth", "5cb72153541cbcb9aa6efa26222acc75", 0.565, (33_893_256, 135.7)),
)


def catalog() -> tuple[Weights, ...]:
    """All rows."""
    return (
        _row(
            "maskrcnn-resnet50-fpn-coco",
            MaskRCNN(norm="frozen", profile=_LEGACY),
            "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
            (("box AP", 0.379), ("mask AP", 0.346)),
            (44_401_393, 169.8),
            "tree/main/references/detection#mask-r-cnn",
        ),
        _row(
            "maskrcnn-resnet50-fpn-v2-coco",
            mask_rcnn_v2(),
            "maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth",
            (("box AP", 0.474), ("mask AP", 0.418)),
            (46_359_409, 177.2),
            "pull/5773",
        ),
        _row(
            "fasterrcnn-resnet50-fpn-coco",
            FasterRCNN(norm="frozen", profile=_LEGACY),
            "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
            (("box AP", 0.370),),
            (41_755_286, 159.7),
            "tree/main/references/detection#faster-r-cnn-resnet-50-fpn",
        ),
        _row(
            "fasterrcnn-resnet50-fpn-v2-coco",
            faster_rcnn_v2(),
            "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth",
            (("box AP", 0.467),),
            (43_712_278, 167.1),
            "pull/5763",
        ),
        _row(
            "fasterrcnn-mobilenet-v3-large-fpn-coco",
            _MOBILENET,
            "fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth",
            (("box AP", 0.328),),
            (19_386_354, 74.2),
            "tree/main/references/detection#faster-r-cnn-mobilenetv3-large-fpn",
        ),
        _row(
            "fasterrcnn-mobilenet-v3-large-320-fpn-coco",
            replace(_MOBILENET, rpn_pre_nms=(2000, 150), rpn_post_nms=(2000, 150)),
            "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth",
            (("box AP", 0.228),),
            (19_386_354, 74.2),
            "tree/main/references/detection#faster-r-cnn-mobilenetv3-large-320-fpn",
            Resize(320, 640),
        ),
        *_semantic_rows(),
        *_prompted_rows(),
        *_one_stage_rows(),
        *_rf_detr_rows(),
        *detectron2_rows(),
        *mmdetection_rows(),
        *mmsegmentation_rows(),
    )


def _semantic_rows() -> tuple[Weights, ...]:
    mobilenet = DeepLabV3(encoder="mobilenetv3_large_100")
    return (
        _semantic_row("fcn-resnet50", FCN(), "fcn_resnet50_coco-1167a1af.pth", (0.605, 0.914), (35_322_218, 135.0)),
        _semantic_row(
            "fcn-resnet101",
            FCN(encoder="resnet101"),
            "fcn_resnet101_coco-7ecb50ca.pth",
            (0.637, 0.919),
            (54_314_346, 207.7),
        ),
        _semantic_row(
            "deeplabv3-resnet50",
            DeepLabV3(),
            "deeplabv3_resnet50_coco-cd0a2569.pth",
            (0.664, 0.924),
            (42_004_074, 160.5),
        ),
        _semantic_row(
            "deeplabv3-resnet101",
            DeepLabV3(encoder="resnet101"),
            "deeplabv3_resnet101_coco-586e9e4e.pth",
            (0.674, 0.924),
            (60_996_202, 233.2),
        ),
        _semantic_row(
            "deeplabv3-mobilenet-v3-large",
            as_torchvision(mobilenet),
            "deeplabv3_mobilenet_v3_large-fc3c493d.pth",
            (0.603, 0.912),
            (11_029_328, 42.3),
        ),
        _semantic_row(
            "lraspp-mobilenet-v3-large",
            as_torchvision(LRASPP()),
            "lraspp_mobilenet_v3_large-d234d4ea.pth",
            (0.579, 0.912),
            (3_221_538, 12.5),
        ),
    )


def _prompted_rows() -> tuple[Weights, ...]:
    """SAM and its relatives.

    The mask AP is of masks that the boxes of a ViTDet-H ask for on COCO's val2017 (TinySAM's table), the others are
    those of the papers.
    """
    return tuple(
        Weights(
            name=name,
            spec=spec,
            labels=prompted_labels(),
            preprocess=prompted_preprocess(spec),
            url=folder + file,
            sha256=sha256,
            licence="Apache-2.0 (MobileSAM)" if name == "mobile-sam" else "Apache-2.0 (Meta); trained on SA-1B",
            metrics=metrics,
            params=extent[0],
            megabytes=extent[1],
            recipe=f"https://github.com/{code}",
        )
        for (folder, code), rows in _PROMPTED.items()
        for name, file, sha256, metrics, extent in rows
        for spec in (PROMPTED.named[name](),)
    )


def _one_stage_rows() -> tuple[Weights, ...]:
    """RTMDet: metrics as mmdetection measured them on COCO's val2017, megabytes of the tensors alone."""
    found = []
    for name, training, when, (box, mask), extent in _RTMDET:
        plain = ONE_STAGE.named[name]()
        config = f"{training}-300e_coco"
        found.append(
            Weights(
                name=f"{name}-coco",
                spec=replace(plain, profile=published_profile(plain)),
                labels=coco_80_labels(),
                preprocess=published_preprocess(plain),
                url=f"{_OPENMMLAB}{config}/{config}_{when}.pth",
                sha256=when.rpartition("-")[2],
                licence="Apache-2.0 (OpenMMLab); trained on COCO 2017",
                metrics=(("box AP", box), *((("mask AP", mask),) if mask else ())),
                params=extent[0],
                megabytes=extent[1],
                recipe="https://github.com/open-mmlab/mmdetection/tree/main/configs/rtmdet",
            )
        )
    return tuple(found)


def _rf_detr_rows() -> tuple[Weights, ...]:
    """RF-DETR: metrics as its authors measured them on COCO's val2017, megabytes of the tensors alone."""
    return tuple(
        Weights(
            name=f"{name}-coco",
            spec=spec,
            labels=coco_80_labels(),
            preprocess=detr_preprocess(spec),
            url=_ROBOFLOW + file,
            sha256="",
            md5=md5,
            licence="Apache-2.0 (Roboflow); trained on COCO 2017",
            metrics=((("mask AP" if isinstance(spec, RFDETRSeg) else "box AP"), metric),),
            params=extent[0],
            megabytes=extent[1],
            recipe="https://github.com/roboflow/rf-detr",
        )
        for name, file, md5, metric, extent in _RF_DETR
        for spec in (DETR.named[name](),)
    )


def _row(
    name: str,
    spec: ModelSpec,
    file: str,
    metrics: tuple[tuple[str, float], ...],
    extent: tuple[int, float],
    recipe: str,
    resize: Resize = _RESIZE,
) -> Weights:
    """A row of torchvision's COCO detectors; `extent` counts parameters and megabytes."""
    return Weights(
        name=name,
        spec=spec,
        labels=coco_labels(),
        preprocess=Preprocess(resize=resize),
        url=_SERVER + file,
        sha256=file.removesuffix(".pth").rpartition("-")[2],
        licence="BSD-3-Clause (torchvision); trained on COCO 2017",
        metrics=metrics,
        params=extent[0],
        megabytes=extent[1],
        recipe="https://github.com/pytorch/vision/" + recipe,
    )


def _semantic_row(
    name: str, spec: SemanticModelSpec, file: str, metrics: tuple[float, float], extent: tuple[int, float]
) -> Weights:
    """A row of torchvision's networks for VOC's classes; `metrics` are mIoU and pixel accuracy on COCO's val2017."""
    return Weights(
        name=f"{name}-coco-voc",
        spec=spec,
        labels=voc_labels(),
        preprocess=Preprocess(resize=_SEMANTIC_RESIZE),
        url=_SERVER + file,
        sha256=file.removesuffix(".pth").rpartition("-")[2],
        licence="BSD-3-Clause (torchvision); trained on COCO 2017",
        metrics=(("mIoU", metrics[0]), ("pixel accuracy", metrics[1])),
        params=extent[0],
        megabytes=extent[1],
        recipe=f"https://github.com/pytorch/vision/tree/main/references/segmentation#{name.replace('-', '_')}",
    )


def published_as(path: Path) -> Weights | None:
    """The row whose file has that name."""
    return next((row for row in catalog() if row.url.endswith(f"/{path.name}")), None)


def weights_named(name: str) -> Weights:
    """The row of that name; `ConfigError` lists the names."""
    rows = {row.name: row for row in catalog()}
    if name not in rows:
        raise ConfigError(f"there are no weights called {name!r}; the catalogue has {', '.join(rows)}")
    return rows[name]
