"""Convolutions that are calculated another way give the same results."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from everymask.models.base import Network
from everymask.models.fast.dilated import DilatedDepthwiseConv2d, is_dilated_depthwise
from everymask.models.fast.doubled import DoubledConv2d
from everymask.models.fast.winograd import WinogradConv2d, pays
from everymask.models.inference import ready_to_predict


def exact(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """The convolution in double precision."""
    bias = None if conv.bias is None else conv.bias.double()
    options = {"padding": conv.padding, "dilation": conv.dilation, "groups": conv.groups}
    return F.conv2d(x.double(), conv.weight.double(), bias, **options)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("size", "dilation"), [((8, 12), 1), ((23, 30), 1), ((31, 8), 2), ((24, 47), 6), ((5, 5), 1), ((1, 1), 1)]
)
def test_winograd(size: tuple[int, int], dilation: int, bias: bool) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(128, 256, 3, padding=dilation, dilation=dilation, bias=bias)
    assert pays(conv)
    x = torch.randn(2, 128, *size)
    with torch.inference_mode():
        found, expected = WinogradConv2d(conv)(x), exact(conv, x)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-4 * float(expected.std()))


def test_winograd_in_several_parts() -> None:
    torch.manual_seed(0)
    conv, x = nn.Conv2d(256, 256, 3, padding=1), torch.randn(1, 256, 40, 120)
    with torch.inference_mode():
        found, expected = WinogradConv2d(conv)(x), exact(conv, x)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-4 * float(expected.std()))


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 1},
        {"kernel_size": 3},
        {"kernel_size": 3, "padding": 1, "stride": 2},
        {"kernel_size": 3, "padding": 1, "groups": 2},
        {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
        {"kernel_size": 3, "padding": (1, 2), "dilation": (1, 2)},
        {"kernel_size": 3, "padding": "same"},
    ],
)
def test_other_convolutions_are_not_winograds(options: dict[str, object]) -> None:
    assert not pays(nn.Conv2d(256, 256, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("skips", [0, 5])
@pytest.mark.parametrize("size", [(6, 10), (7, 10), (3, 5), (9, 16)])
def test_doubled(size: tuple[int, int], skips: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(8 + skips, 4, 3, padding=1)
    x, skip = torch.randn(2, 8, 3, 5), torch.randn(2, skips, *size) if skips else None
    enlarged = F.interpolate(x, size=size, mode="nearest")
    with torch.inference_mode():
        expected = conv(enlarged if skip is None else torch.cat([enlarged, skip], dim=1))
        found = DoubledConv2d(conv, 8)(x, skip, size)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rate", [2, 5, 40])
def test_dilated_depthwise(rate: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 6, 3, padding=rate, dilation=rate, groups=6)
    assert is_dilated_depthwise(conv) and not pays(conv)
    x = torch.randn(2, 6, 7, 11)
    with torch.inference_mode():
        torch.testing.assert_close(DilatedDepthwiseConv2d(conv)(x).double(), exact(conv, x), rtol=1e-5, atol=1e-5)
    assert not is_dilated_depthwise(nn.Conv2d(6, 6, 3, padding=1, groups=6))
    assert not is_dilated_depthwise(nn.Conv2d(6, 12, 3, padding=2, dilation=2, groups=6))


class OneLayer(Network):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(128, 256, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images).relu()


def test_a_network_that_is_ready_may_be_made_ready_again() -> None:
    torch.manual_seed(0)
    network = OneLayer().eval()
    x = torch.randn(1, 128, 16, 16)
    twice = ready_to_predict(ready_to_predict(network))
    assert isinstance(twice.layer, WinogradConv2d)
    with torch.inference_mode():
        torch.testing.assert_close(twice(x), network(x), rtol=1e-4, atol=1e-4)
        assert twice(x[:0]).shape == (0, 256, 16, 16)
