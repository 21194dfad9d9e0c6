"""Mix Transformer, the encoder of SegFormer (Xie et al. 2021); parameters are named as in the paper's own code."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_HEADS = (1, 2, 5, 8)
_REDUCTIONS = (8, 4, 2, 1)
_WIDE = (64, 128, 320, 512)
_WIDTHS = {"mit_b0": (32, 64, 160, 256)}
_DEPTHS = {
    "mit_b0": (2, 2, 2, 2),
    "mit_b1": (2, 2, 2, 2),
    "mit_b2": (3, 4, 6, 3),
    "mit_b3": (3, 4, 18, 3),
    "mit_b4": (3, 8, 27, 3),
    "mit_b5": (3, 6, 40, 3),
}


def build_mit(name: str, channels: int, *, drop_path: float = 0.1) -> MixTransformer:
    """MiT-B0 to B5 for pictures of `channels` bands; `drop_path` is the last block's rate of stochastic depth."""
    return MixTransformer(_WIDTHS.get(name, _WIDE), _DEPTHS[name], channels, drop_path)


def mit_named(width: int, blocks: int) -> str | None:
    """The name of the one whose first stage has `width` channels, and which has so many blocks."""
    own = ((name, _WIDTHS.get(name, _WIDE)[0], sum(depths)) for name, depths in _DEPTHS.items())
    return next((name for name, *extent in own if extent == [width, blocks]), None)


class MixTransformer(nn.Module):
    """Four stages of overlapping patches and efficient attention: pictures to maps at strides 4, 8, 16 and 32."""

    stages: tuple[tuple[str, ...], ...] = (
        (),
        ("patch_embed1", "block1", "norm1"),
        ("patch_embed2", "block2", "norm2"),
        ("patch_embed3", "block3", "norm3"),
    )

    def __init__(self, widths: tuple[int, ...], depths: tuple[int, ...], channels: int, drop_path: float) -> None:
        super().__init__()
        self.widths = widths
        rates = torch.linspace(0, drop_path, sum(depths), device="cpu").split(list(depths))
        inputs = (channels, *widths[:-1])
        for stage, (before, width, stage_rates) in enumerate(zip(inputs, widths, rates, strict=True), start=1):
            kernel, stride = (7, 4) if stage == 1 else (3, 2)
            heads, reduction = _HEADS[stage - 1], _REDUCTIONS[stage - 1]
            blocks = [Block(width, heads, reduction, rate) for rate in stage_rates.tolist()]
            setattr(self, f"patch_embed{stage}", PatchEmbedding(before, width, kernel, stride))
            setattr(self, f"block{stage}", nn.ModuleList(blocks))
            setattr(self, f"norm{stage}", nn.LayerNorm(width, eps=1e-6))
        self.apply(_initialise)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        x = images
        for stage in range(1, 5):
            tokens, size = self.get_submodule(f"patch_embed{stage}")(x)
            for block in self.get_submodule(f"block{stage}").children():
                tokens = block(tokens, size)
            x = as_map(self.get_submodule(f"norm{stage}")(tokens), size)
            maps.append(x)
        return maps


class PatchEmbedding(nn.Module):
    """Overlapping patches as tokens [B, h * w, C], and their grid (h, w)."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj: nn.Conv2d = nn.Conv2d(channels, width, kernel, stride=stride, padding=kernel // 2)
        self.norm: nn.LayerNorm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        x = self.proj(x)
        return self.norm(as_tokens(x)), (x.shape[2], x.shape[3])


class Block(nn.Module):
    """Attention, then a mixing feed-forward network, each after a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int, reduction: int, drop_path: float) -> None:
        super().__init__()
        self.norm1: nn.LayerNorm = nn.LayerNorm(width, eps=1e-6)
        self.attn: Attention = Attention(width, heads, reduction)
        self.norm2: nn.LayerNorm = nn.LayerNorm(width, eps=1e-6)
        self.mlp: MixFeedForward = MixFeedForward(width)
        self.drop_path = drop_path

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        x = x + self._drop(self.attn(self.norm1(x), size))
        return x + self._drop(self.mlp(self.norm2(x), size))

    def _drop(self, x: Tensor) -> Tensor:
        """Stochastic depth (Huang et al. 2016): in training a branch is left out for some pictures."""
        if not self.training or self.drop_path == 0:
            return x
        kept = x.new_empty((len(x), 1, 1)).bernoulli_(1 - self.drop_path)
        return x * kept / (1 - self.drop_path)


class Attention(nn.Module):
    """Self-attention whose keys and values come from a map that is `reduction` times smaller."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.q: nn.Linear = nn.Linear(width, width)
        self.kv: nn.Linear = nn.Linear(width, 2 * width)
        self.proj: nn.Linear = nn.Linear(width, width)
        self.reduction = reduction
        if reduction > 1:
            self.sr: nn.Conv2d = nn.Conv2d(width, width, reduction, stride=reduction)
            self.norm: nn.LayerNorm = nn.LayerNorm(width)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        few = x
        if self.reduction > 1:
            few = self.norm(as_tokens(self.sr(_at_least(as_map(x, size), self.reduction))))
        query, (key, value) = self.q(x), self.kv(few).chunk(2, dim=-1)
        heads = (plane.unflatten(-1, (self.heads, -1)).transpose(1, 2) for plane in (query, key, value))
        mixed: Tensor = self.proj(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
        return mixed


class MixFeedForward(nn.Module):
    """Two linear layers with a 3x3 convolution per channel between them, which tells tokens where they are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1: nn.Linear = nn.Linear(width, 4 * width)
        self.dwconv: DepthwiseConvolution = DepthwiseConvolution(4 * width)
        self.fc2: nn.Linear = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        mixed: Tensor = self.fc2(F.gelu(self.dwconv(self.fc1(x), size)))
        return mixed


class DepthwiseConvolution(nn.Module):
    """A 3x3 convolution per channel of tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv: nn.Conv2d = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        return as_tokens(self.dwconv(as_map(x, size)))


def as_tokens(x: Tensor) -> Tensor:
    """[B, C, h, w] as [B, h * w, C]."""
    return x.flatten(2).transpose(1, 2)


def as_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """[B, h * w, C] as [B, C, h, w]; in memory the channels stay last."""
    return tokens.transpose(1, 2).unflatten(2, size)


def _at_least(x: Tensor, side: int) -> Tensor:
    """A map repeated at its edges where it is smaller than the kernel of a convolution."""
    height, width = x.shape[-2:]
    if height >= side and width >= side:
        return x
    return F.pad(x, (0, max(0, side - width), 0, max(0, side - height)), mode="replicate")


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
