"""How to build each semantic network: frozen values that are stored in checkpoints and never name code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from everymask.errors import ConfigError
from everymask.models.specs.family import Family
from everymask.models.specs.regions import ENCODERS, Norm

Head = Literal["multiclass", "binary", "multilabel", "from-to"]
Fusion = Literal["early", "concat", "difference"]
MIT_ENCODERS = ("mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5")
HRNET_ENCODERS = ("hrnet_w18", "hrnet_w32", "hrnet_w48")
PIDNET_ENCODERS = ("pidnet_s", "pidnet_m")
PLAIN_ENCODER = "plain"
ChannelRow: TypeAlias = tuple[str, int, int]
"""A layer by its module's name, how many channels it takes, and how many it gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticSpec:
    """What all semantic networks have in common.

    `encoder` is the name of a timm network, or of one of ours (`mit_b0` ... `mit_b5`). `channels` is what a picture
    has. `norm` is the encoder's: "frozen" keeps its batch norms as they are, and decoders then have batch norm.

    `head` says what the K classes are to a pixel: it has one of them ("multiclass": softmax over K channels); it is
    foreground or not ("binary": K is 2, one sigmoid channel); or each may hold or not ("multilabel": K sigmoids). With
    "from-to" a network that sees two dates apart says what became of what: whether something changed, and which of the
    K - 1 other classes was there and is there.

    With `fusion` the network compares two dates, of `channels` each: as one picture of twice the channels ("early"), or
    by one encoder that sees both, whose maps are joined at every stride: side by side, brought back to their width by a
    1x1 convolution ("concat"), or by how far they differ ("difference": |later - earlier|). None: it sees one picture.
    """

    encoder: str = "resnet50"
    channels: int = 3
    norm: Norm = "batch"
    head: Head = "multiclass"
    fusion: Fusion | None = None

    def __post_init__(self) -> None:
        if not self.encoder:
            raise ConfigError("encoder must name a network, such as resnet50, but it is empty")
        if self.channels < 1:
            raise ConfigError(f"channels must be at least 1, but got {self.channels}")
        _check_choice("norm", self.norm, ("batch", "frozen", "group"))
        _check_choice("head", self.head, get_args(Head))
        _check_choice("fusion", self.fusion, (None, "early", "concat", "difference"))
        if self.head == "from-to" and self.fusion not in ("concat", "difference"):
            raise ConfigError(
                "a head from-to says what was and what is there, so the network must see two dates apart",
                hint="choose fusion difference or concat",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class UNet(SemanticSpec):
    """U-Net (Ronneberger et al. 2015).

    With an encoder of timm it is the network that segmentation_models.pytorch made known: five blocks of
    `decoder_channels`, coarsest first. `unet_original()` is the paper's own network, whose encoder is called "plain":
    `decoder_channels` then are the widths of its levels above the lowest, which has twice the first of them.
    `decoder_norm` "none" leaves the decoder (and the plain encoder) without batch norm. `pruned` are the layers that
    have fewer channels than that says, which `everymask prune` writes.
    """

    encoder: str = "resnet34"
    decoder_channels: tuple[int, ...] = (256, 128, 64, 32, 16)
    decoder_norm: Literal["batch", "group", "none"] = "batch"
    upsampling: Literal["nearest", "bilinear", "transposed"] = "nearest"
    pruned: tuple[ChannelRow, ...] = ()

    def __post_init__(self) -> None:
        SemanticSpec.__post_init__(self)
        _check_choice("decoder_norm", self.decoder_norm, ("batch", "group", "none"))
        _check_choice("upsampling", self.upsampling, ("nearest", "bilinear", "transposed"))
        _check_widths("decoder_channels", self.decoder_channels, None if self.encoder == PLAIN_ENCODER else 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class UNetPlusPlus(SemanticSpec):
    """U-Net++ (Zhou et al. 2018): nested skips; with `auxiliary`, deep supervision of its four full-size nodes."""

    encoder: str = "resnet34"
    decoder_channels: tuple[int, ...] = (256, 128, 64, 32, 16)
    auxiliary: bool = False

    def __post_init__(self) -> None:
        SemanticSpec.__post_init__(self)
        _check_widths("decoder_channels", self.decoder_channels, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class FCN(SemanticSpec):
    """FCN (Long et al. 2015) as torchvision has it: a dilated encoder and one convolution head.

    mmsegmentation's has two `convs` of `decoder_channels` (0: a quarter of the map's) and one more, which also sees the
    map (`joins_input`).
    """

    output_stride: Literal[8, 16, 32] = 8
    auxiliary: bool = True
    convs: int = 1
    decoder_channels: int = 0
    joins_input: bool = False
    align_corners: bool = False
    """Whether the logits are resized with the corners' pixel centres on each other."""

    def __post_init__(self) -> None:
        SemanticSpec.__post_init__(self)
        _check_choice("output_stride", self.output_stride, (8, 16, 32))
        _check_widths("convs", (self.convs,), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepLabV3(SemanticSpec):
    """DeepLabV3 (Chen et al. 2017). Defaults: torchvision's `deeplabv3_resnet50`, whose files it loads.

    The paper's rates for output stride 16 are 6, 12, 18; those for 8 are twice as large.
    """

    output_stride: Literal[8, 16] = 8
    rates: tuple[int, int, int] = (12, 24, 36)
    decoder_channels: int = 256
    auxiliary: bool = True
    align_corners: bool = False
    """Whether the logits are resized with the corners' pixel centres on each other."""
    uniform_dilation: bool = False
    """All blocks of a dilated ResNet stage share its rate; otherwise the first has that of the stage before."""
    auxiliary_stage: Literal[3, 4] = 4
    """Stage of the encoder that the auxiliary head looks at; the last is stage 5."""
    mobilenet: Literal["timm", "torchvision"] = "timm"
    """Whose MobileNetV3 the encoder is. torchvision's has norms of epsilon 0.001, dilates all blocks of its last stage,
    and its finer maps are those right after a block that strides."""
    decoder: Literal["torchvision", "mmsegmentation"] = "torchvision"
    """Whose decoder it is: mmsegmentation joins the pyramid by a 3x3 convolution, which no other follows."""

    def __post_init__(self) -> None:
        SemanticSpec.__post_init__(self)
        _check_choice("output_stride", self.output_stride, (8, 16))
        _check_choice("decoder", self.decoder, ("torchvision", "mmsegmentation"))
        _check_widths("rates", self.rates, 3)
        _check_choice("auxiliary_stage", self.auxiliary_stage, (3, 4))
        _check_widths("decoder_channels", (self.decoder_channels,), 1)
        _check_mobilenet(self.mobilenet, self.encoder)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepLabV3Plus(SemanticSpec):
    """DeepLabV3+ (Chen et al. 2018): DeepLabV3's pyramid of rates, and a decoder that adds the map at stride 4.

    `convs` counts the separable convolutions (before, after) the two are joined: the paper has (0, 2).
    """

    output_stride: Literal[8, 16] = 16
    rates: tuple[int, int, int] = (6, 12, 18)
    decoder_channels: int = 256
    skip_channels: int = 48
    convs: tuple[int, int] = (0, 2)
    auxiliary: bool = False
    align_corners: bool = False
    """Whether maps and logits are resized with the corners' pixel centres on each other."""
    uniform_dilation: bool = False
    """All blocks of a dilated ResNet stage share its rate; otherwise the first has that of the stage before."""
    decoder: Literal["paper", "mmsegmentation"] = "paper"
    """Whose decoder it is: mmsegmentation has a norm within separable convolutions, and joins the pyramid by a 3x3."""

    def __post_init__(self) -> None:
        SemanticSpec.__post_init__(self)
        _check_choice("output_stride", self.output_stride, (8, 16))
        _check_choice("decoder", self.decoder, ("paper", "mmsegmentation"))
        _check_widths("rates", self.rates, 3)
        _check_widths("decoder_channels and skip_channels", (self.decoder_channels, self.skip_channels), 2)
        if len(self.convs) != 2 or min(self.convs) < 0 or self.convs[1] < 1:
            raise ConfigError(f"convs must be two counts, the second at least 1, but got {self.convs}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PSPNet(SemanticSpec):
    """PSPNet (Zhao et al. 2017): averages over 1, 2x2, 3x3 and 6x6 parts of the picture join the encoder's map.

    `depth` is the number of encoder stages in use: with 3, the last map has stride 8 without any dilation.
    `kernels` are the sizes of the convolution that joins the pyramid and of the last one.
    """

    output_stride: Literal[8, 16, 32] = 8
    depth: Literal[3, 4, 5] = 5
    decoder_channels: int = 512
    kernels: tuple[int, int] = (3, 1)
    dropout: float = 0.1
    auxiliary: bool = True
    align_corners: bool = False
    """Whether maps and logits are resized with the corners' pixel centres on each other."""

    def __post_init__(self) -> None:
        SemanticSpec.__post_init__(self)
        _check_choice("output_stride", self.output_stride, (8, 16, 32))
        _check_choice("depth", self.depth, (3, 4, 5))
        _check_widths("decoder_channels", (self.decoder_channels,), 1)
        if len(self.kernels) != 2 or any(kernel not in {1, 3} for kernel in self.kernels):
            raise ConfigError(f"kernels must be two of 1 and 3, but got {self.kernels}")
        _check_dropout(self.dropout)


@dataclass(frozen=True, slots=True, kw_only=True)
class UPerNet(SemanticSpec):
    """UPerNet (Xiao et al. 2018): PSPNet's pyramid on the coarsest map, then a feature pyramid, all levels fused.

    `feature_norm` puts a layer norm on each map of the encoder, as encoders of the ConvNeXt and Swin kind want it.
    """

    decoder_channels: int = 512
    feature_norm: bool = False
    auxiliary: bool = True
    align_corners: bool = False
    """Whether the logits are resized with the corners' pixel centres on each other."""

    def __post_init__(self) -> None:
        SemanticSpec.__post_init__(self)
        _check_widths("decoder_channels", (self.decoder_channels,), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class HRNet(SemanticSpec):
    """HRNet (Sun et al. 2019), with `ocr` object-contextual representations (Yuan et al. 2020)."""

    encoder: str = "hrnet_w18"
    ocr: bool = False
    ocr_channels: int = 512
    ocr_key_channels: int = 256
    align_corners: bool = True
    """Whether maps and logits are resized with the corners' pixel centres on each other."""

    def __post_init__(self) -> None:
        SemanticSpec.__post_init__(self)
        _check_choice("encoder", self.encoder, HRNET_ENCODERS)
        _check_widths("ocr_channels and ocr_key_channels", (self.ocr_channels, self.ocr_key_channels), 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class LRASPP(SemanticSpec):
    """Lite R-ASPP (Howard et al. 2019, MobileNetV3): a gated map at stride 16 and a fine one at stride 8.

    `as_torchvision(LRASPP())` is torchvision's `lraspp_mobilenet_v3_large`, whose files it loads.
    """

    encoder: str = "mobilenetv3_large_100"
    decoder_channels: int = 128
    mobilenet: Literal["timm", "torchvision"] = "timm"
    """Whose MobileNetV3 the encoder is. torchvision's has norms of epsilon 0.001, dilates all blocks of its last stage,
    and its finer maps are those right after a block that strides."""

    def __post_init__(self) -> None:
        SemanticSpec.__post_init__(self)
        _check_widths("decoder_channels", (self.decoder_channels,), 1)
        _check_mobilenet(self.mobilenet, self.encoder)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegFormer(SemanticSpec):
    """SegFormer (Xie et al. 2021): a Mix Transformer, and a decoder of linear layers.

    The paper's `decoder_channels` are 256 for B0 and B1, 768 for B2 to B5: `segformer("b2")`.
    """

    encoder: str = "mit_b0"
    decoder_channels: int = 256
    dropout: float = 0.1
    align_corners: bool = False
    """Whether the logits are resized with the corners' pixel centres on each other."""
    decoder: Literal["paper", "mmsegmentation"] = "paper"
    """Whose it is: mmsegmentation's linear layers have norms and ReLU, and its layer norms an epsilon of 1e-6."""

    def __post_init__(self) -> None:
        SemanticSpec.__post_init__(self)
        _check_choice("decoder", self.decoder, ("paper", "mmsegmentation"))
        _check_widths("decoder_channels", (self.decoder_channels,), 1)
        _check_dropout(self.dropout)


@dataclass(frozen=True, slots=True, kw_only=True)
class PIDNet(SemanticSpec):
    """PIDNet (Xu et al. 2023), for real time: branches for detail, context and boundaries.

    `auxiliary` adds the heads of the detail and boundary branches, which only training uses.
    """

    encoder: str = "pidnet_s"
    auxiliary: bool = True
    align_corners: bool = True
    """Whether the logits are resized with the corners' pixel centres on each other."""

    def __post_init__(self) -> None:
        SemanticSpec.__post_init__(self)
        _check_choice("encoder", self.encoder, PIDNET_ENCODERS)
        if self.fusion not in (None, "early"):
            raise ConfigError(
                f"PIDNet's branches leave each other at its first layers, so it has no maps for {self.fusion}",
                hint='choose fusion "early", or another network',
            )


SemanticModelSpec: TypeAlias = (
    UNet | UNetPlusPlus | FCN | DeepLabV3 | DeepLabV3Plus | PSPNet | UPerNet | HRNet | LRASPP | SegFormer | PIDNet
)
SEMANTIC_KINDS: dict[str, type[SemanticModelSpec]] = {
    "unet": UNet,
    "unet++": UNetPlusPlus,
    "fcn": FCN,
    "deeplabv3": DeepLabV3,
    "deeplabv3+": DeepLabV3Plus,
    "pspnet": PSPNet,
    "upernet": UPerNet,
    "hrnet": HRNet,
    "lraspp": LRASPP,
    "segformer": SegFormer,
    "pidnet": PIDNet,
}


def unet_original(
    *,
    channels: int = 3,
    head: Head = "multiclass",
    decoder_norm: Literal["batch", "group", "none"] = "batch",
    upsampling: Literal["bilinear", "transposed"] = "transposed",
    fusion: Fusion | None = None,
) -> UNet:
    """The paper's U-Net: five levels of 64 to 1024 channels. The paper itself had no batch norm (`"none"`)."""
    return UNet(
        encoder=PLAIN_ENCODER,
        channels=channels,
        head=head,
        decoder_channels=(512, 256, 128, 64),
        decoder_norm=decoder_norm,
        upsampling=upsampling,
        fusion=fusion,
    )


def segformer(size: str, *, channels: int = 3, head: Head = "multiclass") -> SegFormer:
    """SegFormer "b0" to "b5" as in the paper's table."""
    _check_choice("size", size, tuple(name.removeprefix("mit_") for name in MIT_ENCODERS))
    width = 256 if size in {"b0", "b1"} else 768
    return SegFormer(encoder=f"mit_{size}", channels=channels, head=head, decoder_channels=width)


def _original(
    encoder: str = PLAIN_ENCODER, norm: Norm | None = None, head: Head = "multiclass", fusion: Fusion | None = None
) -> UNet:
    """The paper's U-Net, whose one encoder has the decoder's norms."""
    if encoder != PLAIN_ENCODER or norm == "frozen":
        raise ConfigError("unet-original has an encoder of its own, and norms that learn", hint="choose --model unet")
    norms: dict[str, Any] = {} if norm is None else {"decoder_norm": norm}
    return unet_original(head=head, fusion=fusion, **norms)


def _segformer(encoder: str = "mit_b0", **options: Any) -> SegFormer:
    """With the decoder's width that the paper has for an encoder of its own."""
    size = segformer(encoder.removeprefix("mit_")) if encoder in MIT_ENCODERS else SegFormer(encoder=encoder)
    return replace(size, **options)


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
_OTHERS: dict[str, Callable[..., SemanticModelSpec]] = {
    "unet-original": _original,
    "hrnet-ocr": partial(HRNet, ocr=True),
    "segformer": _segformer,
}
_NAMED: dict[str, Callable[..., SemanticModelSpec]] = {
    name: _OTHERS.get(name) or SEMANTIC_KINDS[name] for name in get_args(SemanticName)
}
SEMANTIC_FAMILY = Family(
    "label maps",
    "semantic networks",
    SEMANTIC_KINDS,
    _NAMED,
    (*ENCODERS, PLAIN_ENCODER, *MIT_ENCODERS, *HRNET_ENCODERS, *PIDNET_ENCODERS),
    timms=True,
)

_AnySemantic = TypeVar("_AnySemantic", bound=SemanticSpec)


def as_smp(spec: _AnySemantic) -> _AnySemantic:
    """The same network as segmentation_models.pytorch (0.6) builds it, where it differs from the paper's.

    Auxiliary heads are left out, since that library has none.
    """
    changes: dict[str, object] = {}
    match spec:
        case UNetPlusPlus():
            changes = {"auxiliary": False}
        case DeepLabV3():
            changes = {"auxiliary": False, "align_corners": True, "uniform_dilation": True}
        case DeepLabV3Plus():
            changes = {
                "rates": (12, 24, 36),
                "convs": (1, 1),
                "auxiliary": False,
                "align_corners": True,
                "uniform_dilation": True,
            }
        case PSPNet():
            changes = {"depth": 3, "kernels": (1, 3), "dropout": 0.2, "auxiliary": False, "align_corners": True}
        case UPerNet():
            changes = {"decoder_channels": 256, "feature_norm": True, "auxiliary": False, "align_corners": True}
        case SegFormer():
            changes = {"dropout": 0.0, "align_corners": True}
        case _:
            pass
    return replace(spec, **changes)  # type: ignore[type-var,arg-type,unused-ignore]


def as_torchvision(spec: _AnySemantic) -> _AnySemantic:
    """The same network as torchvision (0.29) builds it; only on a MobileNetV3 does that differ from our defaults."""
    if not spec.encoder.startswith("mobilenetv3"):
        return spec
    changes: dict[str, object]
    match spec:
        case DeepLabV3():
            changes = {"mobilenet": "torchvision", "output_stride": 16, "auxiliary_stage": 3}
        case LRASPP():
            changes = {"mobilenet": "torchvision"}
        case _:
            return spec
    return replace(spec, **changes)  # type: ignore[type-var,arg-type,unused-ignore]


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(map(str, choices))}, but got {value!r}")


def _check_widths(name: str, widths: tuple[int, ...], count: int | None) -> None:
    if not widths or min(widths) < 1 or (count is not None and len(widths) != count):
        expected = "numbers" if count is None else "a number" if count == 1 else f"{count} numbers"
        found = widths[0] if count == len(widths) == 1 else widths
        raise ConfigError(f"{name} must be {expected} of at least 1, but got {found}")


def _check_dropout(dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout must lie in 0 to below 1, but got {dropout}")


def _check_mobilenet(mobilenet: str, encoder: str) -> None:
    _check_choice("mobilenet", mobilenet, ("timm", "torchvision"))
    if mobilenet == "torchvision" and not encoder.startswith("mobilenetv3"):
        raise ConfigError(f"torchvision's MobileNetV3 is asked for, but the encoder is {encoder}")
