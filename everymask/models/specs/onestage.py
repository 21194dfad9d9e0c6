"""How to build each detector that finds objects in one look, and how it is fed: frozen values, never torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias, get_args

from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.errors import ConfigError
from everymask.models.specs.family import Family

DIVISOR = 32
GREY = 114 / 255
"""The brightness of what is padding in the training of these networks' published weights, in 0-1."""


@dataclass(frozen=True, slots=True)
class OneStageProfile:
    """What published weights want otherwise than networks that learn here.

    `padding` is added to each channel of what the network is fed, whose padding is 0: so weights see the padding that
    they have learned from. Empty: nothing is added, and padding has the mean colour.
    """

    padding: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OneStageSpec:
    """What all one-stage detectors are told.

    They say of every place of three maps (strides 8, 16 and 32) which object has its box there. Of what is surer than
    `score_threshold`, boxes of one class that overlap a surer one by more than `nms` go, and `max_detections` stay.
    """

    encoder: str
    channels: int = 3
    score_threshold: float = 0.001
    nms: float = 0.65
    max_detections: int = 100
    profile: OneStageProfile = OneStageProfile()

    def __post_init__(self) -> None:
        if self.channels < 1 or self.max_detections < 1:
            raise ConfigError(
                f"channels and max_detections must be at least 1, but got {self.channels} and {self.max_detections}"
            )
        if not all(0 <= value <= 1 for value in (self.score_threshold, self.nms)):
            raise ConfigError(
                f"score_threshold and nms must lie between 0 and 1, but got {self.score_threshold} and {self.nms}"
            )
        if len(self.profile.padding) not in (0, self.channels):
            raise ConfigError(f"padding must be {self.channels} numbers or none, but got {self.profile.padding}")


DarknetName: TypeAlias = Literal[
    "csp_darknet_nano", "csp_darknet_tiny", "csp_darknet_s", "csp_darknet_m", "csp_darknet_l", "csp_darknet_x"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class YOLOX(OneStageSpec):
    """YOLOX (Ge et al. 2021): CSPDarknet, a pyramid of two ways, a head with branches for classes and for boxes.

    It finds boxes, no masks. Width and depth of pyramid and head are those of the encoder.
    """

    encoder: str = "csp_darknet_nano"
    max_detections: int = 300

    def __post_init__(self) -> None:
        _check_encoder(self.encoder, get_args(DarknetName))
        super(YOLOX, self).__post_init__()


CSPNeXtName: TypeAlias = Literal["cspnext_tiny", "cspnext_s", "cspnext_m", "cspnext_l", "cspnext_x"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RTMDet(OneStageSpec):
    """RTMDet (Lyu et al. 2022): CSPNeXt and a pyramid of the same blocks. It finds boxes, no masks."""

    encoder: str = "cspnext_tiny"
    max_detections: int = 300

    def __post_init__(self) -> None:
        _check_encoder(self.encoder, get_args(CSPNeXtName))
        super(RTMDet, self).__post_init__()

    @property
    def grows(self) -> bool:
        """Whether distances to the sides of boxes are exponentials, as in the larger sizes."""
        return self.encoder not in ("cspnext_tiny", "cspnext_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class RTMDetIns(RTMDet):
    """RTMDet-Ins: with the weights of a small network for each object, which makes its mask."""

    score_threshold: float = 0.05
    nms: float = 0.6
    max_detections: int = 100


OneStageModelSpec: TypeAlias = YOLOX | RTMDet | RTMDetIns
ONE_STAGE_KINDS: dict[str, type[OneStageModelSpec]] = {"yolox": YOLOX, "rtmdet-ins": RTMDetIns, "rtmdet": RTMDet}
OneStageName: TypeAlias = Literal[
    "yolox-nano", "yolox-tiny", "yolox-s", "yolox-m", "yolox-l", "yolox-x",
    "rtmdet-ins-tiny", "rtmdet-ins-s", "rtmdet-ins-m", "rtmdet-ins-l", "rtmdet-ins-x",
    "rtmdet-tiny", "rtmdet-s", "rtmdet-m", "rtmdet-l", "rtmdet-x",
]  # fmt: skip
_NAMED: dict[OneStageName, Callable[..., OneStageModelSpec]] = {
    "yolox-nano": YOLOX,
    "yolox-tiny": partial(YOLOX, encoder="csp_darknet_tiny"),
    "yolox-s": partial(YOLOX, encoder="csp_darknet_s"),
    "yolox-m": partial(YOLOX, encoder="csp_darknet_m"),
    "yolox-l": partial(YOLOX, encoder="csp_darknet_l"),
    "yolox-x": partial(YOLOX, encoder="csp_darknet_x"),
    "rtmdet-ins-tiny": RTMDetIns,
    "rtmdet-ins-s": partial(RTMDetIns, encoder="cspnext_s"),
    "rtmdet-ins-m": partial(RTMDetIns, encoder="cspnext_m"),
    "rtmdet-ins-l": partial(RTMDetIns, encoder="cspnext_l"),
    "rtmdet-ins-x": partial(RTMDetIns, encoder="cspnext_x"),
    "rtmdet-tiny": RTMDet,
    "rtmdet-s": partial(RTMDet, encoder="cspnext_s"),
    "rtmdet-m": partial(RTMDet, encoder="cspnext_m"),
    "rtmdet-l": partial(RTMDet, encoder="cspnext_l"),
    "rtmdet-x": partial(RTMDet, encoder="cspnext_x"),
}
ONE_STAGE = Family(
    "objects in one look",
    "one-stage detectors",
    ONE_STAGE_KINDS,
    _NAMED,
    (*get_args(DarknetName), *get_args(CSPNeXtName)),
)
# mmdetection's, blue first.
_MEAN, _STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)


def published_preprocess(spec: OneStageSpec) -> Preprocess:
    """How the pictures of the published weights are fed, for `published_profile`.

    The picture lies at the upper left of a square of 640 pixels, of 416 for the two smallest YOLOX; blue comes first.
    What is taken off is the padding's grey, so that padding is 0.
    """
    if isinstance(spec, RTMDet):
        std = tuple(value / 255 for value in _STD[::-1])
        return Preprocess(mean=(GREY,) * 3, std=std, resize=Resize(640, 640, "mmdet"), divisor=640, bgr=True)
    side = 416 if spec.encoder in ("csp_darknet_nano", "csp_darknet_tiny") else 640
    return Preprocess(mean=(GREY,) * 3, std=(1 / 255,) * 3, resize=Resize(side, side, "yolox"), divisor=side, bgr=True)


def published_profile(spec: OneStageSpec) -> OneStageProfile:
    """What the published weights of such a network want: bytes (YOLOX), or what mmdetection makes of them."""
    if isinstance(spec, RTMDet):
        return OneStageProfile(padding=tuple((255 * GREY - mean) / std for mean, std in zip(_MEAN, _STD, strict=True)))
    return OneStageProfile(padding=(255 * GREY,) * 3)


def _check_encoder(encoder: str, known: tuple[str, ...]) -> None:
    if encoder not in known:
        raise ConfigError(f"there is no encoder {encoder!r} here; the encoders are {', '.join(known)}")
