"""mmdetection's checkpoints of RTMDet and RTMDet-Ins under our parameter names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from everymask.errors import WeightsError
from everymask.models.onestage.cspnext import SIZES
from everymask.models.specs.onestage import OneStageProfile, RTMDet, RTMDetIns, published_profile

_FIRST = "backbone.stem.0.conv.weight"
_KERNELS = "bbox_head.rtm_kernel.0.weight"
_BLOCK = "backbone.stage1.1.blocks.{}.conv1.conv.weight"
_SHARED = re.compile(r"^bbox_head\.(cls|reg)_convs\.(\d)\.(\d)\.(conv|bn)\.(\w+)$")


def rtmdet_of(tensors: Mapping[str, Tensor]) -> RTMDet:
    """The network of mmdetection's weights; `WeightsError` where its size is none that exists here."""
    first = tensors.get(_FIRST)
    if first is None:
        raise WeightsError(
            "these are weights of an RTMDet on another encoder than CSPNeXt, which does not exist here",
            hint=f"there are {', '.join(SIZES)}",
        )
    width, channels = 2 * first.shape[0], first.shape[1]
    blocks = next(count for count in range(len(tensors)) if _BLOCK.format(count) not in tensors)
    kind = RTMDetIns if _KERNELS in tensors else RTMDet
    for name, size in SIZES.items():
        if (size.channels(0), size.blocks(1)) == (width, blocks):
            profile = published_profile(kind(encoder=name)) if channels == 3 else OneStageProfile()
            return kind(encoder=name, channels=channels, profile=profile)
    raise WeightsError(
        f"the weights are of an RTMDet {width} channels wide whose first stage has {blocks} blocks, which does not "
        "exist here",
        hint=f"there are {', '.join(SIZES)}",
    )


def from_mmdetection(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """mmdetection's weights, named for our network.

    A convolution that all maps share stands there once for each map, and with masks once more for the boxes;
    `WeightsError` where these differ.
    """
    masks, named = _KERNELS in tensors, dict[str, Tensor]()
    for name, tensor in tensors.items():
        if name.startswith("data_preprocessor."):
            continue
        found = _SHARED.match(name)
        if found is None:
            named[name.replace("bbox_head.", "head.", 1)] = tensor
            continue
        branch, level, layer, part, leaf = found.groups()
        own = f"head.{'cls' if masks else branch}_convs.{layer}.{part}."
        own += leaf if part == "conv" else f"{level}.{leaf}"
        if own in named and not named[own].equal(tensor):
            raise WeightsError(f"{name} differs from the other copies of the layer, which maps share in an RTMDet")
        named[own] = tensor
    return named
