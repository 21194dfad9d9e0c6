"""Mask2Former beside transformers': from the same picture to the classes and masks of all queries."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from benchmarks.compare import Bar, Comparison, Disagreement, compare
from benchmarks.page import Section, Unavailable
from everymask.models.build import build
from everymask.models.checkpoint import load_exactly
from everymask.models.foreign.mask2former import from_mask2former, mask2former_of
from everymask.models.inference import ready_to_predict

CLASSES = 133
SIDE = 512
ROUNDS = 5
ENCODERS = {"ResNet-50": "resnet50", "Swin-T": "swin"}
SETTING = f"""Networks for COCO's {CLASSES} classes with 100 queries, the same random weights on both sides. Both start
from one normalised picture, float32 [1, 3, {SIDE}, {SIDE}], and end with the classes and mask logits of every query
after the last layer, on which panoptic maps are decided. The peer runs as its documentation says: evaluation mode,
`torch.inference_mode()`, float32."""

Answers: TypeAlias = tuple[Tensor, Tensor]
"""Class logits [Q, K + 1], the last of which is none, and mask logits [Q, h, w]."""


def peer_module(encoder: str) -> nn.Module:
    """transformers' network, with weights that are the same each time."""
    try:
        from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, ResNetConfig, SwinConfig
    except ImportError:
        raise Unavailable("transformers is not installed: pip install transformers") from None
    stages = ["stage1", "stage2", "stage3", "stage4"]
    resnet: Any = ResNetConfig
    swin: Any = SwinConfig
    backbone = resnet(out_features=stages) if encoder == "resnet50" else swin(
        embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7, out_features=stages
    )  # fmt: skip
    logging.getLogger("transformers").setLevel(logging.ERROR)  # that a ResNet is no usual encoder, it says each time
    torch.manual_seed(0)
    config: Any = Mask2FormerConfig
    module: nn.Module = Mask2FormerForUniversalSegmentation(config(backbone_config=backbone, num_labels=CLASSES))
    return module.train(False)


def picture() -> Tensor:
    """A normalised picture [1, 3, SIDE, SIDE]."""
    return torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def predict_by_peer(module: nn.Module, images: Tensor) -> Answers:
    """The peer's answers."""
    with torch.inference_mode():
        found = module(images)
    return found.class_queries_logits[0], found.masks_queries_logits[0]


def ours(peer: nn.Module, dtype: torch.dtype | None) -> Callable[[], Answers]:
    """Our answers, of the network with the peer's weights made ready to predict."""
    state = peer.state_dict()
    spec = replace(mask2former_of(state), task="panoptic", things=(0,))
    module = build(spec, CLASSES)
    load_exactly(module, from_mask2former(state), "transformers")
    ready, images = ready_to_predict(module, dtype), picture()

    def predict() -> Answers:
        with torch.inference_mode():
            found = ready(images.contiguous(memory_format=torch.channels_last))
        return found.classes[0].roll(-1, dims=1), found.masks[0]

    return predict


def equal(found: Answers, expected: Answers) -> str:
    """How far answers lie apart, in words; `Disagreement` beyond a hundredth of their spread on average."""
    errors = [float((mine - theirs).abs().mean() / theirs.std()) for mine, theirs in zip(found, expected, strict=True)]
    if max(errors) > 1e-2:
        raise Disagreement(f"classes differ by {errors[0]:.1e} and masks by {errors[1]:.1e} of their deviation")
    return f"classes within {errors[0]:.0e}, masks within {errors[1]:.0e} of their standard deviation on average"


def likeness(found: Answers, expected: Answers) -> str:
    """What bfloat16 changes, in words; `Disagreement` where less than 0.8 of the mask pixels keep their sign."""
    same = float(((found[1] > 0) == (expected[1] > 0)).float().mean())
    if same < 0.8:
        raise Disagreement(f"only {same:.1%} of the pixels of masks are the same")
    return f"{same:.1%} of the pixels of masks are the same"


def run() -> Section:
    """Mask2Former on ResNet-50 and Swin-T beside transformers, 512 pixels, float32 and bfloat16"""
    rows: list[Comparison] = []
    bars: list[Bar] = []
    for name, encoder in ENCODERS.items():
        peer = peer_module(encoder)
        for dtype, words, limit in ((None, "float32", 1.5), (torch.bfloat16, "bfloat16", 2.5)):
            what = f"Mask2Former {name}, {SIDE} × {SIDE}, {words}"
            calls = ours(peer, dtype), partial(predict_by_peer, peer, picture())
            same = equal if dtype is None else likeness
            rows.append(compare(what, *calls, peer="transformers", same=same, rounds=ROUNDS))
            bars.append(Bar(what, rows[-1].ratio, limit))
    return Section(
        title="Prediction: Mask2Former",
        setting=SETTING,
        packages=("torch", "transformers", "timm"),
        threads=f"{torch.get_num_threads()} on both sides",
        times=tuple(rows),
        bars=tuple(bars),
        notes=("Random weights: every rounding moves attention masks, which flip whole pixels.",),
    )
