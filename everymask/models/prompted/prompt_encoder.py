"""What points, boxes and masks become before the decoder looks at them (Kirillov et al. 2023, appendix A)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.prompted.layers import LayerNorm2d

CORNERS = 2
"""The label of a box's first corner; the other one's is 3, points have 1 (object) and 0 (not)."""
PADDING = -1
_KINDS = 4
_SPOT = 1.0  # places of the map: the standard deviation of a drawn point


class RandomPositions(nn.Module):
    """Places as sines and cosines of random frequencies (Tancik et al. 2020)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, width // 2))

    def forward(self, places: Tensor) -> Tensor:
        """Places [..., 2] xy in 0-1 as [..., width]."""
        matrix: Tensor = self.positional_encoding_gaussian_matrix  # type: ignore[assignment,unused-ignore]
        # In bfloat16 neighbouring pixels would be one place.
        with torch.autocast(places.device.type, enabled=False):
            angles = 2 * math.pi * ((2 * places - 1) @ matrix)
            return torch.cat([angles.sin(), angles.cos()], dim=-1)


class PromptEncoder(nn.Module):
    """Prompts for pictures of `side` pixels as tokens and maps of `width` channels.

    SAM gives points without a box one more point that means nothing; SAM 2 (`always_padded`) also boxes. With `drawn`
    prompts are drawn on the map too (see `drawing`).
    """

    def __init__(self, width: int, side: int, *, always_padded: bool, drawn: bool) -> None:
        super().__init__()
        self.side: int = side
        self.always_padded: bool = always_padded
        self.pe_layer: RandomPositions = RandomPositions(width)
        self.point_embeddings: nn.ModuleList = nn.ModuleList(nn.Embedding(1, width) for _ in range(_KINDS))
        self.not_a_point_embed: nn.Embedding = nn.Embedding(1, width)
        self.mask_downscaling: nn.Sequential = nn.Sequential(
            nn.Conv2d(1, 4, 2, 2),
            LayerNorm2d(4),
            nn.GELU(),
            nn.Conv2d(4, 16, 2, 2),
            LayerNorm2d(16),
            nn.GELU(),
            nn.Conv2d(16, width, 1),
        )
        self.no_mask_embed: nn.Embedding = nn.Embedding(1, width)
        if drawn:
            self.drawn_embeddings: nn.Embedding = nn.Embedding(_KINDS + 1, width)

    def tokens(self, points: Tensor, labels: Tensor) -> Tensor:
        """Points [P, N, 2] xy in pixels of the square and their labels [P, N] as [P, T, width]."""
        if points.shape[1] and (self.always_padded or not (labels >= CORNERS).any()):
            points = torch.cat([points, points.new_zeros(len(points), 1, 2)], dim=1)
            labels = torch.cat([labels, labels.new_full((len(labels), 1), PADDING)], dim=1)
        return self.embedded(points, labels)

    def embedded(self, points: Tensor, labels: Tensor) -> Tensor:
        """The same of points among which the one that means nothing is already, where there is one: [P, N, width]."""
        kinds = torch.cat([kind.weight for kind in (self.not_a_point_embed, *self.point_embeddings)])
        places = self.pe_layer((points + 0.5) / self.side).masked_fill(labels[..., None] == PADDING, 0)
        return places + kinds[labels + 1]

    def map(self, masks: Tensor | None) -> Tensor:
        """Logits [P, h, w] of masks as what is added to the embedding, [P, width, h / 4, w / 4]; [1, width, 1, 1] for
        none.
        """
        if masks is None:
            return self.no_mask_embed.weight.view(1, -1, 1, 1)
        return self.mask_downscaling(masks[:, None])

    def drawing(self, points: Tensor, labels: Tensor, size: tuple[int, int]) -> Tensor:
        """Points and labels as in `tokens` where they are on a map of `size` (h, w), [P, width, h, w]: round spots, as
        RITM draws clicks (Sofiiuk et al. 2022) but soft, and what lies in the box.
        """
        (height, width), (rows, columns) = size, self._axes(size, points.device)
        across = columns * self.side - points[..., :1] - 0.5  # [P, N, w], in pixels
        down = rows * self.side - points[..., 1:] - 0.5
        near = [
            torch.exp(-0.5 * (off * count / (self.side * _SPOT)) ** 2)
            for off, count in ((down, height), (across, width))
        ]
        spots = near[0][..., :, None] * near[1][..., None, :]
        kinds = F.one_hot(labels + 1, _KINDS + 1)[..., 1:].to(spots)
        first, second = (labels == CORNERS)[..., None], (labels == CORNERS + 1)[..., None]
        inside = [((~first | (off >= 0)) & (~second | (off <= 0))).all(dim=1) for off in (down, across)]
        boxed = (labels >= CORNERS).any(dim=1)[:, None, None] & inside[0][:, :, None] & inside[1][:, None, :]
        drawn = torch.cat([torch.einsum("pnhw,pnk->pkhw", spots, kinds), boxed[:, None].to(spots)], dim=1)
        return torch.einsum("pkhw,kc->pchw", drawn, self.drawn_embeddings.weight)

    def _axes(self, size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
        """The middles of rows and columns in 0-1."""
        rows, columns = ((torch.arange(count, device=device) + 0.5) / count for count in size)
        return rows, columns

    def places(self, size: tuple[int, int]) -> Tensor:
        """Where the places of an embedding of `size` (h, w) lie, [1, width, h, w]."""
        rows, columns = self._axes(size, self.no_mask_embed.weight.device)
        grid = torch.stack([columns.expand(size), rows[:, None].expand(size)], dim=-1)
        return self.pe_layer(grid).permute(2, 0, 1)[None]
