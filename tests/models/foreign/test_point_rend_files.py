"""Detectron2's PointRend: recognised in today's and in older files, and what its weights mean stays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from everymask.errors import WeightsError
from everymask.models.build import build
from everymask.models.foreign.files.stored import Stored
from everymask.models.foreign.translate import translated
from everymask.models.specs.regions import PointRend
from tests.models.foreign.region_layouts import detectron2, filled, hollow, point_rend
from tests.models.foreign.region_parity import small_heads
from tests.models.foreign.region_reference import PointReference, detectron2_level

FILE = Path("model_final.pkl")


@pytest.mark.parametrize("older", [False, True], ids=["today", "older"])
def test_names_and_shapes_tell_the_heads(older: bool) -> None:
    shapes = point_rend(detectron2(18, 3, width=16, hidden=32), 3, hidden=24, older=older)
    found = translated(Stored(hollow(shapes)), FILE)
    assert found is not None and isinstance(found.spec, PointRend) and not found.unused
    spec = found.spec
    assert (spec.coarse_side, spec.coarse_fcs, spec.point_fcs) == (7, (24, 24), (24, 24, 24))
    assert spec.start_side * 2**spec.subdivisions == 224


def test_coarse_masks_that_are_no_squares_are_refused() -> None:
    shapes = point_rend(detectron2(18, 3, width=16, hidden=32), 3)
    shapes["roi_heads.mask_head.coarse_head.prediction.weight"] = (3 * 48, 32)
    with pytest.raises(WeightsError, match="144 numbers for 3 classes"):
        translated(Stored(hollow(shapes)), FILE)


@pytest.mark.slow
def test_masks_are_those_of_the_reference() -> None:
    """224 pixels wide, at all pixels: of plain functions on the tensors of the file."""
    tensors = small_heads(filled(point_rend(detectron2(50, 3, width=16, hidden=64), 3), seed=2))
    tensors |= {name: 10 * tensor for name, tensor in tensors.items() if "cls_score.weight" in name}
    found = translated(Stored(tensors), FILE)
    assert found is not None
    network = build(found.spec, 3).eval()
    network.load_state_dict(dict(found.tensors), strict=False)
    image = torch.randn(1, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    reference = PointReference(tensors, stride_in_1x1=True, level=detectron2_level, threshold=0.05)
    with torch.no_grad():
        boxes, classes, scores, masks = reference(image.flip(1), (96, 128))
        own = network(image)
    assert torch.equal(own.class_ids, classes) and len(set(classes.tolist())) > 1
    torch.testing.assert_close(own.scores, scores, atol=1e-4, rtol=0)
    torch.testing.assert_close(own.boxes, boxes, atol=1e-2, rtol=0)
    assert own.mask_logits.shape[1:] == (224, 224)
    wrong = ((own.mask_logits - masks).abs() > 1e-3 + 1e-3 * masks.abs()).float().mean()
    assert wrong < 1e-4  # where two pixels are as unsure as each other, either may be asked
