"""How to build each network that answers with queries: frozen values that are stored in checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, TypeAlias, get_args

from everymask.errors import ConfigError
from everymask.models.specs.family import Family
from everymask.models.specs.regions import ENCODERS, Norm

QueryTask: TypeAlias = Literal["panoptic", "instance", "semantic"]
MASK_STRIDE = 4
"""Pixels of the network's frame for one of a mask."""
SWIN_ENCODERS = {
    "swin_tiny_patch4_window7_224": (96, 6, 7),
    "swin_small_patch4_window7_224": (96, 18, 7),
    "swin_base_patch4_window12_384": (128, 18, 12),
    "swin_large_patch4_window12_384": (192, 18, 12),
}
"""Of each the channels of its first stage, the blocks of its third, and the side of its windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What the answers of queries become: segments, some of which are `counted` one by one; objects, of which a number
    `limited` is given; or what is `dense`, a class for every pixel.
    """

    counted: bool = False
    limited: bool = False
    dense: bool = False


PURPOSES: dict[QueryTask, Purpose] = {
    "panoptic": Purpose(counted=True),
    "instance": Purpose(limited=True),
    "semantic": Purpose(dense=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QuerySpec:
    """What all networks have in common in which each of so many `queries` answers with a class, or none, and a mask.

    What the answers become is the `task` (None: the data of a training decide): one map of things and stuff, objects,
    or a class for every pixel. `things` are the ids of the classes that a panoptic network finds one by one; all others
    are stuff. A recipe takes them from the data set's labels.
    """

    own_loss: ClassVar[bool] = True
    encoder: str = ""
    channels: int = 3
    norm: Norm = "batch"
    task: QueryTask | None = None
    things: tuple[int, ...] = ()
    queries: int = 100
    points: int = 12544
    """At how many points of each picture masks are compared with the truth."""
    class_weight: float = 2.0
    """Times the loss of the classes."""
    pixel_weight: float = 5.0
    """Times the cross-entropy of the masks' points."""
    dice_weight: float = 5.0
    """Times the Dice loss of the masks' points."""
    none_weight: float = 0.1
    """How much a query without an object counts in the loss of the classes."""
    min_score: float = 0.8
    """Panoptic: queries that are less sure of their class are left out."""
    overlap: float = 0.8
    """Panoptic: a query is left out that has less than this share of its own mask to itself."""
    max_detections: int = 100
    """Objects: as many are given of a picture, the surest."""

    def __post_init__(self) -> None:
        choices: tuple[tuple[str, tuple[Any, ...]], ...] = (
            ("norm", get_args(Norm)),
            ("task", (None, *get_args(QueryTask))),
        )
        for name, known in choices:
            if getattr(self, name) not in known:
                listed = ", ".join(str(choice) for choice in known)
                raise ConfigError(f"{name} must be one of {listed}, but got {getattr(self, name)!r}")
        for name in ("channels", "queries", "points", "max_detections"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, but got {getattr(self, name)}")
        if not all(0 <= value <= 1 for value in (self.min_score, self.overlap)):
            raise ConfigError(
                f"min_score and overlap must lie between 0 and 1, but got {self.min_score} and {self.overlap}"
            )

    @property
    def purpose(self) -> Purpose:
        """What `task` asks for; `ConfigError` where it is open."""
        if self.task is None:
            raise ConfigError(
                "a network of queries is built for panoptic maps, objects or label maps, but its task is open",
                hint='say which: task="panoptic", "instance" or "semantic"; a training takes it from the data set',
            )
        return PURPOSES[self.task]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask2Former(QuerySpec):
    """Mask2Former (Cheng et al. 2022): deformable attention over three strides, then queries that look where their mask
    was a layer before.

    Defaults: the authors' network with ResNet-50, of 44 million parameters.
    """

    encoder: str = "resnet50"
    width: int = 256
    heads: int = 8
    pixel_layers: int = 6
    """Layers of deformable attention."""
    pixel_hidden: int = 1024
    layers: int = 9
    """Layers of the queries, which see the strides 32, 16 and 8 in turn."""
    hidden: int = 2048

    def __post_init__(self) -> None:
        QuerySpec.__post_init__(self)
        if self.encoder not in MASK2FORMER_ENCODERS:
            raise ConfigError(
                f"there is no encoder {self.encoder!r}; the encoders are {', '.join(MASK2FORMER_ENCODERS)}"
            )
        if self.layers < 1 or self.heads < 1 or self.width < 1 or self.width % (4 * self.heads):
            raise ConfigError(
                f"width must be a multiple of four times heads, but got {self.width} for {self.heads} heads"
                if self.layers > 0
                else f"layers must be at least 1, but got {self.layers}"
            )


MASK2FORMER_ENCODERS = (*ENCODERS, *SWIN_ENCODERS)
_SMALL: dict[str, Any] = {
    "encoder": "resnet18",
    "norm": "group",
    "width": 64,
    "heads": 4,
    "pixel_layers": 2,
    "pixel_hidden": 128,
    "layers": 3,
    "hidden": 128,
    "queries": 40,
    "points": 2048,
    "min_score": 0.5,
}


def mask2former_small(**changes: Any) -> Mask2Former:
    """A Mask2Former that trains from scratch on a CPU: ResNet-18 with group norms, 64 channels, 40 queries.

    After few steps it is not as sure as the authors' limit asks for, so that its own is 0.5.
    """
    return Mask2Former(**(_SMALL | changes))


EOMT_PATCH = 16
EOMT_ENCODERS = {
    "vit_tiny_patch16_224": (192, 12, 3),
    "vit_small_patch14_reg4_dinov2": (384, 12, 3),
    "vit_base_patch14_reg4_dinov2": (768, 12, 3),
    "vit_large_patch14_reg4_dinov2": (1024, 24, 4),
}
"""Of each its width, its blocks, and how many of these see queries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EoMT(QuerySpec):
    """EoMT (Kerssies et al. 2025): DINOv2's vision transformer, or a tiny one, whose last `blocks` see queries among
    its patches. It has layer norms alone, whatever `norm` says.

    Patches have 16 pixels; positions are learned for squares of `side` pixels and interpolated for other sizes. Over
    `annealing` calls of its loss it learns to do without masks (0: it never has any).
    """

    encoder: str = "vit_small_patch14_reg4_dinov2"
    queries: int = 200
    blocks: int = 3
    side: int = 640
    annealing: int = 0

    def __post_init__(self) -> None:
        QuerySpec.__post_init__(self)
        if self.encoder not in EOMT_ENCODERS:
            raise ConfigError(f"there is no encoder {self.encoder!r}; the encoders are {', '.join(EOMT_ENCODERS)}")
        most = EOMT_ENCODERS[self.encoder][1]
        if not 1 <= self.blocks <= most or self.side < EOMT_PATCH or self.side % EOMT_PATCH or self.annealing < 0:
            raise ConfigError(
                f"blocks must be 1 to {most}, side a multiple of {EOMT_PATCH} and annealing not negative, but got "
                f"{self.blocks}, {self.side} and {self.annealing}"
            )


QueryModelSpec: TypeAlias = Mask2Former | EoMT
QUERY_KINDS: dict[str, type[QueryModelSpec]] = {"mask2former": Mask2Former, "eomt": EoMT}
QueryName: TypeAlias = Literal["mask2former-r50", "mask2former-small", "eomt-s", "eomt-b", "eomt-l"]
_NAMED: dict[QueryName, Callable[..., QueryModelSpec]] = {
    "mask2former-r50": Mask2Former,
    "mask2former-small": mask2former_small,
    "eomt-s": EoMT,
    "eomt-b": partial(EoMT, encoder="vit_base_patch14_reg4_dinov2"),
    "eomt-l": partial(EoMT, encoder="vit_large_patch14_reg4_dinov2", blocks=4),
}
QUERIES = Family(
    "things and stuff, objects, or classes of pixels, as the data have them",
    "networks of queries",
    QUERY_KINDS,
    _NAMED,
    (*MASK2FORMER_ENCODERS, *EOMT_ENCODERS),
)
