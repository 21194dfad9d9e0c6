"""Fast R-CNN: the heads of Faster R-CNN on searched boxes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from everymask.models.build import build
from everymask.models.regions.roi_align import build_pooler
from everymask.models.regions.searched import Searches, searched, shown
from everymask.models.specs.any_spec import spec_from_json, spec_to_json
from everymask.models.specs.regions import FasterRCNN, FastRCNN, RegionProfile, fast_rcnn_small, faster_rcnn_small
from tests.models.networks import object_batch, own_network, shared_network

pytest.importorskip("skimage")
SPEC = fast_rcnn_small(
    encoder="mobilenetv3_small_100", fpn_channels=8, box_convs=0, box_fcs=(16,), score_threshold=0.0, max_detections=5
)


class Counting:
    """A search that counts how often it is asked, and finds the left half."""

    def __init__(self) -> None:
        self.asked = 0

    def boxes(self, picture: np.ndarray) -> np.ndarray:
        self.asked += 1
        return np.array([[0, 0, picture.shape[1] / 2, picture.shape[0]]], np.float32)


def test_a_picture_is_searched_once_and_its_mirror_never() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    searches, search = Searches(), Counting()
    first = searches.boxes(picture, search)
    mirrored = searches.boxes(np.ascontiguousarray(picture[:, ::-1]), search)
    np.testing.assert_array_equal(searches.boxes(picture, search), first)
    assert search.asked == 1
    np.testing.assert_array_equal(mirrored[:, [0, 2]], 30 - first[:, [2, 0]])


def test_boxes_lie_where_the_picture_lies_in_its_frame() -> None:
    image = object_batch(1).images
    padded = torch.zeros(1, 3, 128, 160)
    padded[:, :, 16:112, 32:128] = image
    (inside,) = searched(image, torch.tensor([[0, 0, 96, 96]]), SPEC.search)
    (moved,) = searched(padded, torch.tensor([[32, 16, 128, 112]]), SPEC.search)
    torch.testing.assert_close(moved, inside + torch.tensor([32.0, 16.0, 32.0, 16.0]))
    assert shown(image[0]).shape == (96, 96, 3) and shown(image[0, :1]).max() == 255


def test_given_the_same_boxes_it_says_what_faster_rcnn_says() -> None:
    fast = build(replace(SPEC, profile=RegionProfile()), 3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        twin = replace(faster_rcnn_small(), **{
            name: getattr(SPEC, name)
            for name in ("encoder", "fpn_channels", "box_convs", "box_fcs", "score_threshold", "max_detections")
        })  # fmt: skip
        faster = build(twin, 3).eval()
    assert type(twin) is FasterRCNN
    fast.load_state_dict({k: v for k, v in faster.state_dict().items() if not k.startswith("rpn.")})
    batch = object_batch(2)
    with torch.inference_mode():
        maps = faster.backbone(batch.images)
        boxes = searched(batch.images, batch.windows, SPEC.search)
        expected = faster.look_at(boxes, maps, batch.images, batch.windows).found
        answer = fast.eval()(batch.images, batch.windows)
    torch.testing.assert_close(answer.boxes, expected.boxes)
    torch.testing.assert_close(answer.scores, expected.scores)


def test_roi_pool_takes_the_largest_of_each_bin() -> None:
    plane = torch.rand(1, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    pooler = build_pooler([plane] * 4, (64, 64), SPEC.profile)
    pooled = pooler.pool(torch.tensor([[0.0, 0.0, 60.0, 60.0]]), torch.tensor([0]), 4)
    torch.testing.assert_close(pooled[0], torch.nn.functional.max_pool2d(plane, 4)[0])


def test_it_learns_by_the_losses_of_its_heads_alone() -> None:
    network, batch = own_network(SPEC), object_batch(2)
    losses = network.loss(batch, torch.Generator().manual_seed(0))
    assert set(losses) == {"loss_classifier", "loss_box_reg"}
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for name, parameter in network.named_parameters() if "box_head" in name)
    assert not any(name.startswith("rpn.") for name in network.state_dict())


def test_its_spec_survives_a_file_and_shows_steps_without_anchors() -> None:
    assert spec_from_json(spec_to_json(SPEC)) == SPEC and isinstance(SPEC, FastRCNN)
    steps = shared_network(SPEC).look_into(object_batch(1).images, torch.tensor([[0, 0, 96, 96]]))
    assert steps.anchors is None and steps.regions is not None and len(steps.regions.proposals)
