"""Semantic networks that see two dates, and FC-EF and FC-Siam."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from everymask.core.labels import labels_of
from everymask.core.segmentation import ChangeMap
from everymask.data.change.coding import CHANGE
from everymask.errors import ConfigError
from everymask.models.base import SemanticOutputs
from everymask.models.build import build
from everymask.models.fine_tune import fit_weights
from everymask.models.specs.any_spec import ModelSpec, spec_from_json, spec_to_json
from everymask.models.specs.change import FCSiam
from everymask.models.specs.named import network
from everymask.models.specs.semantic import Fusion, PIDNet, UNet, unet_original
from tests.models.networks import SEMANTIC, bare_network, own_network, shared_network

_PLAIN: dict[str, Any] = {"encoder": "plain", "decoder_channels": (16, 8)}
UNETS: dict[Fusion, UNet] = {fusion: UNet(**_PLAIN, fusion=fusion, head="binary") for fusion in get_args(Fusion)}


def logits(spec: ModelSpec, images: Tensor) -> Tensor:
    with torch.no_grad():
        found = shared_network(spec, 2)(images)
    assert isinstance(found, SemanticOutputs) and found.kind is ChangeMap
    return found.logits


def two_dates() -> tuple[Tensor, Tensor]:
    drawn = torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return drawn[0], drawn[1]


@pytest.mark.parametrize("spec", [UNETS["difference"], FCSiam(fusion="early")], ids=["unet", "fc-ef"])
def test_one_logit_tells_of_both_dates(spec: ModelSpec) -> None:
    before, after = two_dates()
    found = logits(spec, torch.cat([before, after], dim=1))
    assert found.shape == (2, 1, 64, 64)
    assert not torch.allclose(found, logits(spec, torch.cat([before, before], dim=1)))


def test_a_difference_does_not_know_which_date_is_first_and_the_others_do() -> None:
    before, after = two_dates()
    there, back = (torch.cat(dates, dim=1) for dates in ((before, after), (after, before)))
    torch.testing.assert_close(logits(UNETS["difference"], there), logits(UNETS["difference"], back))
    assert not torch.allclose(logits(UNETS["early"], there), logits(UNETS["early"], back))


def test_side_by_side_begins_as_the_mean_and_learns_an_order() -> None:
    module = own_network(UNETS["concat"], 2).eval()
    before, after = two_dates()
    there, back = (torch.cat(dates, dim=1) for dates in ((before, after), (after, before)))
    with torch.no_grad():
        torch.testing.assert_close(module(there).logits, module(back).logits, atol=1e-5, rtol=1e-4)
        join = module.get_submodule("backbone.join")[0]  # type: ignore[index]
        join.weight[:, : join.weight.shape[1] // 2] = 0
        assert not torch.allclose(module(there).logits, module(back).logits)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SEMANTIC if name != "pidnet"])
def test_every_semantic_network_can_compare(name: str) -> None:
    module = bare_network(replace(SEMANTIC[name], fusion="concat"), 2)
    found = module(torch.rand(1, 6, 67, 93, device="meta"))
    assert found.kind is ChangeMap and found.logits.shape[-2:] == (67, 93)


def test_both_dates_go_through_one_encoder() -> None:
    single, fused = bare_network(UNet(**_PLAIN, head="binary"), 2), bare_network(UNETS["difference"], 2)
    sizes = [sum(parameter.numel() for parameter in module.parameters()) for module in (single, fused)]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize(("fusion", "millions"), [("early", 1.35), ("concat", 1.55), ("difference", 1.35)])
def test_fc_siam_is_as_large_as_its_paper_says(fusion: Fusion, millions: float) -> None:
    module = bare_network(FCSiam(fusion=fusion), 2)
    assert sum(parameter.numel() for parameter in module.parameters()) / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize("size", [(35, 61), (17, 90)])
@pytest.mark.parametrize("fusion", ["early", "concat", "difference"])
def test_fc_siam_takes_any_size(fusion: Fusion, size: tuple[int, int]) -> None:
    assert logits(FCSiam(fusion=fusion, widths=(4, 8, 8, 16)), torch.rand(1, 6, *size)).shape == (1, 1, *size)


def test_names_and_options_lead_to_the_specs() -> None:
    assert network("unet", fusion="concat") == UNet(fusion="concat", head="binary")
    assert network(fusion="early") == UNet(fusion="early", head="binary")
    assert network("unet-original", fusion="early") == unet_original(fusion="early", head="binary")
    assert network("fc-siam-conc") == FCSiam(fusion="concat")
    with pytest.raises(ConfigError, match="fusion is a setting of"):
        network("mask-rcnn", fusion="early")
    with pytest.raises(ConfigError, match="PIDNet's branches"):
        PIDNet(fusion="concat")
    with pytest.raises(ConfigError, match="fusion must be one of"):
        UNet(fusion="mixed")  # type: ignore[arg-type]
    for spec in (UNETS["concat"], FCSiam(fusion="early")):
        assert spec_from_json(spec_to_json(spec)) == spec


def test_it_begins_with_the_encoder_of_a_network_for_one_picture() -> None:
    single = own_network(UNet(**_PLAIN), 3)
    labels, others = CHANGE, labels_of(["sky", "road", "car"])
    for fusion in get_args(Fusion)[1:]:
        module = own_network(UNETS[fusion], 2)
        report = fit_weights(module, labels, single.state_dict(), others)
        assert all(name.startswith(("classifier.", "backbone.join.")) for name in report.reset)
        found = module.get_parameter("backbone.body.levels.0.0.0.weight")
        assert torch.equal(found, single.get_parameter("backbone.levels.0.0.0.weight"))


def test_specs_of_earlier_files_have_no_fusion() -> None:
    plain = {name: value for name, value in spec_to_json(UNet()).items() if name != "fusion"}
    assert spec_from_json(plain) == UNet()
    assert build(UNet(**_PLAIN), 2).kind is not ChangeMap
