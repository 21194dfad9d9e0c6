"""mmsegmentation's FCN, PSPNet, DeepLabV3, DeepLabV3+, UPerNet, SegFormer, PIDNet, and HRNet with or without OCR."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from everymask.core.label_sets import ADE20K, CITYSCAPES, voc_labels
from everymask.core.labels import Labels, labels_of
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.errors import WeightsError
from everymask.models.blocks.hrnet_trunk import WIDTHS as HRNET_WIDTHS
from everymask.models.foreign.detectors.openmmlab import normalisation_of
from everymask.models.foreign.detectors.regions import resnet_of
from everymask.models.foreign.files.stored import Stored
from everymask.models.foreign.maps.mmsegmentation_hrnet import HRNET, hrnet_named
from everymask.models.foreign.maps.mmsegmentation_hrnet import with_biases as hrnet_biases
from everymask.models.foreign.maps.mmsegmentation_mit import MIT, mit_of, rejoined
from everymask.models.foreign.maps.mmsegmentation_pidnet import PIDNET, with_biases
from everymask.models.foreign.whole import Rule, Whole, numbered, part, renamed
from everymask.models.semantic.pidnet import WIDTHS
from everymask.models.specs.profiles import IMAGENET
from everymask.models.specs.semantic import FCN, DeepLabV3, DeepLabV3Plus, HRNet, PIDNet, PSPNet, SegFormer, UPerNet

ORIGIN = "mmsegmentation"
_HRNET_SIGN = "backbone.stage2.0.branches.0.0.conv1.weight"
SIGNS = ("decode_head.conv_seg.weight", "decode_head.0.conv_seg.weight")
_Made: TypeAlias = tuple[Any, dict[str, Tensor], dict[str, str]]
_RESNET: tuple[Rule, ...] = (
    (r"^backbone\.stem\.([01346])\.", r"backbone.conv1.\1."),
    (r"^backbone\.stem\.7\.", "backbone.bn1."),
    (r"^backbone\.(conv1|bn1)\.(?=\w+$)", r"backbone.\1."),
    (r"^backbone\.(layer[1-4]\.\d+\.(?:conv\d|bn\d|downsample\.\d))\.", r"backbone.\1."),
    (r"^auxiliary_head\.convs\.0\.conv\.", "aux_classifier.0."),
    (r"^auxiliary_head\.convs\.0\.bn\.", "aux_classifier.1."),
    (r"^auxiliary_head\.conv_seg\.", "aux_classifier.4."),
)
_FCN: tuple[Rule, ...] = (
    (r"^decode_head\.convs\.(\d)\.conv\.", r"classifier.convs.\1.0."),
    (r"^decode_head\.convs\.(\d)\.bn\.", r"classifier.convs.\1.1."),
    (r"^decode_head\.conv_cat\.conv\.", "classifier.join.0."),
    (r"^decode_head\.conv_cat\.bn\.", "classifier.join.1."),
    (r"^decode_head\.conv_seg\.", "classifier.classifier."),
)
_PYRAMID: tuple[Rule, ...] = (
    (r"^decode_head\.psp_modules\.([0-3])\.1\.conv\.", r"pyramid.parts.\1.1."),
    (r"^decode_head\.psp_modules\.([0-3])\.1\.bn\.", r"pyramid.parts.\1.2."),
    (r"^decode_head\.bottleneck\.conv\.", "bottleneck.0."),
    (r"^decode_head\.bottleneck\.bn\.", "bottleneck.1."),
    (r"^decode_head\.lateral_convs\.([0-2])\.conv\.", r"laterals.\1.0."),
    (r"^decode_head\.lateral_convs\.([0-2])\.bn\.", r"laterals.\1.1."),
    (r"^decode_head\.fpn_convs\.([0-2])\.conv\.", r"smooth.\1.0."),
    (r"^decode_head\.fpn_convs\.([0-2])\.bn\.", r"smooth.\1.1."),
    (r"^decode_head\.fpn_bottleneck\.conv\.", "fuse.0."),
    (r"^decode_head\.fpn_bottleneck\.bn\.", "fuse.1."),
    (r"^decode_head\.conv_seg\.", "classifier."),
)
_DEEPLABV3: tuple[Rule, ...] = (
    (r"^decode_head\.aspp_modules\.([0-3])\.conv\.", r"classifier.0.convs.\1.0."),
    (r"^decode_head\.aspp_modules\.([0-3])\.bn\.", r"classifier.0.convs.\1.1."),
    (r"^decode_head\.image_pool\.1\.conv\.", "classifier.0.convs.4.1."),
    (r"^decode_head\.image_pool\.1\.bn\.", "classifier.0.convs.4.2."),
    (r"^decode_head\.bottleneck\.conv\.", "classifier.0.project.0."),
    (r"^decode_head\.bottleneck\.bn\.", "classifier.0.project.1."),
    (r"^decode_head\.conv_seg\.", "classifier.1."),
)
_DEEPLABV3_PLUS: tuple[Rule, ...] = (
    (r"^decode_head\.aspp_modules\.0\.conv\.", "aspp.convs.0.0."),
    (r"^decode_head\.aspp_modules\.0\.bn\.", "aspp.convs.0.1."),
    (
        r"^decode_head\.(aspp_modules|sep_bottleneck)\.(\d)\.(depth|point)wise_conv\.(conv|bn)\.",
        lambda found: _separable(found[1], found[2], found[3], found[4]),
    ),
    (r"^decode_head\.image_pool\.1\.conv\.", "aspp.convs.4.1."),
    (r"^decode_head\.image_pool\.1\.bn\.", "aspp.convs.4.2."),
    (r"^decode_head\.bottleneck\.conv\.", "aspp.project.0."),
    (r"^decode_head\.bottleneck\.bn\.", "aspp.project.1."),
    (r"^decode_head\.c1_bottleneck\.conv\.", "skip.0."),
    (r"^decode_head\.c1_bottleneck\.bn\.", "skip.1."),
    (r"^decode_head\.conv_seg\.", "classifier."),
)
# What the names of published files say that their settings say too.
_BY_NAME = ((r"[-_]d16", "strides=(1, 2, 2, 1)"), (r"-mg124", "multi_grid"))
_UNUSED = {
    r"^data_preprocessor\.": "the normalisation, which is stored with the model here",
    r"num_batches_tracked$": "counters of norms",
}
_SEVERAL_HEADS = {**_UNUSED, r"^auxiliary_head\.": "an auxiliary head that only its own training uses"}


def from_mmsegmentation(stored: Stored, tensors: Mapping[str, Tensor], file: str) -> Whole:
    """The network of a checkpoint of mmsegmentation; `WeightsError` where it is one that does not exist here.

    Strides, rates and whether corners are aligned stand in the settings of such files, or in the names of published
    ones; without them they are the usual ones. So is the size to which pictures are brought: a short side of 512 for
    ADE20K and VOC, none for others.
    """
    several = any(name.startswith("decode_head.0.") for name in tensors)
    if several and _HRNET_SIGN not in tensors:
        raise _refused("whose heads follow each other, on another encoder than HRNet")
    spec, named, unused = _made(stored, tensors, file)
    rows = len(part(tensors, f"decode_head.{'1.' if several else ''}conv_seg.weight", ORIGIN, 4))
    labels, guessed = _labels(rows, stored.classes)
    said = normalisation_of(stored.settings)
    normal, blue_first = said or (IMAGENET, False)
    resize = Resize(512, 2048, "mmdet") if rows in (len(ADE20K), len(voc_labels())) else Resize(rule="none")
    preprocess = Preprocess(mean=normal[0], std=normal[1], resize=resize, bgr=blue_first)
    assumed = () if said else ("normalised as mmsegmentation usually does, which the file does not say",)
    return Whole(ORIGIN, spec, named, labels, preprocess, unused, (*assumed, *guessed))


def _made(stored: Stored, tensors: Mapping[str, Tensor], file: str) -> _Made:
    aligned = "align_corners=True" in stored.settings.replace(" ", "") or "769x769" in file
    if "backbone.layers.0.0.projection.weight" in tensors:
        named, unused = renamed(tensors, MIT, _UNUSED, ORIGIN)
        named = rejoined(named, ORIGIN)
        width = len(part(named, "decode_head.linear_fuse.conv.weight", ORIGIN, 4))
        spec = SegFormer(
            encoder=mit_of(named, ORIGIN), decoder_channels=width, decoder="mmsegmentation", align_corners=aligned
        )
        return spec, named, unused
    if _HRNET_SIGN in tensors:
        return _on_hrnet(tensors, aligned=aligned)
    if "backbone.i_branch_layers.0.0.conv1.conv.weight" in tensors:
        named, unused = renamed(tensors, PIDNET, _UNUSED, ORIGIN)
        width = len(part(named, "backbone.pag3.f_x.0.weight", ORIGIN, 4))
        encoder = next((name for name, known in WIDTHS.items() if known == width), None)
        if encoder is None or "backbone.layer3.3.conv1.weight" in named:
            raise WeightsError(
                "this PIDNet is larger than those that exist here", hint=f"there are {', '.join(WIDTHS)}"
            )
        auxiliary = "seghead_p.conv1.weight" in named
        return PIDNet(encoder=encoder, auxiliary=auxiliary), with_biases(named), unused
    told = "".join(word for pattern, word in _BY_NAME if re.search(pattern, file))
    return _on_resnet(tensors, stored.settings + told, aligned=aligned)


def _on_hrnet(tensors: Mapping[str, Tensor], *, aligned: bool) -> _Made:
    named, unused = renamed(tensors, HRNET, _UNUSED, ORIGIN)
    encoder = hrnet_named(len(part(named, _HRNET_SIGN, ORIGIN, 4)))
    if encoder is None:
        raise _refused(f"on an HRNet other than {', '.join(HRNET_WIDTHS)}")
    ocr = "cls_head.weight" in named
    spec = HRNet(encoder=encoder, ocr=ocr, align_corners=aligned)
    if ocr:
        width = len(part(named, "conv3x3_ocr.0.weight", ORIGIN, 4))
        keys = len(part(named, "ocr_distri_head.object_context_block.f_pixel.0.weight", ORIGIN, 4))
        spec = replace(spec, ocr_channels=width, ocr_key_channels=keys)
    return spec, hrnet_biases(named), unused


def _on_resnet(tensors: Mapping[str, Tensor], settings: str, *, aligned: bool) -> _Made:
    head = "decode_head."
    one = "auxiliary_head.convs.0.conv.weight" in tensors and "auxiliary_head.convs.1.conv.weight" not in tensors
    unused = _UNUSED if one else _SEVERAL_HEADS

    def take(rules: tuple[Rule, ...]) -> tuple[dict[str, Tensor], dict[str, str]]:
        return renamed(tensors, (*_RESNET, *rules), unused, ORIGIN)

    if "multi_grid" in settings:
        raise _refused("whose last stage dilates its blocks differently (multi-grid)")
    coarse = "strides=(1,2,2,1)" in settings.replace(" ", "")
    common: dict[str, Any] = {"encoder": _encoder(tensors), "auxiliary": one, "align_corners": aligned}
    dilated: dict[str, Any] = {**common, "output_stride": 16 if coarse else 8}
    rates: dict[str, Any] = {"rates": (6, 12, 18) if coarse else (12, 24, 36), "decoder": ORIGIN}

    def width(name: str) -> int:
        return len(part(tensors, f"{head}{name}.conv.weight", ORIGIN, 4))

    if f"{head}fpn_bottleneck.conv.weight" in tensors:
        if aligned:
            raise _refused("whose maps are resized with their corners aligned")
        return UPerNet(**common, decoder_channels=width("fpn_bottleneck")), *take(_PYRAMID)
    if f"{head}psp_modules.0.1.conv.weight" in tensors:
        return PSPNet(**dilated, decoder_channels=width("bottleneck")), *take(_PYRAMID)
    if f"{head}sep_bottleneck.0.pointwise_conv.conv.weight" in tensors:
        named, left_out = take(_DEEPLABV3_PLUS)
        plus = DeepLabV3Plus(
            **dilated, **rates, decoder_channels=width("bottleneck"), skip_channels=width("c1_bottleneck")
        )
        return plus, _mean_last(named, "aspp.project.0.weight"), left_out
    if f"{head}aspp_modules.0.conv.weight" in tensors:
        named, left_out = take(_DEEPLABV3)
        rated = DeepLabV3(**dilated, **rates, decoder_channels=width("bottleneck"))
        return rated, _mean_last(named, "classifier.0.project.0.weight"), left_out
    if f"{head}convs.0.conv.weight" in tensors:
        named, left_out = take(_FCN)
        convs = sum(re.fullmatch(r"classifier\.convs\.\d\.0\.weight", name) is not None for name in named)
        joins = "classifier.join.0.weight" in named
        spec = FCN(**dilated, convs=convs, joins_input=joins, decoder_channels=width("convs.0"))
        return spec, named, left_out
    raise _refused("with another decoder")


def _refused(network: str) -> WeightsError:
    return WeightsError(
        f"these are weights by mmsegmentation of a network {network}, which this version does not read",
        hint="it reads FCN, PSPNet, DeepLabV3, DeepLabV3+ and UPerNet on ResNets, SegFormer, PIDNet, OCRNet on HRNet",
    )


def _encoder(tensors: Mapping[str, Tensor]) -> str:
    """timm's name; ResNets that begin with three convolutions bear a c."""
    if not any(name.startswith("backbone.layer1.") for name in tensors):
        raise _refused("on another encoder")
    encoder = resnet_of(tensors, "backbone.", ORIGIN)
    if "backbone.stem.0.weight" not in tensors:
        return encoder
    if encoder not in ("resnet50", "resnet101"):
        raise _refused(f"on a {encoder} that begins with three convolutions")
    return f"{encoder}c"


def _separable(owner: str, place: str, part_of: str, kind: str) -> str:
    """Our name for a part of a separable convolution: 0 and 1 per channel with its norm, 3 and 4 across them."""
    own = "aspp.convs" if owner == "aspp_modules" else "fuse"
    return f"{own}.{place}.{3 * (part_of == 'point') + (kind == 'bn')}."


def _mean_last(named: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The same with the picture's mean behind the other parts of the pyramid, and not before them."""
    joined = part(named, name, ORIGIN, 4)
    width = joined.shape[1] // 5
    return named | {name: torch.cat([joined[:, width:], joined[:, :width]], dim=1)}


def _labels(count: int, names: tuple[str, ...]) -> tuple[Labels, tuple[str, ...]]:
    if len(names) == count and len(set(names)) == count and all(name.strip() for name in names):
        known = next((known for known in (CITYSCAPES, ADE20K) if known.names == names), None)
        return known or labels_of(names), ()
    for title, labels in (("Cityscapes", CITYSCAPES), ("ADE20K", ADE20K), ("Pascal VOC", voc_labels())):
        if len(labels) == count:
            return labels, (f"its {count} classes are taken for those of {title}",)
    return numbered(count), ("the file does not name its classes; they are called by their numbers",)
