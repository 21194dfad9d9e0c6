"""Checkpoints of SAM, MobileSAM and SAM 2 under our parameter names, which are those of the authors' first files."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from everymask.errors import WeightsError
from everymask.models.prompted.hiera import HIERA_SIZES
from everymask.models.prompted.vit import PATCH, VIT_SIZES
from everymask.models.specs.prompted import SAM, SAM2, SAM2Memory

_POSITIONS = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
_POINTS = "prompt_encoder.point_embed.weight"
# What SAM 2's own code does not use, and TinyViT's classifier: nothing that is answered with.
_UNUSED = re.compile(
    r"^(no_mem_pos_enc$|no_memory_positional_encoding$|image_encoder\.(norm_head|head)\.|pixel_(mean|std)$"
    r"|prompt_encoder\.shared_embedding\.positional_embedding$)|\.attention_bias_idxs$"
)
# In the authors' file, and in transformers' models for pictures, for videos and for prompts.
_SAM3 = (
    "detector.backbone.",
    "detr_decoder.",
    "detector_model.",
    "tracker_model.",
    "vision_encoder.backbone.embeddings.",
)
_OUR_NAMES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^sam_(prompt_encoder|mask_decoder)\.", r"\1."),
        (r"^shared_image_embedding\.positional_embedding$", _POSITIONS),
        (r"^no_memory_embedding$", "no_mem_embed"),
        # The encoder.
        (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
        (r"^vision_encoder\.neck\.convs\.(\d)\.", r"image_encoder.neck.convs.\1.conv."),
        (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
        (r"^vision_encoder\.", "image_encoder."),
        (r"(image_encoder\..*patch_embed)\.projection\.", r"\1.proj."),
        (r"^image_encoder\.neck\.conv1\.", "image_encoder.neck.0."),
        (r"^image_encoder\.neck\.layer_norm1\.", "image_encoder.neck.1."),
        (r"^image_encoder\.neck\.conv2\.", "image_encoder.neck.2."),
        (r"^image_encoder\.neck\.layer_norm2\.", "image_encoder.neck.3."),
        # The prompts.
        (r"^prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
        (r"^prompt_encoder\.mask_embed\.conv1\.", "prompt_encoder.mask_downscaling.0."),
        (r"^prompt_encoder\.mask_embed\.layer_norm1\.", "prompt_encoder.mask_downscaling.1."),
        (r"^prompt_encoder\.mask_embed\.conv2\.", "prompt_encoder.mask_downscaling.3."),
        (r"^prompt_encoder\.mask_embed\.layer_norm2\.", "prompt_encoder.mask_downscaling.4."),
        (r"^prompt_encoder\.mask_embed\.conv3\.", "prompt_encoder.mask_downscaling.6."),
        # The memory of videos.
        (r"^object_pointer_proj\.", "obj_ptr_proj."),
        (r"^temporal_positional_encoding_projection_layer\.", "obj_ptr_tpos_proj."),
        (r"^memory_temporal_positional_encoding$", "maskmem_tpos_enc"),
        (r"^no_object_pointer$", "no_obj_ptr"),
        (r"^occlusion_spatial_embedding_parameter$", "no_obj_embed_spatial"),
        (r"^memory_(attention|encoder)\.", r"memory.\1."),
        (r"^(?=(obj_ptr|no_obj|maskmem)_|mask_downsample\.)", "memory."),
        (r"^(memory\.attention)\.layer_norm\.", r"\1.norm."),
        (r"(mask_downsampler)\.layers\.0\.conv\.", r"\1.encoder.0."),
        (r"(mask_downsampler)\.layers\.1\.conv\.", r"\1.encoder.3."),
        (r"(mask_downsampler)\.layers\.2\.conv\.", r"\1.encoder.6."),
        (r"(mask_downsampler)\.layers\.3\.conv\.", r"\1.encoder.9."),
        (r"(mask_downsampler)\.layers\.0\.layer_norm\.", r"\1.encoder.1."),
        (r"(mask_downsampler)\.layers\.1\.layer_norm\.", r"\1.encoder.4."),
        (r"(mask_downsampler)\.layers\.2\.layer_norm\.", r"\1.encoder.7."),
        (r"(mask_downsampler)\.layers\.3\.layer_norm\.", r"\1.encoder.10."),
        (r"(mask_downsampler)\.final_conv\.", r"\1.encoder.12."),
        (r"^(memory\.encoder)\.feature_projection\.", r"\1.pix_feat_proj."),
        (r"^(memory\.encoder)\.projection\.", r"\1.out_proj."),
        (r"\.memory_fuser\.", ".fuser."),
        (r"\.depthwise_conv\.", ".dwconv."),
        (r"\.pointwise_conv(\d)\.", r".pwconv\1."),
        (r"(fuser\.layers\.\d)\.layer_norm\.", r"\1.norm."),
        (r"(fuser\.layers\.\d)\.scale$", r"\1.gamma"),
        # The decoder. What lies two layers deep is called by numbers in some files and by names in others.
        (r"^mask_decoder\.upscale_conv1\.", "mask_decoder.output_upscaling.0."),
        (r"^mask_decoder\.upscale_layer_norm\.", "mask_decoder.output_upscaling.1."),
        (r"^mask_decoder\.upscale_conv2\.", "mask_decoder.output_upscaling.3."),
        (r"(transformer\.layers\.\d\.mlp)\.(?:layers\.0|proj_in)\.", r"\1.lin1."),
        (r"(transformer\.layers\.\d\.mlp)\.(?:layers\.1|proj_out)\.", r"\1.lin2."),
        (r"(trunk\.blocks\.\d+\.mlp)\.proj_in\.", r"\1.layers.0."),
        (r"(trunk\.blocks\.\d+\.mlp)\.proj_out\.", r"\1.layers.1."),
        (r"(head|mlps\.\d|obj_ptr_proj)\.layers\.0\.(?=\w+$)", r"\1.layers.first."),
        (r"(head|mlps\.\d|obj_ptr_proj)\.proj_in\.", r"\1.layers.0."),
        (r"(head|mlps\.\d|obj_ptr_proj)\.proj_out\.", r"\1.layers.2."),
        (r"\.layer_norm_final_attn\.", ".norm_final_attn."),
        (r"\.layer_norm(\d)\.", r".norm\1."),
        (r"(attn|image|token)\.o_proj\.", r"\1.out_proj."),
    )
)


def refuse_relatives(tensors: Mapping[str, Tensor]) -> None:
    """`WeightsError` for networks of the same kind that this version does not have, and why."""
    if any(name.startswith(_SAM3) for name in tensors):
        raise WeightsError(
            "these are weights of SAM 3, whose licence (SAM License) is no open-source licence and binds all that is "
            "made of them, so everymask does not read them",
            hint="take SAM 2.1 (sam2.1-t to sam2.1-l), which is under Apache-2.0",
        )
    for sign, relative, instead in (
        ("mask_decoder.hf_token.weight", "SAM-HQ", "sam-b, sam-l or sam-h"),
        ("mask_decoder.hq_token.weight", "SAM-HQ", "sam-b, sam-l or sam-h"),
        ("prompt_encoder.invalid_points.weight", "EfficientSAM", "mobile-sam"),
    ):
        if sign in tensors:
            raise WeightsError(
                f"these are weights of {relative}, a network that this version does not have",
                hint=f"take {instead}",
            )


def from_published(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of SAM, MobileSAM or SAM 2, from the authors' files or transformers', named for our networks."""
    named: dict[str, Tensor] = {}
    by_names = any(".proj_in." in name for name in tensors)
    for name, tensor in tensors.items():
        if name == _POINTS:
            named |= {f"prompt_encoder.point_embeddings.{kind}.weight": row[None] for kind, row in enumerate(tensor)}
        elif not _UNUSED.search(name):
            named[_renamed(name, by_names=by_names)] = tensor
    shared = tensors.get("prompt_encoder.shared_embedding.positional_embedding")
    if shared is not None:
        named.setdefault(_POSITIONS, shared)
    return named


def sam_of(tensors: Mapping[str, Tensor]) -> SAM:
    """The SAM that such weights are of; `WeightsError` where its size is none that exists here."""
    named = from_published(tensors)
    positions = named.get("image_encoder.pos_embed")
    if positions is None:
        first = named.get("image_encoder.patch_embed.seq.0.c.weight")
        if first is None:
            raise WeightsError("the weights of a SAM lack image_encoder.pos_embed")
        return SAM(encoder="tiny_vit", channels=first.shape[1])
    if positions.ndim != 4 or positions.shape[1] != positions.shape[2]:
        raise WeightsError(
            f"the weights' image_encoder.pos_embed is {list(positions.shape)}, but it is [1, places, places, channels] "
            "in a SAM, whose pictures are square"
        )
    width, depth = positions.shape[-1], _blocks(named, "image_encoder.blocks.")
    for name, size in VIT_SIZES.items():
        if (size.width, size.depth) == (width, depth):
            channels = named["image_encoder.patch_embed.proj.weight"].shape[1]
            return SAM(encoder=name, channels=channels, side=PATCH * positions.shape[1])
    raise _no_such_size("SAM", width, depth, VIT_SIZES)


def sam2_of(tensors: Mapping[str, Tensor]) -> SAM2:
    """The SAM 2 that such weights are of; `WeightsError` where its size is none that exists here."""
    named = from_published(tensors)
    patches = named.get("image_encoder.trunk.patch_embed.proj.weight")
    if patches is None:
        raise WeightsError("the weights of a SAM 2 lack image_encoder.trunk.patch_embed.proj.weight")
    width, depth = len(patches), _blocks(named, "image_encoder.trunk.blocks.")
    for name, size in HIERA_SIZES.items():
        if (size.width, sum(size.depths)) == (width, depth):
            return SAM2(encoder=name, channels=patches.shape[1], memory=_memory(named))
    raise _no_such_size("SAM 2", width, depth, HIERA_SIZES)


def _memory(named: Mapping[str, Tensor]) -> SAM2Memory | None:
    """Whose memory of videos it is; files for pictures alone have none."""
    if not any(name.startswith("memory.") for name in named):
        return None
    return "2.1" if "memory.no_obj_embed_spatial" in named else "2.0"


def _no_such_size(network: str, width: int, depth: int, known: Mapping[str, object]) -> WeightsError:
    return WeightsError(
        f"the weights are of a {network} whose encoder is {width} channels wide and {depth} blocks deep, which does "
        "not exist here",
        hint=f"there are {', '.join(known)}",
    )


def _blocks(named: Mapping[str, Tensor], prefix: str) -> int:
    return len({name.removeprefix(prefix).partition(".")[0] for name in named if name.startswith(prefix)})


def _renamed(name: str, *, by_names: bool) -> str:
    """`by_names`: of three layers transformers calls the middle one `layers.0`."""
    for pattern, replacement in _OUR_NAMES:
        if ".layers.first." not in replacement or by_names:
            name = pattern.sub(replacement, name)
    return name.replace(".layers.first.", ".layers.1.")
