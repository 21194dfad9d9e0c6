"""Our FCN, DeepLabV3 and LR-ASPP are torchvision's: its files load, same logits, same auxiliary logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models.segmentation import deeplabv3_mobilenet_v3_large, fcn_resnet50, lraspp_mobilenet_v3_large

from everymask.errors import WeightsError
from everymask.models.checkpoint import load_exactly
from everymask.models.foreign.files.stored import read_stored
from everymask.models.foreign.torchvision import upgrade_names
from everymask.models.semantic.build import build_semantic
from everymask.models.specs.semantic import FCN, LRASPP, DeepLabV3, SemanticModelSpec, as_torchvision
from tests.models.random_weights import well_scaled

pytestmark = pytest.mark.slow

CLASSES = 7
MOBILENET = "mobilenetv3_large_100"
MODELS: dict[str, tuple[Callable[..., nn.Module], SemanticModelSpec, bool]] = {
    "fcn": (fcn_resnet50, as_torchvision(FCN()), True),
    "deeplabv3-mobilenet": (deeplabv3_mobilenet_v3_large, as_torchvision(DeepLabV3(encoder=MOBILENET)), True),
    "lraspp": (lraspp_mobilenet_v3_large, as_torchvision(LRASPP()), False),
}
IMAGES = torch.randn(2, 3, 49, 67, generator=torch.Generator().manual_seed(1))


def _reference(name: str) -> nn.Module:
    factory, _, auxiliary = MODELS[name]
    options = {"aux_loss": True} if auxiliary else {}
    network = factory(weights=None, weights_backbone=None, num_classes=CLASSES, **options)
    well_scaled(network, IMAGES, lambda outputs: outputs["aux" if auxiliary else "out"])
    if auxiliary:
        with torch.no_grad():
            spread, last = network(IMAGES)["out"].std(), network.classifier[-1]
            last.weight.div_(spread)
            last.bias.div_(spread)
    return network


@pytest.mark.parametrize("name", MODELS)
def test_same_logits(name: str, tmp_path: Path) -> None:
    reference, spec = _reference(name), MODELS[name][1]
    torch.save(reference.state_dict(), tmp_path / "weights.pth")
    ours = build_semantic(spec, CLASSES).eval()
    load_exactly(ours, upgrade_names(read_stored(tmp_path / "weights.pth").tensors), "file")
    for images in (IMAGES, IMAGES[:1, :, :48, :64]):
        with torch.inference_mode():
            expected, planes = reference(images), ours.logits(images, auxiliary=True)
        assert len(planes) == len(expected)
        for plane, key in zip(planes, ("out", "aux"), strict=False):
            assert expected[key].std() > 0.3
            torch.testing.assert_close(plane, expected[key], atol=1e-4, rtol=1e-4)


def test_timms_mobilenet_is_another() -> None:
    reference = _reference("lraspp")
    other = build_semantic(LRASPP(), CLASSES).eval()
    load_exactly(other, upgrade_names(reference.state_dict()), "torchvision")
    with torch.inference_mode():
        assert (reference(IMAGES)["out"] - other(IMAGES).logits).abs().max() > 1e-2


def test_weights_of_another_network_are_refused() -> None:
    reference = fcn_resnet50(weights=None, weights_backbone=None, num_classes=CLASSES).state_dict()
    with pytest.raises(WeightsError, match="missing classifier"):
        load_exactly(build_semantic(LRASPP(), CLASSES), upgrade_names(reference), "file")


def test_on_a_resnet_our_networks_are_torchvisions() -> None:
    for spec in (FCN(), DeepLabV3(), LRASPP(encoder="resnet50")):
        assert as_torchvision(spec) is spec
