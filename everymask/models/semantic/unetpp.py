"""U-Net++ (Zhou et al. 2018): the skips of U-Net are nets of nodes themselves."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from everymask.models.blocks.layers import Classifier, initialise
from everymask.models.fast.doubled import fit
from everymask.models.semantic.encoders import build_semantic_encoder, encode, encoder_shape
from everymask.models.semantic.network import SemanticModel, resize
from everymask.models.semantic.unet import double_conv
from everymask.models.specs.regions import Norm
from everymask.models.specs.semantic import UNetPlusPlus


class UNetPlusPlusNetwork(SemanticModel):
    """Nodes X(i, j) as in the paper's figure: level i below the finest map, number j along the skip.

    X(i, 0) are the encoder's maps; X(i, j) joins X(i+1, j-1), enlarged, with all nodes before it on its level. The
    last node of each level has the decoder's width, the others the encoder's. `finals` bring the finest level to the
    size of the picture.
    """

    def __init__(self, spec: UNetPlusPlus, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes)
        norm: Norm = "group" if spec.norm == "group" else "batch"
        self.backbone: nn.Module = build_semantic_encoder(
            spec.encoder, spec.channels, spec.norm, pretrained=pretrained_encoder
        )
        widths, strides = encoder_shape(self.backbone)
        self.depth: int = len(widths) - 1
        out = dict(zip(range(self.depth - 1, -1, -1), spec.decoder_channels, strict=False))
        self.nodes: nn.ModuleDict = nn.ModuleDict()
        for j in range(1, self.depth + 1):
            for i in range(self.depth - j + 1):
                last = i + j == self.depth
                below = out[i + 1] if last and j > 1 else widths[i + 1]
                self.nodes[f"{i}_{j}"] = double_conv(below + j * widths[i], out[i] if last else widths[i], norm)
        ends = spec.decoder_channels[self.depth - 1 : self.depth + strides[0].bit_length() - 1]
        self.finals: nn.ModuleList = nn.ModuleList(double_conv(*pair, norm) for pair in pairwise(ends))
        initialise(self.nodes, self.finals)
        self.classifier: Classifier = Classifier(ends[-1], self.num_logits, 3, padding=1)
        heads = range(1, self.depth) if spec.auxiliary else ()
        self.auxiliary: nn.ModuleList = nn.ModuleList(Classifier(widths[0], self.num_logits, 1) for _ in heads)

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        size = images.shape[-2:]
        rows = [[plane] for plane in encode(self.backbone, images)]
        for j in range(1, self.depth + 1):
            for i in range(self.depth - j + 1):
                enlarged = fit(rows[i + 1][j - 1], rows[i][0].shape[-2:])
                rows[i].append(self.nodes[f"{i}_{j}"](torch.cat([enlarged, *reversed(rows[i])], dim=1)))
        x = rows[0][-1]
        for step, block in enumerate(self.finals, start=1):
            stride = 2 ** (len(self.finals) - step)
            x = block(fit(x, (-(-size[0] // stride), -(-size[1] // stride))))
        main = self.classifier(x)
        if not auxiliary:
            return (main,)
        others = (resize(head(node), size) for head, node in zip(self.auxiliary, rows[0][1:-1], strict=False))
        return (main, *others)
