"""HRNet (Sun et al. 2019) for semantic segmentation, and object-contextual representations (OCR, Yuan et al. 2020).

Parameters are named as in the authors' code as far as possible; `from_authors` tells the names of their files.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from everymask.models.blocks.encoders import build_features
from everymask.models.blocks.hrnet_trunk import HRNetTrunk
from everymask.models.blocks.layers import Classifier, conv_norm, initialise
from everymask.models.semantic.encoders import set_norm
from everymask.models.semantic.network import SemanticModel, resize
from everymask.models.specs.semantic import HRNet


class HRNetNetwork(SemanticModel):
    """All branches at stride 4, joined; a 1x1 convolution and classes, which with OCR are a first guess at regions."""

    def __init__(self, spec: HRNet, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes)
        self.enlarge = partial(resize, align_corners=spec.align_corners)
        self.backbone: HRNetTrunk = _trunk(spec, self.enlarge, pretrained=pretrained_encoder)
        self.ocr: bool = spec.ocr
        joined, width = sum(self.backbone.widths), spec.ocr_channels
        first_guess = nn.Sequential(*_biased(joined, joined, 1), Classifier(joined, self.num_logits, 1))
        if spec.ocr:
            self.aux_head = first_guess
            self.conv3x3_ocr: nn.Sequential = nn.Sequential(*_biased(joined, width, 3))
            self.ocr_distri_head: ObjectContext = ObjectContext(width, spec.ocr_key_channels)
            initialise(self.conv3x3_ocr, self.ocr_distri_head)
            self.cls_head: Classifier = Classifier(width, self.num_logits, 1)
        else:
            self.last_layer = first_guess
        initialise(first_guess[0])
        set_norm(self if spec.norm == "group" else self.backbone, spec.norm)

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        maps = self.backbone(images)
        size = maps[0].shape[-2:]
        joined = torch.cat([self.enlarge(plane, size) for plane in maps], dim=1)
        planes = [(self.aux_head if self.ocr else self.last_layer)(joined)]
        if self.ocr:
            pixels = self.conv3x3_ocr(joined)
            pixels = self.ocr_distri_head(pixels, gather_regions(pixels, planes[0]))
            planes = [self.cls_head(pixels), *(planes if auxiliary else [])]
        return tuple(self.enlarge(plane, images.shape[-2:]) for plane in planes)


class ObjectContext(nn.Module):
    """Each pixel asks the regions what they know of it, and is joined with the answer (OCR, equations 3 to 5)."""

    def __init__(self, width: int, keys: int) -> None:
        super().__init__()
        self.object_context_block: RegionAttention = RegionAttention(width, keys)
        self.conv_bn_dropout: nn.Sequential = nn.Sequential(*_pointwise(2 * width, width), nn.Dropout2d(0.05))

    def forward(self, pixels: Tensor, regions: Tensor) -> Tensor:
        """Pixels [B, C, H, W] that know of their regions [B, C, R, 1]."""
        joined: Tensor = self.conv_bn_dropout(torch.cat([self.object_context_block(pixels, regions), pixels], dim=1))
        return joined


class RegionAttention(nn.Module):
    """Attention with pixels as queries; regions are the keys and the values."""

    def __init__(self, width: int, keys: int) -> None:
        super().__init__()
        self.f_pixel: nn.Sequential = nn.Sequential(*_pointwise(width, keys), *_pointwise(keys, keys))
        self.f_object: nn.Sequential = nn.Sequential(*_pointwise(width, keys), *_pointwise(keys, keys))
        self.f_down: nn.Sequential = _pointwise(width, keys)
        self.f_up: nn.Sequential = _pointwise(keys, width)

    def forward(self, pixels: Tensor, regions: Tensor) -> Tensor:
        """The regions' knowledge [B, C, H, W] for pixels [B, C, H, W] and regions [B, C, R, 1]."""
        queries = self.f_pixel(pixels).flatten(2)
        keys, values = self.f_object(regions).flatten(2), self.f_down(regions).flatten(2)
        weights = (queries.transpose(1, 2) @ keys * keys.shape[1] ** -0.5).softmax(dim=-1)
        answers = (weights @ values.transpose(1, 2)).transpose(1, 2)
        known: Tensor = self.f_up(answers.unflatten(2, pixels.shape[-2:]))
        return known


def gather_regions(pixels: Tensor, logits: Tensor) -> Tensor:
    """What regions look like on the whole: [B, C, R, 1], means of pixels [B, C, H, W] weighted by logits [B, R, H, W].

    A single channel of logits, foreground, makes two regions: it and the rest.
    """
    if logits.shape[1] == 1:
        logits = torch.cat([-logits, logits], dim=1)
    shares = logits.flatten(2).softmax(dim=2).to(pixels.dtype)
    return (shares @ pixels.flatten(2).transpose(1, 2)).transpose(1, 2)[..., None]


def _trunk(spec: HRNet, enlarge: Any, *, pretrained: Path | None) -> HRNetTrunk:
    trunk = HRNetTrunk(spec.encoder, spec.channels, enlarge)
    initialise(trunk)
    if pretrained:
        known = build_features(spec.encoder, spec.channels, pretrained=pretrained).state_dict()
        trunk.load_state_dict({name: known[name] for name in trunk.state_dict()})
    return trunk


def _pointwise(inputs: int, outputs: int) -> nn.Sequential:
    return conv_norm(inputs, outputs, 1, "batch", relu=True)


def _biased(inputs: int, outputs: int, kernel: int) -> tuple[nn.Module, ...]:
    """A convolution that keeps its bias before the norm, as the authors' does."""
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
