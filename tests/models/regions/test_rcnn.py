"""What detectors learn from, and what they do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.errors import DataError
from tests.models.networks import REGIONS, object_batch, own_network


@pytest.mark.parametrize("name", ["mask-rcnn-v2", "faster-rcnn", "faster-rcnn-last"])
def test_pictures_without_objects_train(name: str) -> None:
    empty = InstanceSet.empty((96, 96))
    losses = own_network(REGIONS[name]).loss(replace(object_batch(), truths=(empty, empty)))
    assert all(torch.isfinite(loss) for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()


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
