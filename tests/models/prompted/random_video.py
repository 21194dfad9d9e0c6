"""transformers' SAM 2 for videos with random weights, and what it says of a video."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from tests.models.prompted.random_sam import SIDE, scatter


def video_sam2(*, dated: bool = True, seed: int = 0, side: int = SIDE) -> Any:
    """The network, scattered; not `dated`: that of SAM 2.0."""
    from transformers import Sam2HieraDetConfig, Sam2VideoConfig, Sam2VideoModel, Sam2VisionConfig
    from transformers.models.sam2_video.configuration_sam2_video import Sam2VideoPromptEncoderConfig

    trunk = Sam2HieraDetConfig(image_size=[side, side])
    vision = Sam2VisionConfig(backbone_config=trunk, backbone_feature_sizes=[[side // n] * 2 for n in (4, 8, 16)])
    config = Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config=Sam2VideoPromptEncoderConfig(image_size=side),
        image_size=side,
        memory_attention_rope_feat_sizes=[side // 16] * 2,
        enable_occlusion_spatial_embedding=dated,
        enable_temporal_pos_encoding_for_object_pointers=dated,
    )
    theirs = Sam2VideoModel(config)
    scatter(theirs, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if name.endswith(".scale"):
                parameter.uniform_(0.2, 0.5, generator=generator)
            elif name.startswith(("no_", "memory_temporal", "occlusion_")):
                parameter.normal_(std=0.5, generator=generator)
        # Memories are stored with few digits: numbers around 1, as trained networks have them.
        theirs.memory_encoder.projection.weight.mul_(0.02)
        # Objects are there in some frames, and not in others.
        theirs.mask_decoder.pred_obj_score_head.proj_out.weight.mul_(8)
        theirs.mask_decoder.pred_obj_score_head.proj_out.bias.add_(2)
    # In all files these are the same.
    theirs.prompt_encoder.shared_embedding.positional_embedding = theirs.shared_image_embedding.positional_embedding
    return theirs.eval()


@cache
def video_sam2_once(*, dated: bool = True) -> Any:
    """The same, built once."""
    return video_sam2(dated=dated)


def moving(count: int, side: int = SIDE, seed: int = 0) -> Tensor:
    """Frames [count, 3, side, side] of noise that moves."""
    generator = torch.Generator().manual_seed(seed)
    still = torch.nn.functional.interpolate(
        torch.randn(1, 3, side // 8, side // 8, generator=generator), size=(side, side), mode="bilinear"
    )[0]
    return torch.stack([torch.roll(still, (3 * frame, 5 * frame), (1, 2)) for frame in range(count)])


def session_of(frames: Tensor) -> Any:
    """A session of transformers that holds a whole video."""
    from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

    return Sam2VideoInferenceSession(
        frames, frames.shape[-2], frames.shape[-1], inference_device="cpu", dtype=torch.float32
    )
