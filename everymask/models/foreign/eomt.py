"""EoMT's checkpoints, its authors' and transformers', under our parameter names, which are timm's and the authors'."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from everymask.errors import WeightsError
from everymask.models.specs.queries import EOMT_ENCODERS, EOMT_PATCH, EoMT

AUTHORS_SIGN = "network.q.weight"
_AUTHORS = (
    (r"^network\.encoder\.backbone\.", "backbone."),
    (r"^network\.q\.", "query."),
    (r"^network\.class_head\.", "class_predictor."),
    (r"^network\.(upscale|mask_head)\.", r"\1."),
)
_TRANSFORMERS = (
    (r"^embeddings\.cls_token$", "backbone.cls_token"),
    (r"^embeddings\.register_tokens$", "backbone.reg_token"),
    (r"^embeddings\.position_embeddings\.weight$", "backbone.pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "backbone.patch_embed.proj."),
    (r"^layernorm\.", "backbone.norm."),
    (r"^(?:(?:model\.)?encoder\.)?layers\.", "backbone.blocks."),
    (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
    (r"\.attention\.(?:out_proj|proj_out)\.", ".attn.proj."),
    (r"^upscale_block\.block\.(\d)\.layernorm2d\.", r"upscale.\1.norm."),
    (r"^upscale_block\.block\.", "upscale."),
)
_MASK_HEAD = re.compile(r"^mask_head\.fc(\d)\.")
_UNUSED = ("criterion.", "network.attn_mask_probs", "attn_mask_probs", "network.encoder.pixel_")
_PARTS = ("backbone.", "query.", "upscale.", "mask_head.", "class_predictor.")


def from_eomt(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of an EoMT, of its authors or an `EomtForUniversalSegmentation`, named for `EoMT`.

    Queries, keys and values are joined, and the row of no class, which is the last there, is the first. It is taken for
    fully trained, so that it predicts without masks. `WeightsError` for anything that is not of such a network.
    """
    named: dict[str, Tensor] = {"steps": torch.tensor(0)}
    for stored, tensor in tensors.items():
        name = _renamed(stored)
        if name.startswith(_UNUSED) or ".attention.k_proj." in name or ".attention.v_proj." in name:
            continue
        if ".attention.q_proj." in name:
            parts = [tensors.get(stored.replace(".q_proj.", f".{part}_proj.")) for part in "qkv"]
            present = [part for part in parts if part is not None]
            if len(present) < len(parts):
                raise WeightsError(f"the checkpoint has {stored}, but not the keys and values that belong to it")
            named[name.replace(".attention.q_proj.", ".attn.qkv.")] = torch.cat(present)
        elif name.startswith("class_predictor."):
            named[name] = tensor.roll(1, dims=0)
        else:
            named[name] = tensor[None] if name == "backbone.pos_embed" and tensor.ndim == 2 else tensor
    strange = [name for name in named if not name.startswith(_PARTS) and name != "steps"]
    if strange:
        raise WeightsError(f"this is not an EoMT: it has {', '.join(strange[:3])}")
    return named


def eomt_of(tensors: Mapping[str, Tensor]) -> EoMT:
    """The network that has these tensors; its task and its things are for others to say.

    Which of its last blocks see queries the tensors tell by `attn_mask_probs` alone; where these are missing they are
    as many as the authors have. `WeightsError` where its encoder does not exist here.
    """
    named = from_eomt(tensors)
    queries, width = named["query.weight"].shape
    blocks = len({found[1] for name in named if (found := re.match(r"backbone\.blocks\.(\d+)\.", name))})
    encoder = next((name for name, shape in EOMT_ENCODERS.items() if shape[:2] == (width, blocks)), None)
    if encoder is None:
        raise WeightsError(
            f"the EoMT of the weights has an encoder {width} wide with {blocks} blocks, which does not exist here",
            hint=f"there are {', '.join(EOMT_ENCODERS)}",
        )
    shares = tensors.get("attn_mask_probs", tensors.get("network.attn_mask_probs"))
    side = round(named["backbone.pos_embed"].shape[1] ** 0.5) * EOMT_PATCH
    last = EOMT_ENCODERS[encoder][2] if shares is None else len(shares)
    return EoMT(encoder=encoder, queries=queries, side=side, blocks=last)


def _renamed(name: str) -> str:
    for pattern, replacement in _AUTHORS + _TRANSFORMERS:
        name = re.sub(pattern, replacement, name)
    return _MASK_HEAD.sub(lambda found: f"mask_head.{2 * int(found[1]) - 2}.", name)
