"""Our RF-DETR-Seg and transformers' are the same network: answers, losses of fixed pairs, costs of all pairs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers.loss import loss_rf_detr

from everymask.models.detr.losses import Answer, Targets, matched_losses, matching_costs
from everymask.models.detr.network import RFDETRNetwork
from tests.models.detr.rfdetr_reference import CLASSES, GROUPS, QUERIES, SIDE, ours, pictures, reference

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def module() -> RFDETRNetwork:
    return ours()


def all_masks(answer: Answer) -> Tensor:
    assert answer.masks is not None
    rows = torch.arange(answer.classes.shape[1])
    return torch.stack([answer.masks.logits(picture, rows) for picture in range(len(answer.classes))])


def close(found: Tensor, expected: Tensor) -> None:
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("training", [False, True])
def test_same_answers(training: bool, module: RFDETRNetwork) -> None:
    """In a training those of all groups."""
    reference().train(training)
    module.train(training)
    assert (module.spec.patch, module.spec.windows, module.spec.queries, module.spec.groups) == (16, 2, QUERIES, GROUPS)
    with torch.no_grad():
        expected, found = reference()(pictures()), module.answers(pictures())
    assert expected.logits.shape[1] == (GROUPS * QUERIES if training else QUERIES) and len(found) == 3
    close(found[-1].classes, expected.logits)
    close(found[-1].boxes, expected.pred_boxes)
    close(all_masks(found[-1]), expected.pred_masks)
    close(all_masks(found[0]), expected.enc_outputs_mask_logits)


def test_the_last_answer_alone_is_the_same(module: RFDETRNetwork) -> None:
    module.eval()
    with torch.no_grad():
        (last,), every = module.answers(pictures(), last=True), module.answers(pictures())
    assert torch.equal(last.boxes, every[-1].boxes)
    assert torch.equal(all_masks(last), all_masks(every[-1]))


def some_targets() -> list[Targets]:
    generator, found = torch.Generator().manual_seed(3), []
    for count in (3, 2):
        boxes = torch.rand(count, 4, generator=generator) * 0.4 + 0.2
        masks = torch.zeros(count, SIDE, SIDE)
        for plane, (x, y, width, height) in zip(masks, (boxes * SIDE).int().tolist(), strict=True):
            plane[y - height // 2 : y + height // 2, x - width // 2 : x + width // 2] = 1
        found.append(Targets(torch.randint(CLASSES, (count,), generator=generator), boxes, masks))
    return found


def test_same_losses_of_the_same_pairs(module: RFDETRNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = some_targets()
    reference().train()
    module.train()
    pairs = [(torch.tensor([0, 2, 5, 10, 9, 17]), torch.tensor([2, 0, 1, 0, 1, 2])),
             (torch.tensor([1, 8, 12, 11]), torch.tensor([0, 1, 1, 0]))]  # fmt: skip
    points = torch.rand(10, 24, 2, generator=torch.Generator().manual_seed(4))
    monkeypatch.setattr(loss_rf_detr.RfDetrHungarianMatcher, "forward", lambda *_, **__: pairs)
    monkeypatch.setattr(loss_rf_detr, "sample_points_using_uncertainty", lambda *_: points)
    labels = [{"class_labels": each.class_ids, "boxes": each.boxes, "masks": each.masks} for each in targets]
    with torch.no_grad():
        expected = reference()(pictures(), labels=labels)
        answers = module.answers(pictures())
        found = [matched_losses(each, targets, pairs, points, GROUPS, 5.0) for each in answers]
    names = {"loss_classifier": ("loss_ce", 5), "loss_box": ("loss_bbox", 5), "loss_giou": ("loss_giou", 2),
             "loss_pixels": ("loss_mask_ce", 5), "loss_dice": ("loss_mask_dice", 5)}  # fmt: skip
    for own, (theirs, weight) in names.items():
        for place, suffix in enumerate(("_enc", "_0", "")):
            torch.testing.assert_close(
                found[place][own], weight * expected.loss_dict[theirs + suffix], atol=1e-4, rtol=1e-4
            )
    total = torch.stack([loss for each in found for loss in each.values()]).sum()
    torch.testing.assert_close(total, expected.loss, atol=1e-3, rtol=1e-4)


def test_same_costs_of_all_pairs(module: RFDETRNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    targets, taken = some_targets(), []
    module.eval()
    points = torch.rand(1, 50, 2, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        answer = module.answers(pictures())[-1]
    assert answer.masks is not None
    # A bias would count less at the border, where theirs are read after it was added.
    answer = replace(answer, masks=replace(answer.masks, bias=torch.zeros(1)))
    matcher = loss_rf_detr.RfDetrHungarianMatcher(2, 5, 2, 16, 5, 5)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: points)
    solve = loss_rf_detr.linear_sum_assignment
    monkeypatch.setattr(loss_rf_detr, "linear_sum_assignment", lambda costs: taken.append(costs) or solve(costs))
    outputs = {"logits": answer.classes, "pred_boxes": answer.boxes, "pred_masks": all_masks(answer)}
    labels = [{"class_labels": each.class_ids, "boxes": each.boxes, "masks": each.masks} for each in targets]
    matcher(outputs, labels, 1)
    for picture, target in enumerate(targets):
        close(matching_costs(answer, picture, target, points), taken[picture])
