"""transformers' Mask2Former checkpoints under our parameter names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from everymask.errors import WeightsError
from everymask.models.blocks.deformable import POINTS
from everymask.models.queries.pixel_decoder import LEVELS
from everymask.models.specs.queries import SWIN_ENCODERS, Mask2Former

_Table: TypeAlias = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]
_CURE = f"there are ResNets of 18 to 101 layers, {', '.join(SWIN_ENCODERS)}"

_ENCODER = "pixel_level_module.encoder."
# What files hold, and what transformers 5 calls the same in memory.
_SWIN_FILE_NAMES: _Table = (
    (r"^swin\.", ""),
    (r"\.attention\.self\.(query|key|value)\.", r".attention.\1."),
    (r"\.attention\.self\.relative_position_bias_table$", ".attention.bias_table"),
    (r"\.attention\.relative_position_bias\.relative_position_bias_table$", ".attention.bias_table"),
    (r"\.attention\.q_proj\.", ".attention.query."),
    (r"\.attention\.k_proj\.", ".attention.key."),
    (r"\.attention\.v_proj\.", ".attention.value."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)
_SWIN: _Table = (
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.norm\.", "patch_embed.norm."),
    (r"^hidden_states_norms\.stage(\d)\.", lambda found: f"norms.{int(found[1]) - 1}."),
    (r"^encoder\.layers\.(\d)\.downsample\.", lambda found: f"layers_{int(found[1]) + 1}.downsample."),
    (r"^encoder\.layers\.(\d)\.", r"layers_\1."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.o_proj\.", ".attn.proj."),
    (r"\.attention\.bias_table$", ".attn.relative_position_bias_table"),
)
_RESNET: _Table = (
    (r"^embedder\.embedder\.convolution\.", "conv1."),
    (r"^embedder\.embedder\.normalization\.", "bn1."),
    (r"^encoder\.stages\.(\d)\.layers\.", lambda found: f"layer{int(found[1]) + 1}."),
    (r"\.shortcut\.convolution\.", ".downsample.0."),
    (r"\.shortcut\.normalization\.", ".downsample.1."),
    (r"\.layer\.(\d)\.convolution\.", lambda found: f".conv{int(found[1]) + 1}."),
    (r"\.layer\.(\d)\.normalization\.", lambda found: f".bn{int(found[1]) + 1}."),
)
_HEADS: _Table = (
    (r"^pixel_level_module\.decoder\.encoder\.layers\.", "pixel_decoder.layers."),
    (r"^pixel_level_module\.decoder\.adapter_1\.", "pixel_decoder.lateral."),
    (r"^pixel_level_module\.decoder\.layer_1\.", "pixel_decoder.output."),
    (r"^pixel_level_module\.decoder\.", "pixel_decoder."),
    (
        r"^transformer_module\.decoder\.mask_predictor\.mask_embedder\.(\d)\.0\.",
        lambda found: f"decoder.mask_embedder.{2 * int(found[1])}.",
    ),
    (r"^transformer_module\.decoder\.", "decoder."),
    (r"^transformer_module\.", "decoder."),
)
_PARTS = ("backbone.", "norms.", "pixel_decoder.", "decoder.", "class_predictor.")
_UNUSED = ("criterion.", "pixel_level_module.encoder.swin.layernorm.")


def from_mask2former(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a `Mask2FormerForUniversalSegmentation`, from its files or its `state_dict()`, named for
    `Mask2Former`.

    Queries, keys and values, which lie together there, are parted, or joined in a Swin encoder. The row of none, the
    last of its classes, is the first here.
    `WeightsError` for anything that is not of such a network.
    """
    named: dict[str, Tensor] = {}
    for stored, tensor in tensors.items():
        name = stored.removeprefix("model.")
        if name.startswith(_UNUSED) or name.endswith(".relative_position_index"):
            continue
        if name.startswith(_ENCODER):
            inside = _encoder_name(name.removeprefix(_ENCODER))
            named[inside if inside.startswith("norms.") else f"backbone.{inside}"] = tensor
            continue
        renamed = _renamed(name, _HEADS)
        if renamed.startswith("class_predictor."):
            named[renamed] = tensor.roll(1, dims=0)
        elif ".cross_attn.in_proj_" in renamed:
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                named[renamed.replace("in_proj_", f"{part}_proj.")] = rows
        else:
            named[renamed] = tensor
    strange = [name for name in named if not name.startswith(_PARTS)]
    if strange:
        raise WeightsError(f"this is not a Mask2Former of transformers: it has {', '.join(strange[:3])}")
    return _joined(named)


def mask2former_of(tensors: Mapping[str, Tensor]) -> Mask2Former:
    """The network that has these tensors; its task and its things are for others to say.

    `WeightsError` where its encoder does not exist here.
    """
    named = from_mask2former(tensors)
    return Mask2Former(
        encoder=_encoder_of(named),
        width=named["decoder.queries_features.weight"].shape[1],
        heads=_heads_of(named),
        queries=len(named["decoder.queries_features.weight"]),
        pixel_layers=_count(named, r"pixel_decoder\.layers\.(\d+)\."),
        pixel_hidden=len(named["pixel_decoder.layers.0.fc1.weight"]),
        layers=_count(named, r"decoder\.layers\.(\d+)\."),
        hidden=len(named["decoder.layers.0.fc1.weight"]),
    )


def _encoder_name(name: str) -> str:
    if name.startswith(("embedder.", "encoder.stages.")):
        return _renamed(name, _RESNET)
    return _renamed(_renamed(name, _SWIN_FILE_NAMES), _SWIN)


def _joined(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """With queries, keys and values of a Swin encoder in one tensor; `WeightsError` where one is missing."""
    joined: dict[str, Tensor] = {}
    for name, tensor in named.items():
        if ".attention.query." in name:
            parts = [named.get(name.replace(".query.", f".{part}.")) for part in ("query", "key", "value")]
            present = [part for part in parts if part is not None]
            if len(present) < len(parts):
                raise WeightsError(f"the checkpoint has {name}, but not the keys and values that belong to it")
            joined[name.replace(".attention.query.", ".attn.qkv.")] = torch.cat(present)
        elif ".attention.key." not in name and ".attention.value." not in name:
            joined[name] = tensor
    return joined


def _encoder_of(named: Mapping[str, Tensor]) -> str:
    embedded = named.get("backbone.patch_embed.proj.weight")
    if embedded is None:
        blocks = _count(named, r"backbone\.layer3\.(\d+)\.")
        deep = "backbone.layer1.0.conv3.weight" in named
        names = {(2, False): "resnet18", (6, False): "resnet34", (6, True): "resnet50", (23, True): "resnet101"}
        name = names.get((blocks, deep))
    else:
        table = named.get("backbone.layers_0.blocks.0.attn.relative_position_bias_table", torch.zeros(0))
        window = (int(len(table) ** 0.5) + 1) // 2
        blocks = _count(named, r"backbone\.layers_2\.blocks\.(\d+)\.")
        name = next((name for name, shape in SWIN_ENCODERS.items() if shape == (len(embedded), blocks, window)), None)
    if name is None:
        raise WeightsError("the Mask2Former of the weights has an encoder that does not exist here", hint=_CURE)
    return name


def _count(named: Mapping[str, Tensor], pattern: str) -> int:
    """How many parts are numbered so."""
    return len({found[1] for name in named if (found := re.match(pattern, name))})


def _heads_of(named: Mapping[str, Tensor]) -> int:
    return len(named["pixel_decoder.layers.0.self_attn.attention_weights.bias"]) // (LEVELS * POINTS)


def _renamed(name: str, table: _Table) -> str:
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return name
