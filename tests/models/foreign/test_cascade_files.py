"""Cascade R-CNNs of Detectron2 and mmdetection, and PAFPN: recognised, and what their weights mean stays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from everymask.errors import WeightsError
from everymask.models.foreign.files.stored import Stored
from everymask.models.foreign.translate import translated
from everymask.models.foreign.whole import Whole
from everymask.models.specs.regions import CascadeMaskRCNN, CascadeRCNN, MaskRCNN
from tests.models.foreign.openmmlab_layouts import SETTINGS, mmdetection
from tests.models.foreign.region_layouts import Shapes, bottom_up, cascaded, detectron2, filled, hollow
from tests.models.foreign.region_parity import assert_same_detections, small_heads
from tests.models.foreign.region_reference import CascadeReference, detectron2_level, mmdetection_level

_SMALL: dict[str, int] = {"depth": 18, "classes": 3, "width": 16, "hidden": 32}


def whole_of(tensors: dict[str, Tensor], settings: str = "") -> Whole:
    found = translated(Stored(tensors, (), settings), Path("a.pth"))
    assert found is not None
    return found


def test_detectron2_s_are_told_by_their_names() -> None:
    found = whole_of(hollow(cascaded(detectron2(**_SMALL))))
    assert isinstance(found.spec, CascadeMaskRCNN)
    assert (found.spec.stage_masks, found.spec.stage_scores, found.spec.box_fcs) == (False, "probabilities", (32, 32))
    assert len(found.labels) == 3
    boxes = whole_of(hollow(cascaded(detectron2(**_SMALL, masks=False))))
    assert isinstance(boxes.spec, CascadeRCNN)


def test_mmdetection_s_have_a_mask_head_for_each_stage_and_average_logits() -> None:
    found = whole_of(mmdetection(hollow(cascaded(detectron2(**_SMALL), masks=True))))
    assert isinstance(found.spec, CascadeMaskRCNN) and found.origin == "mmdetection"
    assert (found.spec.stage_masks, found.spec.stage_scores) == (True, "logits")
    assert found.spec.stage_box_weights[2][0] == pytest.approx(30.303, abs=1e-3)


def test_pafpn_is_a_pyramid_that_goes_up_again() -> None:
    found = whole_of(mmdetection(hollow(bottom_up(detectron2(**_SMALL)))))
    assert isinstance(found.spec, MaskRCNN) and found.spec.fpn_bottom_up


@pytest.mark.parametrize("stages", [1, 2])
def test_cascades_of_other_lengths_are_refused(stages: int) -> None:
    shapes = cascaded(detectron2(**_SMALL))
    short = {name: shape for name, shape in shapes.items() if f".{stages}." not in name or "roi_heads.box" not in name}
    with pytest.raises(WeightsError, match=f"a cascade of {stages} stages"):
        whole_of(hollow(short))


@pytest.mark.parametrize("name", ["roi_head.semantic_head.conv.weight", "roi_head.mask_head.1.conv_res.conv.weight"])
def test_htc_is_refused_by_name(name: str) -> None:
    tensors = mmdetection(hollow(cascaded(detectron2(**_SMALL), masks=True)))
    with pytest.raises(WeightsError, match="of HTC or SCNet"):
        whole_of(tensors | {name: torch.zeros(1)})


def sure_of_classes(shapes: Shapes) -> dict[str, Tensor]:
    tensors = small_heads(filled(shapes, seed=2))
    return tensors | {name: 10 * tensor for name, tensor in tensors.items() if "cls_score.weight" in name}


@pytest.mark.slow
@pytest.mark.parametrize("program", ["Detectron2", "mmdetection"])
def test_detections_are_those_of_the_reference(program: str) -> None:
    """Boxes within 0.01 pixels, scores within 1e-4: of plain functions on the tensors of the file."""
    openmmlab = program == "mmdetection"
    tensors = sure_of_classes(cascaded(detectron2(50, 4, width=32, hidden=64), masks=openmmlab))
    found = whole_of(mmdetection(tensors), SETTINGS["caffe"]) if openmmlab else whole_of(tensors)
    assert found.origin == program
    level = mmdetection_level if openmmlab else detectron2_level
    reference = CascadeReference(tensors, stride_in_1x1=True, level=level, threshold=0.05)
    reference.mmdetection = openmmlab
    assert_same_detections(found, reference)
