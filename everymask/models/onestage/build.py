"""From a spec to its network."""

from __future__ import annotations

from typing import assert_never

from everymask.models.onestage.network import OneStageNetwork
from everymask.models.onestage.rtmdet import RTMDetNetwork
from everymask.models.onestage.yolox import YOLOXNetwork
from everymask.models.specs.onestage import YOLOX, OneStageModelSpec, RTMDet


def build_one_stage(spec: OneStageModelSpec, num_classes: int) -> OneStageNetwork:
    """The untrained network of `spec` for `num_classes` classes."""
    match spec:
        case YOLOX():
            return YOLOXNetwork(spec, num_classes)
        case RTMDet():
            return RTMDetNetwork(spec, num_classes)
        case _:
            assert_never(spec)
