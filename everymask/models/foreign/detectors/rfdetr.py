"""RF-DETR's checkpoints, of `rfdetr` and of transformers, as models of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from everymask.core.label_sets import coco_80_labels, coco_labels
from everymask.core.labels import Labels, labels_of
from everymask.errors import WeightsError
from everymask.models.foreign.files.stored import Stored
from everymask.models.foreign.whole import Rule, Whole, numbered, part, renamed
from everymask.models.specs.detr import DETR, DETR_ENCODERS, RFDETR, RFDETRSeg, detr_preprocess

ORIGIN = "RF-DETR"
_PATCHES = "embeddings.patch_embeddings.projection.weight"
SIGNS = (
    f"backbone.0.encoder.encoder.{_PATCHES}",
    f"model.model.backbone.backbone.{_PATCHES}",
    f"model.backbone.backbone.{_PATCHES}",
    f"backbone.backbone.{_PATCHES}",
)
_LICENSED = 20
_OLD = 14
_COCO_ROWS = 91


def _linear(pattern: str, ours: str) -> Rule:
    """A perceptron, whose layers are counted there, and here with what lies between them."""
    return pattern + r"\.layers\.(\d)\.", lambda found: found.expand(ours) + f".{2 * int(found[found.lastindex or 1])}."


_BLOCKS: tuple[Rule, ...] = (
    (r"^{}encoder\.layer\.(\d+)\.layer_scale(\d)\.lambda1$", r"backbone.blocks.\1.ls\2.gamma"),
    (r"^{}encoder\.layer\.(\d+)\.attention\.(?:output\.dense|o_proj)\.", r"backbone.blocks.\1.attn.proj."),
    (
        r"^{}encoder\.layer\.(\d+)\.attention\.(?:attention\.)?([qkv])(?:uery|ey|alue|_proj)\.",
        r"backbone.blocks.\1.attn.\2.",
    ),
    (r"^{}encoder\.layer\.(\d+)\.", r"backbone.blocks.\1."),
    (r"^{}embeddings\.position_embeddings$", "backbone.pos_embed"),
    (r"^{}embeddings\.cls_token$", "backbone.cls_token"),
    (r"^{}embeddings\.patch_embeddings\.projection\.", "backbone.patch_embed.proj."),
    (r"^{}layernorm\.", "backbone.norm."),
)
_AUTHORS: tuple[Rule, ...] = (
    *((pattern.replace("{}", r"backbone\.0\.encoder\.encoder\."), ours) for pattern, ours in _BLOCKS),
    (r"^backbone\.0\.projector\.stages\.0\.0\.cv1\.conv\.", "projector.reduce.0."),
    (r"^backbone\.0\.projector\.stages\.0\.0\.cv1\.bn\.", "projector.reduce.1."),
    (r"^backbone\.0\.projector\.stages\.0\.0\.cv2\.conv\.", "projector.join.0."),
    (r"^backbone\.0\.projector\.stages\.0\.0\.cv2\.bn\.", "projector.join.1."),
    (
        r"^backbone\.0\.projector\.stages\.0\.0\.m\.(\d)\.cv(\d)\.(conv|bn)\.",
        lambda found: f"projector.blocks.{found[1]}.{int(found[2]) - 1}.{int(found[3] == 'bn')}.",
    ),
    (r"^backbone\.0\.projector\.stages\.0\.1\.", "projector.norm."),
    (r"^refpoint_embed\.", "shifts."),
    (r"^query_feat\.", "queries."),
    _linear(r"^transformer\.decoder\.ref_point_head", "decoder.position"),
    (r"^transformer\.decoder\.norm\.", "decoder.norm."),
    (r"^transformer\.decoder\.layers\.(\d)\.linear(\d)\.", r"decoder.layers.\1.fc\2."),
    (r"^transformer\.decoder\.layers\.(\d)\.", r"decoder.layers.\1."),
    (r"^transformer\.enc_output\.(\d+)\.", r"proposals.\1.embed."),
    (r"^transformer\.enc_output_norm\.(\d+)\.", r"proposals.\1.norm."),
    (r"^transformer\.enc_out_class_embed\.(\d+)\.", r"proposals.\1.classes."),
    _linear(r"^transformer\.enc_out_bbox_embed\.(\d+)", r"proposals.\1.boxes"),
    (r"^class_embed\.", "classes."),
    _linear(r"^bbox_embed", "boxes"),
    (r"^segmentation_head\.blocks\.(\d)\.dwconv\.", r"masks.blocks.\1.depthwise."),
    (r"^segmentation_head\.blocks\.(\d)\.norm\.", r"masks.blocks.\1.norm."),
    (r"^segmentation_head\.blocks\.(\d)\.pwconv1\.", r"masks.blocks.\1.pointwise."),
    (r"^segmentation_head\.spatial_features_proj\.", "masks.pixels."),
    (r"^segmentation_head\.query_features_block\.norm_in\.", "masks.norm."),
    (r"^segmentation_head\.query_features_block\.layers\.0\.", "masks.fc1."),
    (r"^segmentation_head\.query_features_block\.layers\.2\.", "masks.fc2."),
    (r"^segmentation_head\.query_features_proj\.", "masks.queries."),
    (r"^segmentation_head\.bias$", "masks.bias"),
)
_TRANSFORMERS: tuple[Rule, ...] = (
    *((pattern.replace("{}", r"backbone\.backbone\."), ours) for pattern, ours in _BLOCKS),
    (r"^backbone\.projector\.projector_layer\.conv1\.conv\.", "projector.reduce.0."),
    (r"^backbone\.projector\.projector_layer\.conv1\.norm\.", "projector.reduce.1."),
    (r"^backbone\.projector\.projector_layer\.conv2\.conv\.", "projector.join.0."),
    (r"^backbone\.projector\.projector_layer\.conv2\.norm\.", "projector.join.1."),
    (
        r"^backbone\.projector\.projector_layer\.bottlenecks\.(\d)\.conv(\d)\.(conv|norm)\.",
        lambda found: f"projector.blocks.{found[1]}.{int(found[2]) - 1}.{int(found[3] == 'norm')}.",
    ),
    (r"^backbone\.projector\.layer_norm\.", "projector.norm."),
    (r"^reference_point_embed\.", "shifts."),
    (r"^query_feat\.", "queries."),
    _linear(r"^decoder\.ref_point_head", "decoder.position"),
    (r"^decoder\.layernorm\.", "decoder.norm."),
    (r"^decoder\.layers\.(\d)\.self_attn\.o_proj\.", r"decoder.layers.\1.self_attn.out_proj."),
    (r"^decoder\.layers\.(\d)\.self_attn_layer_norm\.", r"decoder.layers.\1.norm1."),
    (r"^decoder\.layers\.(\d)\.cross_attn_layer_norm\.", r"decoder.layers.\1.norm2."),
    (r"^decoder\.layers\.(\d)\.layer_norm\.", r"decoder.layers.\1.norm3."),
    (r"^decoder\.layers\.(\d)\.mlp\.", r"decoder.layers.\1."),
    (r"^decoder\.layers\.(\d)\.", r"decoder.layers.\1."),
    (r"^enc_output\.(\d+)\.", r"proposals.\1.embed."),
    (r"^enc_output_norm\.(\d+)\.", r"proposals.\1.norm."),
    (r"^enc_out_class_embed\.(\d+)\.", r"proposals.\1.classes."),
    _linear(r"^enc_out_bbox_embed\.(\d+)", r"proposals.\1.boxes"),
    (r"^class_embed\.", "classes."),
    _linear(r"^bbox_embed", "boxes"),
    (r"^blocks\.(\d)\.depthwise_conv\.", r"masks.blocks.\1.depthwise."),
    (r"^blocks\.(\d)\.layernorm\.", r"masks.blocks.\1.norm."),
    (r"^blocks\.(\d)\.pointwise_conv\.", r"masks.blocks.\1.pointwise."),
    (r"^spatial_features_proj\.", "masks.pixels."),
    (r"^query_features_block\.norm\.", "masks.norm."),
    (r"^query_features_block\.mlp\.", "masks."),
    (r"^query_features_proj\.", "masks.queries."),
    (r"^segmentation_bias$", "masks.bias"),
)
_UNUSED = {
    r"mask_token$": "a token that hides patches, which only the encoder's own training has",
    r"^_kp_active_mask$": "which points of bodies there are, which is none",
}


def from_rfdetr(stored: Stored, tensors: Mapping[str, Tensor], file: str) -> Whole:
    """The network of a checkpoint; `WeightsError` where it is one that does not exist here.

    Of 91 rows for classes those of COCO's 80 classes stay, which stand at their ids; others are called as transformers'
    `config.json` says, else by their numbers, the last of which `rfdetr` has to spare. How many windows there are, no
    tensor says: one where the published network of that size has one, else two.
    """
    plain = {re.sub(r"^(model\.)+", "", name): tensor for name, tensor in tensors.items()}
    rules = _AUTHORS if SIGNS[0] in plain else _TRANSFORMERS
    _refuse_others(plain)
    named, unused = renamed(plain, rules, _UNUSED, ORIGIN)
    named = _parted(_joined(named))
    spec, assumed = _spec_of(named)
    named, labels, guessed = _with_classes(named, stored.classes)
    return Whole(ORIGIN, spec, named, labels, detr_preprocess(spec), unused, (*assumed, *guessed))


def _refuse_others(tensors: Mapping[str, Tensor]) -> None:
    """`WeightsError` for relatives, and why."""
    patch = next(tensor.shape[-1] for name, tensor in tensors.items() if name.endswith(_PATCHES))
    if patch == _LICENSED:
        raise WeightsError(
            "these are weights of RF-DETR XL or 2XL, whose licence (Platform Model License 1.0) is no open-source "
            "licence and asks for a plan of their publisher's, so everymask does not read them",
            hint="take one of rf-detr-nano to rf-detr-large or rf-detr-seg-nano to rf-detr-seg-large, under Apache-2.0",
        )
    if patch == _OLD or any(".projector.stages.1." in name for name in tensors):
        raise WeightsError(
            "these are weights of RF-DETR Base or of the first RF-DETR Large, which this version does not have",
            hint="their publisher has replaced them: take rf-detr-medium or rf-detr-large",
        )
    if any(
        name.startswith(("keypoint_", "transformer.keypoint_", "backbone.0.cross_attn_projector.")) for name in tensors
    ):
        raise WeightsError("these are weights of an RF-DETR that finds points of bodies, which no network here does")


def _joined(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """With queries, keys and values of the encoder in one tensor; `WeightsError` where one is missing."""
    joined: dict[str, Tensor] = {}
    for name, tensor in named.items():
        found = re.match(r"^(backbone\.blocks\.\d+\.attn\.)([qkv])(\.\w+)$", name)
        if found is None:
            joined[name] = tensor
        elif found[2] == "q":
            parts = [named.get(f"{found[1]}{kind}{found[3]}") for kind in "qkv"]
            present = [each for each in parts if each is not None]
            if len(present) < len(parts):
                raise WeightsError(f"the checkpoint has {name}, but not the keys and values that belong to it")
            joined[f"{found[1]}qkv{found[3]}"] = torch.cat(present)
    return joined


def _parted(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """With queries, keys and values of the decoder, which `rfdetr` has in one tensor, in three."""
    parted: dict[str, Tensor] = {}
    for name, tensor in named.items():
        before, joined, leaf = name.partition(".in_proj_")
        if joined:
            parted |= {f"{before}.{kind}_proj.{leaf}": rows for kind, rows in zip("qkv", tensor.chunk(3), strict=True)}
        else:
            parted[name] = tensor
    return parted


def _spec_of(named: Mapping[str, Tensor]) -> tuple[RFDETR, tuple[str, ...]]:
    """The network that has these tensors, and what was assumed of it."""
    patches, positions = part(named, "backbone.patch_embed.proj.weight", ORIGIN, 4), named.get("backbone.pos_embed")
    encoder = next((name for name, width in DETR_ENCODERS.items() if width == len(patches)), None)
    if encoder is None or positions is None or positions.ndim != 3:
        raise WeightsError(
            f"the RF-DETR of the weights has an encoder {len(patches)} wide, which does not exist here",
            hint=f"there are {', '.join(DETR_ENCODERS)}",
        )
    groups, layers = _count(named, r"proposals\.(\d+)\."), _count(named, r"decoder\.layers\.(\d+)\.")
    rows, width = part(named, "queries.weight", ORIGIN, 2).shape
    offsets = part(named, "decoder.layers.0.cross_attn.sampling_offsets.weight", ORIGIN, 2)
    patch, side = patches.shape[2], round((positions.shape[1] - 1) ** 0.5) * patches.shape[2]
    kind = RFDETRSeg if "masks.bias" in named else RFDETR
    queries = rows // max(1, groups)
    published = [spec for name in DETR.named if type(spec := DETR.named[name]()) is kind and spec.encoder == encoder]
    same = [
        spec
        for spec in published
        if (spec.patch, spec.side, spec.layers, spec.queries) == (patch, side, layers, queries)
    ]
    windows = same[0].windows if same else 2
    heads = width // 32
    spec = kind(
        encoder=encoder,
        channels=patches.shape[1],
        patch=patch,
        windows=windows,
        side=side,
        width=width,
        layers=layers,
        heads=heads,
        read_heads=2 * heads,
        points=max(1, len(offsets) // (4 * heads)),
        hidden=len(part(named, "decoder.layers.0.fc1.weight", ORIGIN, 2)),
        queries=queries,
        groups=groups,
        max_detections=queries,
    )
    return spec, () if same else (f"{windows} x {windows} windows are assumed, which the file does not say",)


def _with_classes(
    named: dict[str, Tensor], names: tuple[str, ...]
) -> tuple[dict[str, Tensor], Labels, tuple[str, ...]]:
    """The tensors with a row for each class, the classes, and what was assumed of them."""
    count = len(part(named, "classes.weight", ORIGIN, 2))
    if len(set(names)) == count != _COCO_ROWS and all(name.strip() for name in names):
        return named, labels_of(names), ()
    if count != _COCO_ROWS:
        return (
            named,
            numbered(count),
            (f"the {count} classes are called by their numbers, which the file does not name",),
        )
    known = set(coco_80_labels().names)
    rows = torch.tensor([number for number, name in enumerate(coco_labels().names, start=1) if name in known])
    owners = ("classes.weight", "classes.bias")
    chosen = {name: tensor[rows] if name.endswith(owners) else tensor for name, tensor in named.items()}
    return chosen, coco_80_labels(), ("the classes are taken for COCO's, by their ids",)


def _count(named: Mapping[str, Tensor], pattern: str) -> int:
    """How many parts are numbered so."""
    return len({found[1] for name in named if (found := re.match(pattern, name))})
