"""Every behaviour switch of `RegionProfile` does what its reference does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from everymask.core.masks import Masks
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.data.feed.pipelines import prepare
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.infer.decoding.instances import paste_masks
from everymask.models.base import Batch, collate
from everymask.models.blocks.encoders import build_encoder
from everymask.models.build import build
from everymask.models.regions.boxes import anchors_for, base_anchors, clip_boxes, decode_boxes, encode_boxes
from everymask.models.regions.roi_align import build_pooler, pyramid_levels
from everymask.models.specs import profiles
from everymask.models.specs.regions import FasterRCNN, MaskRCNN, RegionProfile

DEFAULT = RegionProfile()
DETECTRON2 = replace(profiles.DETECTRON2, stride_in_1x1=True)
SMALL = {"encoder": "resnet50", "fpn_channels": 16, "box_fcs": (32, 32), "mask_convs": (16,), "mask_channels": 16}


def test_stride_moves_to_the_1x1_convolution() -> None:
    plain = build_encoder("resnet50", 3, "batch", DEFAULT)
    moved = build_encoder("resnet50", 3, "batch", replace(DEFAULT, stride_in_1x1=True))
    for stage in ("layer2", "layer3", "layer4"):
        first, other = getattr(plain, stage)[0], getattr(moved, stage)[0]
        assert (first.conv1.stride, first.conv2.stride) == ((1, 1), (2, 2))
        assert (other.conv1.stride, other.conv2.stride) == ((2, 2), (1, 1))
    shapes = [tuple(x.shape) for x in moved(torch.zeros(1, 3, 64, 96))]
    assert shapes == [(1, 256, 16, 24), (1, 512, 8, 12), (1, 1024, 4, 6), (1, 2048, 2, 3)]


def test_norm_epsilon_reaches_every_norm() -> None:
    body = build_encoder("resnet18", 3, "batch", replace(DEFAULT, norm_eps=1e-3))
    assert {m.eps for m in body.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1e-3}


def test_pool_padding_at_the_end() -> None:
    pool = build_encoder("resnet18", 3, "batch", replace(DEFAULT, pool_padding="end")).maxpool
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert pool(x).flatten().tolist() == [10, 11, 14, 15]


def test_base_anchors() -> None:
    ratios = (0.5, 1.0, 2.0)
    assert base_anchors((32,), ratios, DEFAULT).tolist() == [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]]
    exact = base_anchors((32,), ratios, replace(DEFAULT, anchor_rounding=False))
    sides = exact[:, 2:] - exact[:, :2]
    torch.testing.assert_close(sides.prod(dim=1), torch.full((3,), 1024.0))
    torch.testing.assert_close(sides[:, 1] / sides[:, 0], torch.tensor(ratios))
    swapped = base_anchors((32,), ratios, replace(DEFAULT, anchor_rounding=False, anchor_ratio="w/h"))
    torch.testing.assert_close(swapped, exact[:, [1, 0, 3, 2]])


def test_anchor_stride() -> None:
    """At 800 x 1333 torchvision's coarsest anchors lie 61 pixels apart and not 64."""
    maps = [torch.zeros(1, 1, -(-800 // s), -(-1333 // s)) for s in (4, 8, 16, 32, 64)]
    spec = FasterRCNN(anchor_ratios=(1.0,))

    def step(profile: RegionProfile) -> float:
        coarsest = anchors_for(maps, (800, 1333), replace(spec, profile=profile))[4]
        return float(coarsest[1, 0] - coarsest[0, 0])

    assert step(DEFAULT) == 1333 // 21 == 63
    assert step(replace(DEFAULT, anchor_stride="fixed")) == 64


def test_inclusive_anchors_end_one_pixel_earlier() -> None:
    maps = [torch.zeros(1, 1, 2, 2)] * 5
    spec = FasterRCNN(anchor_sizes=(32,) * 5, anchor_ratios=(1.0,))
    plain = anchors_for(maps, (128, 128), spec)[0]
    inclusive = anchors_for(maps, (128, 128), replace(spec, profile=replace(DEFAULT, inclusive_boxes=True)))[0]
    assert (plain - inclusive).unique(dim=0).tolist() == [[0, 0, 1, 1]]
    assert clip_boxes(torch.tensor([[-3.0, 9, 300, 90]]), torch.tensor([0, 10, 200, 100]), inclusive=True).tolist() == [
        [0, 10, 199, 90]
    ]


def test_box_weights_and_growth_limit() -> None:
    references = torch.tensor([[10.0, 10, 30, 50]])
    boxes = torch.tensor([[12.0, 8, 40, 60]])
    for weights in ((1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)):
        deltas = encode_boxes(boxes, references, weights)
        torch.testing.assert_close(decode_boxes(deltas, references, weights), boxes)
    torch.testing.assert_close(
        encode_boxes(boxes, references, (10.0, 10.0, 5.0, 5.0)),
        encode_boxes(boxes, references, (1.0,) * 4) * torch.tensor([10.0, 10, 5, 5]),
    )
    huge = torch.tensor([[0.0, 0, 9, 9]])
    widths = [decode_boxes(huge, references, (1.0,) * 4, clamp=clamp)[0, [0, 2]].diff() for clamp in (True, False)]
    torch.testing.assert_close(widths[0] / 20, torch.tensor([1000 / 16]))
    assert widths[1] / 20 > 8000


@pytest.mark.parametrize("rule", ["torchvision", "detectron2", "mmdet"])
def test_roi_level(rule: str) -> None:
    """Side 224 belongs to P4, half the side one level finer, and the ends are clamped."""
    sides = torch.tensor([20.0, 56, 111, 112, 223, 224, 447, 448, 2000])
    boxes = torch.cat([torch.zeros(9, 2), sides[:, None].expand(-1, 2)], dim=1)
    levels = pyramid_levels(boxes, (800, 1333), replace(DEFAULT, roi_level=rule))
    assert levels.tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]


def test_roi_level_matterport_rounds_and_is_relative() -> None:
    profile = replace(DEFAULT, roi_level="matterport", inclusive_boxes=True)
    boxes = torch.tensor([[0.0, 0, s, s] for s in (100, 158, 159, 316, 317)])
    assert pyramid_levels(boxes, (1024, 1024), profile).tolist() == [1, 1, 2, 2, 3]
    assert pyramid_levels(boxes / 2, (512, 512), profile).tolist() == [0, 0, 1, 1, 2]


def test_roi_align_aligned_shifts_by_half_a_pixel() -> None:
    ramp = torch.arange(32.0).expand(1, 1, 32, 32)
    maps = [ramp, ramp[..., ::2, ::2], ramp[..., ::4, ::4], ramp[..., ::8, ::8]]
    box, index = torch.tensor([[16.0, 16, 72, 72]]), torch.zeros(1, dtype=torch.int64)
    legacy = build_pooler(maps, (128, 128), DEFAULT).pool(box, index, 7)
    aligned = build_pooler(maps, (128, 128), replace(DEFAULT, roi_align="aligned")).pool(box, index, 7)
    torch.testing.assert_close(legacy - aligned, torch.full_like(legacy, 0.5))
    torch.testing.assert_close(aligned[0, 0, 0], 4 + 2 * torch.arange(7) + 1 - 0.5)


def test_crop_and_resize_reads_from_corner_to_corner() -> None:
    """TensorFlow's crop_and_resize samples both borders of the box."""
    ramp = torch.arange(33.0).expand(1, 1, 33, 33)
    maps = [ramp] * 4
    box = torch.tensor([[16.0, 32, 64, 96]])
    pooler = build_pooler(maps, (129, 129), replace(DEFAULT, roi_align="crop-and-resize"))
    pooled = pooler.pool(box, torch.zeros(1, dtype=torch.int64), 7)
    torch.testing.assert_close(pooled[0, 0, 0], torch.linspace(4, 16, 7))


def test_sampling_ratio_zero_samples_every_pixel() -> None:
    torch.manual_seed(0)
    maps = [torch.rand(1, 1, 64, 64)] * 4
    box, index = torch.tensor([[0.0, 0, 200, 200]]), torch.zeros(1, dtype=torch.int64)
    adaptive = replace(DEFAULT, roi_align="aligned", roi_sampling_ratio=0)
    two, every = (build_pooler(maps, (256, 256), p).pool(box, index, 2)[0, 0] for p in (DEFAULT, adaptive))
    assert not torch.allclose(two, every)


def test_joint_selection_lets_levels_compete() -> None:
    spec = FasterRCNN(**{k: v for k, v in SMALL.items() if not k.startswith("mask")}, rpn_pre_nms=(40, 40))
    torch.manual_seed(0)
    for selection, expected in (("per-level", 4 * 40 + 12), ("joint", 40)):
        network = build(replace(spec, profile=replace(DEFAULT, rpn_selection=selection)), 2).eval()
        with torch.no_grad():
            maps = network.backbone(torch.rand(1, 3, 128, 128))
            logits, _, anchors = network.rpn(maps, (128, 128))
            candidates = network.rpn._strongest(
                logits, [len(a) for a in anchors] if selection == "per-level" else [logits.shape[1]], 40
            )
        assert candidates[0].shape[1] == expected
        assert len(candidates[1].unique()) == (5 if selection == "per-level" else 1)


def test_argmax_gives_each_region_one_class() -> None:
    scores = torch.tensor([[0.1, 0.5, 0.4], [0.6, 0.3, 0.1]])
    boxes = torch.tensor([[[0.0, 0, 9, 9]] * 3, [[50.0, 50, 80, 80]] * 3])
    spec = FasterRCNN(**{k: v for k, v in SMALL.items() if not k.startswith("mask")})
    both = build(spec, 2)._select_in_picture(scores, boxes)
    best = build(replace(spec, profile=replace(DEFAULT, class_choice="argmax")), 2)._select_in_picture(scores, boxes)
    assert sorted(both[1].tolist()) == [0, 0, 1, 1]
    assert (best[1].tolist(), best[2].tolist()) == ([0], [0.5])


def test_detectron2_paste_keeps_sub_pixel_boxes() -> None:
    """A box full of object covers exactly the pixels whose centres lie inside it."""
    logits = np.full((1, 28, 28), 20.0, np.float32)
    box = np.array([[3.4, 2.6, 10.6, 9.4]], np.float32)
    masks = paste_masks(logits, box, (20, 20), "detectron2")
    assert masks.windows.tolist() == [[3, 3, 11, 9]]
    assert paste_masks(logits, box, (20, 20), "matterport").windows.tolist() == [[3, 3, 11, 9]]


def test_detectron2_paste_reads_the_mask_at_pixel_centres() -> None:
    import torch.nn.functional as F

    rng = np.random.default_rng(0)
    for _ in range(20):
        logits = rng.normal(size=(1, 28, 28)).astype(np.float32)
        x, y, w, h = rng.uniform([-10, -10, 5, 5], [40, 40, 50, 50])
        box = np.array([[x, y, x + w, y + h]], np.float32)
        grid_y, grid_x = (
            (torch.arange(64) + 0.5 - low) / extent * 2 - 1 for low, extent in ((box[0, 1], h), (box[0, 0], w))
        )
        grid = torch.stack(torch.meshgrid(grid_x, grid_y, indexing="xy"), dim=-1)[None].float()
        soft = F.grid_sample(torch.from_numpy(logits)[None].sigmoid(), grid, align_corners=False)[0, 0]
        mine = paste_masks(logits, box, (64, 64), "detectron2").to_dense(0)
        assert (mine == (soft >= 0.5).numpy()).mean() > 0.999


def test_masks_outside_the_picture_are_empty() -> None:
    logits = np.full((2, 28, 28), 5.0, np.float32)
    boxes = np.array([[-90, -90, -50, -50], [30, 30, 31, 31]], np.float32)
    for rule in ("torchvision", "detectron2", "matterport"):
        assert paste_masks(logits, boxes, (20, 20), rule).areas().tolist() == [0, 0]


@pytest.mark.parametrize("limits", ["picture", "frame"])
def test_detections_end_where_the_centred_picture_ends(limits: str) -> None:
    """Proposals of matterport reach into the padding of its square, detections do not."""
    preprocess = Preprocess(resize=Resize(64, 128, "matterport"))
    batch = collate([prepare(Sample(np.full((40, 80, 3), 200, np.uint8), id="a"), preprocess)], 64)
    assert batch.windows.tolist() == [[0, 32, 128, 96]]
    profile = replace(profiles.MATTERPORT, proposal_limits=limits)
    torch.manual_seed(0)
    network = build(MaskRCNN(**SMALL, profile=profile, score_threshold=0.0), 2).eval()
    with torch.no_grad():
        inside, everywhere = network(batch.images, batch.windows), network(batch.images)
        logits, deltas, anchors = network.rpn(network.backbone(batch.images), (128, 128))
        cut = network._proposal_limits(batch.images, batch.windows)
        proposals = network.rpn.propose(logits, deltas, anchors, cut, training=False)[0]
    ends = (proposals[:, 1].min(), proposals[:, 3].max())
    assert ends == ((32, 95) if limits == "picture" else (0, 127))
    assert (inside.boxes[:, 1].min(), inside.boxes[:, 3].max()) == (32, 96)
    assert everywhere.boxes[:, 1].min() < 32 and everywhere.boxes[:, 3].max() > 96


@pytest.mark.parametrize("profile", [profiles.MATTERPORT, DETECTRON2], ids=["matterport", "detectron2"])
def test_whole_networks_run_and_train(profile: RegionProfile) -> None:
    torch.manual_seed(0)
    network = build(MaskRCNN(**SMALL, profile=profile, score_threshold=0.0), 2)
    masks = Masks.from_dense(np.pad(np.ones((1, 40, 30), bool), ((0, 0), (20, 68), (30, 68))))
    truth = InstanceSet(masks.boxes(), np.array([1]), masks=masks)
    batch = Batch(torch.rand(1, 3, 128, 128), torch.tensor([[0, 0, 128, 128]]), (truth,), ("a",), ("a",))
    assert all(torch.isfinite(value) for value in network.loss(batch).values())
    with torch.no_grad():
        found = network.eval()(batch.images)
    assert len(found.scores) and found.boxes.min() >= 0 and found.boxes.max() <= 128
