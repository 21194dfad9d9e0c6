"""What semantic networks learn from: targets, their loss, and the errors for truths that are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet, Segmentation, SemanticMap
from everymask.errors import ConfigError, DataError
from everymask.models.base import Batch
from everymask.models.semantic.build import build_semantic
from everymask.models.semantic.network import logit_count, semantic_targets
from everymask.models.semantic.pixel_losses import IGNORED, binary_cross_entropy, cross_entropy
from everymask.models.specs.semantic import PSPNet, UNet


def _batch(*truths: Segmentation | None, size: tuple[int, int] = (4, 6)) -> Batch:
    windows = torch.tensor([(0, 0, size[1], size[0])] * len(truths))
    return Batch(
        torch.zeros(len(truths), 3, *size), windows, truths, files=tuple(f"{k}.png" for k in range(len(truths)))
    )


def _objects(*planes: list[list[int]], class_ids: list[int], crowd: list[bool] | None = None) -> InstanceSet:
    masks = Masks.from_dense(np.array(planes, bool))
    flags = None if crowd is None else np.array(crowd)
    return InstanceSet(masks.boxes(), np.array(class_ids), masks=masks, crowd=flags)


def test_padding_is_ignored() -> None:
    target = semantic_targets(_batch(SemanticMap(np.array([[0, 1], [255, 2]]))), 3, "multiclass")
    assert target.dtype == torch.int64 and target.shape == (1, 4, 6)
    assert target[0, :2, :2].tolist() == [[0, 1], [IGNORED, 2]]
    assert (target[0, 2:] == IGNORED).all() and (target[0, :, 2:] == IGNORED).all()


def test_objects_may_overlap_where_classes_may() -> None:
    objects = _objects(
        [[1, 1], [0, 0]], [[1, 0], [0, 0]], [[0, 1], [0, 1]], class_ids=[0, 2, 2], crowd=[False, False, True]
    )
    planes = semantic_targets(_batch(objects, size=(2, 3)), 3, "multilabel")[0]
    assert planes[0].tolist() == [[1, 1, IGNORED], [0, 0, IGNORED]]
    assert planes[1].tolist() == [[0, 0, IGNORED], [0, 0, IGNORED]]
    assert planes[2].tolist() == [[1, IGNORED, IGNORED], [0, IGNORED, IGNORED]]


def test_label_maps_and_objects_stand_in_one_batch() -> None:
    objects = _objects([[1, 0]], class_ids=[1])
    planes = semantic_targets(_batch(SemanticMap(np.array([[1, 255]])), objects, size=(1, 2)), 2, "multilabel")
    assert planes.tolist() == [[[[0, IGNORED]], [[1, IGNORED]]], [[[0, 0]], [[1, 0]]]]


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        pytest.param(None, "expected label maps as truth, but got nothing", id="no truth"),
        pytest.param(InstanceSet.empty((4, 6)), "but got annotated objects", id="objects for one class per pixel"),
        pytest.param(SemanticMap(np.zeros((5, 6), int)), r"\[5, 6\]", id="larger than the picture"),
        pytest.param(SemanticMap(np.array([[0, 0], [7, 0]])), r"0\.png.* 7 at x=0, y=1", id="B values outside classes"),
        pytest.param(SemanticMap(np.array([[-1]])), "-1 at x=0, y=0", id="B negative value"),
    ],
)
def test_truths_that_say_nothing_are_refused(truth: Segmentation | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        semantic_targets(_batch(truth), 3, "multiclass")


def test_boxes_say_nothing_about_pixels() -> None:
    boxes = InstanceSet(np.array([[0, 0, 2, 2]], np.float32), np.array([0]))
    with pytest.raises(DataError, match="boxes only"):
        semantic_targets(_batch(boxes), 3, "multilabel")


@pytest.mark.parametrize(
    ("head", "classes", "expected"), [("multiclass", 5, 5), ("multilabel", 5, 5), ("binary", 2, 1)]
)
def test_channels_of_the_logits(head: str, classes: int, expected: int) -> None:
    assert logit_count(head, classes) == expected


def test_class_counts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="two classes, but got 3"):
        build_semantic(UNet(encoder="resnet18", head="binary"), 3)
    with pytest.raises(ConfigError, match="at least one class"):
        build_semantic(UNet(encoder="resnet18"), 0)


def test_losses_are_means_over_what_is_known() -> None:
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    target = torch.randint(3, (2, 4, 4), generator=torch.Generator().manual_seed(1))
    target[0] = IGNORED
    torch.testing.assert_close(cross_entropy(logits, target), F.cross_entropy(logits[1:], target[1:]))
    planes = F.one_hot(target[1:], 3).permute(0, 3, 1, 2).float()
    expected = F.binary_cross_entropy_with_logits(logits[1:], planes)
    torch.testing.assert_close(binary_cross_entropy(logits, target), expected)
    unknown = torch.full((1, 3, 4, 4), IGNORED)
    torch.testing.assert_close(binary_cross_entropy(logits, torch.cat([unknown, planes.long()])), expected)
    foreground = F.binary_cross_entropy_with_logits(logits[1:, :1], (target[1:, None] > 0).float())
    torch.testing.assert_close(binary_cross_entropy(logits[:, :1], target.where(target != 2, 1)), foreground)


def test_auxiliary_losses_have_their_weight() -> None:
    torch.manual_seed(0)
    module = build_semantic(PSPNet(encoder="resnet18", depth=3, dropout=0.0), 2).eval()
    batch = _batch(SemanticMap(np.eye(32, dtype=int)), size=(32, 32))
    main, auxiliary = module.logits(batch.images, auxiliary=True)
    target = semantic_targets(batch, 2, "multiclass")
    losses = module.loss(batch)
    torch.testing.assert_close(losses["loss_segmentation"], cross_entropy(main, target))
    torch.testing.assert_close(losses["loss_aux"], 0.4 * cross_entropy(auxiliary, target))
    module.criterion = lambda logits, target: logits.sum() * 0 + 2
    assert {name: loss.item() for name, loss in module.loss(batch).items()} == pytest.approx(
        {"loss_segmentation": 2.0, "loss_aux": 0.8}
    )
