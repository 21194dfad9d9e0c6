"""Depthwise convolutions keep their digits in a training in bfloat16."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import Tensor, nn

from everymask.train.machine.depthwise import exact_depthwise


def mixed() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 4, 1), nn.Conv2d(4, 4, 3, groups=2))


def test_only_depthwise_convolutions_keep_float32() -> None:
    network = mixed()
    names = list(network.state_dict())
    exact_depthwise(network)
    kinds: list[torch.dtype] = []
    for part in network:
        part.register_forward_hook(lambda _module, _inputs, found: kinds.append(found.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        network(torch.rand(1, 6, 9, 9))
    assert kinds == [torch.float32, torch.bfloat16, torch.bfloat16]
    assert list(network.state_dict()) == names


def test_they_calculate_as_without_autocast() -> None:
    network, plain = mixed(), mixed()
    exact_depthwise(network)
    exact_depthwise(network)  # A second training of the same network changes nothing more.
    x = torch.rand(2, 6, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        found = network[0](x)
    assert torch.equal(found, plain[0](x))
    found.sum().backward()
    plain[0](x).sum().backward()
    assert torch.equal(gradient(network), gradient(plain))
    assert torch.equal(copy.deepcopy(network)(x), plain(x))


def test_a_copy_in_bfloat16_predicts_as_any_other() -> None:
    """As validations make one of a network that is in training."""
    network, plain = mixed(), mixed().to(torch.bfloat16)
    exact_depthwise(network)
    x = torch.rand(2, 6, 9, 9, dtype=torch.bfloat16)
    assert torch.equal(copy.deepcopy(network).to(torch.bfloat16)(x), plain(x))


@pytest.mark.parametrize("name", ["mobilenetv3_small_100", "tf_efficientnet_lite0"])
def test_encoders_whose_convolutions_pad_by_themselves_too(name: str) -> None:
    body = timm.create_model(name, features_only=True)
    depthwise = [part for part in body.modules() if isinstance(part, nn.Conv2d) and part.groups > 1]
    exact_depthwise(body)
    found: list[Tensor] = []
    for part in depthwise:
        part.register_forward_hook(lambda _module, _inputs, output: found.append(output))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        body(torch.rand(2, 3, 64, 64))
    assert len(found) == len(depthwise)
    assert {output.dtype for output in found} == {torch.float32}


def gradient(network: nn.Sequential) -> Tensor:
    """Of the weights of its first convolution."""
    weight = network[0].weight
    assert isinstance(weight, Tensor)
    assert weight.grad is not None
    return weight.grad
