"""From a spec to its network."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias, assert_never

import torch

from everymask.classical.bases import MethodSpec
from everymask.errors import ConfigError
from everymask.models.base import Network, PanopticOutputs, QueryOutputs, RegionOutputs, SemanticOutputs
from everymask.models.change.build import build_change
from everymask.models.detr.network import RFDETRNetwork
from everymask.models.onestage.build import build_one_stage
from everymask.models.panoptic.fpn import PanopticRCNN
from everymask.models.prompted.network import PromptedNetwork
from everymask.models.queries.eomt import EoMTNetwork
from everymask.models.queries.mask2former import Mask2FormerNetwork
from everymask.models.regions.build import build_regions
from everymask.models.semantic.build import build_semantic
from everymask.models.specs.any_spec import AnySpec
from everymask.models.specs.change import ChangeSpec
from everymask.models.specs.detr import RFDETR
from everymask.models.specs.onestage import OneStageSpec
from everymask.models.specs.panoptic import PanopticFPN
from everymask.models.specs.prompted import PromptedSpec
from everymask.models.specs.queries import EoMT, Mask2Former
from everymask.models.specs.regions import FasterRCNN
from everymask.models.specs.semantic import SemanticSpec

NetworkOutputs: TypeAlias = RegionOutputs | SemanticOutputs | PanopticOutputs | QueryOutputs
"""What the networks give that `build` builds."""


def build(spec: AnySpec, num_classes: int, *, pretrained_encoder: Path | None = None) -> Network:
    """The untrained network of `spec` for `num_classes` classes.

    For a network that finds objects background is none of them. Errors as in `build_semantic`, `PanopticRCNN` and
    `QueryNetwork`, and `ConfigError` for a method that has no network.
    """
    match spec:
        case PanopticFPN():
            return PanopticRCNN(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case FasterRCNN():
            return build_regions(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case SemanticSpec():
            return build_semantic(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case ChangeSpec():
            return build_change(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case EoMT():
            return EoMTNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case Mask2Former():
            return Mask2FormerNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case PromptedSpec():
            return PromptedNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case OneStageSpec():
            return build_one_stage(spec, num_classes)
        case RFDETR():
            return RFDETRNetwork(spec, num_classes, pretrained_encoder=pretrained_encoder)
        case MethodSpec():
            raise ConfigError(f"{type(spec).__name__} is a method without a network")
        case _:
            assert_never(spec)


def build_bare(spec: AnySpec, num_classes: int) -> Network:
    """The network of `spec` on the device "meta": names, types and shapes, without the memory for any number."""
    with torch.device("meta"):
        return build(spec, num_classes)


def with_memory(bare: Network) -> Network:
    """A network of `build_bare` with memory on the CPU for numbers that are then loaded, every one of its state.

    None is drawn, which takes longer than loading them; what is not in the state is as `build` makes it, and counters
    of batch norms, which files may lack, are 0.
    """
    calculated = {name for name, _ in bare.named_buffers()} - set(bare.state_dict())
    if calculated:
        return build(bare.spec, bare.num_classes)
    network = bare.to_empty(device="cpu")
    for name, buffer in network.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer.zero_()
    return network
