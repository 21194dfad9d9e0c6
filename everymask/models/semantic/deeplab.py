"""DeepLabV3 (Chen et al. 2017) and DeepLabV3+ (Chen et al. 2018): a dilated encoder and a pyramid of rates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.blocks.layers import Classifier, conv_norm, fcn_head, initialise, pooled_conv_norm
from everymask.models.semantic.encoders import build_semantic_encoder, encode, encoder_shape
from everymask.models.semantic.network import SemanticModel, resize
from everymask.models.specs.regions import Norm
from everymask.models.specs.semantic import DeepLabV3, DeepLabV3Plus


class DeepLabV3Network(SemanticModel):
    """Pyramid of rates on the encoder's last map, one convolution, classes. Parameters named as in torchvision."""

    def __init__(self, spec: DeepLabV3, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes)
        self.align_corners: bool = spec.align_corners
        self.backbone: nn.Module = _dilated_encoder(spec, pretrained_encoder)
        widths = encoder_shape(self.backbone)[0]
        width, last = spec.decoder_channels, widths[-1]
        self.auxiliary_map = spec.auxiliary_stage - 6
        ours = spec.decoder == "torchvision"
        self.classifier: nn.Sequential = nn.Sequential(
            RatePyramid(last, width, spec.rates, spec.norm, kernel=1 if ours else 3),
            *(conv_norm(width, width, 3, spec.norm, relu=True) if ours else ()),
            Classifier(width, self.num_logits, 1),
        )
        self.aux_classifier: nn.Sequential | None = (
            fcn_head(widths[self.auxiliary_map], self.num_logits, spec.norm) if spec.auxiliary else None
        )

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        maps = encode(self.backbone, images)
        planes = [self.classifier(maps[-1])]
        if auxiliary and self.aux_classifier is not None:
            planes.append(self.aux_classifier(maps[self.auxiliary_map]))
        return tuple(resize(plane, images.shape[-2:], align_corners=self.align_corners) for plane in planes)


class DeepLabV3PlusNetwork(SemanticModel):
    """Separable pyramid of rates, enlarged to stride 4, joined with the encoder's narrowed map of that stride."""

    def __init__(self, spec: DeepLabV3Plus, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes)
        self.align_corners: bool = spec.align_corners
        self.backbone: nn.Module = _dilated_encoder(spec, pretrained_encoder)
        widths, strides = encoder_shape(self.backbone)
        self.fine: int = strides.index(4)
        width, norm, paper = spec.decoder_channels, spec.norm, spec.decoder == "paper"
        separable = separable_conv_norm if paper else twice_normed
        self.aspp: RatePyramid = RatePyramid(
            widths[-1], width, spec.rates, norm, build=separable, kernel=1 if paper else 3
        )
        self.refine: nn.Sequential = nn.Sequential(*(separable(width, width, norm) for _ in range(spec.convs[0])))
        self.skip: nn.Sequential = conv_norm(widths[self.fine], spec.skip_channels, 1, norm, relu=True)
        inputs = (width + spec.skip_channels, *[width] * (spec.convs[1] - 1))
        self.fuse: nn.Sequential = nn.Sequential(*(separable(channels, width, norm) for channels in inputs))
        initialise(self.aspp, self.refine, self.skip, self.fuse)
        self.classifier: Classifier = Classifier(width, self.num_logits, 1)
        self.aux_classifier: nn.Sequential | None = (
            fcn_head(widths[-2], self.num_logits, norm) if spec.auxiliary else None
        )

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        maps = encode(self.backbone, images)
        coarse = self.refine(self.aspp(maps[-1]))
        skip = self.skip(maps[self.fine])
        enlarged = resize(coarse, skip.shape[-2:], align_corners=self.align_corners)
        planes = [self.classifier(self.fuse(torch.cat([enlarged, skip], dim=1)))]
        if auxiliary and self.aux_classifier is not None:
            planes.append(self.aux_classifier(maps[-2]))
        return tuple(resize(plane, images.shape[-2:], align_corners=self.align_corners) for plane in planes)


class RatePyramid(nn.Module):
    """Atrous spatial pyramid pooling: a 1x1 convolution, three dilated 3x3 ones and the picture's mean, joined by a
    convolution of that `kernel`.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        rates: tuple[int, int, int],
        norm: Norm,
        *,
        build: Callable[[int, int, Norm, int], nn.Module] | None = None,
        kernel: Literal[1, 3] = 1,
    ) -> None:
        super().__init__()
        build = build or dilated_conv_norm
        self.kernel = kernel
        self.convs: nn.ModuleList = nn.ModuleList(
            [
                conv_norm(channels, width, 1, norm, relu=True),
                *(build(channels, width, norm, rate) for rate in rates),
                pooled_conv_norm(channels, width, 1, norm),
            ]
        )
        dropout = nn.Dropout(0.5) if kernel == 1 else nn.Dropout2d(0.1)
        self.project: nn.Sequential = nn.Sequential(*conv_norm(5 * width, width, kernel, norm, relu=True), dropout)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        *local, mean = self.convs
        planes = torch.cat([conv(x) for conv in local], dim=1)
        if self.kernel == 3:
            everywhere = mean(x).expand(-1, -1, *planes.shape[-2:])
            joined: Tensor = self.project(torch.cat([planes, everywhere], dim=1))
            return joined
        # The mean is the same everywhere, so its part of the 1x1 convolution is calculated once and added.
        layers: list[Any] = list(self.project)
        conv, *rest = layers
        here, everywhere = conv.weight.split([planes.shape[1], conv.weight.shape[1] - planes.shape[1]], dim=1)
        x = F.conv2d(planes, here, conv.bias) + F.conv2d(mean(x), everywhere)
        for layer in rest:
            x = layer(x)
        return x


def dilated_conv_norm(channels: int, width: int, norm: Norm, rate: int) -> nn.Sequential:
    """A dilated 3x3 convolution with norm and ReLU."""
    return conv_norm(channels, width, 3, norm, relu=True, dilation=rate)


def separable_conv_norm(channels: int, width: int, norm: Norm, rate: int = 1) -> nn.Sequential:
    """A 3x3 convolution per channel, then a 1x1 convolution with norm and ReLU. Members: 0 and 1, 2 norm."""
    depthwise = nn.Conv2d(channels, channels, 3, padding=rate, dilation=rate, groups=channels, bias=False)
    return nn.Sequential(depthwise, *conv_norm(channels, width, 1, norm, relu=True))


def twice_normed(channels: int, width: int, norm: Norm, rate: int = 1) -> nn.Sequential:
    """A 3x3 convolution per channel, then a 1x1, each with norm and ReLU. Members: 0 and 3, norms 1 and 4."""
    depthwise = nn.Conv2d(channels, channels, 3, padding=rate, dilation=rate, groups=channels, bias=False)
    _, *between = conv_norm(channels, channels, 1, norm, relu=True)
    return nn.Sequential(depthwise, *between, *conv_norm(channels, width, 1, norm, relu=True))


def _dilated_encoder(spec: DeepLabV3 | DeepLabV3Plus, pretrained: Path | None) -> nn.Module:
    return build_semantic_encoder(
        spec.encoder,
        spec.channels,
        spec.norm,
        output_stride=spec.output_stride,
        uniform_dilation=spec.uniform_dilation,
        mobilenet=spec.mobilenet if isinstance(spec, DeepLabV3) else "timm",
        pretrained=pretrained,
    )
