"""The architectures by their names on the command line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, TypeAlias, assert_never, cast, get_args

from everymask.errors import ConfigError
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.regions import (
    FasterRCNN,
    MaskRCNN,
    Norm,
    RegionModelSpec,
    faster_rcnn_v2,
    mask_rcnn_small,
    mask_rcnn_v2,
)
from everymask.models.specs.semantic import (
    MIT_ENCODERS,
    PLAIN_ENCODER,
    SEMANTIC_KINDS,
    Head,
    HRNet,
    SegFormer,
    SemanticModelSpec,
    UNet,
    segformer,
    unet_original,
)

RegionName: TypeAlias = Literal["mask-rcnn", "mask-rcnn-v2", "mask-rcnn-small", "faster-rcnn", "faster-rcnn-v2"]
SemanticName: TypeAlias = Literal[
    "unet",
    "unet-original",
    "unet++",
    "fcn",
    "deeplabv3",
    "deeplabv3+",
    "pspnet",
    "upernet",
    "hrnet",
    "hrnet-ocr",
    "lraspp",
    "segformer",
    "pidnet",
]
Architecture: TypeAlias = RegionName | SemanticName
REGION_NAMES: tuple[RegionName, ...] = get_args(RegionName)
SEMANTIC_NAMES: tuple[SemanticName, ...] = get_args(SemanticName)


def network(
    model: Architecture | None = None, encoder: str | None = None, norm: Norm = "batch", head: Head = "multiclass"
) -> ModelSpec | None:
    """The spec that the options name; None where they name nothing.

    Args:
        model: The architecture. Where none is named, mask-rcnn finds objects, and unet learns from label maps.
        encoder: The network that sees, as `everymask models` lists them; semantic networks also take timm's names.
        norm: Normalisation: of the batch, frozen (for fine-tuning with few pictures per batch), or in groups.
        head: What classes are to a pixel of a semantic network: it has one of them, it is foreground or not (binary, of
            two classes), or each may hold or not.
    """
    options: dict[str, Any] = {"norm": norm} | ({} if encoder is None else {"encoder": encoder})
    if model is None and head == "multiclass":
        return None if options == {"norm": "batch"} else MaskRCNN(**options)
    if model is None or model in SEMANTIC_NAMES:
        return _semantic(model or "unet", options | {"head": head})
    if head != "multiclass":
        raise ConfigError(f"head is a setting of semantic networks, but {model} finds objects", hint="leave it out")
    return _region(cast(RegionName, model), options)


def _region(model: RegionName, options: dict[str, Any]) -> RegionModelSpec:
    match model:
        case "mask-rcnn":
            return MaskRCNN(**options)
        case "mask-rcnn-v2":
            return mask_rcnn_v2(**options)
        case "mask-rcnn-small":
            return mask_rcnn_small(**options)
        case "faster-rcnn":
            return FasterRCNN(**options)
        case "faster-rcnn-v2":
            return faster_rcnn_v2(**options)
        case _:
            assert_never(model)


def _semantic(model: SemanticName, options: dict[str, Any]) -> SemanticModelSpec:
    match model:
        case "unet-original":
            return _original(options)
        case "hrnet-ocr":
            return HRNet(**options, ocr=True)
        case "segformer":
            encoder = options.get("encoder", "mit_b0")
            size = segformer(encoder.removeprefix("mit_")) if encoder in MIT_ENCODERS else SegFormer()
            return replace(size, **options)
        case _:
            return SEMANTIC_KINDS[model](**options)


def _original(options: dict[str, Any]) -> UNet:
    """The paper's U-Net, whose one encoder has the decoder's norms."""
    if options.get("encoder", PLAIN_ENCODER) != PLAIN_ENCODER or options["norm"] == "frozen":
        raise ConfigError("unet-original has an encoder of its own, and norms that learn", hint="choose --model unet")
    return unet_original(head=options["head"], decoder_norm=options["norm"])
