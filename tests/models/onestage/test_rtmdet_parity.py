"""RTMDet-Ins beside LibreYOLO's (whose outputs equal mmdetection's), and beside what the paper's code calculates."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from everymask.core.masks import Masks
from everymask.data.feed.preprocess import Placement
from everymask.errors import WeightsError
from everymask.infer.decoding.instances import decode_instances
from everymask.models.build import build
from everymask.models.foreign.rtmdet import from_mmdetection, rtmdet_of
from everymask.models.onestage.dynamic_masks import dice_losses, mask_logits, middles, sampled_masks
from everymask.models.onestage.places import places_of
from everymask.models.onestage.rtmdet import RTMDetNetwork
from everymask.models.onestage.soft_labels import assign_softly
from everymask.models.specs.onestage import RTMDet, RTMDetIns, published_profile
from tests.models.onestage.yolox_reference import seeded

CLASSES = 5


def reference() -> ModuleType:
    """The one file of LibreYOLO with the network, without the rest of it."""
    found = importlib.util.find_spec("libreyolo")
    if found is None or not found.submodule_search_locations:
        pytest.skip("LibreYOLO is not installed: pip install --no-deps libreyolo==1.6.0")
    file = Path(found.submodule_search_locations[0]) / "models" / "rtmdet" / "nn.py"
    spec = importlib.util.spec_from_file_location("libreyolo_rtmdet_nn", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("size", "masks"),
    [("t", True), pytest.param("t", False, marks=pytest.mark.slow), pytest.param("m", False, marks=pytest.mark.slow)],
)
def test_says_what_mmdetections_network_says(size: str, masks: bool) -> None:
    theirs = seeded(reference().LibreRTMDetModel(size, CLASSES, enable_mask_head=masks))
    named = theirs.state_dict().items()
    tensors = {f"bbox_{name}" if name.startswith("head.") else name: value for name, value in named}
    spec = rtmdet_of(tensors)
    kind = RTMDetIns if masks else RTMDet
    assert spec == kind(encoder={"t": "cspnext_tiny", "m": "cspnext_m"}[size], profile=published_profile(kind()))
    ours = build(spec, CLASSES).eval()
    assert isinstance(ours, RTMDetNetwork)
    ours.load_state_dict(from_mmdetection(tensors))
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    shift = torch.tensor(spec.profile.padding)[:, None, None]
    with torch.no_grad():
        maps = ours._maps(images - shift)
        boxes, logits, places = ours._boxes(maps)
        expected = theirs(images)
    flat = [torch.cat([x.flatten(2) for x in own], dim=2).transpose(1, 2) for own in expected[: 3 if masks else 2]]
    assert flat[0].std() > 0.01 and flat[1].std() > 0.01
    sides = torch.cat([places.corners - boxes[..., :2], boxes[..., 2:] - places.corners], dim=-1)
    torch.testing.assert_close(logits, flat[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(sides, flat[1], atol=1e-4, rtol=1e-4)
    if masks:
        with torch.no_grad():
            kernels, features = ours.head.kernels(maps), ours.head.mask_head(maps)
        torch.testing.assert_close(kernels, flat[2], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(features, expected[3], atol=1e-4, rtol=1e-4)


def test_masks_are_those_of_grouped_convolutions() -> None:
    generator = torch.Generator().manual_seed(0)
    features, weights = torch.randn(8, 6, 9, generator=generator), torch.randn(5, 169, generator=generator)
    corners, strides = torch.rand(5, 2, generator=generator) * 64, torch.tensor([8.0, 8, 16, 32, 32])
    ys, xs = torch.meshgrid(torch.arange(6.0) * 8, torch.arange(9.0) * 8, indexing="ij")
    for row in range(5):
        near = (corners[row, :, None, None] - torch.stack([xs, ys])) / (8 * strides[row])
        x = torch.cat([near, features])[None]
        parts = weights[row].split([80, 64, 8, 8, 8, 1])
        x = F.relu(F.conv2d(x, parts[0].view(8, 10, 1, 1), parts[3]))
        x = F.relu(F.conv2d(x, parts[1].view(8, 8, 1, 1), parts[4]))
        expected = F.conv2d(x, parts[2].view(1, 8, 1, 1), parts[5])[0, 0]
        found = mask_logits(features, weights, corners, strides)[row]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_logits_of_the_frame_become_masks_of_the_picture() -> None:
    """Bilinear to the frame, without its padding, and bilinear to the picture; above one half is object."""
    logits = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(2))
    placement = Placement((75, 120), (40, 64))
    frame = F.interpolate(logits[None], scale_factor=8, mode="bilinear", align_corners=False)
    expected = F.interpolate(frame[..., :40, :64], size=(75, 120), mode="bilinear", align_corners=False)[0] > 0
    boxes = np.array([[0, 0, 64, 40]] * 3, np.float32)
    found = decode_instances(boxes, np.zeros(3, np.int64), np.ones(3, np.float32), logits.numpy(), placement, "frame")
    assert found.masks is not None
    dense = np.stack([found.masks.to_dense(row) for row in range(3)])
    assert 0.2 < dense.mean() < 0.8 and (dense != expected.numpy()).mean() < 1e-3


def some_masks(count: int, size: tuple[int, int], seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    dense = np.zeros((count, *size), np.bool_)
    for plane in dense:
        y, x = draw.integers(0, size[0] - 9), draw.integers(0, size[1] - 9)
        plane[y : y + draw.integers(1, 30), x : x + draw.integers(1, 40)] = True
    return dense & (draw.random(dense.shape) < 0.9)


def test_targets_are_every_fourth_pixel_and_middles_the_centres_of_mass() -> None:
    dense = some_masks(6, (45, 61), 0)
    masks = Masks.from_dense(dense)
    planes = sampled_masks(masks, (64, 64))
    padded = np.zeros((6, 64, 64), np.float32)
    padded[:, :45, :61] = dense
    assert np.array_equal(planes, padded[:, 2::4, 2::4])
    ys, xs = np.mgrid[:45, :61]
    total = dense.sum(axis=(1, 2))
    expected = np.stack([(dense * xs).sum(axis=(1, 2)) / total, (dense * ys).sum(axis=(1, 2)) / total], axis=1)
    np.testing.assert_allclose(middles(masks), expected, atol=1e-4)


def test_dice_is_that_of_sums_of_squares() -> None:
    logits = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(1))
    targets = (torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(2)) > 0.5).float()
    found = F.interpolate(logits[None], scale_factor=2, mode="bilinear")[0].sigmoid()
    a, b, c = (found * targets).sum((1, 2)), (found**2).sum((1, 2)) + 5e-6, (targets**2).sum((1, 2)) + 5e-6
    torch.testing.assert_close(dice_losses(logits, targets), 1 - 2 * a / (b + c))


def slow_assignment(
    own: torch.Tensor,
    kinds: torch.Tensor,
    middle: torch.Tensor,
    priors: torch.Tensor,
    boxes: torch.Tensor,
    said: torch.Tensor,
) -> dict[int, int]:
    """The rule as the paper writes it, place by place and truth by truth: which truth each place stands for."""
    valid = [
        place
        for place, (x, y, _) in enumerate(priors.tolist())
        if any(x1 < x < x2 and y1 < y < y2 for x1, y1, x2, y2 in own.tolist())
    ]
    cost, iou = torch.zeros(len(own), len(valid)), torch.zeros(len(own), len(valid))
    for row, truth in enumerate(own):
        for column, place in enumerate(valid):
            box = boxes[place]
            shared = (torch.minimum(box[2:], truth[2:]) - torch.maximum(box[:2], truth[:2])).clamp(min=0).prod()
            areas = (box[2:] - box[:2]).prod() + (truth[2:] - truth[:2]).prod()
            iou[row, column] = overlap = shared / (areas - shared)
            soft = torch.zeros(said.shape[1])
            soft[kinds[row]] = overlap
            loss = F.binary_cross_entropy_with_logits(said[place], soft, reduction="none")
            far = (priors[place, :2] - middle[row]).norm() / priors[place, 2]
            cost[row, column] = (
                (loss * (soft - said[place].sigmoid()).abs() ** 2).sum()
                - 3 * torch.log(overlap + 1e-7)
                + 10 ** (far - 3)
            )
    takers: dict[int, list[int]] = {}
    for row in range(len(own)):
        count = max(1, int(iou[row].topk(min(13, len(valid))).values.sum()))
        for column in cost[row].topk(count, largest=False).indices.tolist():
            takers.setdefault(column, []).append(row)
    return {
        valid[column]: min(rows, key=lambda row: float(cost[row, column])) if len(rows) == 1
        else int(cost[:, column].argmin())
        for column, rows in takers.items()
    }  # fmt: skip


@pytest.mark.parametrize("cases", [6, pytest.param(100, marks=pytest.mark.slow)])
def test_assigns_as_the_rule_says(cases: int) -> None:
    places = places_of([torch.zeros(1, 1, 64 // stride, 64 // stride) for stride in (8, 16, 32)])
    priors, number = torch.cat([places.corners, places.strides[:, None]], dim=1), len(places.strides)
    for seed in range(cases):
        generator = torch.Generator().manual_seed(seed)
        count = int(torch.randint(1, 6, (), generator=generator))
        low = torch.rand(count, 2, generator=generator) * 40
        own = torch.cat([low, low + 9 + 30 * torch.rand(count, 2, generator=generator)], dim=1)
        near = own[torch.randint(0, count, (number,), generator=generator)]
        boxes = near + 8 * torch.randn(number, 4, generator=generator)
        boxes = torch.cat([boxes[:, :2], torch.maximum(boxes[:, 2:], boxes[:, :2] + 1)], dim=1)
        kinds = torch.randint(0, CLASSES, (count,), generator=generator)
        middle = (own[:, :2] + own[:, 2:]) / 2 + torch.randn(count, 2, generator=generator)
        said = torch.randn(number, CLASSES, generator=generator)
        found = assign_softly((own, kinds, middle), places, boxes, said)
        expected = slow_assignment(own, kinds, middle, priors, boxes, said)
        assert dict(zip(found.places.tolist(), found.rows.tolist(), strict=True)) == expected


def test_box_losses_are_quality_focal_loss_and_giou() -> None:
    """Each term by hand, for one picture with two places that stand for objects."""
    from everymask.models.onestage.simota import Assigned

    module = build(RTMDet(), 2)
    assert isinstance(module, RTMDetNetwork)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 4, 2, generator=generator)
    boxes = torch.tensor([[[0.0, 0, 10, 10], [5, 5, 15, 25], [0, 0, 1, 1], [2, 2, 9, 9]]])
    truths = torch.tensor([[0.0, 0, 8, 12], [6, 6, 20, 20]])
    taken = Assigned(torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([0.6, 0.7]))
    losses = module.box_losses(boxes, logits, [truths], [torch.tensor([1, 0])], [taken])
    wanted = torch.tensor([[0, 0.6], [0.7, 0], [0, 0], [0, 0]])
    sigma = logits[0].sigmoid()
    entropy = -wanted * sigma.log() - (1 - wanted) * (1 - sigma).log()
    torch.testing.assert_close(losses["loss_classifier"], (entropy * (wanted - sigma) ** 2).sum() / 1.3)
    # Overlap 80 of 116 in a hull of 120; 126 of 270 in one of 300.
    giou = torch.tensor([80 / 116 - 4 / 120, 126 / 270 - 30 / 300])
    torch.testing.assert_close(losses["loss_box"], 2 * ((1 - giou) * torch.tensor([0.6, 0.7])).sum() / 1.3)


def test_copies_of_a_shared_layer_must_agree() -> None:
    first, other = torch.zeros(4, 4, 3, 3), torch.ones(4, 4, 3, 3)
    names = [f"bbox_head.cls_convs.{level}.0.conv.weight" for level in range(2)]
    assert list(from_mmdetection(dict.fromkeys(names, first))) == ["head.cls_convs.0.conv.weight"]
    with pytest.raises(WeightsError, match="differs from the other copies"):
        from_mmdetection({names[0]: first, names[1]: other})
