"""transformers' SegFormer checkpoints under our parameter names, which are those of the paper's own code."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from everymask.errors import WeightsError

# What files hold, and what transformers 5 calls the same in memory.
_FILE_NAMES = (
    (r"^segformer\.stages\.(\d)\.patch_embeddings\.", r"segformer.encoder.patch_embeddings.\1."),
    (r"^segformer\.stages\.(\d)\.blocks\.", r"segformer.encoder.block.\1."),
    (r"^segformer\.stages\.(\d)\.layer_norm\.", r"segformer.encoder.layer_norm.\1."),
    (r"\.layernorm_before\.", ".layer_norm_1."),
    (r"\.layernorm_after\.", ".layer_norm_2."),
    (r"\.attention\.q_proj\.", ".attention.self.query."),
    (r"\.attention\.k_proj\.", ".attention.self.key."),
    (r"\.attention\.v_proj\.", ".attention.self.value."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
    (r"\.attention\.sequence_reduction\.sequence_reduction\.", ".attention.self.sr."),
    (r"\.attention\.sequence_reduction\.layer_norm\.", ".attention.self.layer_norm."),
    (r"\.mlp\.fc([12])\.", r".mlp.dense\1."),
    (r"^decode_head\.linear_projections\.", "decode_head.linear_c."),
)
_OUR_NAMES = (
    (r"\.attention\.self\.query\.", ".attn.q."),
    (r"\.attention\.self\.sr\.", ".attn.sr."),
    (r"\.attention\.self\.layer_norm\.", ".attn.norm."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.mlp\.dense([12])\.", r".mlp.fc\1."),
    (r"\.layer_norm_([12])\.", r".norm\1."),
    (r"^decode_head\.linear_fuse\.weight$", "decode_head.linear_fuse.conv.weight"),
    (r"^decode_head\.batch_norm\.", "decode_head.linear_fuse.bn."),
    (r"^decode_head\.classifier\.", "decode_head.linear_pred."),
)
_NUMBERED = (
    (r"^segformer\.encoder\.patch_embeddings\.(\d)\.layer_norm\.", "backbone.patch_embed{}.norm."),
    (r"^segformer\.encoder\.patch_embeddings\.(\d)\.proj\.", "backbone.patch_embed{}.proj."),
    (r"^segformer\.encoder\.block\.(\d)\.", "backbone.block{}."),
    (r"^segformer\.encoder\.layer_norm\.(\d)\.", "backbone.norm{}."),
    (r"^decode_head\.linear_c\.(\d)\.", "decode_head.linear_c{}."),
)


def from_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a `SegformerForSemanticSegmentation`, from its files or its `state_dict()`, named for `SegFormer`.

    Keys and values, which lie apart there, are joined. An encoder trained on ImageNet fits too, without its
    classification head. `WeightsError` for anything that is not of such a network.
    """
    parts = {name: tensor for name, tensor in tensors.items() if not name.startswith("classifier.")}
    filed = {_renamed(name, _FILE_NAMES): tensor for name, tensor in parts.items()}
    named: dict[str, Tensor] = {}
    for name, tensor in filed.items():
        if ".attention.self.value." in name:
            continue
        if ".attention.self.key." in name:
            value = filed.get(name.replace(".key.", ".value."))
            if value is None:
                raise WeightsError(f"the checkpoint has {name}, but not the values that belong to it")
            named[_renamed(_counted(name), ((r"\.attention\.self\.key\.", ".attn.kv."),))] = torch.cat([tensor, value])
        else:
            named[_renamed(_counted(name), _OUR_NAMES)] = tensor
    strange = [name for name in named if not name.startswith(("backbone.", "decode_head."))]
    if strange:
        raise WeightsError(f"this is not a SegFormer of transformers: it has {', '.join(strange[:3])}")
    return named


def _renamed(name: str, table: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return name


def _counted(name: str) -> str:
    """Stages are counted from 1."""
    for pattern, replacement in _NUMBERED:
        found = re.match(pattern, name)
        if found:
            return replacement.format(int(found[1]) + 1) + name[found.end() :]
    return name
