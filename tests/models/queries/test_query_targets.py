"""What queries are to find in each kind of truth, and at which points it is compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet, PanopticMap, Segment, Segmentation, SemanticMap
from everymask.errors import ConfigError, DataError
from everymask.models.base import Batch
from everymask.models.blocks.points import at_points, unsure_points
from everymask.models.build import build
from everymask.models.queries.losses import Answer, query_losses
from everymask.models.queries.targets import Targets, query_targets
from everymask.models.specs.queries import Mask2Former, mask2former_small

SPEC = Mask2Former(task="panoptic", things=(0, 1), points=16)
IDS = np.array([[1, 1, 2, 3], [4, 4, 0, 5]], np.int32)


def targets(truth: Segmentation, spec: Mask2Former) -> Targets:
    batch = Batch(torch.zeros(1, 3, 4, 8), torch.zeros(1, 4, dtype=torch.int64), (truth,), ("a",), ("a.png",))
    (found,) = query_targets(batch, spec, (4, 8))
    assert found.masks.shape[1:] == (4, 8) and not found.masks[:, 2:].any() and not found.masks[:, :, 4:].any()
    return found


def test_things_one_by_one_and_stuff_by_class_without_crowds() -> None:
    segments = (
        Segment(1, 1), Segment(2, 3), Segment(3, 0, crowd=True), Segment(4, 3, crowd=True), Segment(5, 1), Segment(9, 0)
    )  # fmt: skip
    found = targets(PanopticMap(IDS, segments), SPEC)
    assert found.class_ids.tolist() == [1, 3, 1]
    expected = [IDS == 1, (IDS == 2) | (IDS == 4), IDS == 5]
    assert np.array_equal(found.masks[:, :2, :4].numpy(), np.array(expected, np.float32))


def test_classes_of_pixels() -> None:
    found = targets(SemanticMap(np.where(IDS == 0, 255, IDS)), replace(SPEC, task="semantic"))
    assert found.class_ids.tolist() == [1, 2, 3, 4, 5] and found.masks.sum(dim=(1, 2)).tolist() == [2, 1, 1, 2, 1]


def test_objects_without_crowds() -> None:
    masks = Masks.from_dense(np.array([IDS == 1, IDS == 3, IDS == 99]))
    truth = InstanceSet(masks.boxes(), np.array([2, 0, 1]), masks=masks, crowd=np.array([False, True, False]))
    found = targets(truth, replace(SPEC, task="instance"))
    assert found.class_ids.tolist() == [2] and found.masks.sum() == 2
    with pytest.raises(DataError, match="boxes only"):
        targets(replace(truth, masks=None), replace(SPEC, task="instance"))


def test_points_are_drawn_where_masks_are_unsure() -> None:
    logits = torch.full((2, 8, 8), 9.0)
    logits[:, :, 4:] = -9.0
    points = unsure_points(logits, 100, torch.Generator().manual_seed(0))
    assert points.shape == (2, 100, 2)
    unsure = at_points(logits, points).abs() < 8
    assert (unsure.sum(dim=1) > 30).all(), "of points that lie anywhere it would be 11"
    assert (~unsure.reshape(-1, 100)[:, 75:]).any()
    again = unsure_points(logits, 100, torch.Generator().manual_seed(0))
    assert torch.equal(points, again)
    assert unsure_points(logits[:0], 100, None).shape == (0, 100, 2)


def test_pictures_that_show_nothing_teach_that_there_is_none() -> None:
    draw = torch.Generator().manual_seed(0)
    classes, masks = torch.randn(2, 5, 4, generator=draw), torch.randn(2, 5, 4, 8, generator=draw)
    nothing = Targets(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 16, 32))
    losses = query_losses([Answer(classes.requires_grad_(), masks)], [nothing] * 2, SPEC, draw)
    assert losses["loss_class"] > 0 and losses["loss_pixels"] == losses["loss_dice"] == 0
    losses["loss_class"].backward()
    assert classes.grad is not None and (classes.grad[..., 0] < 0).all()


def test_more_objects_than_queries_leave_some_out() -> None:
    draw = torch.Generator().manual_seed(0)
    answer = Answer(torch.randn(1, 2, 4, generator=draw), torch.randn(1, 2, 4, 8, generator=draw))
    many = Targets(torch.tensor([0, 1, 2]), torch.ones(3, 16, 32))
    assert all(torch.isfinite(loss) for loss in query_losses([answer], [many], SPEC, draw).values())


def test_a_network_is_built_for_a_task() -> None:
    with pytest.raises(ConfigError, match=r"its task is open(.|\n)*training takes it from the data"):
        build(mask2former_small(), 3)
    with pytest.raises(ConfigError, match=r"some of its 3 classes, but they are \[3\]"):
        build(mask2former_small(task="panoptic", things=(3,)), 3)
    with pytest.raises(ConfigError, match="width must be a multiple of four times heads, but got 36 for 4 heads"):
        mask2former_small(width=36)
    with pytest.raises(ConfigError, match=r"no encoder 'vgg'; the encoders are resnet18"):
        Mask2Former(encoder="vgg")
    with pytest.raises(ConfigError, match="task must be one of None, panoptic, instance, semantic, but got 'depth'"):
        Mask2Former(task="depth")  # type: ignore[arg-type]
