"""ChangerEx (Fang et al. 2023, "Changer: feature interaction is what you need for change detection")."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.core.segmentation import ChangeMap
from everymask.models.blocks.layers import Classifier, conv_norm, initialise
from everymask.models.blocks.mit import MixTransformer, as_map
from everymask.models.change.dates import each_date
from everymask.models.semantic.encoders import build_semantic_encoder, encoder_shape
from everymask.models.semantic.network import SemanticModel, resize
from everymask.models.specs.change import Changer
from everymask.models.specs.regions import Norm

_STRIDES = (4, 8, 16, 32)
_COLUMNS_AT, _CHANNELS_AT = (8,), (16, 32)


class ChangerNetwork(SemanticModel):
    """One encoder sees both dates, which exchange parts of their maps on the way: no parameters are needed for that.

    At stride 8 every second column changes places, at strides 16 and 32 every second channel. Each date's four maps
    become one; of these two, each bent to lie on the other (FDAF), what they differ by is classified. Its instance norm
    takes the statistics of whole pictures, so tiles of a picture give another answer.
    """

    kind = ChangeMap

    def __init__(self, spec: Changer, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes)
        self.channels: int = spec.channels
        width = spec.decoder_channels
        self.backbone: nn.Module = build_semantic_encoder(
            spec.encoder, spec.channels, spec.norm, pretrained=pretrained_encoder
        )
        found = zip(*encoder_shape(self.backbone), strict=True)
        widths = [inputs for inputs, stride in found if stride in _STRIDES]
        norm: Norm = "group" if spec.norm == "group" else "batch"
        self.narrow: nn.ModuleList = nn.ModuleList(conv_norm(inputs, width, 1, norm, relu=True) for inputs in widths)
        self.join: nn.Sequential = conv_norm(len(widths) * width, width // 2, 1, norm, relu=True)
        self.align: FlowAlignment = FlowAlignment(width // 2)
        self.mix: MixFeedForward = MixFeedForward(width)
        initialise(self.narrow, self.join, self.align, self.mix)
        self.classifier: Classifier = Classifier(width, self.num_logits, 1)

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        maps = exchanging(self.backbone, torch.cat(images.split(self.channels, dim=1)))
        size = maps[0].shape[-2:]
        planes = [resize(narrow(plane), size) for narrow, plane in zip(self.narrow, maps, strict=True)]
        before, after = each_date(self.join(torch.cat(planes, dim=1)))
        mixed = self.mix(self.align(before, after))
        return (resize(self.classifier(mixed), images.shape[-2:]),)


def exchanging(body: nn.Module, dates: Tensor) -> list[Tensor]:
    """The maps at strides 4 to 32 of pictures [2 B, C, H, W], the earlier dates first, that exchange parts between the
    stages of their encoder.
    """
    maps = []
    steps = _of_mit(body) if isinstance(body, MixTransformer) else _of_residual(body)
    x = dates
    for stride, stage in steps:
        x = exchanged(stage(x), stride)
        if stride in _STRIDES:
            maps.append(x)
    return maps


def exchanged(planes: Tensor, stride: int) -> Tensor:
    """Maps [2 B, C, h, w] of both dates, after the exchange that belongs to their stride."""
    if stride not in (*_COLUMNS_AT, *_CHANNELS_AT):
        return planes
    length = planes.shape[3] if stride in _COLUMNS_AT else planes.shape[1]
    places = torch.arange(length, device=planes.device) % 2 == 0
    places = places if stride in _COLUMNS_AT else places[:, None, None]
    before, after = each_date(planes)
    return torch.cat([torch.where(places, after, before), torch.where(places, before, after)])


def _of_residual(body: Any) -> Iterator[tuple[int, Any]]:
    """The stages of a ResNet and the strides of what they give."""
    names = list(body)
    first = names.index("layer1")
    yield 2, lambda x: _through(body, names[: first - 1], x)
    yield 4, lambda x: _through(body, names[first - 1 : first + 1], x)
    for place, stride in enumerate(_STRIDES[1:], first + 1):
        yield stride, body[names[place]]


def _through(body: Any, names: list[str], x: Tensor) -> Tensor:
    for name in names:
        x = body[name](x)
    return x


def _of_mit(body: MixTransformer) -> Iterator[tuple[int, Any]]:
    """The stages of a Mix Transformer and the strides of what they give."""

    def through(x: Tensor, stage: int) -> Tensor:
        tokens, size = body.get_submodule(f"patch_embed{stage}")(x)
        for block in body.get_submodule(f"block{stage}").children():
            tokens = block(tokens, size)
        return as_map(body.get_submodule(f"norm{stage}")(tokens), size)

    for stage, stride in enumerate(_STRIDES, start=1):
        yield stride, lambda x, stage=stage: through(x, stage)


class FlowAlignment(nn.Module):
    """Flow dual-alignment fusion: each map is bent to lie on the other, and what they then differ by is given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.flow: nn.Sequential = nn.Sequential(
            nn.Conv2d(2 * width, 2 * width, 5, padding=2, groups=2 * width), nn.InstanceNorm2d(2 * width), nn.GELU(),
            nn.Conv2d(2 * width, 4, 1, bias=False),
        )  # fmt: skip

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """[B, 2 C, h, w]."""
        first, second = self.flow(torch.cat([before, after], dim=1)).chunk(2, dim=1)
        return torch.cat([bent(before, first) - after, bent(after, second) - before], dim=1)


def bent(planes: Tensor, flow: Tensor) -> Tensor:
    """Maps [B, C, h, w] read at each pixel's place plus `flow` [B, 2, h, w], x and y, bilinear; 0 beyond the border.

    A flow of 2 is about a pixel, as the reference has it: 1 is a part in w (or h) of half the map.
    """
    height, width = planes.shape[-2:]
    y, x = (_from_border_to_border(length, flow) for length in (height, width))
    places = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
    sizes = torch.stack([flow[:, 0] / width, flow[:, 1] / height], dim=-1)
    return F.grid_sample(planes, places + sizes, align_corners=True)


class MixFeedForward(nn.Module):
    """Two 1x1 convolutions with a 3x3 convolution per channel between them, beside a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers: nn.Sequential = nn.Sequential(
            nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 3, padding=1, groups=width), nn.GELU(),
            nn.Conv2d(width, width, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = x + self.layers(x)
        return mixed


def _from_border_to_border(length: int, like: Tensor) -> Tensor:
    """`length` places from -1 to 1, whose number a graph may leave open, as it may not in `torch.linspace`."""
    places = torch.arange(length, device=like.device, dtype=like.dtype)
    return 2 * places / places[-1:].clamp(min=1) - 1
