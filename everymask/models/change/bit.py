"""BIT (Chen et al. 2021, "Remote sensing image change detection with transformers")."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.core.segmentation import ChangeMap
from everymask.models.blocks.layers import Classifier, conv_norm, initialise
from everymask.models.change.dates import each_date
from everymask.models.semantic.encoders import build_semantic_encoder, encode, encoder_shape
from everymask.models.semantic.network import SemanticModel, resize
from everymask.models.specs.change import BIT

_DEPTH, _STRIDE = 4, 8
_MAP_STRIDE = 4


class BITNetwork(SemanticModel):
    """Each date's map becomes a few tokens; those of both talk to each other, and each map listens to its own again.

    What changed is told by how far the two maps then differ. The maps have a quarter of the pictures' size.
    """

    kind = ChangeMap

    def __init__(self, spec: BIT, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes)
        self.channels: int = spec.channels
        self.backbone: nn.Module = build_semantic_encoder(
            spec.encoder, spec.channels, spec.norm, depth=_DEPTH, output_stride=_STRIDE, pretrained=pretrained_encoder
        )
        width = spec.width
        self.narrow: nn.Conv2d = nn.Conv2d(encoder_shape(self.backbone)[0][-1], width, 3, padding=1)
        self.attend: nn.Conv2d = nn.Conv2d(width, spec.tokens, 1, bias=False)
        self.positions: nn.Parameter = nn.Parameter(torch.randn(1, 2 * spec.tokens, width))
        self.encoder: nn.ModuleList = nn.ModuleList(
            Layer(width, spec.heads, spec.encoder_head) for _ in range(spec.encoder_depth)
        )
        self.decoder: nn.ModuleList = nn.ModuleList(
            Layer(width, spec.heads, spec.decoder_head) for _ in range(spec.decoder_depth)
        )
        self.hidden: nn.Sequential = conv_norm(width, width, 3, "group" if spec.norm == "group" else "batch", relu=True)
        initialise(self.narrow, self.attend, self.hidden)
        self.classifier: Classifier = Classifier(width, self.num_logits, 3, padding=1)

    def logits(self, images: Tensor, *, auxiliary: bool = False) -> tuple[Tensor, ...]:
        height, width = images.shape[-2:]
        both = encode(self.backbone, torch.cat(images.split(self.channels, dim=1)))[-1]
        planes = self.narrow(resize(both, (-(-height // _MAP_STRIDE), -(-width // _MAP_STRIDE))))
        tokens = torch.cat(each_date(self.tokens(planes)), dim=1) + self.positions
        for layer in self.encoder:
            tokens = layer(tokens, None)
        own = torch.cat(tokens.chunk(2, dim=1))
        pixels = planes.flatten(2).transpose(1, 2)
        for layer in self.decoder:
            pixels = layer(pixels, own)
        before, after = each_date(pixels.transpose(1, 2).unflatten(2, planes.shape[-2:]))
        apart = resize((after - before).abs(), images.shape[-2:])
        return (self.classifier(self.hidden(apart)),)

    def tokens(self, planes: Tensor) -> Tensor:
        """[B, L, C]: means of a map [B, C, h, w], each over the pixels that it attends to."""
        shares = self.attend(planes).flatten(2).softmax(dim=-1)
        return shares @ planes.flatten(2).transpose(1, 2)


class Layer(nn.Module):
    """Attention to others (or among themselves) and two linear layers, each after a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1: nn.LayerNorm = nn.LayerNorm(width)
        self.norm2: nn.LayerNorm = nn.LayerNorm(width)
        inner = heads * head_width
        self.query: nn.Linear = nn.Linear(width, inner, bias=False)
        self.key_value: nn.Linear = nn.Linear(width, 2 * inner, bias=False)
        self.project: nn.Linear = nn.Linear(inner, width)
        self.mlp: nn.Sequential = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, others: Tensor | None) -> Tensor:
        """What [B, N, C] make of `others` [B, M, C]; None: of each other."""
        normed = self.norm1(x)
        heard = normed if others is None else self.norm1(others)
        parts = (self.query(normed), *self.key_value(heard).chunk(2, dim=-1))
        heads = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        x = x + self.project(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
        mixed: Tensor = x + self.mlp(self.norm2(x))
        return mixed
