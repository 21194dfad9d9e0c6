"""mmsegmentation's names for SegFormer and its Mix Transformer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from everymask.errors import WeightsError
from everymask.models.blocks.mit import mit_named
from everymask.models.foreign.whole import Rule, part

_LAYERS = {"0": "fc1", "1": "dwconv.dwconv", "4": "fc2"}
MIT: tuple[Rule, ...] = (
    (r"^backbone\.layers\.([0-3])\.0\.projection\.", lambda found: f"backbone.patch_embed{_stage(found[1])}.proj."),
    (r"^backbone\.layers\.([0-3])\.0\.norm\.", lambda found: f"backbone.patch_embed{_stage(found[1])}.norm."),
    (
        r"^backbone\.layers\.([0-3])\.1\.(\d+)\.(norm[12]|attn\.sr|attn\.norm)\.",
        lambda found: f"backbone.block{_stage(found[1])}.{found[2]}.{found[3]}.",
    ),
    (
        r"^backbone\.layers\.([0-3])\.1\.(\d+)\.attn\.attn\.out_proj\.",
        lambda found: f"backbone.block{_stage(found[1])}.{found[2]}.attn.proj.",
    ),
    (
        r"^backbone\.layers\.([0-3])\.1\.(\d+)\.attn\.attn\.in_proj_",
        lambda found: f"backbone.block{_stage(found[1])}.{found[2]}.attn.all.",
    ),
    (
        r"^backbone\.layers\.([0-3])\.1\.(\d+)\.ffn\.layers\.([014])\.",
        lambda found: f"backbone.block{_stage(found[1])}.{found[2]}.mlp.{_LAYERS[found[3]]}.",
    ),
    (r"^backbone\.layers\.([0-3])\.2\.", lambda found: f"backbone.norm{_stage(found[1])}."),
    (r"^decode_head\.convs\.([0-3])\.conv\.", lambda found: f"decode_head.linear_c{_stage(found[1])}.0."),
    (r"^decode_head\.convs\.([0-3])\.bn\.", lambda found: f"decode_head.linear_c{_stage(found[1])}.1."),
    (r"^decode_head\.fusion_conv\.(conv|bn)\.", r"decode_head.linear_fuse.\1."),
    (r"^decode_head\.conv_seg\.", "decode_head.linear_pred."),
)


def rejoined(named: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
    """Keys and values apart from the queries, 1x1 convolutions as linear layers, and the coarsest map's part first."""
    parts: dict[str, Tensor] = {}
    for name, tensor in named.items():
        if ".attn.all." in name:
            query, key, value = tensor.chunk(3)
            parts |= {
                name.replace(".all.", ".q."): query,
                name.replace(".all.", ".kv."): torch.cat([key, value]),
            }
        elif ".mlp.fc" in name and tensor.ndim == 4:
            parts[name] = tensor.flatten(1)
        else:
            parts[name] = tensor
    fuse = "decode_head.linear_fuse.conv.weight"
    parts[fuse] = torch.cat(part(parts, fuse, origin, 4).chunk(4, dim=1)[::-1], dim=1)
    return parts


def mit_of(named: Mapping[str, Tensor], origin: str) -> str:
    """The Mix Transformer that such tensors are of."""
    blocks = sum(name.startswith("backbone.block") and name.endswith(".norm1.weight") for name in named)
    width = len(part(named, "backbone.patch_embed1.proj.weight", origin, 4))
    encoder = mit_named(width, blocks)
    if encoder is None:
        raise WeightsError(f"a Mix Transformer {width} channels wide with {blocks} blocks does not exist here",
                           hint="there are mit_b0 to mit_b5")  # fmt: skip
    return encoder


def _stage(number: str) -> int:
    return int(number) + 1
