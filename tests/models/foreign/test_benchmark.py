"""maskrcnn-benchmark's checkpoints: recognised, and what their weights mean stays, with boxes that end elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from everymask.errors import WeightsError
from everymask.models.foreign.files.stored import Stored
from everymask.models.foreign.translate import translated
from everymask.models.regions.boxes import cell_anchors, clip_boxes
from everymask.models.specs.any_spec import spec_from_json, spec_to_json
from everymask.models.specs.profiles import BENCHMARK
from everymask.models.specs.regions import FasterRCNN, MaskRCNN
from tests.models.foreign.benchmark_layout import benchmark, with_background
from tests.models.foreign.region_layouts import detectron2, filled, hollow
from tests.models.foreign.region_parity import assert_same_detections, small_heads
from tests.models.foreign.region_reference import BenchmarkReference, all_pixels, detectron2_level

FILE = Path("e2e_mask_rcnn_R_50_FPN_1x.pth")
SMALL = benchmark(hollow(with_background(detectron2(18, 3, width=16, hidden=32))))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_names_and_shapes_tell_the_network(prefix: str) -> None:
    tensors = {f"{prefix}{name}": tensor for name, tensor in SMALL.items()}
    tensors[f"{prefix}rpn.anchor_generator.cell_anchors.0"] = torch.zeros(3, 4)
    found = translated(Stored(tensors), FILE)
    assert found is not None and isinstance(found.spec, MaskRCNN) and found.origin == "maskrcnn-benchmark"
    assert len(found.unused) == 1 and len(found.labels) == 3 and found.spec.profile == BENCHMARK
    assert np.allclose(np.array(found.preprocess.mean) * 255, [122.7717, 115.9465, 102.9801])


def test_without_masks_it_is_a_faster_r_cnn() -> None:
    found = translated(Stored({name: tensor for name, tensor in SMALL.items() if ".mask." not in name}), FILE)
    assert found is not None and type(found.spec) is FasterRCNN


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("roi_heads.keypoint.predictor.kps_score_lowres.weight", "Keypoint"),
        ("roi_heads.box.feature_extractor.head.layer4.0.conv1.weight", "C4"),
        ("roi_heads.box.feature_extractor.strange", "no network here has"),
    ],
)
def test_relatives_are_refused_by_name(name: str, said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        translated(Stored(SMALL | {name: torch.zeros(1)}), FILE)


def test_anchors_are_detectron_s() -> None:
    """Of a stride of 16 its well-known table, whose boxes end with their last pixel."""
    found = cell_anchors((128, 256, 512), (0.5, 1.0, 2.0), 16)
    table = [
        [-84, -40, 99, 55], [-176, -88, 191, 103], [-360, -184, 375, 199],
        [-56, -56, 71, 71], [-120, -120, 135, 135], [-248, -248, 263, 263],
        [-36, -80, 51, 95], [-80, -168, 95, 183], [-168, -344, 183, 359],
    ]  # fmt: skip
    assert (found - torch.tensor([0, 0, 1, 1])).tolist() == table


def test_the_profile_is_stored_and_others_stay_readable_by_older_versions() -> None:
    spec = MaskRCNN(profile=BENCHMARK)
    assert spec_from_json(spec_to_json(spec)) == spec
    assert not {"roi_ends", "anchor_origin"} & set(spec_to_json(MaskRCNN())["profile"])
    assert "fpn_bottom_up" not in spec_to_json(MaskRCNN())


@pytest.mark.slow
def test_detections_are_those_of_the_reference() -> None:
    """Boxes within 0.01 pixels, scores within 1e-4: of plain functions on the tensors of the file."""
    tensors = small_heads(filled(with_background(detectron2(50, 4, width=32, hidden=64)), seed=2))
    found = translated(Stored(benchmark(tensors)), FILE)
    assert found is not None
    reference = BenchmarkReference(tensors, stride_in_1x1=True, level=detectron2_level, threshold=0.05)
    assert_same_detections(found, reference, ends=all_pixels)


def test_of_boxes_outside_of_a_picture_a_pixel_at_its_edge_is_left() -> None:
    window, boxes = torch.tensor([0, 0, 40, 20]), torch.tensor([[-9.0, -8, -2, -1], [50, 30, 60, 40], [5, 5, 9, 9]])
    found = clip_boxes(boxes, window, least=BENCHMARK.least_side)
    assert found.tolist() == [[0, 0, 1, 1], [39, 19, 40, 20], [5, 5, 9, 9]]
    assert clip_boxes(boxes, window).tolist()[:2] == [[0, 0, 0, 0], [40, 20, 40, 20]]
