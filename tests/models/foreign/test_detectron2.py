"""Detectron2's checkpoints: recognised by their tensors, every one of which is used, and what they mean stays."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import everymask
from everymask.core.label_sets import coco_names, coco_panoptic_labels
from everymask.errors import WeightsError
from everymask.models.build import build
from everymask.models.foreign.files.stored import Stored, read_stored
from everymask.models.foreign.translate import translated
from everymask.models.foreign.whole import Whole
from everymask.models.specs.panoptic import PanopticFPN
from everymask.models.specs.regions import FasterRCNN, MaskRCNN
from tests.conftest import DATA
from tests.models.foreign.region_layouts import Shapes, detectron2, filled, hollow
from tests.models.foreign.region_parity import assert_same_detections, small_heads
from tests.models.foreign.region_reference import Reference, detectron2_level

FILE = Path("model_final.pkl")
KEYS = DATA.parent / "specs" / "d2_mask_rcnn_r50_fpn_keys_and_cfg.txt"


def whole_of(shapes: Shapes) -> Whole:
    found = translated(Stored(hollow(shapes)), FILE)
    assert found is not None
    return found


@pytest.mark.skipif(not KEYS.exists(), reason="the key list of Detectron2's code lies in ../shared")
def test_the_layout_is_that_of_the_code() -> None:
    rows = re.findall(r"^((?:backbone|proposal_generator|roi_heads)\.\S+) \((.*)\)$", KEYS.read_text(), re.MULTILINE)
    assert detectron2() == {name: tuple(int(side) for side in shape.split(",") if side.strip()) for name, shape in rows}


@pytest.mark.parametrize(
    ("options", "encoder", "in_1x1"),
    [
        ({}, "resnet50", True),
        pytest.param({"depth": 101}, "resnet101", True, marks=pytest.mark.slow),
        ({"depth": 101, "resnext": True}, "resnext101_32x8d", False),
    ],
    ids=["r50", "r101", "x101"],
)
def test_names_and_shapes_tell_the_network(options: dict[str, int], encoder: str, in_1x1: bool) -> None:
    found = whole_of(detectron2(**options))
    assert isinstance(found.spec, MaskRCNN)
    assert (found.spec.encoder, found.spec.norm, found.spec.profile.stride_in_1x1) == (encoder, "frozen", in_1x1)
    assert found.labels.names == coco_names() and not found.unused
    with torch.device("meta"):
        own = build(found.spec, 80).state_dict()
    assert set(found.tensors) == {name for name in own if not name.endswith("num_batches_tracked")}
    spread = [58.395, 57.12, 57.375] if "resnext" in encoder else [1, 1, 1]
    assert np.allclose(np.array(found.preprocess.std) * 255, spread)
    assert np.allclose(np.array(found.preprocess.mean) * 255, [123.675, 116.28, 103.53])


def test_without_masks_and_with_stuff() -> None:
    detector = whole_of(detectron2(18, 3, masks=False, width=16, hidden=32))
    assert type(detector.spec) is FasterRCNN
    assert (detector.spec.fpn_channels, detector.spec.box_fcs, len(detector.labels)) == (16, (32, 32), 3)
    panoptic = whole_of(detectron2(stuff=53))
    assert isinstance(panoptic.spec, PanopticFPN) and panoptic.spec.things == tuple(range(80))
    assert panoptic.labels == coco_panoptic_labels() and len(panoptic.labels) == 133


def test_the_normalisation_that_older_files_store_is_taken() -> None:
    tensors = hollow(detectron2(width=16, hidden=32)) | {
        "pixel_mean": torch.tensor([123.675, 116.28, 103.53])[:, None, None],
        "pixel_std": torch.tensor([58.395, 57.12, 57.375])[:, None, None],
        "proposal_generator.anchor_generator.cell_anchors.0": torch.zeros(3, 4),
    }
    found = translated(Stored(tensors), FILE)
    assert found is not None and set(found.unused) == set(tensors) - set(detectron2())
    assert np.allclose(np.array(found.preprocess.std) * 255, [58.395, 57.12, 57.375])
    assert not found.spec.profile.stride_in_1x1
    conv = "backbone.body.conv1.weight"
    assert torch.equal(found.tensors[conv], tensors["backbone.bottom_up.stem.conv1.weight"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("roi_heads.box_predictor.0.cls_score.weight", "a cascade of 1 stages"),
        ("roi_heads.keypoint_head.conv_fcn1.weight", "a Keypoint R-CNN"),
        ("roi_heads.res5.0.conv1.weight", "a C4 network"),
        ("backbone.bottom_up.res4.0.conv2_offset.weight", "deformable"),
        ("roi_heads.mask_head.coarse_head.reduce_channel_dim_conv.weight", "a PointRend"),
        ("roi_heads.box_head.fc1.scale", "1 tensor that no network here has: roi_heads.box_head.fc1.scale"),
    ],
)
def test_relatives_and_strange_tensors_are_refused_by_name(name: str, said: str) -> None:
    tensors = hollow(detectron2(18, 2, width=16, hidden=32)) | {name: torch.zeros(1)}
    if "scale" in name:
        said = "not fit|" + said
    with pytest.raises(WeightsError, match=said):
        translated(Stored(tensors), FILE)


def write_pickle(path: Path, shapes: Shapes) -> None:
    content = {"model": {name: tensor.numpy() for name, tensor in filled(shapes).items()}, "__author__": "somebody"}
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.slow
def test_a_pickle_of_arrays_predicts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_pickle(tmp_path / "model.pkl", detectron2(18, 2, width=8, hidden=16))
    model = everymask.load(tmp_path / "model.pkl", device="cpu")
    assert (
        "MaskRCNN with resnet18 by Detectron2, 2 classes (class 0, class 1), mean 123.675, 116.28, 103.53"
        in caplog.text
    )
    assert "does not state its licence" in caplog.text
    result = model.predict(np.random.default_rng(0).integers(0, 255, (60, 80, 3)).astype(np.uint8))
    assert result.instances is not None


def test_a_pickle_of_arrays_is_read_as_it_is(tmp_path: Path) -> None:
    shapes = dict.fromkeys(("a.weight", "a.bias"), (2, 3))
    write_pickle(tmp_path / "model.pkl", shapes)
    assert all(torch.equal(read_stored(tmp_path / "model.pkl").tensors[name], t) for name, t in filled(shapes).items())


def test_a_pickle_that_names_anything_else_runs_nothing(tmp_path: Path) -> None:
    class Bad:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "made"),)

    (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"model": {"a": Bad()}}))
    with pytest.raises(WeightsError, match=r"names posix\.mkdir, which is no array"):
        everymask.load(tmp_path / "bad.pkl")
    assert not (tmp_path / "made").exists()


def test_the_digest_in_the_name_is_checked(tmp_path: Path) -> None:
    content = pickle.dumps({"model": {"a": np.zeros(1, np.float32)}})
    (tmp_path / "model_final_000000.pkl").write_bytes(content)
    with pytest.raises(WeightsError, match="an MD5 that begins 000000"):
        everymask.load(tmp_path / "model_final_000000.pkl")
    right = tmp_path / f"model_final_{hashlib.md5(content).hexdigest()[:6]}.pkl"
    right.write_bytes(content)
    with pytest.raises(WeightsError, match="is not a model file"):
        everymask.load(right)


@pytest.mark.slow
@pytest.mark.parametrize("resnext", [False, True], ids=["r50", "x101"])
def test_detections_are_those_of_the_reference(resnext: bool) -> None:
    """Boxes within 0.01 pixels, scores within 1e-4: of plain functions on the tensors of the file."""
    shapes = detectron2(101 if resnext else 50, 4, width=32, hidden=64, resnext=resnext)
    tensors = small_heads(filled(shapes, seed=2))
    found = translated(Stored(tensors), FILE)
    assert found is not None
    reference = Reference(tensors, stride_in_1x1=not resnext, level=detectron2_level, threshold=0.05)
    assert_same_detections(found, reference)
