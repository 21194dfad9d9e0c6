"""How to build the networks that are made to compare two dates; semantic networks with a `fusion` do so too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias, get_args

from everymask.errors import ConfigError
from everymask.models.specs.family import Family
from everymask.models.specs.regions import Norm
from everymask.models.specs.semantic import MIT_ENCODERS, Fusion, Head

TINYCD_ENCODERS = ("efficientnet_b4",)
SIAMESE_ENCODER = "plain"
RESIDUAL_ENCODERS = ("resnet18", "resnet34")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSpec:
    """What all networks have in common that take two dates of `channels` each; `head` and `norm` are as in
    `SemanticSpec`, for two classes: what did not change, and what did.
    """

    encoder: str = ""
    channels: int = 3
    norm: Norm = "batch"
    head: Head = "binary"

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ConfigError(f"channels must be at least 1, but got {self.channels}")
        for name, choices in (("norm", get_args(Norm)), ("head", get_args(Head))):
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} must be one of {', '.join(choices)}, but got {getattr(self, name)!r}")
        if self.head == "from-to":
            raise ConfigError(
                f"{type(self).__name__} says what changed, but not what became of what",
                hint="choose a semantic network with fusion difference or concat, such as --model unet",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyCD(ChangeSpec):
    """TinyCD (Codegoni et al. 2023): the first three strides of an EfficientNet-B4 see both dates, whose channels are
    mixed in turn; 285 thousand parameters.
    """

    encoder: str = "efficientnet_b4"

    def __post_init__(self) -> None:
        ChangeSpec.__post_init__(self)
        if self.encoder not in TINYCD_ENCODERS:
            raise ConfigError(f"TinyCD's encoder is {' or '.join(TINYCD_ENCODERS)}, but got {self.encoder!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FCSiam(ChangeSpec):
    """FC-EF, FC-Siam-conc and FC-Siam-diff (Daudt et al. 2018): a small U-Net of 16 to 128 channels.

    By `fusion` both dates are one picture ("early"), or one encoder sees both, and the decoder the maps of both
    ("concat") or how far they differ ("difference"). `dropout` is that of whole channels behind every convolution.
    """

    encoder: str = SIAMESE_ENCODER
    fusion: Fusion = "difference"
    widths: tuple[int, ...] = (16, 32, 64, 128)
    dropout: float = 0.2

    def __post_init__(self) -> None:
        ChangeSpec.__post_init__(self)
        if self.encoder != SIAMESE_ENCODER:
            raise ConfigError(f"FC-EF and FC-Siam have an encoder of their own, called plain, but got {self.encoder!r}")
        if self.fusion not in get_args(Fusion):
            raise ConfigError(f"fusion must be one of {', '.join(get_args(Fusion))}, but got {self.fusion!r}")
        if not self.widths or min(self.widths) < 1 or not 0 <= self.dropout < 1:
            raise ConfigError(
                f"widths must be at least 1, and dropout 0 to below 1, but got {self.widths} and {self.dropout}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class BIT(ChangeSpec):
    """BIT (Chen et al. 2021): a ResNet without its last stage, whose map of each date becomes `tokens` of `width`
    channels; layers of attention with `heads` of so many channels, among the tokens of both dates (encoder) and from
    each date's pixels to its tokens (decoder). The defaults are the paper's.
    """

    encoder: str = "resnet18"
    tokens: int = 4
    width: int = 32
    heads: int = 8
    encoder_depth: int = 1
    encoder_head: int = 64
    decoder_depth: int = 8
    decoder_head: int = 8

    def __post_init__(self) -> None:
        ChangeSpec.__post_init__(self)
        _check_encoder(self, RESIDUAL_ENCODERS)
        sizes = (self.tokens, self.width, self.heads, self.encoder_head, self.decoder_head)
        _check_positive(*sizes, self.encoder_depth, self.decoder_depth)


@dataclass(frozen=True, slots=True, kw_only=True)
class SNUNet(ChangeSpec):
    """SNUNet (Fang et al. 2022): a nested U-Net that sees both dates, with 16 (or 32) channels at its finest level."""

    encoder: str = SIAMESE_ENCODER
    width: int = 16

    def __post_init__(self) -> None:
        ChangeSpec.__post_init__(self)
        _check_encoder(self, (SIAMESE_ENCODER,))
        _check_positive(self.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeFormer(ChangeSpec):
    """ChangeFormer (Bandara and Patel 2022): a Mix Transformer, and convolutions that say how its maps differ."""

    encoder: str = "mit_b0"
    decoder_channels: int = 256

    def __post_init__(self) -> None:
        ChangeSpec.__post_init__(self)
        _check_encoder(self, MIT_ENCODERS)
        _check_positive(self.decoder_channels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changer(ChangeSpec):
    """ChangerEx (Fang et al. 2023): dates that exchange columns and channels inside of the encoder, a ResNet or a Mix
    Transformer, and are bent to lie on each other. `decoder_channels` is even.
    """

    encoder: str = "resnet18"
    decoder_channels: int = 128

    def __post_init__(self) -> None:
        ChangeSpec.__post_init__(self)
        _check_encoder(self, (*RESIDUAL_ENCODERS, *MIT_ENCODERS))
        _check_positive(self.decoder_channels // 2)
        if self.decoder_channels % 2:
            raise ConfigError(f"decoder_channels must be even, but got {self.decoder_channels}")


def _check_encoder(spec: ChangeSpec, known: tuple[str, ...]) -> None:
    if spec.encoder not in known:
        raise ConfigError(f"{type(spec).__name__}'s encoder is {' or '.join(known)}, but got {spec.encoder!r}")


def _check_positive(*sizes: int) -> None:
    if min(sizes) < 1:
        raise ConfigError(f"numbers of layers and channels must be at least 1, but got {min(sizes)}")


ChangeModelSpec: TypeAlias = TinyCD | FCSiam | BIT | SNUNet | ChangeFormer | Changer
CHANGE_KINDS: dict[str, type[ChangeModelSpec]] = {
    "tinycd": TinyCD,
    "fc-siam": FCSiam,
    "bit": BIT,
    "snunet": SNUNet,
    "changeformer": ChangeFormer,
    "changer": Changer,
}
ChangeName: TypeAlias = Literal[
    "tinycd", "fc-ef", "fc-siam-conc", "fc-siam-diff", "bit", "snunet-c16", "snunet-c32", "changeformer", "changer-ex"
]
_NAMED: dict[str, Callable[..., ChangeModelSpec]] = {
    "tinycd": TinyCD,
    "fc-ef": partial(FCSiam, fusion="early"),
    "fc-siam-conc": partial(FCSiam, fusion="concat"),
    "fc-siam-diff": partial(FCSiam, fusion="difference"),
    "bit": BIT,
    "snunet-c16": SNUNet,
    "snunet-c32": partial(SNUNet, width=32),
    "changeformer": ChangeFormer,
    "changer-ex": Changer,
}
CHANGE_FAMILY = Family(
    "changes",
    "networks that compare two dates",
    CHANGE_KINDS,
    _NAMED,
    (*TINYCD_ENCODERS, SIAMESE_ENCODER, *RESIDUAL_ENCODERS, *MIT_ENCODERS),
)
