"""LR-ASPP (Howard et al. 2019, "Searching for MobileNetV3"): a small head for small encoders."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from everymask.models.blocks.layers import Classifier, conv_norm, initialise
from everymask.models.semantic.encoders import build_semantic_encoder, encode, encoder_shape
from everymask.models.semantic.network import SemanticModel, resize
from everymask.models.specs.regions import Norm
from everymask.models.specs.semantic import LRASPP


class LRASPPNetwork(SemanticModel):
    """An encoder of output stride 16, and a head on its last map and on that of stride 8."""

    def __init__(self, spec: LRASPP, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes)
        self.backbone: nn.Module = build_semantic_encoder(
            spec.encoder,
            spec.channels,
            spec.norm,
            output_stride=16,
            mobilenet=spec.mobilenet,
            pretrained=pretrained_encoder,
        )
        widths, strides = encoder_shape(self.backbone)
        self.fine: int = strides.index(8)
        self.classifier: GatedHead = GatedHead(
            widths[self.fine], widths[-1], spec.decoder_channels, self.num_logits, spec.norm
        )

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        maps = encode(self.backbone, images)
        return (resize(self.classifier(maps[self.fine], maps[-1]), images.shape[-2:]),)


class GatedHead(nn.Module):
    """The coarse map, its channels weighted by the picture's mean, votes with the fine one. Named as in torchvision."""

    def __init__(self, low: int, high: int, width: int, num_logits: int, norm: Norm) -> None:
        super().__init__()
        self.cbr: nn.Sequential = conv_norm(high, width, 1, norm, relu=True)
        self.scale: nn.Sequential = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(high, width, 1, bias=False), nn.Sigmoid()
        )
        initialise(self)
        self.low_classifier: Classifier = Classifier(low, num_logits, 1)
        self.high_classifier: Classifier = Classifier(width, num_logits, 1)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        gated = self.cbr(high) * self.scale(high)
        # The 1x1 convolution of a resized map is the resized 1x1 convolution; classes are fewer than channels.
        votes = resize(self.high_classifier(gated), low.shape[-2:])
        logits: Tensor = self.low_classifier(low) + votes
        return logits
