"""Feature pyramids, also those that go up again."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from everymask.models.blocks.pyramid import FeaturePyramid

WIDTHS = (4, 6, 8, 10)


def test_the_second_way_up_is_that_of_the_paper() -> None:
    """Each map is joined by the finer one at every second pixel, before it is smoothed (Liu et al. 2018)."""
    torch.manual_seed(0)
    pyramid = FeaturePyramid(WIDTHS, 5, None, bottom_up=True)
    maps = [torch.randn(1, width, 32 // 2**level, 48 // 2**level) for level, width in enumerate(WIDTHS)]
    plain = FeaturePyramid(WIDTHS, 5, None)
    plain.load_state_dict(pyramid.state_dict(), strict=False)
    weights = pyramid.state_dict()
    with torch.no_grad():
        found, down = pyramid(maps), plain(maps)[:4]
        for level in range(3):
            halved = F.conv2d(
                down[level], weights[f"down_blocks.{level}.0.weight"], weights[f"down_blocks.{level}.0.bias"], 2, 1
            )
            down[level + 1] = down[level + 1] + halved
        expected = [down[0]] + [
            F.conv2d(x, weights[f"up_blocks.{k}.0.weight"], weights[f"up_blocks.{k}.0.bias"], padding=1)
            for k, x in enumerate(down[1:])
        ]
    assert len(found) == 5 and torch.equal(found[4], found[3][..., ::2, ::2])
    for own, theirs in zip(found, expected, strict=False):
        torch.testing.assert_close(own, theirs)
