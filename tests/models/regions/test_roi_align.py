"""Our RoIAlign equals torchvision's, forward and backward, in every mode."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import roi_align

from everymask.models.regions.roi_align import build_pooler, pyramid_levels
from everymask.models.specs.regions import RegionProfile


@pytest.mark.parametrize("size", [7, 14])
@pytest.mark.parametrize("ratio", [0, 1, 2, 3])
@pytest.mark.parametrize("mode", ["legacy", "aligned"])
def test_equal_to_torchvision(mode: str, ratio: int, size: int) -> None:
    torch.manual_seed(0)
    profile = RegionProfile(roi_align=mode, roi_sampling_ratio=ratio)
    maps = [torch.randn(2, 5, 96 // stride, 128 // stride, requires_grad=True) for stride in (4, 8, 16, 32)]
    corner, extent = torch.rand(60, 2) * torch.tensor([128, 96]), torch.rand(60, 2) ** 3 * 500
    boxes = torch.cat([corner, corner + extent], dim=1)
    boxes[:30] = boxes[:30].clamp(max=96)
    index = torch.randint(0, 2, (60,))
    levels = pyramid_levels(boxes, (96, 128), profile)
    assert len(levels.unique()) >= 3
    rois = torch.cat([index[:, None].float(), boxes], dim=1)
    expected = torch.stack(
        [
            roi_align(maps[level], roi[None], size, 1 / 2 ** (2 + level), ratio or -1, mode == "aligned")[0]
            for level, roi in zip(levels.tolist(), rois, strict=True)
        ]
    )
    found = build_pooler(maps, (96, 128), profile).pool(boxes, index, size)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    weights = torch.randn_like(expected)
    mine = torch.autograd.grad(found, maps, weights, allow_unused=True, materialize_grads=True)
    theirs = torch.autograd.grad(expected, maps, weights, allow_unused=True, materialize_grads=True)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_no_boxes() -> None:
    maps = [torch.randn(1, 4, 16 >> level, 16 >> level) for level in range(4)]
    none = build_pooler(maps, (64, 64), RegionProfile()).pool(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 7)
    assert none.shape == (0, 4, 7, 7)
