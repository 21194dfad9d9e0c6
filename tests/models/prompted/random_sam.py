"""The authors' SAM with few channels and random weights, whose masks have many shapes; and the same network of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from everymask.backends.pytorch import build_predictor
from everymask.infer.predictor import Predictor
from everymask.models.card import Card
from everymask.models.foreign.recognise import recognise
from everymask.models.prompted.network import PromptedNetwork
from everymask.models.prompted.vit import VIT_SIZES
from everymask.models.specs.prompted import PromptedModelSpec, prompted_labels, prompted_preprocess

SIDE = 128


def scatter(module: nn.Module, seed: int = 0) -> None:
    """Weights with which masks are of many sizes, and differ with the points."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "pos" in name:
                parameter.normal_(std=0.5, generator=generator)
            elif "hyper" in name and name.endswith((".layers.2.bias", ".proj_out.bias")):
                parameter.fill_(0.5)
            elif "hyper" in name or "upscal" in name:
                parameter.normal_(std=0.3, generator=generator)
            elif parameter.ndim > 1:
                parameter.normal_(std=0.08, generator=generator)
            elif name.endswith("bias"):
                parameter.uniform_(-0.05, 0.05, generator=generator)
        for name, values in module.named_buffers():
            if "running_mean" in name:
                values.normal_(std=0.1, generator=generator)
            elif "positional_encoding_gaussian_matrix" in name:
                values.normal_(generator=generator)


@cache
def official_sam(encoder: str = "vit_t", side: int = SIDE) -> Any:
    """segment-anything's own model, scattered."""
    modeling = pytest.importorskip("segment_anything.modeling", reason="segment-anything is the reference")
    size, places = VIT_SIZES[encoder], side // 16
    image_encoder = modeling.ImageEncoderViT(
        depth=size.depth,
        embed_dim=size.width,
        img_size=side,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        num_heads=size.heads,
        use_rel_pos=True,
        global_attn_indexes=size.whole,
        window_size=14,
    )
    prompts = modeling.PromptEncoder(256, (places, places), (side, side), 16)
    transformer = modeling.TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    sam = modeling.Sam(image_encoder, prompts, modeling.MaskDecoder(transformer_dim=256, transformer=transformer))
    scatter(sam)
    return sam.eval()


def own_of(tensors: Mapping[str, Tensor], side: int | None = None) -> PromptedNetwork:
    """Our network with the weights of another program's; `side` where these do not tell it."""
    found = recognise(tensors)
    assert found is not None and found.spec is not None
    spec: Any = found.spec if side is None else replace(found.spec, side=side)
    module = PromptedNetwork(spec)
    module.load_state_dict(found.fitting(module))
    return module.eval()


def predictor_of(module: PromptedNetwork) -> Predictor:
    """It, ready to predict on the processor."""
    spec: PromptedModelSpec = module.spec
    return build_predictor(module, Card(spec, prompted_labels(), prompted_preprocess(spec)), "cpu", precision="exact")
