"""Our SegFormer and transformers' are the same network: same weights, same logits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from everymask.errors import WeightsError
from everymask.models.checkpoint import load_exactly
from everymask.models.foreign.segformer import from_transformers
from everymask.models.semantic.build import build_semantic
from everymask.models.specs.semantic import SegFormer, segformer
from tests.models.random_weights import well_scaled

pytestmark = pytest.mark.slow

SIZES = {
    "b0": {},
    "b2": {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 4, 6, 3], "decoder_hidden_size": 768},
}


def _reference(size: str, images: torch.Tensor) -> SegformerForSemanticSegmentation:
    model = SegformerForSemanticSegmentation(SegformerConfig(num_labels=7, **SIZES[size]))
    return well_scaled(model, images, lambda outputs: outputs.logits)


@pytest.mark.parametrize(("size", "picture"), [("b0", (64, 96)), ("b0", (67, 93)), ("b2", (64, 96))])
def test_same_logits(size: str, picture: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *picture, generator=torch.Generator().manual_seed(1))
    reference, ours = _reference(size, images), build_semantic(segformer(size), 7).eval()
    load_exactly(ours, from_transformers(reference.state_dict()), size)
    with torch.inference_mode():
        coarse, found = reference(images).logits, ours(images).logits
    assert 0.5 < coarse.std() < 2
    expected = F.interpolate(coarse, size=picture, mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_its_files_load(tmp_path: Path) -> None:
    """Files keep the names of transformers 4."""
    reference = _reference("b0", torch.randn(2, 3, 64, 64))
    reference.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert "segformer.encoder.block.0.0.attention.self.query.weight" in stored
    filed, live = from_transformers(stored), from_transformers(reference.state_dict())
    assert filed.keys() == live.keys()
    assert all(torch.equal(filed[name], live[name]) for name in live)
    load_exactly(build_semantic(SegFormer(), 7), filed, "file")


def test_other_checkpoints_are_refused() -> None:
    with pytest.raises(WeightsError, match="not a SegFormer"):
        from_transformers({"model.encoder.layers.0.weight": torch.zeros(1)})
    with pytest.raises(WeightsError, match="values"):
        from_transformers({"segformer.encoder.block.0.0.attention.self.key.weight": torch.zeros(1)})
