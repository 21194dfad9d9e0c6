"""HRNet is timm's trunk, OCR does what its equations say, and files of the authors' code load."""

from __future__ import annotations

from functools import partial

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor

from everymask.models.blocks.hrnet_trunk import HRNetTrunk
from everymask.models.checkpoint import load_exactly
from everymask.models.foreign.authors import from_authors
from everymask.models.semantic.build import build_semantic
from everymask.models.semantic.hrnet import ObjectContext, gather_regions
from everymask.models.specs.semantic import HRNet
from tests.models.random_weights import well_scaled

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
# Layers of the authors' OCR heads; a number in place of a norm's parameters is that of classes or channels.
OCR_CONVOLUTIONS = {
    "aux_head.0": (270, 270, 1, 1),
    "aux_head.3": (19, 270, 1, 1),
    "conv3x3_ocr.0": (512, 270, 3, 3),
    "cls_head": (19, 512, 1, 1),
    "ocr_distri_head.object_context_block.f_pixel.0": (256, 512, 1, 1),
    "ocr_distri_head.object_context_block.f_pixel.2": (256, 256, 1, 1),
    "ocr_distri_head.object_context_block.f_object.0": (256, 512, 1, 1),
    "ocr_distri_head.object_context_block.f_object.2": (256, 256, 1, 1),
    "ocr_distri_head.object_context_block.f_down.0": (256, 512, 1, 1),
    "ocr_distri_head.object_context_block.f_up.0": (512, 256, 1, 1),
    "ocr_distri_head.conv_bn_dropout.0": (512, 1024, 1, 1),
}
OCR_NORMS = {
    "aux_head.1": 270,
    "conv3x3_ocr.1": 512,
    "ocr_distri_head.object_context_block.f_pixel.1.0": 256,
    "ocr_distri_head.object_context_block.f_pixel.3.0": 256,
    "ocr_distri_head.object_context_block.f_object.1.0": 256,
    "ocr_distri_head.object_context_block.f_object.3.0": 256,
    "ocr_distri_head.object_context_block.f_down.1.0": 256,
    "ocr_distri_head.object_context_block.f_up.1.0": 512,
    "ocr_distri_head.conv_bn_dropout.1.0": 512,
}
BIASED = ("aux_head.0", "aux_head.3", "conv3x3_ocr.0", "cls_head")


def _ocr_heads() -> dict[str, Tensor]:
    heads = {f"{name}.weight": torch.randn(shape) for name, shape in OCR_CONVOLUTIONS.items()}
    heads |= {f"{name}.bias": torch.randn(OCR_CONVOLUTIONS[name][0]) for name in BIASED}
    for name, channels in OCR_NORMS.items():
        heads |= {f"{name}.{part}": torch.rand(channels if part != NORM[-1] else ()) for part in NORM}
    return heads


def _trunk_of_timm() -> dict[str, Tensor]:
    """timm names the trunk as the authors do."""
    whole = timm.create_model("hrnet_w18", features_only=True, feature_location="").state_dict()
    return {name: tensor for name, tensor in whole.items() if not name.startswith("incre_modules.")}


def test_the_trunk_is_timms() -> None:
    """Which enlarges by repeating pixels, as the network for classification does."""
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    reference = timm.create_model("hrnet_w18", features_only=True, feature_location="", out_indices=(1, 2, 3, 4))
    well_scaled(reference, images, lambda maps: maps[-1])
    trunk = HRNetTrunk("hrnet_w18", 3, partial(F.interpolate, mode="nearest")).eval()
    load_exactly(trunk, reference.state_dict(), "timm")
    with torch.inference_mode():
        expected, found = reference(images), trunk(images)
    assert trunk.widths == tuple(plane.shape[1] for plane in expected) == (18, 36, 72, 144)
    for plane, other in zip(found, expected, strict=True):
        assert other.std() > 0.1
        torch.testing.assert_close(plane, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("prefix", ["", "model."])
def test_a_file_of_the_authors_loads(prefix: str) -> None:
    content = {prefix + name: tensor for name, tensor in (_trunk_of_timm() | _ocr_heads()).items()}
    if prefix:
        content["loss.criterion.weight"] = torch.ones(19)
    module = build_semantic(HRNet(ocr=True), 19)
    load_exactly(module, from_authors(content, HRNet(ocr=True)), "file")
    state = module.state_dict()
    for ours, theirs in (
        ("backbone.stage4.2.fuse_layers.3.0.2.1.running_var", "stage4.2.fuse_layers.3.0.2.1.running_var"),
        ("ocr_distri_head.object_context_block.f_pixel.3.weight",
         "ocr_distri_head.object_context_block.f_pixel.2.weight"),
        ("ocr_distri_head.object_context_block.f_object.4.bias",
         "ocr_distri_head.object_context_block.f_object.3.0.bias"),
        ("cls_head.bias", "cls_head.bias"),
    ):  # fmt: skip
        assert torch.equal(state[ours], content[prefix + theirs])


def test_without_ocr_the_head_is_called_last_layer() -> None:
    heads = {name.replace("aux_head", "last_layer"): t for name, t in _ocr_heads().items() if "aux_head" in name}
    load_exactly(build_semantic(HRNet(), 19), from_authors(_trunk_of_timm() | heads, HRNet()), "file")


def test_as_many_parameters_as_published() -> None:
    """65.9 M (HRNet paper, table of Cityscapes) and 70.4 M with OCR."""
    with torch.device("meta"):
        counts = [
            sum(p.numel() for p in build_semantic(HRNet(encoder="hrnet_w48", ocr=ocr), 19).parameters())
            for ocr in (False, True)
        ]
    assert [round(count / 1e6, 1) for count in counts] == [65.9, 70.4]


def test_regions_are_means_of_their_pixels() -> None:
    draw = torch.Generator().manual_seed(0)
    pixels, logits = torch.randn(2, 5, 3, 4, generator=draw), torch.randn(2, 3, 3, 4, generator=draw)
    shares = logits.double().exp()
    shares = shares / shares.sum(dim=(2, 3), keepdim=True)
    expected = torch.einsum("bchw,brhw->bcr", pixels.double(), shares)
    torch.testing.assert_close(gather_regions(pixels, logits)[..., 0].double(), expected, atol=1e-5, rtol=1e-5)


def test_a_single_channel_makes_two_regions() -> None:
    pixels = torch.zeros(1, 1, 1, 4)
    pixels[..., 2:] = 1
    regions = gather_regions(pixels, torch.tensor([[[[-9.0, -9.0, 9.0, 9.0]]]]))
    torch.testing.assert_close(regions.flatten(), torch.tensor([0.0, 1.0]))


def test_pixels_attend_to_regions_as_in_the_paper() -> None:
    context = ObjectContext(8, 4)
    pixels, regions = torch.randn(2, 8, 3, 5), torch.randn(2, 8, 3, 1)
    well_scaled(context.object_context_block.f_pixel, pixels)
    well_scaled(context.object_context_block.f_object, pixels)
    block = context.eval().object_context_block
    with torch.no_grad():
        query, key, value = block.f_pixel(pixels), block.f_object(regions)[..., 0], block.f_down(regions)[..., 0]
        weights = (torch.einsum("bchw,bcr->brhw", query, key) / 4**0.5).softmax(dim=1)
        known = block.f_up(torch.einsum("brhw,bcr->bchw", weights, value))
        expected = context.conv_bn_dropout(torch.cat([known, pixels], dim=1))
        assert weights.std() > 0.01
        torch.testing.assert_close(context(pixels, regions), expected, atol=1e-5, rtol=1e-5)


def test_corners_are_aligned_as_told() -> None:
    """A picture whose right half differs: with aligned corners the middle lies elsewhere."""
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    aligned = well_scaled(build_semantic(HRNet(), 3), images, lambda outputs: outputs.logits)
    other = build_semantic(HRNet(align_corners=False), 3).eval()
    load_exactly(other, aligned.state_dict(), "the same weights")
    with torch.inference_mode():
        assert (aligned(images).logits - other(images).logits).abs().max() > 1e-2
