"""SAM 2's memory of an object: maps of the frames that were last seen, and pointers to what the object was there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from everymask.models.base import Recalled
from everymask.models.prompted.layers import MLP
from everymask.models.prompted.video.attention import MemoryAttention
from everymask.models.prompted.video.encoder import MemoryEncoder
from everymask.models.prompted.video.positions import map_positions, time_positions
from everymask.models.specs.prompted import MAPS_KEPT, SAM2Memory

MEMORY_WIDTH = 64
_SCALE, _BIAS = 20.0, -10.0


class VideoMemory(nn.Module):
    """What SAM 2 adds to a network of `width` channels that answers prompts.

    That of 2.1 also knows when pointers were made, and marks the maps of frames in which the object is hidden.
    """

    def __init__(self, width: int, release: SAM2Memory) -> None:
        super().__init__()
        self.width, self.dated = width, release == "2.1"
        self.attention = MemoryAttention(width, MEMORY_WIDTH)
        self.encoder = MemoryEncoder(width, MEMORY_WIDTH)
        self.maskmem_tpos_enc = nn.Parameter(torch.zeros(MAPS_KEPT, 1, 1, MEMORY_WIDTH))
        self.obj_ptr_proj = MLP(width, width, width, width)
        self.no_obj_ptr = nn.Parameter(torch.zeros(1, width))
        self.mask_downsample = nn.Conv2d(1, 1, 4, 4)
        if self.dated:
            self.obj_ptr_tpos_proj = nn.Linear(width, MEMORY_WIDTH)
            self.no_obj_embed_spatial = nn.Parameter(torch.zeros(1, MEMORY_WIDTH))
        self.requires_grad_(False)  # videos teach nothing here

    def recalled(self, image: Tensor, recalled: Recalled) -> Tensor:
        """A frame [1, width, h, w], as the encoder sees it, as it looks with what is recalled."""
        height, across = image.shape[-2:]
        maps = recalled.maps.flatten(2).transpose(1, 2)  # [M, h * w, 64]
        where = map_positions((height, across), MEMORY_WIDTH, image.device).flatten(1).T
        when = self.maskmem_tpos_enc[recalled.map_ages - 1, 0]  # [M, 1, 64]; prompted frames, of age 0, have the last
        pointers, dates = self._pointers(recalled)
        memory = torch.cat([maps.flatten(0, 1), pointers])
        places = torch.cat([(where + when).flatten(0, 1), dates])
        return self.attention(image, memory[None], places[None], len(pointers))

    def _pointers(self, recalled: Recalled) -> tuple[Tensor, Tensor]:
        """Pointers cut to the width of the memory, and when they were made: [K * width / 64, 64] each."""
        parts = self.width // MEMORY_WIDTH
        pointers = recalled.pointers.reshape(-1, MEMORY_WIDTH)
        if not self.dated:
            return pointers, torch.zeros_like(pointers)
        dates = self.obj_ptr_tpos_proj(time_positions(recalled.pointer_ages / recalled.oldest, self.width))
        return pointers, dates.repeat_interleave(parts, dim=0)

    def remembered(self, image: Tensor, mask: Tensor, present: Tensor) -> Tensor:
        """The map [1, 64, h, w] of a frame [1, width, h, w] with a mask [1, 1, 16 h, 16 w] in 0-1; `present` [1] says
        whether the object is there.
        """
        found = self.encoder(image, _SCALE * mask + _BIAS)
        if not self.dated:
            return found
        return found + (~present).to(found)[:, None, None, None] * self.no_obj_embed_spatial[:, :, None, None]

    def pointer(self, token: Tensor, present: Tensor) -> Tensor:
        """What the decoder's token [1, width] of a mask says of the object, [1, width]; `present` [1] as above."""
        return torch.where(present[:, None], self.obj_ptr_proj(token), self.no_obj_ptr)
