"""The networks by their names, on the command line and in `TrainConfig`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, TypeAlias, assert_never, get_args

from everymask.errors import ConfigError, unknown
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
    model: str | None = None, encoder: str | None = None, norm: Norm | None = None, head: Head | None = None
) -> ModelSpec | None:
    """The network of that name with these options; None where no name says which, nor a head, which only U-Net and the
    other semantic networks have. `ConfigError` for a name that is none, and for options that a network does not have.

    Args:
        model: The architecture.
        encoder: The network that sees, as `everymask models` lists them; semantic networks also take timm's names.
        norm: Normalisation: of the batch, frozen (for fine-tuning with few pictures per batch), or in groups.
        head: What classes are to a pixel of a semantic network: it has one of them, it is foreground or not (binary, of
            two classes), or each may hold or not.
    """
    options = _options(encoder=encoder, norm=norm, head=head)
    match model:
        case None:
            return None if head in (None, "multiclass") else UNet(**options)
        case "mask-rcnn" | "mask-rcnn-v2" | "mask-rcnn-small" | "faster-rcnn" | "faster-rcnn-v2":
            return _region(model, _without_head(options, model))
        case "unet-original":
            return _original(options)
        case "hrnet-ocr":
            return HRNet(**options, ocr=True)
        case "segformer":
            encoder = encoder or "mit_b0"
            size = segformer(encoder.removeprefix("mit_")) if encoder in MIT_ENCODERS else SegFormer()
            return replace(size, **options)
        case _ if model in SEMANTIC_KINDS:
            return SEMANTIC_KINDS[model](**options)
        case _:
            raise unknown("model", model, (*REGION_NAMES, *SEMANTIC_NAMES))


def with_options(spec: ModelSpec, encoder: str | None, norm: Norm | None, head: Head | None) -> ModelSpec:
    """The same network with those options that are given; errors as in `network`."""
    options = _options(encoder=encoder, norm=norm, head=head)
    if not hasattr(spec, "head"):
        options = _without_head(options, type(spec).__name__)
    return replace(spec, **options)  # type: ignore[arg-type,unused-ignore]


def _options(**given: str | None) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _without_head(options: dict[str, Any], model: str) -> dict[str, Any]:
    if options.get("head", "multiclass") != "multiclass":
        raise ConfigError(f"head is a setting of semantic networks, but {model} finds objects", hint="leave it out")
    return {name: value for name, value in options.items() if name != "head"}


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


def _original(options: dict[str, Any]) -> UNet:
    """The paper's U-Net, whose one encoder has the decoder's norms."""
    if options.get("encoder", PLAIN_ENCODER) != PLAIN_ENCODER or options.get("norm") == "frozen":
        raise ConfigError("unet-original has an encoder of its own, and norms that learn", hint="choose --model unet")
    norms = {"decoder_norm": options["norm"]} if "norm" in options else {}
    return unet_original(**norms, **({"head": options["head"]} if "head" in options else {}))
