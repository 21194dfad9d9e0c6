"""Checkpoints of other programs are told by the names of their tensors, and what does not fit is named."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor
from transformers import SegformerConfig, SegformerForImageClassification, SegformerForSemanticSegmentation

from everymask.errors import WeightsError
from everymask.models.foreign.recognise import Foreign, recognise
from everymask.models.semantic.build import build_semantic
from everymask.models.semantic.network import SemanticModel
from everymask.models.specs.regions import MaskRCNN
from everymask.models.specs.semantic import (
    DeepLabV3Plus,
    HRNet,
    PIDNet,
    SemanticModelSpec,
    UNet,
    UPerNet,
    segformer,
)

B2 = {"depths": [3, 4, 6, 3], "hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 768}
_REGION_LAYERS = re.compile(r"\.(f_pixel|f_object|f_down|f_up|conv_bn_dropout)\.(\d)\.(?=\w+$)")
_PLACES = {"0": "0", "1": "1.0", "3": "2", "4": "3.0"}


@cache
def module_of(spec: SemanticModelSpec) -> SemanticModel:
    """A network without content: only names and shapes matter here."""
    with torch.device("meta"):
        return build_semantic(spec, 5)


def of_authors(spec: HRNet | PIDNet) -> dict[str, Tensor]:
    """The network as its authors' training stores it."""
    return {
        "model."
        + _REGION_LAYERS.sub(lambda found: f".{found[1]}.{_PLACES[found[2]]}.", name.removeprefix("backbone.")): tensor
        for name, tensor in module_of(spec).state_dict().items()
    } | {"loss.criterion.weight": torch.ones(5)}


def of_smp(**options: object) -> Foreign:
    with torch.device("meta"):
        found = recognise(smp.Unet(encoder_weights=None, **options).state_dict())
    assert found is not None
    return found


@pytest.mark.parametrize("spec", [HRNet(ocr=True), PIDNet()], ids=["hrnet-ocr", "pidnet"])
def test_names_and_widths_tell_the_authors_network(spec: HRNet | PIDNet) -> None:
    found = recognise(of_authors(spec))
    assert found is not None
    assert found.origin == f"{type(spec).__name__}'s authors"
    assert found.spec == spec
    assert found.fitting(module_of(spec)).keys() == module_of(spec).state_dict().keys()


@pytest.mark.parametrize("kind", [SegformerForSemanticSegmentation, SegformerForImageClassification])
@pytest.mark.parametrize(("size", "options"), [("b0", {}), ("b2", B2)])
def test_names_and_widths_tell_transformers_segformer(kind: type, size: str, options: dict[str, object]) -> None:
    with torch.device("meta"):
        found = recognise(kind(SegformerConfig(**options)).state_dict())
    assert found is not None
    assert (found.origin, found.spec) == ("transformers", segformer(size))
    assert found.fitting(module_of(segformer(size)))


def test_widths_tell_the_size() -> None:
    found = [
        recognise({"stage2.0.branches.0.0.conv1.weight": torch.empty(32, 32, 3, 3)}),
        recognise({"pag3.f_x.0.weight": torch.empty(64, 128, 1, 1)}),
    ]
    assert [content.spec for content in found if content] == [HRNet(encoder="hrnet_w32"), PIDNet(encoder="pidnet_m")]


def test_our_own_names_and_others_are_no_foreign_ones() -> None:
    assert recognise(module_of(UNet()).state_dict()) is None
    assert recognise(module_of(HRNet(ocr=True)).state_dict()) is None
    assert recognise({"conv1.weight": torch.zeros(1)}) is None


def test_the_network_is_built_as_there_unless_it_is_set() -> None:
    found = of_smp(encoder_name="resnet18")
    asked = DeepLabV3Plus(encoder="resnet18", rates=(3, 6, 9))
    expected = replace(asked, convs=(1, 1), align_corners=True, uniform_dilation=True)
    assert found.network(asked) == expected
    assert of_smp(encoder_name="tu-resnet18").network(asked) == replace(expected, uniform_dilation=False)


def test_pictures_of_other_channels_leave_only_the_first_layer_open() -> None:
    assert of_smp(encoder_name="resnet18").fitting(module_of(UNet(encoder="resnet18", channels=5)))


@pytest.mark.parametrize(
    ("theirs", "spec", "said"),
    [
        pytest.param("resnet34", UNet(encoder="resnet18"), r"the encoder resnet18: .* more", id="E12 smaller encoder"),
        pytest.param("resnet18", UNet(encoder="resnet34"), r"the encoder resnet34: .* more", id="E12 larger encoder"),
        pytest.param("resnet18", UNet(encoder="resnet50"), r"resnet50: .*\n.*--encoder", id="E12 other blocks"),
        pytest.param(
            "resnet18", UPerNet(encoder="resnet18"), r"decoder\.blocks.* no place in a UPerNet", id="E12 decoder"
        ),
    ],
)
def test_what_does_not_fit_is_named(theirs: str, spec: SemanticModelSpec, said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        of_smp(encoder_name=theirs).fitting(module_of(spec))


def test_a_trunk_alone_fits_as_far_as_it_goes() -> None:
    whole = of_authors(HRNet(ocr=True))
    trunk = recognise({name: tensor for name, tensor in whole.items() if "ocr" not in name and "_head" not in name})
    assert trunk is not None
    assert trunk.spec == HRNet()
    module = module_of(HRNet(ocr=True))
    assert set(trunk.fitting(module)) == {name for name in module.state_dict() if name.startswith("backbone.")}


def test_a_trunk_of_another_width_does_not_fit() -> None:
    found = recognise(of_authors(PIDNet()))
    assert found is not None
    with pytest.raises(WeightsError, match=r"do not fit the encoder pidnet_m: backbone\."):
        found.fitting(module_of(PIDNet(encoder="pidnet_m")))


def test_a_model_of_another_kind_is_refused() -> None:
    found = recognise(of_authors(PIDNet()))
    assert found is not None
    with pytest.raises(WeightsError, match="of PIDNet by PIDNet's authors, but the model is UNet"):
        found.network(UNet())
    with pytest.raises(WeightsError, match=r"a semantic network by segmentation_models\.pytorch, .* is MaskRCNN"):
        of_smp(encoder_name="resnet18").network(MaskRCNN())
    with pytest.raises(WeightsError, match=r"48 channels wide.*\n.*pidnet_s, pidnet_m"):
        recognise({"pag3.f_x.0.weight": torch.empty(48, 96, 1, 1)})
