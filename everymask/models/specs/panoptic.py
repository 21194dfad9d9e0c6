"""How to build each panoptic network: frozen values that are stored in checkpoints and never name code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from everymask.errors import ConfigError
from everymask.models.specs.family import Family
from everymask.models.specs.regions import ENCODERS, SMALL, MaskRCNN

_STUFF_SHARE = 75


@dataclass(frozen=True, slots=True, kw_only=True)
class PanopticFPN(MaskRCNN):
    """Panoptic FPN (Kirillov et al. 2019): Mask R-CNN and a semantic branch on one feature pyramid.

    `things` are the ids of the classes that are found one by one; all others are stuff. A recipe takes them from the
    data set's labels. How the two answers become one map is Detectron2's way; see `everymask.infer.decoding.panoptic`.
    """

    things: tuple[int, ...] = ()
    semantic_channels: int = 128
    """Channels of the semantic branch."""
    semantic_weight: float = 0.5
    """Times the loss of the semantic branch, beside those of Mask R-CNN."""
    min_score: float = 0.5
    """Things that are less sure are left out."""
    overlap: float = 0.5
    """A thing of which surer ones cover a larger share is left out."""
    stuff_area: int = 4096
    """Stuff of fewer pixels is left out; in pictures of less than 75 times as many, of less than 1/75 of the picture,
    so that small pictures keep as much as the 640 x 480 pixels of COCO, which the number is for."""

    def __post_init__(self) -> None:
        # A class with slots is made anew by its decorator, which `super` without arguments does not find.
        MaskRCNN.__post_init__(self)
        if self.fpn_stages != "all":
            raise ConfigError('the semantic branch needs maps of strides 4 to 32: leave fpn_stages at "all"')
        if not all(0 <= value <= 1 for value in (self.min_score, self.overlap)):
            raise ConfigError(
                f"min_score and overlap must lie between 0 and 1, but got {self.min_score} and {self.overlap}"
            )
        if self.semantic_channels < 1:
            raise ConfigError(f"semantic_channels must be at least 1, but got {self.semantic_channels}")

    def stuff(self, num_classes: int) -> tuple[int, ...]:
        """The ids of the classes that are no things, of so many."""
        return tuple(class_id for class_id in range(num_classes) if class_id not in self.things)

    def least_stuff(self, size: tuple[int, int]) -> float:
        """How many pixels stuff has at least in a picture of `size` (H, W)."""
        return min(float(self.stuff_area), size[0] * size[1] / _STUFF_SHARE)


PanopticModelSpec: TypeAlias = PanopticFPN
PANOPTIC_KINDS: dict[str, type[PanopticModelSpec]] = {"panoptic-fpn": PanopticFPN}


def panoptic_fpn_small(**changes: Any) -> PanopticFPN:
    """A Panoptic FPN that trains from scratch on a CPU: `mask_rcnn_small` with a narrow semantic branch."""
    return PanopticFPN(**(SMALL | {"semantic_channels": 64} | changes))


PanopticName: TypeAlias = Literal["panoptic-fpn", "panoptic-fpn-small"]
_NAMED: dict[PanopticName, Callable[..., PanopticModelSpec]] = {
    "panoptic-fpn": PanopticFPN,
    "panoptic-fpn-small": panoptic_fpn_small,
}
PANOPTIC_FAMILY = Family("things and stuff", "panoptic networks", PANOPTIC_KINDS, _NAMED, ENCODERS)
