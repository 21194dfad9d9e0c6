"""Faster and Mask R-CNN as other programs store them: names and shapes, by the key lists of their code."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]
BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
_NORM = ("weight", "bias", "running_mean", "running_var")


def filled(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Random tensors under which signals keep their scale; of norms the variances are near 1."""
    draw = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=draw)
        if name.endswith(("running_var", "moving_variance:0")):
            tensors[name] = (0.2 * values).exp()
        elif name.endswith(("conv3.norm.weight", "bn3.weight", "branch2c/gamma:0")):
            tensors[name] = 0.2 * (1 + 0.1 * values)  # what a block adds, of which there are many
        elif name.endswith(("norm.weight", "gamma:0")) or (
            len(shape) == 1
            and name.endswith(("bn.weight", "1.weight", "bn1.weight", "bn2.weight", "norm1.weight", "norm2.weight"))
        ):
            tensors[name] = 1 + 0.1 * values
        elif len(shape) == 1:
            tensors[name] = 0.1 * values
        else:
            tensors[name] = values * math.sqrt(2 / math.prod(shape[1:]))
    return tensors


def hollow(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Tensors of these shapes, each of which is one number all over and a few bytes in a file."""
    return {name: torch.tensor(0.5).expand(shape) for name, shape in shapes.items()}


def detectron2(
    depth: int = 50,
    classes: int = 80,
    *,
    masks: bool = True,
    width: int = 256,
    hidden: int = 1024,
    resnext: bool = False,
    stuff: int = 0,
) -> Shapes:
    """As `model_final.pkl`: FrozenBN in the encoder, background last in the scores and in no box or mask."""
    shapes: Shapes = {}
    for level, channels in zip((2, 3, 4, 5), _ends(depth), strict=True):
        _conv(shapes, f"backbone.fpn_lateral{level}", (width, channels, 1, 1))
        _conv(shapes, f"backbone.fpn_output{level}", (width, width, 3, 3))
    _frozen(shapes, "backbone.bottom_up.stem.conv1", (64, 3, 7, 7))
    for stage, before, blocks in zip((2, 3, 4, 5), (64, *_ends(depth)), BLOCKS[depth], strict=False):
        _stage(shapes, f"backbone.bottom_up.res{stage}", depth, before, blocks, 2 ** (stage - 2), resnext=resnext)
    head = "proposal_generator.rpn_head"
    _conv(shapes, f"{head}.conv", (width, width, 3, 3))
    _conv(shapes, f"{head}.objectness_logits", (3, width, 1, 1))
    _conv(shapes, f"{head}.anchor_deltas", (12, width, 1, 1))
    _conv(shapes, "roi_heads.box_head.fc1", (hidden, 49 * width))
    _conv(shapes, "roi_heads.box_head.fc2", (hidden, hidden))
    _conv(shapes, "roi_heads.box_predictor.cls_score", (classes + 1, hidden))
    _conv(shapes, "roi_heads.box_predictor.bbox_pred", (4 * classes, hidden))
    for k in range(1, 5) if masks else ():
        _conv(shapes, f"roi_heads.mask_head.mask_fcn{k}", (width, width, 3, 3))
    if masks:
        _conv(shapes, "roi_heads.mask_head.deconv", (width, width, 2, 2))
        _conv(shapes, "roi_heads.mask_head.predictor", (classes, width, 1, 1))
    for level, members in (("p2", (0,)), ("p3", (0,)), ("p4", (0, 2)), ("p5", (0, 2, 4))) if stuff else ():
        for k in members:
            shapes[f"sem_seg_head.{level}.{k}.weight"] = (128, 128 if k else width, 3, 3)
            shapes |= {f"sem_seg_head.{level}.{k}.norm.{kind}": (128,) for kind in ("weight", "bias")}
    if stuff:
        _conv(shapes, "sem_seg_head.predictor", (stuff + 1, 128, 1, 1))
    return shapes


def cascaded(shapes: Shapes, *, masks: bool = False) -> Shapes:
    """Three box heads, whose boxes all classes share; with `masks` as many mask heads, as mmdetection has."""
    out: Shapes = {}
    for name, shape in shapes.items():
        part = "box_head|box_predictor|mask_head" if masks else "box_head|box_predictor"
        found = re.fullmatch(rf"(roi_heads\.(?:{part})\.)(.*)", name)
        own = (4, *shape[1:]) if ".bbox_pred." in name else shape
        out |= {f"{found[1]}{stage}.{found[2]}": own for stage in range(3)} if found else {name: shape}
    return out


def point_rend(shapes: Shapes, classes: int, *, side: int = 7, hidden: int = 32, older: bool = False) -> Shapes:
    """With a coarse head and a point head in place of the mask head, by the names of today's files or of older ones."""
    out = {name: shape for name, shape in shapes.items() if "mask_head" not in name}
    width = shapes["backbone.fpn_output2.weight"][0]
    coarse, points = (
        ("mask_coarse_head", "mask_point_head") if older else ("mask_head.coarse_head", "mask_head.point_head")
    )
    _conv(out, f"roi_heads.{coarse}.reduce_spatial_dim_conv", (width, width, 2, 2))
    _conv(out, f"roi_heads.{coarse}.coarse_mask_fc1", (hidden, width * side**2))
    _conv(out, f"roi_heads.{coarse}.coarse_mask_fc2", (hidden, hidden))
    _conv(out, f"roi_heads.{coarse}.prediction", (classes * side**2, hidden))
    for k in (1, 2, 3):
        _conv(out, f"roi_heads.{points}.fc{k}", (hidden, (width if k == 1 else hidden) + classes, 1))
    _conv(out, f"roi_heads.{points}.predictor", (classes, hidden + classes, 1))
    return out


def bottom_up(shapes: Shapes) -> Shapes:
    """With the second way up of PAFPN, by names that mmdetection's are made of."""
    width = shapes["backbone.fpn_output2.weight"][0]
    out = dict(shapes)
    for place in range(3):
        _conv(out, f"neck.downsample_convs.{place}.conv", (width, width, 3, 3))
        _conv(out, f"neck.pafpn_convs.{place}.conv", (width, width, 3, 3))
    return out


def _ends(depth: int) -> tuple[int, ...]:
    return (64, 128, 256, 512) if depth == 18 else (256, 512, 1024, 2048)


def _conv(shapes: Shapes, name: str, shape: tuple[int, ...]) -> None:
    shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _frozen(shapes: Shapes, name: str, shape: tuple[int, ...]) -> None:
    shapes |= {f"{name}.weight": shape} | {f"{name}.norm.{kind}": shape[:1] for kind in _NORM}


def _stage(shapes: Shapes, name: str, depth: int, before: int, blocks: int, scale: int, *, resnext: bool) -> None:
    end = (64 if depth == 18 else 256) * scale
    middle, group = (256 * scale, 8 * scale) if resnext else (64 * scale, 64 * scale)
    for block in range(blocks):
        inputs = end if block else before
        if not block and inputs != end:
            _frozen(shapes, f"{name}.{block}.shortcut", (end, inputs, 1, 1))
        if depth == 18:
            _frozen(shapes, f"{name}.{block}.conv1", (end, inputs, 3, 3))
            _frozen(shapes, f"{name}.{block}.conv2", (end, end, 3, 3))
            continue
        _frozen(shapes, f"{name}.{block}.conv1", (middle, inputs, 1, 1))
        _frozen(shapes, f"{name}.{block}.conv2", (middle, group, 3, 3))
        _frozen(shapes, f"{name}.{block}.conv3", (end, middle, 1, 1))
