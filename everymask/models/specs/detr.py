"""How to build each RF-DETR, and how its published weights are fed: frozen values, never torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, TypeAlias

from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.errors import ConfigError
from everymask.models.specs.family import Family

DETR_ENCODERS = {"vit_small_patch14_dinov2": 384, "vit_tiny_patch16_224": 192}
"""Vision transformers of twelve blocks, and how wide each is."""
DETR_MASK_STRIDE = 4
"""Pixels of the network's frame for one of a mask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RFDETR:
    """RF-DETR (Robinson et al. 2025): a vision transformer with windows, queries that begin where it proposes objects,
    and a decoder of deformable attention. It finds boxes, no masks, and suppresses none.

    Pictures are cut into patches of `patch` pixels, and these into `windows` x `windows` windows, within which two of
    three blocks look; positions are learned for squares of `side` pixels and interpolated for others. Of `queries` the
    network has `groups`, which learn side by side; the first predicts. Given are the `max_detections` surest answers,
    those at least as sure as `score_threshold`.
    """

    keeps_size: ClassVar[bool] = True
    """Its sizes share one encoder, so that only the settings say which one was asked for."""
    encoder: str = "vit_small_patch14_dinov2"
    channels: int = 3
    patch: int = 16
    windows: int = 2
    side: int = 384
    width: int = 256
    layers: int = 2
    heads: int = 8
    read_heads: int = 16
    """Of the attention that reads the picture."""
    points: int = 2
    """How many places each of these heads reads."""
    hidden: int = 2048
    queries: int = 300
    groups: int = 13
    class_weight: float = 1.0
    """Times the loss of the classes."""
    score_threshold: float = 0.0
    max_detections: int = 300

    def __post_init__(self) -> None:
        if self.encoder not in DETR_ENCODERS:
            raise ConfigError(f"there is no encoder {self.encoder!r} here; the encoders are {', '.join(DETR_ENCODERS)}")
        for name in ("channels", "windows", "layers", "points", "hidden", "queries", "groups", "max_detections"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, but got {getattr(self, name)}")
        if self.patch < DETR_MASK_STRIDE or self.patch % DETR_MASK_STRIDE or self.side < 1 or self.side % self.patch:
            raise ConfigError(
                f"patch must be a multiple of {DETR_MASK_STRIDE}, and side one of patch, but got {self.patch} and "
                f"{self.side}"
            )
        if min(self.heads, self.read_heads) < 1 or self.width < 1 or self.width % 4:
            raise ConfigError(f"heads must be at least 1 and width a multiple of 4, but got {self.heads}, {self.width}")
        if self.width % self.heads or self.width % self.read_heads:
            raise ConfigError(
                f"width must be a multiple of heads and of read_heads, but got {self.width}, {self.heads} and "
                f"{self.read_heads}"
            )
        if not 0 <= self.score_threshold <= 1:
            raise ConfigError(f"score_threshold must lie between 0 and 1, but got {self.score_threshold}")

    @property
    def divisor(self) -> int:
        """What the sides of the network's frame are multiples of: whole windows."""
        return self.patch * self.windows


@dataclass(frozen=True, slots=True, kw_only=True)
class RFDETRSeg(RFDETR):
    """RF-DETR-Seg: with a mask for each query, of features of the picture at a quarter of its size."""

    patch: int = 12
    windows: int = 1
    side: int = 312
    layers: int = 4
    queries: int = 100
    max_detections: int = 100
    class_weight: float = 5.0


DetrModelSpec: TypeAlias = RFDETR | RFDETRSeg
DETR_KINDS: dict[str, type[DetrModelSpec]] = {"rf-detr-seg": RFDETRSeg, "rf-detr": RFDETR}
DetrName: TypeAlias = Literal[
    "rf-detr-seg-tiny", "rf-detr-seg-nano", "rf-detr-seg-small", "rf-detr-seg-medium", "rf-detr-seg-large",
    "rf-detr-nano", "rf-detr-small", "rf-detr-medium", "rf-detr-large",
]  # fmt: skip
_TINY: dict[str, Any] = {
    "encoder": "vit_tiny_patch16_224",
    "patch": 16,
    "side": 224,
    "width": 96,
    "layers": 2,
    "heads": 4,
    "read_heads": 4,
    "hidden": 192,
    "queries": 60,
    "groups": 1,
    "max_detections": 60,
}


def rf_detr_seg_tiny(**changes: Any) -> RFDETRSeg:
    """An RF-DETR-Seg for processors: a tiny vision transformer, two layers 96 wide, one group of 60 queries."""
    return RFDETRSeg(**(_TINY | changes))


def _seg(side: int, layers: int, queries: int, **changes: Any) -> RFDETRSeg:
    sizes = {"side": side, "layers": layers, "queries": queries, "max_detections": queries}
    return RFDETRSeg(**({"windows": 2} | sizes | changes))


_NAMED: dict[DetrName, Callable[..., DetrModelSpec]] = {
    "rf-detr-seg-tiny": rf_detr_seg_tiny,
    "rf-detr-seg-nano": RFDETRSeg,
    "rf-detr-seg-small": partial(_seg, 384, 4, 100),
    "rf-detr-seg-medium": partial(_seg, 432, 5, 200),
    "rf-detr-seg-large": partial(_seg, 504, 5, 200),
    "rf-detr-nano": RFDETR,
    "rf-detr-small": partial(RFDETR, side=512, layers=3),
    "rf-detr-medium": partial(RFDETR, side=576, layers=4),
    "rf-detr-large": partial(RFDETR, side=704, layers=4),
}
DETR = Family("objects by queries", "RF-DETR", DETR_KINDS, _NAMED, tuple(DETR_ENCODERS))


def detr_preprocess(spec: RFDETR) -> Preprocess:
    """How pictures of the published weights are fed: as a square, whatever their shape, normalised as for ImageNet."""
    return Preprocess(resize=Resize(spec.side, spec.side, "sam2"), divisor=spec.divisor)
