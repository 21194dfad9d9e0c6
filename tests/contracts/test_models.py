"""What every network promises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.data.feed.pipelines import prepare
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.shapes import ShapesConfig, draw_shapes
from everymask.errors import DataError
from everymask.models.base import Batch, TrainStep, collate
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.checkpoint import load_model, save_model
from everymask.models.regions.rcnn import RCNN
from everymask.models.specs.regions import ENCODERS, FasterRCNN, MaskRCNN, RegionModelSpec, faster_rcnn_v2, mask_rcnn_v2

_BOXES = {
    "encoder": "resnet18",
    "fpn_channels": 16,
    "rpn_channels": 16,
    "box_fcs": (32,),
    "anchor_sizes": (16, 32, 48, 64, 96),
}
_MASKS = _BOXES | {"mask_convs": (16, 16), "mask_channels": 16}
SPECS: dict[str, RegionModelSpec] = {
    "mask-rcnn": MaskRCNN(**_MASKS),
    "mask-rcnn-v2": mask_rcnn_v2(**_MASKS),
    "mask-rcnn-group": MaskRCNN(**_MASKS, norm="group"),
    "mask-rcnn-frozen": MaskRCNN(**_MASKS, norm="frozen"),
    "faster-rcnn": FasterRCNN(**_BOXES),
    "faster-rcnn-v2": faster_rcnn_v2(**_BOXES),
    "faster-rcnn-last": FasterRCNN(**_BOXES, fpn_stages="last", shared_anchor_sizes=True),
} | {f"mask-rcnn-{name}": MaskRCNN(**(_MASKS | {"encoder": name})) for name in ENCODERS if name != "resnet18"}
SMALL = [name for name in SPECS if SPECS[name].encoder == "resnet18"]


def _build(name: str, classes: int = 3, **changes: object) -> RCNN:
    torch.manual_seed(0)
    return build(replace(SPECS[name], **changes), classes)


def _batch(count: int = 2, channels: int = 3) -> Batch:
    preprocess = Preprocess(channels, mean=(0.5,) * channels, std=(0.25,) * channels, resize=Resize(96, 96))
    samples = [draw_shapes(ShapesConfig(pictures=count, seed=0), index) for index in range(count)]
    wide = [replace(s, image=np.repeat(s.image[..., :1], channels, axis=2)) if channels != 3 else s for s in samples]
    return collate([prepare(sample, preprocess) for sample in wide], preprocess.divisor)


@pytest.mark.parametrize("name", SPECS)
def test_predicts_in_the_frame_with_one_return_type(name: str) -> None:
    module = _build(name, score_threshold=0.0, max_detections=7)
    images = torch.rand(2, 3, 65, 98)
    for training in (True, False):
        with torch.no_grad():
            found = module.train(training)(images, torch.tensor([[0, 0, 98, 65], [0, 0, 50, 40]]))
        counts = torch.bincount(found.image_index, minlength=2)
        assert counts.tolist() == [7, 7]
        assert found.boxes.shape == (14, 4) and found.boxes.min() >= 0
        assert found.boxes[found.image_index == 1].max() <= 50
        assert ((found.scores >= 0) & (found.scores <= 1)).all()
        assert ((found.class_ids >= 0) & (found.class_ids < 3)).all()
        for picture in (0, 1):
            scores = found.scores[found.image_index == picture]
            assert (scores.diff() <= 0).all()
        if module.has_masks:
            assert found.mask_logits is not None and found.mask_logits.shape == (14, 28, 28)
        else:
            assert found.mask_logits is None


@pytest.mark.parametrize("name", SMALL)
def test_a_batch_of_one_equals_a_batch_of_two(name: str) -> None:
    module = _build(name, score_threshold=0.0, max_detections=5).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        both, alone = module(images), module(images[1:])
    mine = both.image_index == 1
    torch.testing.assert_close(both.boxes[mine], alone.boxes, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(both.scores[mine], alone.scores, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", SPECS)
def test_losses_are_finite_for_other_channels(name: str) -> None:
    losses = TrainStep(_build(name, channels=5))(_batch(channels=5), torch.Generator().manual_seed(0))
    assert all(torch.isfinite(loss) and loss.ndim == 0 for loss in losses.values())
    assert ("loss_mask" in losses) == isinstance(SPECS[name], MaskRCNN)


@pytest.mark.parametrize("name", SMALL)
def test_loss_falls_on_one_batch(name: str) -> None:
    module, batch = _build(name).train(), _batch()
    optimizer = torch.optim.AdamW(module.parameters(), 2e-3)
    totals = []
    for _ in range(12):
        total = sum(module.loss(batch, torch.Generator().manual_seed(0)).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.7 * totals[0]


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_learns(name: str) -> None:
    module = _build(name).train()
    sum(module.loss(_batch(), torch.Generator().manual_seed(0)).values()).backward()
    trainable = {key: p.grad for key, p in module.named_parameters() if p.requires_grad}
    assert [key for key, grad in trainable.items() if grad is None] == []


@pytest.mark.parametrize("name", SMALL)
def test_pictures_without_objects_train(name: str) -> None:
    batch = _batch()
    empty = InstanceSet.empty((96, 96))
    losses = _build(name).train().loss(replace(batch, truths=(empty, empty)))
    assert all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()


def test_crowds_and_flat_boxes_are_not_trained_on() -> None:
    module, batch = _build("mask-rcnn").train(), _batch()
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
    with pytest.raises(DataError, match="faster-rcnn"):
        _build("mask-rcnn").loss(replace(_batch(), truths=(truth, truth)))
    assert _build("faster-rcnn").loss(replace(_batch(), truths=(truth, truth)))


def test_frozen_norms_stay() -> None:
    module = _build("mask-rcnn-frozen").train()
    before = {k: v.clone() for k, v in module.backbone.body.state_dict().items() if "running" in k}
    module.loss(_batch())
    assert all(torch.equal(before[k], module.backbone.body.state_dict()[k]) for k in before)


def test_more_detections_share_the_weights() -> None:
    module = _build("mask-rcnn", score_threshold=0.0, nms=1.0).eval()
    more = module.with_detections(150)
    with torch.no_grad():
        few, many = module(torch.rand(1, 3, 96, 96)), more(torch.rand(1, 3, 96, 96))
    assert (len(few.scores), len(many.scores)) == (100, 150)
    mine, theirs = module.backbone.body.conv1.weight, more.backbone.body.conv1.weight
    assert mine.data_ptr() == theirs.data_ptr()


@pytest.mark.parametrize("name", SMALL)
def test_saved_and_loaded_it_predicts_the_same(name: str, tmp_path: Path) -> None:
    module = _build(name, score_threshold=0.0).eval()
    card = Card(module.spec, labels_of(["a", "b", "c"]), Preprocess())
    save_model(tmp_path / "m.safetensors", module, card)
    loaded, _ = load_model(tmp_path / "m.safetensors")
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(module(images).scores, loaded(images).scores, rtol=0, atol=0)
