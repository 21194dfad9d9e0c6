"""PIDNet: the paper's size, its authors' names, and its losses at boundaries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from everymask.core.segmentation import SemanticMap
from everymask.errors import WeightsError
from everymask.models.base import Batch
from everymask.models.checkpoint import load_exactly
from everymask.models.foreign.authors import from_authors
from everymask.models.semantic.build import build_semantic
from everymask.models.semantic.pidnet import GuidedByAttention, PIDNetNetwork, boundary_loss, class_boundaries
from everymask.models.semantic.pixel_losses import IGNORED
from everymask.models.specs.semantic import PIDNet

STRIPES = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])


def _batch(ids: np.ndarray) -> Batch:
    images = torch.randn(1, 3, *ids.shape, generator=torch.Generator().manual_seed(0))
    return Batch(images, torch.tensor([(0, 0, *ids.shape[::-1])]), (SemanticMap(ids),), ("a",), ("a",))


def test_as_many_parameters_as_published() -> None:
    """7.6 M in the paper's table; with the heads for training 7,720,935 for Cityscapes' 19 classes."""
    alone, learning = (
        sum(p.numel() for p in build_semantic(PIDNet(auxiliary=auxiliary), 19).parameters())
        for auxiliary in (False, True)
    )
    assert round(alone / 1e6, 1) == 7.6
    assert learning == 7_720_935


def test_a_file_of_the_authors_loads() -> None:
    """It holds what their training wraps: the network, and the weights of classes in its losses."""
    original = build_semantic(PIDNet(), 19).state_dict()
    content = {f"model.{name.removeprefix('backbone.')}": tensor for name, tensor in original.items()}
    content["sem_loss.criterion.weight"] = torch.ones(19)
    shapes = {
        "model.conv1.3.bias": (32,),
        "model.layer3_d.downsample.0.weight": (32, 64, 1, 1),
        "model.layer5.1.conv3.weight": (512, 256, 1, 1),
        "model.pag4.f_y.1.running_mean": (32,),
        "model.spp.scale_process.2.weight": (384, 96, 3, 3),
        "model.dfm.conv_i.0.weight": (128, 128, 1, 1),
        "model.seghead_d.conv2.weight": (1, 32, 1, 1),
        "model.final_layer.bn1.weight": (128,),
    }
    assert {name: tuple(content[name].shape) for name in shapes} == shapes
    for spec in (PIDNet(), PIDNet(auxiliary=False)):
        module = build_semantic(spec, 19)
        load_exactly(module, from_authors(content, spec), "file")
        assert torch.equal(module.state_dict()["final_layer.conv2.bias"], original["final_layer.conv2.bias"])


def test_logits_begin_at_an_eighth_of_the_size() -> None:
    network = build_semantic(PIDNet(), 3).eval()
    assert isinstance(network, PIDNetNetwork)
    with torch.no_grad():
        fused, detail, edges = network.backbone(torch.rand(1, 3, 64, 96))
        planes = network.logits(torch.rand(1, 3, 64, 96), auxiliary=True)
    assert (fused.shape, detail.shape, edges.shape) == ((1, 128, 8, 12), (1, 64, 8, 12), (1, 64, 8, 12))
    assert [plane.shape for plane in planes] == [(1, 3, 64, 96)] * 2


def test_context_counts_as_much_as_it_agrees_with_the_detail() -> None:
    attention = GuidedByAttention(4, 2).eval()
    for part, value in ((attention.f_x, 0.5), (attention.f_y, 2.0)):
        torch.nn.init.zeros_(part[0].weight)
        torch.nn.init.constant_(part[1].bias, value)
    detail, context = torch.full((1, 4, 4, 6), 3.0), torch.ones(1, 4, 2, 3)
    share = torch.tensor(2 * 0.5 * 2.0).sigmoid()
    with torch.no_grad():
        found = attention(detail, context)
    torch.testing.assert_close(found, (3 - 2 * share).expand(1, 4, 4, 6))


def test_boundaries_are_four_pixels_wide() -> None:
    found = class_boundaries(STRIPES.expand(1, 6, 10))
    assert found.shape == (1, 1, 6, 10)
    assert found[0, 0, 3].tolist() == [0, 0, 0, 1, 1, 1, 1, 0, 0, 0]
    assert torch.equal(found.mT, class_boundaries(STRIPES.expand(1, 6, 10).mT))


def test_void_has_no_boundary() -> None:
    void = STRIPES.where(STRIPES == 0, IGNORED).expand(1, 6, 10)
    assert class_boundaries(void)[0, 0, 0].tolist() == [0] * 5 + [IGNORED] * 5


def test_boundaries_of_overlapping_classes() -> None:
    planes = torch.stack([STRIPES.expand(6, 10), torch.zeros(6, 10, dtype=torch.long)])[None]
    assert torch.equal(class_boundaries(planes), class_boundaries(STRIPES.expand(1, 6, 10)))


def test_both_kinds_of_pixels_count_the_same() -> None:
    boundaries = torch.zeros(1, 1, 4, 10)
    boundaries[..., :2, :4] = 1
    boundaries[..., 3, :] = IGNORED
    logits = torch.randn(1, 1, 4, 10, generator=torch.Generator().manual_seed(0))
    each = F.binary_cross_entropy_with_logits(logits, boundaries.clamp(max=1), reduction="none")
    shares = [(boundaries == kind).sum() / 30 for kind in (1, 0)]
    expected = shares[0] * shares[1] * (each[boundaries == 1].mean() + each[boundaries == 0].mean())
    torch.testing.assert_close(boundary_loss(logits, boundaries), expected)


def test_losses_are_those_of_the_paper() -> None:
    ids = np.where(np.arange(96) < 48, 0, 1)[None].repeat(64, axis=0)
    network = build_semantic(PIDNet(), 2).eval()
    assert isinstance(network, PIDNetNetwork)
    torch.nn.init.zeros_(network.seghead_d.conv2.weight)
    torch.nn.init.constant_(network.seghead_d.conv2.bias, 1.3)
    with torch.no_grad():
        unsure = network.loss(_batch(ids))
        torch.nn.init.constant_(network.seghead_d.conv2.bias, 1.5)
        sure = network.loss(_batch(ids))
    assert list(sure) == ["loss_segmentation", "loss_aux", "loss_boundary", "loss_at_boundaries"]
    assert unsure["loss_at_boundaries"] == 0
    torch.testing.assert_close(sure["loss_at_boundaries"], sure["loss_segmentation"])
    logit, share = torch.tensor(1.5), 4 / 96
    expected = 20 * share * (1 - share) * (F.softplus(-logit) + F.softplus(logit))
    torch.testing.assert_close(sure["loss_boundary"], expected, atol=1e-4, rtol=1e-4)


def test_without_auxiliary_heads_there_is_one_loss() -> None:
    ids = np.zeros((64, 96), np.int64)
    assert list(build_semantic(PIDNet(auxiliary=False), 2).loss(_batch(ids))) == ["loss_segmentation"]


def test_weights_that_nobody_has_are_refused() -> None:
    with pytest.raises(WeightsError, match="pidnet_s"):
        build_semantic(PIDNet(), 2, pretrained_encoder=Path("any.safetensors"))
