"""From the spec of a network that compares two dates to the network."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from everymask.errors import WeightsError
from everymask.models.change.fc_siam import FCSiamNetwork
from everymask.models.change.tinycd import TinyCDNetwork
from everymask.models.semantic.network import SemanticModel
from everymask.models.specs.change import ChangeModelSpec, FCSiam, TinyCD


def build_change(spec: ChangeModelSpec, num_classes: int, *, pretrained_encoder: Path | None = None) -> SemanticModel:
    """The untrained network of `spec` for `num_classes` classes, of which the first is what did not change.

    `pretrained_encoder` is a file of the encoder's ImageNet weights; `WeightsError` where there are none of it.
    """
    match spec:
        case TinyCD():
            return TinyCDNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case FCSiam():
            if pretrained_encoder is not None:
                raise WeightsError(
                    "there are no ImageNet weights of FC-Siam's own encoder", hint="choose --weights none"
                )
            return FCSiamNetwork(spec, num_classes)
        case _:
            assert_never(spec)
