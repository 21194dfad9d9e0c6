"""Panoptic FPN: a Mask R-CNN whose names it keeps, and Detectron2's semantic branch beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from everymask.core.labels import Labels, labels_of
from everymask.core.segmentation import PanopticMap, Segment
from everymask.errors import ConfigError, DataError
from everymask.models.build import build
from everymask.models.fine_tune import fit_weights
from everymask.models.panoptic.fpn import IGNORED, PanopticRCNN
from everymask.models.panoptic.semantic_branch import SemanticBranch
from everymask.models.specs.panoptic import PanopticFPN
from everymask.models.specs.regions import MaskRCNN
from tests.models.networks import PANOPTIC, REGIONS, bare_network, own_network, panoptic_batch, shared_network

SPEC = PANOPTIC["panoptic-fpn"]


def test_the_semantic_branch_is_detectron2s() -> None:
    """Written down with torch's functions: convolution, group norm of 32, ReLU, twice the size; their sum, 1x1, x 4."""
    torch.manual_seed(0)
    branch = SemanticBranch(8, 64, 3, (4, 8, 16, 32)).eval()
    maps = [torch.randn(2, 8, 32 >> level, 48 >> level) for level in range(4)]
    state, parts = branch.state_dict(), []
    for level, x in enumerate(maps):
        part = x
        for step in range(max(1, level)):
            name = f"p{level + 2}.{2 * step}"
            part = F.conv2d(part, state[f"{name}.0.weight"], padding=1)
            part = F.relu(F.group_norm(part, 32, state[f"{name}.1.weight"], state[f"{name}.1.bias"]))
            if level:
                part = F.interpolate(part, scale_factor=2, mode="bilinear", align_corners=False)
        parts.append(part)
    logits = F.conv2d(sum(parts), state["predictor.weight"], state["predictor.bias"])
    expected = F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)
    with torch.no_grad():
        torch.testing.assert_close(branch(maps), expected, atol=1e-5, rtol=1e-5)
    assert expected.shape == (2, 3, 128, 192)


def test_all_of_mask_rcnn_has_its_names() -> None:
    own = set(bare_network(SPEC).state_dict())
    mask_rcnn = set(bare_network(REGIONS["mask-rcnn"], len(SPEC.things)).state_dict())
    assert mask_rcnn < own
    assert {name.split(".")[0] for name in own - mask_rcnn} == {"sem_seg_head"}


def test_what_the_branch_learns_is_things_stuff_or_nothing() -> None:
    module = bare_network(SPEC)
    truth = PanopticMap(
        np.array([[5, 5, 9, 0], [5, 7, 9, 0]]), (Segment(5, 0), Segment(9, 1), Segment(7, 2, crowd=True))
    )
    target = module._target(truth, (3, 5))
    none = IGNORED
    assert target.tolist() == [[0, 0, 1, none, none], [0, 0, 1, none, none], [none] * 5]
    things = module._things(truth)
    assert (things.class_ids.tolist(), things.crowd.tolist()) == ([0, 1], [False, True])
    assert things.boxes.tolist() == [[0, 0, 2, 2], [1, 1, 2, 2]] and things.masks.areas().tolist() == [3, 1]


def test_without_truth_nothing_is_learned_of_stuff() -> None:
    module, batch = own_network(SPEC), panoptic_batch(count=1)
    empty = replace(batch, truths=(PanopticMap(np.zeros(batch.truths[0].size, np.int32)),))
    losses = module.loss(empty, torch.Generator().manual_seed(0))
    assert losses["loss_sem_seg"] == 0 and all(torch.isfinite(loss) for loss in losses.values())
    half = replace(SPEC, semantic_weight=0.25)
    twin = PanopticRCNN(half, 3)
    twin.load_state_dict(module.state_dict())
    full, less = (part.loss(batch, torch.Generator().manual_seed(0))["loss_sem_seg"].item() for part in (module, twin))
    assert less == pytest.approx(full / 2, rel=1e-5)
    with pytest.raises(DataError, match="expected panoptic maps as truth"):
        module.loss(replace(batch, truths=(None,)))


@pytest.mark.parametrize("things", [(), (0, 3)])
def test_a_network_without_things_is_refused(things: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="must be some of its 3 classes"):
        build(replace(SPEC, things=things), 3)


def test_rows_come_from_a_panoptic_network_by_the_classes_names() -> None:
    source = shared_network(SPEC)
    old, new = (
        Labels(("cat", "sky", "dog"), things=frozenset({0, 2})),
        Labels(("grass", "dog", "sky", "cow", "cat"), things=frozenset({1, 3, 4})),
    )
    torch.manual_seed(1)
    target = build(replace(SPEC, things=(1, 3, 4)), 5)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    report = fit_weights(target, new, source.state_dict(), old)
    assert report.classes_kept == ("dog", "sky", "cat") and report.classes_reset == ("grass", "cow")
    theirs, after = source.state_dict(), target.state_dict()
    scores, stuff = "roi_heads.box_predictor.cls_score.weight", "sem_seg_head.predictor.weight"
    assert torch.equal(after[scores][[0, 1, 3]], theirs[scores][[0, 2, 1]])  # background, dog, cat
    assert torch.equal(after[scores][2], before[scores][2])  # cow
    assert torch.equal(after[stuff][[0, 2]], theirs[stuff][[0, 1]]) and torch.equal(after[stuff][1], before[stuff][1])


def test_it_begins_as_a_mask_rcnn() -> None:
    source, labels = shared_network(REGIONS["mask-rcnn"]), labels_of(["cat", "dog", "cow"])
    target = build(SPEC, 3)
    report = fit_weights(target, Labels(("cat", "sky", "cow"), things=frozenset({0, 2})), source.state_dict(), labels)
    assert report.classes_kept == ("cat", "cow") and report.classes_reset == ("sky",)
    assert all(name.startswith("sem_seg_head") for name in report.reset)
    assert isinstance(SPEC, MaskRCNN) and isinstance(SPEC, PanopticFPN)
