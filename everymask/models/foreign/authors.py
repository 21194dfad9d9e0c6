"""Checkpoints of the code that the authors of HRNet, of OCR and of PIDNet published, under our parameter names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from everymask.models.specs.semantic import HRNet, PIDNet

_HRNET_HEADS = ("last_layer.",)
_OCR_HEADS = ("aux_head.", "conv3x3_ocr.", "ocr_distri_head.", "cls_head.")
_PIDNET_HEADS = ("final_layer.",)
_AUXILIARY_HEADS = ("seghead_p.", "seghead_d.")
# Norm and ReLU are one member there, and two here.
_REGION_LAYERS = re.compile(r"\.(f_pixel|f_object|f_down|f_up|conv_bn_dropout)\.(\d)\.(?:0\.)?(?=\w+$)")
_PLACES = {"0": 0, "1": 1, "2": 3, "3": 4}


def from_authors(tensors: Mapping[str, Tensor], spec: HRNet | PIDNet) -> dict[str, Tensor]:
    """Their weights (with or without the prefix `model.` of training), named for the network of `spec`.

    A trunk that was trained on ImageNet fits too, as far as it goes: its classification head keeps its names. What
    only their training uses is left out, as are auxiliary heads that the spec has not.
    """
    training = any(name.startswith("model.") for name in tensors)
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if training and not name.startswith("model."):
            continue
        plain = name.removeprefix("model.")
        if isinstance(spec, PIDNet) and not spec.auxiliary and plain.startswith(_AUXILIARY_HEADS):
            continue
        named[_renamed(plain, _heads(spec))] = tensor
    return named


def _heads(spec: HRNet | PIDNet) -> tuple[str, ...]:
    if isinstance(spec, PIDNet):
        return _PIDNET_HEADS + _AUXILIARY_HEADS
    return _OCR_HEADS if spec.ocr else _HRNET_HEADS


def _renamed(name: str, heads: tuple[str, ...]) -> str:
    if not name.startswith(heads):
        return f"backbone.{name}"
    return _REGION_LAYERS.sub(lambda found: f".{found[1]}.{_PLACES.get(found[2], found[2])}.", name)
