"""mmdetection's checkpoints: what names, shapes and settings tell, and that the weights mean the same here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from everymask.core.label_sets import coco_names
from everymask.errors import WeightsError
from everymask.models.build import build
from everymask.models.foreign.files.stored import Stored, read_stored
from everymask.models.foreign.translate import translated
from everymask.models.foreign.whole import Whole
from tests.models.foreign.openmmlab_layouts import SETTINGS, mmdetection
from tests.models.foreign.region_layouts import detectron2, filled, hollow
from tests.models.foreign.region_parity import small_heads
from tests.models.foreign.region_reference import Reference, mmdetection_level

FILE = Path("mask_rcnn_r50_fpn_1x_coco.pth")
SMALL = mmdetection(hollow(detectron2(18, 3, width=16, hidden=32)))


def whole_of(stored: Stored, file: Path = FILE) -> Whole:
    found = translated(stored, file)
    assert found is not None and found.origin == "mmdetection"
    return found


@pytest.mark.parametrize(
    ("settings", "file", "in_1x1", "std"),
    [
        (SETTINGS["pytorch"], "a.pth", False, 58.395),
        (SETTINGS["caffe"], "a.pth", True, 1),
        ("", "mask_rcnn_r50_caffe_fpn_1x_coco.pth", True, 1),
        ("", "epoch_12.pth", False, 58.395),
    ],
    ids=["pytorch", "caffe", "caffe by name", "pytorch assumed"],
)
def test_style_and_normalisation(settings: str, file: str, in_1x1: bool, std: float) -> None:
    found = whole_of(Stored(SMALL, ("a", "b", "c"), settings), Path(file))
    assert found.labels.names == ("a", "b", "c") and not found.unused
    assert found.spec.profile.stride_in_1x1 == in_1x1
    assert np.allclose(np.array(found.preprocess.mean) * 255, [123.675, 116.28, 103.53])
    assert np.isclose(found.preprocess.std[0] * 255, std)
    assert bool(found.assumed) == (not settings)


@pytest.mark.slow
def test_resnexts_of_all_widths() -> None:
    for channels, group, encoder in (
        (128, 4, "resnext101_32x4d"),
        (256, 8, "resnext101_32x8d"),
        (256, 4, "resnext101_64x4d"),
    ):
        with torch.device("meta"):
            from everymask.models.specs.regions import MaskRCNN

            own = build(MaskRCNN(encoder=encoder, norm="frozen"), 80).state_dict()
        theirs = mmdetection(hollow(detectron2(101)))
        theirs |= {
            name.replace("backbone.body.", "backbone."): tensor
            for name, tensor in own.items()
            if name.startswith("backbone.body.") and not name.endswith("num_batches_tracked")
        }
        assert theirs["backbone.layer1.0.conv2.weight"].shape[:2] == (channels, group)
        found = whole_of(Stored(theirs))
        assert found.spec.encoder == encoder and found.labels.names == coco_names()
        assert np.isclose(found.preprocess.std[0] * 255, 58.395)


def test_a_training_s_checkpoint_with_objects_beside_the_weights_is_read(tmp_path: Path) -> None:
    class HistoryBuffer:
        def __init__(self) -> None:
            self.values = np.zeros(3)

    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = "collections", "HistoryBuffer"
    import collections

    collections.HistoryBuffer = HistoryBuffer  # type: ignore[attr-defined]
    try:
        content = {
            "meta": {"dataset_meta": {"classes": ("cat", "dog", "cow")}, "cfg": SETTINGS["caffe"]},
            "message_hub": {"loss": HistoryBuffer()},
            "state_dict": {f"module.{name}": tensor for name, tensor in SMALL.items()},
        }
        torch.save(content, tmp_path / "epoch_1.pth")
    finally:
        del collections.HistoryBuffer  # type: ignore[attr-defined]
    stored = read_stored(tmp_path / "epoch_1.pth")
    found = whole_of(stored, tmp_path / "epoch_1.pth")
    assert found.labels.names == ("cat", "dog", "cow") and found.spec.profile.stride_in_1x1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("roi_head.mask_head.1.conv_res.conv.weight", "HTC or SCNet"),
        ("roi_head.mask_iou_head.fcs.0.weight", "Mask Scoring"),
        ("backbone.stages.0.blocks.0.attn.w_msa.qkv.weight", "Swin"),
        ("roi_head.track_head.fcs.0.weight", "1 tensor that no network here has"),
    ],
)
def test_relatives_are_refused_by_name(name: str, said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        translated(Stored(SMALL | {name: torch.zeros(1)}), FILE)


@pytest.mark.slow
@pytest.mark.parametrize("style", ["pytorch", "caffe"])
def test_detections_are_those_of_the_reference(style: str) -> None:
    tensors = small_heads(filled(detectron2(50, 4, width=32, hidden=64), seed=2))
    found = whole_of(Stored(mmdetection(tensors), (), SETTINGS[style]))
    network = build(found.spec, 4).eval()
    network.load_state_dict(dict(found.tensors), strict=False)
    image = torch.randn(1, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        boxes, classes, scores, masks = Reference(
            tensors, stride_in_1x1=style == "caffe", level=mmdetection_level, threshold=0.05
        )(image.flip(1) if style == "caffe" else image, (96, 128))
        own = network(image)
    assert torch.equal(own.class_ids, classes) and len(classes) == 100
    torch.testing.assert_close(own.scores, scores, atol=1e-4, rtol=0)
    torch.testing.assert_close(own.boxes, boxes, atol=1e-2, rtol=0)
    torch.testing.assert_close(own.mask_logits, masks, atol=1e-3, rtol=1e-3)
