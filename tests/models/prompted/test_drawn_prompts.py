"""Prompts that are drawn on the small network's map."""

from __future__ import annotations

import pytest
import torch

from everymask.models.prompted.network import PromptedNetwork
from everymask.models.prompted.prompt_encoder import PromptEncoder
from everymask.models.specs.prompted import SAM, PromptedSmall
from tests.models.networks import bare_network


@pytest.fixture
def encoder() -> PromptEncoder:
    """Each kind of prompt has a channel: beside the object, on it, the corners, and the inside of a box."""
    found = PromptEncoder(32, 64, always_padded=False, drawn=True)
    found.drawn_embeddings.weight.data = torch.eye(5, 32)
    return found


def drawn(encoder: PromptEncoder, points: list[list[float]], labels: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return encoder.drawing(torch.tensor([points]), torch.tensor([labels]), (8, 16))[0]


def test_points_are_spots_of_a_place_around_them(encoder: PromptEncoder) -> None:
    found = drawn(encoder, [[41.5, 19.5], [5.5, 59.5]], [1, 0])  # (x, y) in 64 x 64 pixels; places of 4 x 8
    assert divmod(int(found[1].argmax()), 16) == (2, 10) and divmod(int(found[0].argmax()), 16) == (7, 1)
    assert found[1, 2, 10] == pytest.approx(1) and found[1, 2, 11] == pytest.approx(torch.tensor(-0.5).exp().item())
    assert found[1, 3, 11] == pytest.approx(torch.tensor(-1.0).exp().item()) and found[2:].abs().max() == 0


def test_a_box_is_its_corners_and_what_lies_inside(encoder: PromptEncoder) -> None:
    found = drawn(encoder, [[8.0, 16.0], [24.0, 48.0]], [2, 3])
    inside = torch.zeros(8, 16)
    inside[2:6, 2:6] = 1
    assert torch.equal(found[4], inside) and found[:2].abs().max() == 0
    assert found[2].max() > 0.5 and found[3].max() > 0.5


def test_what_means_nothing_is_not_drawn(encoder: PromptEncoder) -> None:
    alone = drawn(encoder, [[20.0, 20.0]], [1])
    assert torch.equal(drawn(encoder, [[20.0, 20.0], [0.0, 0.0]], [1, -1]), alone)


def test_only_the_small_network_draws_and_it_begins_without_details() -> None:
    torch.manual_seed(0)
    small = PromptedNetwork(PromptedSmall(side=64, width=32))
    assert not any(convolution.weight.any() for convolution in (small.mask_decoder.conv_s0, small.mask_decoder.conv_s1))
    assert "prompt_encoder.drawn_embeddings.weight" in small.state_dict()
    assert not any("drawn" in name for name in bare_network(SAM(encoder="vit_t", side=32)).state_dict())
