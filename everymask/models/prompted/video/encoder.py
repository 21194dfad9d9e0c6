"""How a frame and the mask that was found in it become a memory (Ravi et al. 2024, "Memory encoder")."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.prompted.layers import LayerNorm2d

_HALVINGS = 4
_BLOCKS = 2
_KERNEL = 7
_WIDER = 4
_SCALE_AT_FIRST = 1e-6


class MaskDownsampler(nn.Module):
    """Masks [B, 1, H, W] become maps [B, width, H / 16, W / 16]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for halving in range(_HALVINGS):
            before, after = 4**halving, 4 ** (halving + 1)
            layers += [nn.Conv2d(before, after, 3, 2, 1), LayerNorm2d(after), nn.GELU()]
        self.encoder = nn.Sequential(*layers, nn.Conv2d(4**_HALVINGS, width, 1))

    def forward(self, masks: Tensor) -> Tensor:
        return self.encoder(masks)


class ConvNeXtBlock(nn.Module):
    """A block of ConvNeXt (Liu et al. 2022)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, _KERNEL, padding=_KERNEL // 2, groups=width)
        self.norm = LayerNorm2d(width)
        self.pwconv1 = nn.Linear(width, _WIDER * width)
        self.pwconv2 = nn.Linear(_WIDER * width, width)
        self.gamma = nn.Parameter(torch.full((width,), _SCALE_AT_FIRST))

    def forward(self, x: Tensor) -> Tensor:
        found = self.norm(self.dwconv(x)).permute(0, 2, 3, 1)
        found = self.gamma * self.pwconv2(F.gelu(self.pwconv1(found)))
        return x + found.permute(0, 3, 1, 2)


class Fuser(nn.Module):
    """Blocks one behind the other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(ConvNeXtBlock(width) for _ in range(_BLOCKS)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class MemoryEncoder(nn.Module):
    """Frames [B, width, h, w] and masks [B, 1, 16 h, 16 w] become memories [B, memory_width, h, w]."""

    def __init__(self, width: int, memory_width: int) -> None:
        super().__init__()
        self.mask_downsampler = MaskDownsampler(width)
        self.pix_feat_proj = nn.Conv2d(width, width, 1)
        self.fuser = Fuser(width)
        self.out_proj = nn.Conv2d(width, memory_width, 1)

    def forward(self, images: Tensor, masks: Tensor) -> Tensor:
        return self.out_proj(self.fuser(self.pix_feat_proj(images) + self.mask_downsampler(masks)))
