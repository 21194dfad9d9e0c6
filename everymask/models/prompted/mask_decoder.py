"""From an embedding and prompts to masks: small logits, and how good each mask probably is.

A token for each mask decides, so that what is not good enough is left out before the picture is upscaled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.prompted.layers import MLP, LayerNorm2d
from everymask.models.prompted.two_way import Scene, TwoWayTransformer

MASKS = 4
"""The mask that one answer alone is, and three of which one point may mean each."""
_DEPTH = 3


@dataclass(frozen=True, slots=True)
class Attended:
    """What P prompts made of the picture: `tokens` [P, 4, width] for the masks, `image` [P, h * w, width], and `scores`
    [P, 4]: the IoU that each mask probably has. `first` [P, width] is the token that tells whether there is an object,
    where there is such a one.
    """

    tokens: Tensor
    image: Tensor
    scores: Tensor
    first: Tensor


class MaskDecoder(nn.Module):
    """SAM's decoder. SAM 2's is also `detailed`, which adds two finer maps, and `present` tells whether there is an
    object at all.
    """

    def __init__(self, width: int, *, detailed: bool, present: bool) -> None:
        super().__init__()
        self.detailed: bool = detailed
        self.present: bool = present
        self.transformer: TwoWayTransformer = TwoWayTransformer(width)
        self.iou_token: nn.Embedding = nn.Embedding(1, width)
        self.mask_tokens: nn.Embedding = nn.Embedding(MASKS, width)
        self.output_upscaling: nn.Sequential = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, 2),
            LayerNorm2d(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, 2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps: nn.ModuleList = nn.ModuleList(
            MLP(width, width, width, width // 8) for _ in range(MASKS)
        )
        self.iou_prediction_head: MLP = MLP(width, width, width, MASKS)
        if present:
            self.obj_score_token: nn.Embedding = nn.Embedding(1, width)
            self.pred_obj_score_head: MLP = MLP(width, width, width, 1)
            self.pred_obj_score_head.requires_grad_(False)  # whoever points at something says that there is something
        if detailed:
            self.conv_s0: nn.Conv2d = nn.Conv2d(width, width // 8, 1)
            self.conv_s1: nn.Conv2d = nn.Conv2d(width, width // 4, 1)

    def begin_without_details(self) -> None:
        """Let finer maps say nothing at first.

        They show all edges alike; a network that has learned nothing yet would follow them, and not its prompts.
        """
        for convolution in (self.conv_s0, self.conv_s1):
            nn.init.zeros_(convolution.weight)
            nn.init.zeros_(cast(Tensor, convolution.bias))

    def scene(self, image: Tensor, places: Tensor) -> Scene:
        """The picture before any prompt: `image` [P or 1, width, h, w], `places` [1, width, h, w]."""
        return self.transformer.scene(_flat(image), _flat(places))

    def attend(self, scene: Scene, prompts: Tensor) -> Attended:
        """What the prompts' tokens [P, T, width] make of the picture."""
        own = [self.iou_token.weight, self.mask_tokens.weight]
        if self.present:
            own.insert(0, self.obj_score_token.weight)
        count = sum(map(len, own))
        asked = torch.cat([torch.cat(own).expand(prompts.shape[0], -1, -1), prompts], dim=1)
        tokens, image = self.transformer(scene, asked)
        scores = self.iou_prediction_head(tokens[:, count - MASKS - 1])
        return Attended(
            tokens[:, count - MASKS : count], image, scores.sigmoid() if self.present else scores, tokens[:, 0]
        )

    def presence(self, attended: Attended) -> Tensor:
        """The logit [P] of there being an object, which only a decoder with `present` tells."""
        return self.pred_obj_score_head(attended.first)[:, 0]

    def logits(self, attended: Attended, maps: tuple[Tensor, ...], chosen: Tensor) -> Tensor:
        """The masks [K, 4 h, 4 w] that are `chosen` [P, 4], prompt by prompt; `maps` as the network embeds pictures."""
        rows, masks = chosen.nonzero(as_tuple=True)
        if not len(rows):
            return attended.image.new_zeros(0, *(4 * side for side in maps[0].shape[-2:]))
        needed, row = rows.unique(return_inverse=True)
        upscaled = self._upscaled(attended.image[needed], maps)
        return torch.einsum("kc,kchw->khw", self._weights(attended)[rows, masks], upscaled[row])

    def all_logits(self, attended: Attended, maps: tuple[Tensor, ...]) -> Tensor:
        """All masks [P, 4, 4 h, 4 w] of each prompt."""
        return torch.einsum("pkc,pchw->pkhw", self._weights(attended), self._upscaled(attended.image, maps))

    def finer(self, maps: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """SAM 2's maps at strides 8 and 4 with as many channels as are added."""
        return self.conv_s1(maps[0]), self.conv_s0(maps[1])

    def _weights(self, attended: Attended) -> Tensor:
        """What each mask makes of the upscaled picture, [P, 4, width / 8]."""
        return torch.stack([head(attended.tokens[:, k]) for k, head in enumerate(self.output_hypernetworks_mlps)], 1)

    def _upscaled(self, flat: Tensor, maps: tuple[Tensor, ...]) -> Tensor:
        image = flat.transpose(1, 2).unflatten(2, maps[0].shape[-2:])
        if not self.detailed:
            return self.output_upscaling(image)
        first, norm, _, second, _ = self.output_upscaling
        image = F.gelu(norm(first(image) + maps[1]))
        return F.gelu(second(image) + maps[2])


def _flat(maps: Tensor) -> Tensor:
    return maps.flatten(2).transpose(1, 2)
