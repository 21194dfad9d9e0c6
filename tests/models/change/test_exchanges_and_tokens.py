"""BIT, SNUNet, ChangeFormer and ChangerEx: what is particular to each."""

from __future__ import annotations

import pytest
import torch

from everymask.errors import ConfigError, WeightsError
from everymask.models.change.bit import BITNetwork
from everymask.models.change.build import build_change
from everymask.models.change.changer import bent, exchanged, exchanging
from everymask.models.semantic.encoders import build_semantic_encoder, encode
from everymask.models.specs.change import BIT, ChangeFormer, Changer, SNUNet
from everymask.models.specs.named import network
from tests.models.networks import bare_network, own_network


def drawn(*size: int) -> torch.Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(5))


def test_snunet_is_as_large_as_its_paper_says() -> None:
    module = bare_network(SNUNet(width=32), 2)
    assert sum(parameter.numel() for parameter in module.parameters()) / 1e6 == pytest.approx(12.03, abs=0.005)


def test_every_second_column_or_channel_changes_places_and_back() -> None:
    planes = drawn(4, 6, 5, 7)
    columns, channels = exchanged(planes, 8), exchanged(planes, 16)
    torch.testing.assert_close(columns[:2, :, :, 0::2], planes[2:, :, :, 0::2])
    torch.testing.assert_close(columns[:2, :, :, 1::2], planes[:2, :, :, 1::2])
    torch.testing.assert_close(channels[2:, 0::2], planes[:2, 0::2])
    torch.testing.assert_close(channels[2:, 1::2], planes[2:, 1::2])
    assert exchanged(planes, 4) is planes
    torch.testing.assert_close(exchanged(columns, 8), planes)


@pytest.mark.parametrize("name", ["resnet18", "mit_b0"])
def test_the_encoder_that_exchanges_is_the_usual_one_where_both_dates_are_the_same(name: str) -> None:
    """Then nothing is exchanged that differs: its stages are walked in their order, none twice and none left out."""
    torch.manual_seed(0)
    body = build_semantic_encoder(name, 3, "batch").eval()
    one = drawn(1, 3, 64, 64)
    with torch.no_grad():
        ours, usual = exchanging(body, torch.cat([one, one])), encode(body, torch.cat([one, one]))[-4:]
        other = exchanging(body, torch.cat([one, 1 - one]))
    for mine, theirs in zip(ours, usual, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert not torch.allclose(other[-1][:1], usual[-1][:1])


def test_maps_are_bent_by_the_flow() -> None:
    planes = drawn(1, 2, 9, 17)
    torch.testing.assert_close(bent(planes, torch.zeros(1, 2, 9, 17)), planes)
    step = torch.zeros(1, 2, 9, 17)
    step[:, 0] = 2 * 17 / 16
    torch.testing.assert_close(bent(planes, step)[..., :-1], planes[..., 1:])


def test_tokens_are_means_of_the_map() -> None:
    module = own_network(BIT(decoder_depth=1), 2)
    assert isinstance(module, BITNetwork)
    flat = torch.full((2, 32, 6, 8), 0.25)
    torch.testing.assert_close(module.tokens(flat), torch.full((2, 4, 32), 0.25))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: BIT(encoder="mit_b0"), "BIT's encoder is resnet18 or resnet34"),
        (lambda: SNUNet(width=0), "at least 1"),
        (lambda: ChangeFormer(encoder="resnet18"), "ChangeFormer's encoder is mit_b0"),
        (lambda: Changer(decoder_channels=33), "must be even"),
        (lambda: network("changer", encoder="resnet18"), "changer-ex"),
    ],
)
def test_what_they_cannot_be_is_refused(wrong, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError) as caught:
        wrong()
    assert message in f"{caught.value.message} {caught.value.hint}"


def test_there_are_no_weights_of_an_encoder_of_its_own(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(WeightsError, match="SNUNet's own encoder"):
        build_change(SNUNet(), 2, pretrained_encoder=tmp_path)
