"""How to build each network that answers prompts, and how it is fed: frozen values, never torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias, get_args

from everymask.core.labels import Labels, labels_of
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.errors import ConfigError
from everymask.models.specs.family import Family
from everymask.models.specs.regions import ENCODERS

SAMEncoder: TypeAlias = Literal["vit_t", "vit_b", "vit_l", "vit_h", "tiny_vit"]
SAM2Encoder: TypeAlias = Literal["hiera_t", "hiera_s", "hiera_b+", "hiera_l"]
SAM2Memory: TypeAlias = Literal["2.0", "2.1"]
MAPS_KEPT = 7
"""How many maps SAM 2 recalls in a frame of a video: those of six frames before it, and of the frame with a prompt."""
POINTERS_KEPT = 16
"""How many pointers, besides those of frames with prompts."""
STABLE = 0.98
"""Where a mask of SAM 2 that is the answer alone changes more with the threshold, the best of three takes its place."""
AROUND_ZERO = 0.05
"""By how much the threshold is changed for that, to either side."""
_PATCH = 16
_HEAD = 32  # channels for each head of the attention


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptedSpec:
    """What all networks that answer prompts are told.

    They see a square of `side` pixels: the whole picture, resized. `channels` is what a picture has.
    """

    encoder: str
    channels: int = 3
    side: int = 1024

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ConfigError(f"channels must be at least 1, but got {self.channels}")
        step = self.side_step
        if self.side < step or self.side % step:
            raise ConfigError(f"side must be a multiple of {step} pixels, but got {self.side}")

    @property
    def side_step(self) -> int:
        """The side is a multiple of so many pixels."""
        return _PATCH


@dataclass(frozen=True, slots=True, kw_only=True)
class SAM(PromptedSpec):
    """Segment Anything (Kirillov et al. 2023), and MobileSAM (Zhang et al. 2023), which is the same behind a TinyViT.

    `vit_t` has the width of DeiT's smallest; nobody has published weights of it.
    """

    encoder: str = "vit_b"

    def __post_init__(self) -> None:
        _check_encoder(self.encoder, get_args(SAMEncoder))
        super(SAM, self).__post_init__()


@dataclass(frozen=True, slots=True, kw_only=True)
class SAM2(PromptedSpec):
    """SAM 2 (Ravi et al. 2024): the part that sees pictures, and with a `memory`, that of 2.0 or 2.1, videos too."""

    encoder: str = "hiera_t"
    memory: SAM2Memory | None = None

    def __post_init__(self) -> None:
        _check_encoder(self.encoder, get_args(SAM2Encoder))
        if self.memory not in (None, *get_args(SAM2Memory)):
            raise ConfigError(f"memory must be 2.0, 2.1 or none, but got {self.memory!r}")
        super(SAM2, self).__post_init__()

    @property
    def side_step(self) -> int:
        """Windows of 8 x 8 places of stride 4 tile the map, and the coarsest map has stride 32."""
        return 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptedSmall(PromptedSpec):
    """A convolutional encoder, whose maps meet at stride 8, before SAM's decoder in `width` channels, to which maps of
    strides 4 and 2 are added; prompts are drawn on the map too. Nobody has published weights of it.
    """

    encoder: str = "mobilenetv3_small_100"
    side: int = 256
    width: int = 64

    def __post_init__(self) -> None:
        _check_encoder(self.encoder, ENCODERS)
        if self.width < _HEAD or self.width % _HEAD:
            raise ConfigError(f"width must be a multiple of {_HEAD} channels, but got {self.width}")
        super(PromptedSmall, self).__post_init__()

    @property
    def side_step(self) -> int:
        """The coarsest map has stride 32."""
        return 32


PromptedModelSpec: TypeAlias = SAM | SAM2 | PromptedSmall
PROMPTED_KINDS: dict[str, type[PromptedModelSpec]] = {"sam": SAM, "sam2": SAM2, "prompted-small": PromptedSmall}
PromptedName: TypeAlias = Literal[
    "sam-b", "sam-l", "sam-h", "mobile-sam", "sam2.1-t", "sam2.1-s", "sam2.1-b+", "sam2.1-l", "prompted-small"
]
_NAMED: dict[PromptedName, Callable[..., PromptedModelSpec]] = {
    "sam-b": SAM,
    "sam-l": partial(SAM, encoder="vit_l"),
    "sam-h": partial(SAM, encoder="vit_h"),
    "mobile-sam": partial(SAM, encoder="tiny_vit"),
    "sam2.1-t": SAM2,
    "sam2.1-s": partial(SAM2, encoder="hiera_s"),
    "sam2.1-b+": partial(SAM2, encoder="hiera_b+"),
    "sam2.1-l": partial(SAM2, encoder="hiera_l"),
    "prompted-small": PromptedSmall,
}
PROMPTED = Family(
    "what prompts point at",
    "networks that answer prompts",
    PROMPTED_KINDS,
    _NAMED,
    (*get_args(SAMEncoder), *get_args(SAM2Encoder), *ENCODERS),
)


def prompted_labels() -> Labels:
    """The one class of what prompts point at."""
    return labels_of(["object"])


def prompted_preprocess(spec: PromptedModelSpec) -> Preprocess:
    """How pictures are fed, as the published weights were trained.

    SAM keeps the ratio of the sides and pads with zeros behind the normalisation, and so does the small network; SAM 2
    fills the square.
    """
    rule: Literal["segment-anything", "sam2"] = "sam2" if isinstance(spec, SAM2) else "segment-anything"
    resize = Resize(spec.side, spec.side, rule)
    if spec.channels == 3:
        return Preprocess(resize=resize, divisor=spec.side)
    means, stds = (0.5,) * spec.channels, (0.25,) * spec.channels
    return Preprocess(spec.channels, mean=means, std=stds, resize=resize, divisor=spec.side)


def finds_nothing(spec: PromptedSpec) -> ConfigError:
    """What is raised where a network that answers prompts is not asked."""
    return ConfigError(
        f"a {type(spec).__name__} answers prompts, and finds nothing unasked",
        hint="give it points or boxes (--points, --boxes, Predictor.session), or ask for everything (--everything)",
    )


def is_not_limited(spec: PromptedSpec) -> ConfigError:
    """What is raised where the objects of a network that answers prompts are to be limited."""
    return ConfigError(
        f"a {type(spec).__name__} gives what prompts point at, so that no number of detections limits it",
        hint="leave out the number of detections",
    )


def _check_encoder(encoder: str, known: tuple[str, ...]) -> None:
    if encoder not in known:
        raise ConfigError(f"there is no encoder {encoder!r} here; the encoders are {', '.join(known)}")
