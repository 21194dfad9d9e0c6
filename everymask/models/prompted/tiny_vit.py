"""TinyViT (Wu et al. 2022) as MobileSAM has it: the last stages keep stride 16.

Parameters are called as in the published file.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.prompted.layers import from_windows, neck, to_windows

WIDTHS = (64, 128, 160, 320)
_DEPTHS = (2, 2, 6, 2)
_HEADS = (2, 4, 5, 10)
_WINDOWS = (7, 7, 14, 7)
_STRIDES = (2, 2, 1)
_EXPANSION = 4


class ConvNorm(nn.Module):
    """A convolution that keeps the size at stride 1, and a batch norm."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c: nn.Conv2d = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn: nn.BatchNorm2d = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.c(x))


class PatchEmbedding(nn.Module):
    """Two convolutions, to stride 4."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.seq: nn.Sequential = nn.Sequential(
            ConvNorm(channels, width // 2, 3, 2), nn.GELU(), ConvNorm(width // 2, width, 3, 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.seq(x)


class MBConv(nn.Module):
    """MobileNet's inverted bottleneck."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = _EXPANSION * width
        self.conv1: ConvNorm = ConvNorm(width, hidden, 1)
        self.conv2: ConvNorm = ConvNorm(hidden, hidden, 3, groups=hidden)
        self.conv3: ConvNorm = ConvNorm(hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class PatchMerging(nn.Module):
    """To the next stage's width and stride."""

    def __init__(self, width: int, out_width: int, stride: int) -> None:
        super().__init__()
        self.conv1: ConvNorm = ConvNorm(width, out_width, 1)
        self.conv2: ConvNorm = ConvNorm(out_width, out_width, 3, stride, groups=out_width)
        self.conv3: ConvNorm = ConvNorm(out_width, out_width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))


class Attention(nn.Module):
    """Attention within windows of `side` x `side` places, with a learned bias for each distance along the axes."""

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm: nn.LayerNorm = nn.LayerNorm(width)
        self.qkv: nn.Linear = nn.Linear(width, 3 * width)
        self.proj: nn.Linear = nn.Linear(width, width)
        self.attention_biases: nn.Parameter = nn.Parameter(torch.zeros(heads, side * side))
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        batch, places, width = x.shape
        query, key, value = self.qkv(self.norm(x)).view(batch, places, self.heads, -1).transpose(1, 2).chunk(3, dim=-1)
        bias = self.attention_biases[:, self._distances(x.device)]
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.proj(found.transpose(1, 2).reshape(batch, places, width))

    def _distances(self, device: torch.device) -> Tensor:
        """Which bias belongs to two places of a window, [side ** 2, side ** 2]."""
        place = torch.arange(self.side, device=device)
        apart = (place[:, None] - place[None]).abs()
        pairs = apart[:, None, :, None] * self.side + apart[None, :, None, :]
        return pairs.reshape(self.side**2, self.side**2)


class FeedForward(nn.Module):
    """A norm and two linear layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm: nn.LayerNorm = nn.LayerNorm(width)
        self.fc1: nn.Linear = nn.Linear(width, _EXPANSION * width)
        self.fc2: nn.Linear = nn.Linear(_EXPANSION * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


class Block(nn.Module):
    """Attention in windows, a depthwise convolution across them, a feed-forward network."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn: Attention = Attention(width, heads, window)
        self.local_conv: ConvNorm = ConvNorm(width, width, 3, groups=width)
        self.mlp: FeedForward = FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        places = x.permute(0, 2, 3, 1)
        windows = to_windows(places, self.window)
        found = self.attn(windows.flatten(1, 2)).view(windows.shape)
        places = places + from_windows(found, (x.shape[2], x.shape[3]))
        places = self.local_conv(places.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return (places + self.mlp(places)).permute(0, 3, 1, 2)


class Stage(nn.Module):
    """Blocks, and what leads to the next stage."""

    def __init__(self, blocks: list[nn.Module], downsample: nn.Module | None) -> None:
        super().__init__()
        self.blocks: nn.ModuleList = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class TinyViT(nn.Module):
    """Pictures [B, C, side, side] become an embedding [B, 256, side / 16, side / 16]."""

    stages: tuple[tuple[str, ...], ...] = (("patch_embed",), ("layers.0",), ("layers.1",), ("layers.2", "layers.3"))

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.patch_embed: PatchEmbedding = PatchEmbedding(channels, WIDTHS[0])
        self.layers: nn.ModuleList = nn.ModuleList()
        for stage, (width, depth) in enumerate(zip(WIDTHS, _DEPTHS, strict=True)):
            last = stage == len(WIDTHS) - 1
            blocks: list[nn.Module] = [
                Block(width, _HEADS[stage], _WINDOWS[stage]) if stage else MBConv(width) for _ in range(depth)
            ]
            following = None if last else PatchMerging(width, WIDTHS[stage + 1], _STRIDES[stage])
            self.layers.append(Stage(blocks, following))
        self.neck: nn.Sequential = neck(WIDTHS[-1], out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        for stage in self.layers:
            x = stage(x)
        return self.neck(x)
