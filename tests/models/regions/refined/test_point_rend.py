"""PointRend: which points are asked, what they are compared with, and classes that keep what they know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.errors import ConfigError
from everymask.models.fine_tune import fit_weights
from everymask.models.regions.mask_targets import point_targets
from everymask.models.regions.refined.point_rend import PointRendNetwork
from everymask.models.regions.roi_align import build_pooler
from everymask.models.specs.regions import PointRend
from tests.models.networks import REGIONS, object_batch, own_network, shared_network

SPEC = REGIONS["point-rend"]


def network() -> PointRendNetwork:
    found = shared_network(SPEC)
    assert isinstance(found, PointRendNetwork)
    return found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"subdivisions": 6}, "between 0 and 5"),
        ({"point_fcs": ()}, "have a layer"),
        ({"fpn_stages": "last"}, "stride 4"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        PointRend(**({"shared_anchor_sizes": True} | change))  # type: ignore[arg-type]


def test_points_of_masks_are_their_pixels() -> None:
    mask = np.zeros((1, 20, 30), np.bool_)
    mask[0, 5:9, 10:14] = True
    points = np.array([[[0.25, 0.25], [0.249, 0.5], [0.5, 0.5], [0.74, 0.74], [0.76, 0.5]]], np.float32)
    box = np.array([[8.0, 3, 16, 11]], np.float32)
    found = point_targets(Masks.from_dense(mask), np.array([0]), box, points)
    assert found.tolist() == [[1, 0, 1, 1, 0]]


def test_the_least_sure_pixels_are_asked_again() -> None:
    """What the coarsest mask is sure of is only made larger; where it changes its mind every pixel is asked."""
    twin = network().sharing()
    asked: list[torch.Tensor] = []

    def at(*given: object) -> torch.Tensor:
        points = given[-1]
        assert isinstance(points, torch.Tensor)
        asked.append(points)
        return torch.where(points[..., 0] < 0.5, -1.0, 1.0) * (points[..., 0] - 0.5).abs()

    twin._at = at  # type: ignore[method-assign, assignment]
    twin._coarse = lambda *given: torch.zeros(1)  # type: ignore[method-assign, assignment, misc]
    masks = twin._subdivided(None, torch.zeros(1, 4), torch.zeros(1), torch.ones(1))  # type: ignore[arg-type]
    assert masks.shape == (1, 28, 28) and [points.shape for points in asked] == [(1, 49, 2)] * 3
    assert (asked[1][..., 0] - 0.5).abs().max() < 0.15 and (asked[2][..., 0] - 0.5).abs().max() < 0.05
    assert torch.equal(masks[0] > 0, (torch.arange(28) >= 14).expand(28, 28))


def test_features_of_points_are_those_of_the_map() -> None:
    """A map whose values tell the place, of the right one of two pictures."""
    ys, xs = torch.meshgrid(torch.arange(24) * 4.0 + 2, torch.arange(24) * 4.0 + 2, indexing="ij")
    finest = torch.stack([torch.stack([xs, ys]), torch.stack([xs, ys]) + 1000])
    pooler = build_pooler([finest], (96, 96), SPEC.profile)  # type: ignore[union-attr]
    boxes = torch.tensor([[10.0, 20, 50, 40], [30, 30, 40, 60]])
    points = torch.tensor([[[0.5, 0.5], [0.25, 1.0]]]).expand(2, -1, -1)
    found = network()._fine(pooler, boxes, torch.tensor([1, 0]), points)
    expected = torch.tensor([[[1030.0, 1030], [1020, 1040]], [[35, 45], [32.5, 60]]])
    torch.testing.assert_close(found, expected)


def test_the_losses_reach_both_heads() -> None:
    module = own_network(SPEC)
    losses = module.loss(object_batch(), torch.Generator().manual_seed(0))
    assert {"loss_mask", "loss_mask_point"} <= set(losses)
    losses["loss_mask_point"].backward()
    reached = {name for name, parameter in module.named_parameters() if parameter.grad is not None}
    assert {"roi_heads.point_head.predictor.coarse", "roi_heads.coarse_head.prediction.weight"} <= reached


def test_classes_keep_rows_and_columns_by_name() -> None:
    module = own_network(SPEC, 2)
    tensors = {name: torch.rand_like(tensor.float()) for name, tensor in own_network(SPEC).state_dict().items()}
    fit_weights(module, labels_of(["c", "new"]), tensors, labels_of(["a", "b", "c"]))
    last = "roi_heads.point_head.predictor.coarse"
    found, source = module.state_dict()[last], tensors[last]
    assert found.shape == (3, 3)
    torch.testing.assert_close(found[:2, :2], source[[0, 3]][:, [0, 3]])
    assert (found[:2, 2] == 0).all()
    coarse = "roi_heads.coarse_head.prediction.weight"
    torch.testing.assert_close(module.state_dict()[coarse][49:98], tensors[coarse][3 * 49 :])


def test_pictures_in_which_nothing_is_found_have_no_masks() -> None:
    sure = replace(SPEC, score_threshold=0.999)  # type: ignore[type-var]
    assert shared_network(sure)(torch.zeros(2, 3, 64, 64)).mask_logits.shape == (0, 28, 28)
