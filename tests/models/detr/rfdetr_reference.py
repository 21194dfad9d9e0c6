"""transformers' RF-DETR-Seg with random weights under which every part shows, and the same weights as ours."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from transformers import RfDetrConfig, RfDetrDinov2Config, RfDetrForInstanceSegmentation

from everymask.models.build import build
from everymask.models.checkpoint import load_exactly
from everymask.models.detr.network import RFDETRNetwork
from everymask.models.foreign.detectors.rfdetr import from_rfdetr
from everymask.models.foreign.files.stored import Stored

CLASSES, QUERIES, GROUPS, SIDE = 5, 9, 2, 96


@cache
def reference() -> RfDetrForInstanceSegmentation:
    """Of patches of 16 pixels in 2 x 2 windows, two layers, two groups of nine queries."""
    backbone = RfDetrDinov2Config(
        hidden_size=384, num_attention_heads=6, image_size=SIDE, patch_size=16, num_windows=2,
        out_indices=[3, 6, 9, 12], layerscale_value=0.3,
    )  # fmt: skip
    config = RfDetrConfig(
        backbone_config=backbone, d_model=64, decoder_self_attention_heads=2, decoder_cross_attention_heads=4,
        decoder_n_points=2, decoder_layers=2, decoder_ffn_dim=96, num_queries=QUERIES, group_detr=GROUPS,
        num_labels=CLASSES, dropout=0.0, layer_norm_eps=1e-6, intermediate_size=256, class_loss_coefficient=5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = RfDetrForInstanceSegmentation(config)
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.add_(0.05 * torch.randn(tensor.shape))
    return model.eval()


def ours() -> RFDETRNetwork:
    """The same weights in our network, in evaluation mode."""
    whole = from_rfdetr(Stored({}), reference().state_dict(), "file")
    module = build(whole.spec, CLASSES).eval()
    load_exactly(module, whole.tensors, "file")
    assert isinstance(module, RFDETRNetwork)
    return module


def pictures() -> Tensor:
    return torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def as_authors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names that `rfdetr` has for what transformers calls so."""
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = name.removeprefix("model.").removeprefix("model.")
        for theirs, own in _AUTHORS_NAMES:
            plain = plain.replace(theirs, own)
        if ".attn_proj." in plain:
            before, kind, leaf = plain.replace(".attn_proj.", "|").rpartition("|")[0], *plain.split(".")[-2:]
            if kind == "q":
                parts = [tensors[name.replace(".q_proj.", f".{each}_proj.")] for each in "qkv"]
                named[f"{before}.in_proj_{leaf}"] = torch.cat(parts)
            continue
        named[plain] = tensor
    return named


_AUTHORS_NAMES = (
    ("backbone.backbone.", "backbone.0.encoder.encoder."),
    ("attention.q_proj", "attention.attention.query"),
    ("attention.k_proj", "attention.attention.key"),
    ("attention.v_proj", "attention.attention.value"),
    ("attention.o_proj", "attention.output.dense"),
    ("backbone.projector.projector_layer.conv1.norm", "backbone.0.projector.stages.0.0.cv1.bn"),
    ("backbone.projector.projector_layer.conv2.norm", "backbone.0.projector.stages.0.0.cv2.bn"),
    ("backbone.projector.projector_layer.conv1", "backbone.0.projector.stages.0.0.cv1"),
    ("backbone.projector.projector_layer.conv2", "backbone.0.projector.stages.0.0.cv2"),
    ("backbone.projector.projector_layer.bottlenecks.", "backbone.0.projector.stages.0.0.m."),
    ("backbone.projector.layer_norm", "backbone.0.projector.stages.0.1"),
    *((f".{row}.conv{part}.norm", f".{row}.cv{part}.bn") for row in range(3) for part in (1, 2)),
    *((f".{row}.conv{part}.conv", f".{row}.cv{part}.conv") for row in range(3) for part in (1, 2)),
    ("reference_point_embed", "refpoint_embed"),
    ("decoder.layernorm", "transformer.decoder.norm"),
    ("decoder.layers", "transformer.decoder.layers"),
    ("decoder.ref_point_head", "transformer.decoder.ref_point_head"),
    ("self_attn.o_proj", "self_attn.out_proj"),
    ("self_attn.q_proj", "self_attn.attn_proj.q"),
    ("self_attn.k_proj", "self_attn.attn_proj.k"),
    ("self_attn.v_proj", "self_attn.attn_proj.v"),
    ("self_attn_layer_norm", "norm1"),
    ("cross_attn_layer_norm", "norm2"),
    *((f"layers.{row}.layer_norm", f"layers.{row}.norm3") for row in range(2)),
    *(
        (f"decoder.layers.{row}.mlp.fc{part}", f"decoder.layers.{row}.linear{part}")
        for row in range(2)
        for part in (1, 2)
    ),
    ("enc_out", "transformer.enc_out"),
    ("spatial_features_proj", "segmentation_head.spatial_features_proj"),
    ("query_features_proj", "segmentation_head.query_features_proj"),
    ("query_features_block.norm", "segmentation_head.query_features_block.norm_in"),
    ("query_features_block.mlp.fc1", "segmentation_head.query_features_block.layers.0"),
    ("query_features_block.mlp.fc2", "segmentation_head.query_features_block.layers.2"),
    ("segmentation_bias", "segmentation_head.bias"),
    *((f"blocks.{row}.depthwise_conv", f"segmentation_head.blocks.{row}.dwconv") for row in range(2)),
    *((f"blocks.{row}.layernorm", f"segmentation_head.blocks.{row}.norm") for row in range(2)),
    *((f"blocks.{row}.pointwise_conv", f"segmentation_head.blocks.{row}.pwconv1") for row in range(2)),
)
