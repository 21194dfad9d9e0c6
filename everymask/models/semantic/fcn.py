"""FCN (Long et al. 2015) on a dilated encoder, as torchvision has it: classes straight from the last map."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from everymask.models.blocks.layers import fcn_head
from everymask.models.semantic.encoders import build_semantic_encoder, encode, encoder_shape
from everymask.models.semantic.network import SemanticModel, resize
from everymask.models.specs.semantic import FCN


class FCNNetwork(SemanticModel):
    """Dilated encoder, one convolution, classes. Parameters named as in torchvision."""

    def __init__(self, spec: FCN, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes)
        self.backbone = build_semantic_encoder(
            spec.encoder, spec.channels, spec.norm, output_stride=spec.output_stride, pretrained=pretrained_encoder
        )
        *_, before, last = encoder_shape(self.backbone)[0]
        self.classifier = fcn_head(last, self.num_logits, spec.norm)
        self.aux_classifier = fcn_head(before, self.num_logits, spec.norm) if spec.auxiliary else None

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        *_, before, x = encode(self.backbone, images)
        planes = [self.classifier(x)]
        if auxiliary and self.aux_classifier is not None:
            planes.append(self.aux_classifier(before))
        return tuple(resize(plane, images.shape[-2:]) for plane in planes)
