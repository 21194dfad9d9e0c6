"""EoMT (Kerssies et al. 2025): a plain vision transformer whose last blocks see queries among the patches."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.base import Batch
from everymask.models.blocks.encoders import build_vit, vit_blocks, vit_tokens
from everymask.models.blocks.layers import ChannelNorm
from everymask.models.queries.losses import Answer
from everymask.models.queries.network import QueryNetwork
from everymask.models.specs.queries import EOMT_PATCH, EoMT
from everymask.models.tracing import tracing

_POWER = 0.9
_DOUBLINGS = 2


class Doubling(nn.Module):
    """A map [B, C, h, w] at twice its resolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1: nn.ConvTranspose2d = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.conv2: nn.Conv2d = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.norm: ChannelNorm = ChannelNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv2(F.gelu(self.conv1(x))))


class EoMTNetwork(QueryNetwork):
    """Pictures to an answer before each of the last blocks, as long as these need one, and one at the end.

    At first queries see only the patches where their mask is. In a training that is given up block by block, over
    `spec.annealing` calls of `loss`, of which `steps` have been: what predicts then needs no masks.
    """

    spec: EoMT
    divisor = EOMT_PATCH

    def __init__(self, spec: EoMT, num_classes: int, *, pretrained_encoder: Path | None = None) -> None:
        super().__init__(spec, num_classes)
        self.backbone: nn.Module = build_vit(
            spec.encoder, spec.channels, EOMT_PATCH, spec.side, pretrained=pretrained_encoder
        )
        width = vit_blocks(self.backbone)[0].norm1.normalized_shape[0]
        self.query: nn.Embedding = nn.Embedding(spec.queries, width)
        self.upscale: nn.Sequential = nn.Sequential(*(Doubling(width) for _ in range(_DOUBLINGS)))
        self.mask_head: nn.Sequential = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )
        self.class_predictor: nn.Linear = nn.Linear(width, 1 + num_classes)
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._traced_at = 0

    @property
    def exact_parts(self) -> tuple[str, ...]:
        """What makes masks and classes of tokens."""
        return ("upscale", "mask_head", *super().exact_parts)

    def answers(self, images: Tensor, generator: torch.Generator | None = None) -> list[Answer]:
        grid = (images.shape[2] // EOMT_PATCH, images.shape[3] // EOMT_PATCH)
        blocks = vit_blocks(self.backbone)
        first = len(blocks) - self.spec.blocks
        x = vit_tokens(self.backbone, images)
        for block in blocks[:first]:
            x = block(x)
        x = torch.cat([self.query.weight.to(x.dtype).expand(x.shape[0], -1, -1), x], dim=1)
        found = []
        for block, share in zip(blocks[first:], self.masked_shares(), strict=True):
            seen = None
            if self.training or share > 0.5:
                found.append(self._answer(x, grid))
                seen = self._seen(x, found[-1].masks, grid, share, generator)
            x = block(x, attn_mask=seen)
        return [*found, self._answer(x, grid)]

    def train(self, mode: bool = True) -> Self:
        """As usual. A graph needs as many masks as the network did when it was last set to a mode."""
        super().train(mode)
        self._traced_at = 0 if self.steps.is_meta else int(self.steps)
        return self

    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """As `QueryNetwork.loss`; counts the steps."""
        losses = super().loss(batch, generator)
        self.steps += 1
        return losses

    def masked_shares(self) -> list[float]:
        """For each of the last blocks the share (0-1) of queries that see where their mask is, and nothing else.

        The whole has as many equal parts as there are blocks, and two: in the second the first block's share falls to
        0, in the third the second's, and so on, as one less what is over, to the power of 0.9.
        """
        parts = self.spec.blocks + 2
        steps = self._traced_at if tracing() else int(self.steps)
        done = parts * steps / self.spec.annealing if self.spec.annealing else float(parts)
        over = [min(max(done - 1 - row, 0.0), 1.0) for row in range(self.spec.blocks)]
        return [float((1 - share) ** _POWER) for share in over]

    def _answer(self, x: Tensor, grid: tuple[int, int]) -> Answer:
        tokens = self.backbone.get_submodule("norm")(x).to(self.class_predictor.weight.dtype)
        queries, patches = tokens[:, : self.spec.queries], tokens[:, -grid[0] * grid[1] :]
        plane = self.upscale(patches.transpose(1, 2).unflatten(2, grid))
        masks = torch.einsum("bqc,bchw->bqhw", self.mask_head(queries), plane)
        return Answer(self.class_predictor(queries), masks)

    def _seen(
        self, x: Tensor, masks: Tensor, grid: tuple[int, int], share: float, generator: torch.Generator | None
    ) -> Tensor:
        """[B, 1, N, N], to be added to the attention: queries see each other, and patches where their mask is.

        In a training only that share of the queries is held to its mask.
        """
        patches, queries = grid[0] * grid[1], self.spec.queries
        logits = F.interpolate(masks.detach(), size=grid, mode="bilinear", align_corners=False).flatten(2)
        hidden = logits <= 0
        if self.training and share < 1:
            held = torch.rand(hidden.shape[:2], generator=generator).to(hidden.device) <= share
            hidden = hidden & held[:, :, None]
        seen = x.new_zeros(x.shape[0], 1, x.shape[1], x.shape[1])
        seen[:, 0, :queries, -patches:].masked_fill_(hidden, -torch.inf)
        return seen
