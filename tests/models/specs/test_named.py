"""Every name on the command line is a network, and options reach it."""

from __future__ import annotations

import pytest

from everymask.errors import ConfigError
from everymask.models.specs.any_spec import Architecture
from everymask.models.specs.named import network
from everymask.models.specs.regions import REGIONS, FasterRCNN
from everymask.models.specs.semantic import (
    SEMANTIC_FAMILY,
    SEMANTIC_KINDS,
    HRNet,
    SegFormer,
    SemanticSpec,
    UNet,
    unet_original,
)


@pytest.mark.parametrize("name", [*REGIONS.named, *SEMANTIC_FAMILY.named])
def test_every_name_is_a_network_that_takes_the_norm(name: Architecture) -> None:
    spec = network(name, norm="group")
    assert isinstance(spec, FasterRCNN if name in REGIONS.named else SemanticSpec)
    assert (spec.decoder_norm if name == "unet-original" else spec.norm) == "group"  # type: ignore[union-attr]


def test_every_kind_of_semantic_network_has_its_name() -> None:
    assert set(SEMANTIC_KINDS) <= SEMANTIC_FAMILY.named.keys()
    assert all(type(network(name)) is SEMANTIC_KINDS[name] for name in SEMANTIC_KINDS)  # type: ignore[arg-type]


def test_options_reach_the_network() -> None:
    assert network("unet", "resnet18", "frozen", "binary") == UNet(encoder="resnet18", norm="frozen", head="binary")
    assert network("segformer", "mit_b3") == SegFormer(encoder="mit_b3", decoder_channels=768)
    assert network("hrnet-ocr", "hrnet_w48") == HRNet(encoder="hrnet_w48", ocr=True)
    assert network("unet-original", head="binary") == unet_original(head="binary")


def test_without_a_name_the_data_decide_unless_an_option_does() -> None:
    assert network() is None
    assert network(encoder="resnet18") is None, "both tasks have that encoder"
    assert network(head="binary") == UNet(head="binary")


def test_options_that_a_network_does_not_have_are_refused() -> None:
    with pytest.raises(ConfigError, match="head"):
        network("mask-rcnn", head="binary")
    with pytest.raises(ConfigError, match="unet-original"):
        network("unet-original", "resnet18")
