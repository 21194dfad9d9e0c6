"""Our DeepLabV3 and torchvision's are the same network: weights load by name, same logits, same auxiliary logits."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.segmentation import deeplabv3_resnet50

from everymask.models.checkpoint import load_exactly
from everymask.models.semantic.build import build_semantic
from everymask.models.specs.semantic import DeepLabV3
from tests.models.random_weights import well_scaled

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("picture", [(64, 96), (67, 75)], ids=["even", "odd"])
def test_same_logits(picture: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *picture, generator=torch.Generator().manual_seed(1))
    reference = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=7, aux_loss=True)
    well_scaled(reference, images, lambda outputs: outputs["aux"])
    ours = build_semantic(DeepLabV3(), 7).eval()
    load_exactly(ours, reference.state_dict(), "torchvision")
    with torch.inference_mode():
        expected, (main, auxiliary) = reference(images), ours.logits(images, auxiliary=True)
        alone = ours(images).logits
    assert expected["out"].std() > 0.3 and expected["aux"].std() > 0.3
    torch.testing.assert_close(main, expected["out"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(auxiliary, expected["aux"], atol=1e-4, rtol=1e-4)
    assert torch.equal(alone, main)
