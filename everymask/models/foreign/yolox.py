"""YOLOX's checkpoints: its authors' files, whose names are ours, and the ONNX files that their export writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from everymask.core.memory import memory_ran_out
from everymask.errors import WeightsError, printable, require
from everymask.models.onestage.csp_darknet import SIZES
from everymask.models.onestage.layers import NORM_EPS
from everymask.models.onestage.yolox import YOLOXNetwork
from everymask.models.specs.onestage import YOLOX, OneStageProfile, published_profile

_FIRST = "backbone.backbone.stem.conv.conv.weight"
_BLOCK = "backbone.backbone.dark2.1.m.{}.conv1.conv.weight"
_SEPARABLE = "backbone.backbone.dark2.0.dconv.conv.weight"
_CLASSES = "head.cls_preds.0.weight"
_CURE = "name what YOLOX's export wrote; of a network of everymask name the run folder, or a bundle (.emz)"


def yolox_of(tensors: Mapping[str, Tensor]) -> YOLOX:
    """The network of weights by YOLOX's authors; `WeightsError` where its size is none that exists here."""
    width, channels = tensors[_FIRST].shape[0], tensors[_FIRST].shape[1] // 4
    blocks = next(count for count in range(len(tensors)) if _BLOCK.format(count) not in tensors)
    separable = _SEPARABLE in tensors
    for name, size in SIZES.items():
        if (size.channels(0), size.blocks, size.separable) == (width, blocks, separable):
            return _network(name, channels)
    raise WeightsError(
        f"the weights are of a YOLOX {width} channels wide whose first stage has {blocks} blocks"
        f"{' of separable convolutions' if separable else ''}, which does not exist here",
        hint=f"there are {', '.join(SIZES)}",
    )


def _network(encoder: str, channels: int) -> YOLOX:
    plain = YOLOX(encoder=encoder, channels=channels)
    profile = published_profile(plain) if channels == 3 else OneStageProfile()
    return YOLOX(encoder=encoder, channels=channels, profile=profile)


def read_yolox_onnx(file: Path) -> dict[str, Tensor]:
    """The weights in an ONNX file of YOLOX, named as ours.

    Each convolution has swallowed its norm there, so norms come back as ones that change nothing. Most tensors have no
    names of their own and are taken in the order in which the graph convolves. `WeightsError` where the file is damaged
    or of another network; `MissingExtra` without onnx.
    """
    convolutions = _convolutions(file)
    classes = next((len(weight) for name, weight, _ in convolutions if name == _CLASSES), None)
    shapes = [weight.shape for _, weight, _ in convolutions]
    if classes is not None and shapes[0][1] % 4 == 0:
        for encoder in SIZES:
            with torch.device("meta"):
                module = YOLOXNetwork(_network(encoder, shapes[0][1] // 4), classes)
            order = _order(module)
            if [module.get_submodule(name).weight.shape for name in order] == shapes:
                return _named(module, order, convolutions)
    raise WeightsError(f"{printable(file)} is an ONNX file, but not of a YOLOX that exists here", hint=_CURE)


def _convolutions(file: Path) -> list[tuple[str, Tensor, Tensor]]:
    """The name, the weights and the biases of each convolution of a graph, in its order."""
    onnx: Any = require("onnx", "export")
    try:
        graph = onnx.load(str(file), load_external_data=False).graph
        stored = {tensor.name: tensor for tensor in graph.initializer}
        return [
            (
                node.input[1],
                torch.from_numpy(onnx.numpy_helper.to_array(stored[node.input[1]]).copy()).float(),
                torch.from_numpy(onnx.numpy_helper.to_array(stored[node.input[2]]).copy()).float(),
            )
            for node in graph.node
            if node.op_type == "Conv" and len(node.input) == 3 and {*node.input[1:]} <= stored.keys()
        ]
    except Exception as error:  # whatever protocol buffers make of other bytes
        if memory_ran_out(error):
            raise
        raise WeightsError(f"{printable(file)} is not a whole ONNX file: {printable(error)}", hint=_CURE) from error


def _order(module: YOLOXNetwork) -> list[str]:
    """The names of the convolutions in the order in which the network calls them."""
    order: list[str] = []
    hooks = [
        part.register_forward_hook(lambda *_, name=name: order.append(name))
        for name, part in module.named_modules()
        if isinstance(part, nn.Conv2d)
    ]
    module.eval().look(torch.zeros(1, module.spec.channels, 64, 64, device="meta"))
    for hook in hooks:
        hook.remove()
    return order


def _named(module: YOLOXNetwork, order: list[str], convolutions: list[tuple[str, Tensor, Tensor]]) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {}
    for name, (_, weight, bias) in zip(order, convolutions, strict=True):
        named[f"{name}.weight"] = weight
        owner, _, leaf = name.rpartition(".")
        if leaf != "conv":
            named[f"{name}.bias"] = bias
            continue
        named |= {f"{owner}.bn.weight": torch.ones_like(bias), f"{owner}.bn.bias": bias}
        named |= {f"{owner}.bn.running_mean": torch.zeros_like(bias)}
        named |= {f"{owner}.bn.running_var": torch.full_like(bias, 1 - NORM_EPS)}
    return named
