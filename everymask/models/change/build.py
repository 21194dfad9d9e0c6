"""From the spec of a network that compares two dates to the network."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from everymask.errors import WeightsError
from everymask.models.change.bit import BITNetwork
from everymask.models.change.changeformer import ChangeFormerNetwork
from everymask.models.change.changer import ChangerNetwork
from everymask.models.change.fc_siam import FCSiamNetwork
from everymask.models.change.snunet import SNUNetNetwork
from everymask.models.change.tinycd import TinyCDNetwork
from everymask.models.semantic.network import SemanticModel
from everymask.models.specs.change import BIT, ChangeFormer, ChangeModelSpec, Changer, FCSiam, SNUNet, TinyCD


def build_change(spec: ChangeModelSpec, num_classes: int, *, pretrained_encoder: Path | None = None) -> SemanticModel:
    """The untrained network of `spec` for `num_classes` classes, of which the first is what did not change.

    `pretrained_encoder` is a file of the encoder's ImageNet weights; `WeightsError` where there are none of it.
    """
    match spec:
        case TinyCD():
            return TinyCDNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case BIT():
            return BITNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case ChangeFormer():
            return ChangeFormerNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case Changer():
            return ChangerNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case FCSiam() | SNUNet():
            if pretrained_encoder is not None:
                raise WeightsError(
                    f"there are no ImageNet weights of {type(spec).__name__}'s own encoder",
                    hint="choose --weights none",
                )
            return FCSiamNetwork(spec, num_classes) if isinstance(spec, FCSiam) else SNUNetNetwork(spec, num_classes)
        case _:
            assert_never(spec)
