"""What detectors learn from, and what they do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.errors import ConfigError, DataError
from tests.models.networks import REGIONS, object_batch, own_network


@pytest.mark.parametrize(
    "name",
    ["mask-rcnn-v2", "faster-rcnn", "faster-rcnn-last", "cascade-mask-rcnn", "cascade-mask-rcnn-stages", "point-rend"],
)
def test_pictures_without_objects_train(name: str) -> None:
    empty = InstanceSet.empty((96, 96))
    losses = own_network(REGIONS[name]).loss(replace(object_batch(), truths=(empty, empty)))
    assert all(torch.isfinite(loss) for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()


def test_a_loss_of_pixels_is_refused() -> None:
    with pytest.raises(ConfigError, match="answer for each, which FasterRCNN does not give"):
        own_network(REGIONS["faster-rcnn"]).minimise(lambda head: torch.nn.functional.cross_entropy)


def test_crowds_and_flat_boxes_are_not_trained_on() -> None:
    module, batch = own_network(REGIONS["mask-rcnn"]), object_batch()
    masks = Masks.from_dense(np.ones((2, 96, 96), bool))
    crowd = InstanceSet(masks.boxes(), np.array([0, 1]), masks=masks, crowd=np.array([True, True]))
    flat = InstanceSet(np.array([[5, 5, 5, 9], [2, 2, 9, 2]], np.float32), np.array([0, 1]), masks=masks)
    none = InstanceSet.empty((96, 96))
    expected = module.loss(replace(batch, truths=(none, none)), torch.Generator().manual_seed(0))
    for truth in (crowd, flat):
        losses = module.loss(replace(batch, truths=(truth, truth)), torch.Generator().manual_seed(0))
        assert losses["loss_box_reg"] == expected["loss_box_reg"] == 0


def test_boxes_without_masks_are_refused_by_a_mask_head() -> None:
    truth = InstanceSet(np.array([[5, 5, 20, 20]], np.float32), np.array([0]))
    batch = replace(object_batch(), truths=(truth, truth))
    with pytest.raises(DataError, match="faster-rcnn"):
        own_network(REGIONS["mask-rcnn"]).loss(batch)
    assert own_network(REGIONS["faster-rcnn"]).loss(batch)


@pytest.mark.parametrize(
    ("last", "scores", "limits", "cut"),
    [
        pytest.param((70, 0, 78, 8), (0.9, 0.8, 0.7, 0.6), (4, 8), 0.0, id="all fit"),
        pytest.param((70, 0, 78, 8), (0.9, 0.8, 0.7, 0.6), (2, 8), 0.7, id="detections"),
        pytest.param((70, 0, 78, 8), (0.9, 0.8, 0.7, 0.6), (4, 4), 0.6, id="proposals"),
        pytest.param((70, 0, 78, 8), (0.5, 0.8, 0.7, 0.9), (3, 4), 0.9, id="both"),
        pytest.param((1, 0, 9, 8), (0.5, 0.8, 0.7, 0.9), (4, 4), 0.0, id="proposals that find what others found"),
        pytest.param((70, 0, 78, 8), (0.9, 0.8, 0.7, 0.01), (4, 4), 0.0, id="proposals of nothing"),
    ],
)
def test_the_surest_object_that_a_limit_may_have_cost_is_known(
    last: tuple[int, ...], scores: tuple[float, ...], limits: tuple[int, int], cut: float
) -> None:
    """Of four proposals the last is the least promising: an object that only it finds tells of more."""
    network = own_network(
        replace(REGIONS["faster-rcnn"], max_detections=limits[0], rpn_post_nms=(limits[1], limits[1]))
    )
    boxes = torch.tensor([[0, 0, 8, 8], [20, 0, 28, 8], [40, 0, 48, 8], last], dtype=torch.float32)
    found = torch.tensor(scores)
    answer = network._select_in_picture(torch.stack([1 - found, found], dim=1), boxes[:, None].expand(-1, 2, -1))
    assert answer[3].tolist() == pytest.approx([cut])
