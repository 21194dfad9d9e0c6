"""U-Net (Ronneberger et al. 2015), on its own five-level encoder or on any other."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.blocks.channels import Joining
from everymask.models.blocks.layers import Classifier, conv_norm, initialise
from everymask.models.fast.doubled import DoubledConv2d, fit
from everymask.models.semantic.encoders import build_semantic_encoder, encode, encoder_shape
from everymask.models.semantic.network import SemanticModel, resize
from everymask.models.specs.regions import Norm
from everymask.models.specs.semantic import PLAIN_ENCODER, UNet


class UNetNetwork(SemanticModel):
    """The encoder's maps on the way down, and a block for each step on the way up.

    Convolutions are padded, so that logits have the size of the picture; the paper's shrink it. Any size is taken.
    """

    def __init__(self, spec: UNet, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes)
        norm: Norm | None = None if spec.decoder_norm == "none" else spec.decoder_norm
        plain = spec.encoder == PLAIN_ENCODER
        if plain:
            widths = (*reversed(spec.decoder_channels), 2 * spec.decoder_channels[0])
            self.backbone: nn.Module = PlainEncoder(spec.channels, widths, norm)
        else:
            self.backbone = build_semantic_encoder(
                spec.encoder, spec.channels, spec.norm, pretrained=pretrained_encoder
            )
            widths = encoder_shape(self.backbone)[0]
        inputs = (widths[-1], *spec.decoder_channels[:-1])
        skips = (*widths[-2::-1], *[0] * (len(spec.decoder_channels) - len(widths) + 1))
        self.decoder: nn.ModuleList = nn.ModuleList(
            UpBlock(*channels, norm, spec.upsampling)
            for channels in zip(inputs, skips, spec.decoder_channels, strict=True)
        )
        initialise(self.decoder)
        self.classifier: Classifier = Classifier(
            spec.decoder_channels[-1], self.num_logits, *((1,) if plain else (3, 1, 1))
        )

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        *skips, x = self.backbone(images) if isinstance(self.backbone, PlainEncoder) else encode(self.backbone, images)
        for step, block in enumerate(self.decoder, start=1):
            skip = skips.pop() if skips else None
            stride = 2 ** (len(self.decoder) - step)
            size = (-(-images.shape[2] // stride), -(-images.shape[3] // stride)) if skip is None else skip.shape[-2:]
            x = block(x, skip, size)
        return (self.classifier(x),)


class PlainEncoder(nn.Module):
    """The paper's contracting path: two convolutions per level, halved by max-pooling in between."""

    stages: tuple[tuple[str, ...], ...] = (("levels.0",), ("levels.1",), ("levels.2",), ("levels.3",))

    def __init__(self, channels: int, widths: tuple[int, ...], norm: Norm | None) -> None:
        super().__init__()
        self.widths = widths
        inputs = (channels, *widths[:-1])
        self.levels: nn.ModuleList = nn.ModuleList(
            double_conv(*pair, norm) for pair in zip(inputs, widths, strict=True)
        )
        initialise(self.levels)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        for level in self.levels:
            x = level(F.max_pool2d(x, 2, ceil_mode=True) if maps else x)
            maps.append(x)
        return maps


class UpBlock(Joining):
    """One step up: the map enlarged, joined with the encoder's map of that size, two convolutions."""

    def __init__(self, channels: int, skip_channels: int, out_channels: int, norm: Norm | None, mode: str) -> None:
        super().__init__()
        self.mode = mode
        if mode == "transposed":
            self.up: nn.ConvTranspose2d = nn.ConvTranspose2d(channels, out_channels, 2, stride=2)
            channels = out_channels
        first, second = double_conv(channels + skip_channels, out_channels, norm)
        self.conv1: nn.Module = first
        self.conv2: nn.Module = second
        self.channels = channels
        self.doubled: DoubledConv2d | None = None

    def forward(self, x: Tensor, skip: Tensor | None, size: tuple[int, int]) -> Tensor:
        if self.doubled is not None:
            x = self.doubled(x, skip, size)
        else:
            if self.mode == "transposed":
                x = self.up(x)
            x = resize(x, size) if self.mode == "bilinear" else fit(x, size)
            if skip is not None:
                x = torch.cat([x, skip], dim=1)
        enlarged: Tensor = self.conv2(self.conv1(x))
        return enlarged

    def fold_for_prediction(self) -> None:
        """Make enlarging and the first convolution one step, for prediction."""
        if self.mode == "nearest":
            first, *rest = self.conv1.children()
            if isinstance(first, nn.Conv2d):
                self.doubled = DoubledConv2d(first, self.channels)
                self.conv1 = nn.Sequential(*rest)


def double_conv(channels: int, out_channels: int, norm: Norm | None) -> nn.Sequential:
    """Two 3x3 convolutions, each with its norm and ReLU."""
    return nn.Sequential(
        conv_norm(channels, out_channels, 3, norm, relu=True), conv_norm(out_channels, out_channels, 3, norm, relu=True)
    )
