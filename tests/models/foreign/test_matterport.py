"""Files of matterport's Mask R-CNN: told by their layers, all of which are used, and equal layer by layer."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import everymask
from everymask.core.label_sets import coco_names
from everymask.errors import MissingExtra, WeightsError
from everymask.models.build import build
from everymask.models.foreign.files.stored import Stored, read_stored
from everymask.models.foreign.translate import translated
from everymask.models.foreign.whole import Whole
from tests.conftest import DATA

pytest.importorskip("h5py", reason="h5py is an extra")
from tests.models.foreign.matterport_layout import Reference, Shapes, matterport, random_arrays, write
from tests.models.foreign.region_layouts import hollow

KEYS = DATA.parent / "specs" / "matterport_h5_names_r50.txt"


def short(name: str) -> str:
    return "/".join(name.partition(":")[0].split("/")[-2:])


def whole_of(shapes: Shapes, file: str = "mask_rcnn_coco.h5") -> Whole:
    found = translated(Stored({short(name): tensor for name, tensor in hollow(shapes).items()}), Path(file))
    assert found is not None
    return found


@pytest.mark.skipif(not KEYS.exists(), reason="the list of arrays lies in ../shared")
def test_the_layout_is_that_of_the_code() -> None:
    rows = re.findall(r"^(\S+/\S+) \((.*)\)$", KEYS.read_text(), re.MULTILINE)
    listed = {short(name): tuple(int(side) for side in shape.split(",") if side.strip()) for name, shape in rows}
    assert listed == {short(name): shape for name, shape in matterport().items()}


def test_layers_tell_the_network_and_its_behaviour() -> None:
    found = whole_of(matterport(blocks=23))
    spec = found.spec
    assert (spec.encoder, spec.norm, spec.rpn_channels, spec.profile.norm_eps) == ("resnet101", "frozen", 512, 1e-3)
    assert (spec.rpn_pre_nms, spec.nms, spec.profile.class_choice) == ((6000, 6000), 0.3, "argmax")
    assert found.labels.names == coco_names()
    assert (found.preprocess.resize.rule, found.preprocess.resize.long) == ("matterport", 1024)
    assert np.allclose(np.array(found.preprocess.mean) * 255, [123.7, 116.8, 103.9])
    assert "anchors and the size of pictures are taken for its defaults" in str(found)


def test_a_single_class_is_called_as_the_file() -> None:
    balloons = whole_of(matterport(2, width=16, shared=16, hidden=16), "mask_rcnn_balloon_0030.h5")
    assert balloons.labels.names == ("balloon",)
    assert whole_of(matterport(3, width=16, shared=16, hidden=16), "mask_rcnn_shapes_0001.h5").labels.names == (
        "class 0",
        "class 1",
    )


def test_missing_and_strange_arrays_are_named() -> None:
    tensors = {short(name): tensor for name, tensor in hollow(matterport(2, width=16, shared=16, hidden=16)).items()}
    with pytest.raises(WeightsError, match="1 array that the network does not have: mrcnn_extra/kernel"):
        translated(Stored(tensors | {"mrcnn_extra/kernel": torch.zeros(1)}), Path("a.h5"))
    del tensors["fpn_p3/bias"]
    with pytest.raises(WeightsError, match="not whole: fpn_p3/bias is missing"):
        translated(Stored(tensors), Path("a.h5"))


@pytest.mark.parametrize("whole", [False, True], ids=["weights", "whole model"])
def test_files_of_weights_and_of_whole_models_hold_the_same(whole: bool, tmp_path: Path) -> None:
    arrays = random_arrays(
        {name: shape for name, shape in matterport(width=8).items() if "mask" in name or "rpn" in name}
    )
    write(tmp_path / "a.h5", arrays, whole=whole)
    stored = read_stored(tmp_path / "a.h5").tensors
    assert stored.keys() == {short(name) for name in arrays}
    assert all(torch.equal(stored[short(name)], array) for name, array in arrays.items())


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "a.h5").write_bytes(b"")
    with pytest.raises(MissingExtra, match=r"everymask\[h5\]"):
        read_stored(tmp_path / "a.h5")


def test_arrays_in_other_files_are_not_read(tmp_path: Path) -> None:
    import h5py

    (tmp_path / "secret").write_bytes(bytes(16))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("conv1/conv1/kernel:0", (4,), "f4", external=[(str(tmp_path / "secret"), 0, 16)])
    with pytest.raises(WeightsError, match="lies in another file"):
        read_stored(tmp_path / "a.h5")


@pytest.mark.slow
def test_layer_by_layer_it_is_the_reference() -> None:
    """P2-P6 within 1e-4 of their spread, proposals 1e-3 pixels, boxes 1e-2, scores 1e-4, mask pixels 99.9 %."""
    side, arrays = 128, random_arrays(matterport(5, width=32, shared=48, hidden=64), seed=1)
    found = translated(Stored({short(name): array for name, array in arrays.items()}), Path("a.h5"))
    assert found is not None
    network = build(found.spec, 4).eval()
    network.load_state_dict(dict(found.tensors), strict=False)
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    window = torch.tensor([[0, 16, side, side - 16]])  # x1, y1, x2, y2
    shares = (window[0, [1, 0, 3, 2]] - torch.tensor([0, 0, 1, 1])) / (side - 1)
    reference = Reference(arrays)
    with torch.no_grad():
        maps, own_maps = reference.pyramid(image), network.backbone(image)
        for theirs, own in zip(maps, own_maps, strict=True):
            torch.testing.assert_close(own / theirs.std(), theirs / theirs.std(), atol=1e-4, rtol=0)
        proposals = reference.proposals(maps, side)
        logits, deltas, anchors = network.rpn(own_maps, (side, side))
        own = network.rpn.propose(logits, deltas, anchors, torch.tensor([[0, 0, side, side]]), training=False)[0]
        apart = torch.cdist(own[:, [1, 0, 3, 2]], proposals * (side - 1), compute_mode="donot_use_mm_for_euclid_dist")
        assert len(own) == len(proposals) and max(apart.amin(0).max(), apart.amin(1).max()) <= 1e-3  # as sets
        boxes, classes, scores = reference.detections(maps, proposals, shares, side)
        # Boxes without extent take places of its 100, and are dropped later; here they take none.
        extended = ((boxes[:, 2:] - boxes[:, :2]) * (side - 1) > 0.01).all(1)
        boxes, classes, scores = boxes[extended], classes[extended], scores[extended]
        masks = reference.masks(maps, boxes, classes, side)
        outputs = network(image, window)
    count = len(boxes)
    assert count > 50 and len(classes.unique()) > 1
    assert torch.equal(outputs.class_ids[:count] + 1, classes)
    torch.testing.assert_close(outputs.scores[:count], scores, atol=1e-4, rtol=0)
    ends = outputs.boxes[:count, [1, 0, 3, 2]] - torch.tensor([0, 0, 1, 1])
    torch.testing.assert_close(ends, boxes * (side - 1), atol=1e-2, rtol=0)
    assert ((outputs.mask_logits[:count].sigmoid() >= 0.5) == (masks >= 0.5)).float().mean() >= 0.999


@pytest.mark.slow
def test_a_file_predicts_by_the_name_of_its_class(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "mask_rcnn_cell_0012.h5", random_arrays(matterport(2, width=8, shared=8, hidden=8)))
    model = everymask.load(tmp_path / "mask_rcnn_cell_0012.h5", device="cpu")
    assert model.card.labels.names == ("cell",) and "by matterport's Mask R-CNN, 1 class (cell)" in caplog.text
    assert model.predict(np.zeros((50, 80, 3), np.uint8)).instances is not None
