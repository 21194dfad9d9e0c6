"""Losses of semantic networks: equal to reference implementations and to their papers' formulas; ignored pixels."""

from __future__ import annotations

import numpy as np
import pytest
import segmentation_models_pytorch.losses as smp
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from everymask.errors import ConfigError
from everymask.models.semantic.pixel_losses import IGNORED
from everymask.models.specs.semantic import Head
from everymask.settings.loss_terms import LOSS_NAMES, LossTerm, read_loss
from everymask.train.semantic_losses import boundary, build_loss, cross_entropy, dice, focal, ohem, tversky

CHANNELS: dict[Head, int] = {"multiclass": 4, "binary": 1, "multilabel": 3}


def example(head: Head, *, ignored: float = 0.2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits [2, K, 12, 9] and a target in which every class occurs; a share of it is ignored."""
    random = np.random.default_rng(seed)
    channels = CHANNELS[head]
    logits = torch.from_numpy(random.normal(scale=2, size=(2, channels, 12, 9))).float()
    shape = (2, channels, 12, 9) if head == "multilabel" else (2, 12, 9)
    target = torch.from_numpy(random.integers(channels if head == "multiclass" else 2, size=shape))
    target[torch.from_numpy(random.random(shape) < ignored)] = IGNORED
    return logits.requires_grad_(), target


def test_cross_entropy_is_pytorchs() -> None:
    logits, target = example("multiclass")
    weights = (0.5, 1.0, 3.0, 2.0)
    ours = build_loss("ce", "multiclass", class_weights=weights, label_smoothing=0.1)(logits, target)
    theirs = F.cross_entropy(logits, target, torch.tensor(weights), ignore_index=IGNORED, label_smoothing=0.1)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(cross_entropy(logits, target), F.cross_entropy(logits, target, ignore_index=IGNORED))


def test_sigmoid_cross_entropy_is_pytorchs_over_what_counts() -> None:
    logits, target = example("multilabel")
    counted = target != IGNORED
    theirs = F.binary_cross_entropy_with_logits(logits[counted], target[counted].float())
    torch.testing.assert_close(build_loss("bce", "multilabel")(logits, target), theirs)
    torch.testing.assert_close(build_loss("ce", "multilabel")(logits, target), theirs)


def test_sigmoid_cross_entropy_with_weights_and_smoothing() -> None:
    logits, target = example("binary")
    counted = target != IGNORED
    truth, found = target[counted].float(), logits[:, 0][counted]
    weight = torch.where(truth == 1, 3.0, 0.5)
    each = F.binary_cross_entropy_with_logits(found, truth * 0.8 + 0.1, reduction="none")
    ours = build_loss("ce", "binary", class_weights=(0.5, 3.0), label_smoothing=0.2)(logits, target)
    torch.testing.assert_close(ours, (each * weight).sum() / weight.sum())


@pytest.mark.parametrize("head", list(CHANNELS))
def test_dice_and_tversky_are_those_of_segmentation_models(head: Head) -> None:
    logits, target = example(head)
    theirs = smp.DiceLoss(head, ignore_index=IGNORED)(logits, target)
    torch.testing.assert_close(dice(logits, target, head=head), theirs)
    theirs = smp.TverskyLoss(head, ignore_index=IGNORED, alpha=0.3, beta=0.7)(logits, target)
    torch.testing.assert_close(tversky(logits, target, head=head), theirs)


def test_classes_without_truth_do_not_count_in_dice() -> None:
    logits, target = example("multiclass")
    target[target == 3] = 0
    probabilities = logits.softmax(1).detach().numpy()
    counted = (target != IGNORED).numpy()
    losses = []
    for name in range(3):
        truth, found = (target.numpy() == name), probabilities[:, name] * counted
        losses.append(1 - 2 * (truth * found).sum() / (truth.sum() + found.sum()))
    assert dice(logits, target, head="multiclass").item() == pytest.approx(np.mean(losses), abs=1e-6)


def test_focal_is_that_of_segmentation_models_and_of_the_paper() -> None:
    logits, target = example("binary")
    theirs = smp.FocalLoss("binary", ignore_index=IGNORED)(logits, target)
    torch.testing.assert_close(focal(logits, target, head="binary"), theirs)
    logits, target = example("multiclass")
    given = np.take_along_axis(
        logits.softmax(1).detach().numpy(), np.where(target == IGNORED, 0, target)[:, None], axis=1
    )[:, 0][target.numpy() != IGNORED]
    expected = np.mean(-((1 - given) ** 2) * np.log(given))
    assert focal(logits, target, head="multiclass").item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("head", ["multiclass", "binary"])
def test_lovasz_is_that_of_its_author(head: Head) -> None:
    logits, target = example(head)
    theirs = smp.LovaszLoss(head, ignore_index=IGNORED)(logits if head == "multiclass" else logits[:, 0], target)
    torch.testing.assert_close(build_loss("lovasz", head)(logits, target), theirs)


def test_lovasz_of_a_certain_answer_is_one_minus_iou() -> None:
    target = torch.tensor([[[0, 0, 1, 1, 1, 2]]])
    found = torch.tensor([[[0, 1, 1, 1, 2, 2]]])
    logits = 100.0 * F.one_hot(found, 3).permute(0, 3, 1, 2)
    assert build_loss("lovasz", "multiclass")(logits, target).item() == pytest.approx(1 - (1 / 2 + 2 / 4 + 1 / 2) / 3)


def test_boundary_is_the_formula_of_its_paper() -> None:
    logits, target = example("multiclass", ignored=0.1)
    found, counted = logits.softmax(1).detach().numpy(), (target != IGNORED).numpy()
    means = []
    for name in range(4):
        total = 0.0
        for row in range(2):
            inside = target[row].numpy() == name
            distance = distance_transform_edt(~inside) - 0.5 * ~inside
            distance -= distance_transform_edt(inside) - 0.5 * inside
            error = (found[row, name] - inside) * distance / np.hypot(12, 9)
            total += error[counted[row]].sum()
        means.append(total / counted.sum())
    assert boundary(logits, target, head="multiclass").item() == pytest.approx(np.mean(means), rel=1e-4)


def test_hard_pixels_are_those_below_the_probability_or_the_hardest_sixteenth() -> None:
    logits, target = example("multiclass")
    losses = F.cross_entropy(logits, target, ignore_index=IGNORED, reduction="none")[target != IGNORED].detach()
    hard = losses[losses > -np.log(0.7)]
    assert len(hard) > len(losses) / 16
    torch.testing.assert_close(ohem(logits, target, head="multiclass").detach(), hard.mean())
    sure = 30.0 * F.one_hot(target.where(target != IGNORED, 0), 4).permute(0, 3, 1, 2) + logits.detach()
    losses = F.cross_entropy(sure, target, ignore_index=IGNORED, reduction="none")[target != IGNORED]
    hardest = losses.sort(descending=True).values[: len(losses) // 16]
    assert hardest[0] < -np.log(0.7)
    assert ohem(sure, target, head="multiclass") >= hardest.mean() * (1 - 1e-6)


@pytest.mark.parametrize("name", LOSS_NAMES)
@pytest.mark.parametrize("head", list(CHANNELS))
def test_what_lies_under_ignored_pixels_changes_nothing(name: str, head: Head) -> None:
    logits, target = example(head)
    loss = build_loss(name, head)
    value = loss(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    ignored = (target == IGNORED) if head == "multilabel" else (target == IGNORED)[:, None].expand_as(logits)
    assert ignored.any()
    assert not gradient[ignored].any()
    changed = logits.detach().where(~ignored, -7.0)
    assert loss(changed, target).item() == pytest.approx(value.item(), rel=1e-5)


@pytest.mark.parametrize("name", [*LOSS_NAMES, "ce+dice+0.5*lovasz"])
@pytest.mark.parametrize("head", list(CHANNELS))
def test_a_batch_without_truth_costs_nothing_and_teaches_nothing(name: str, head: Head) -> None:
    logits, target = example(head, ignored=1.0)
    loss = build_loss(name, head)(logits, target)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0
    assert not gradient.any()


@pytest.mark.parametrize("name", LOSS_NAMES)
@pytest.mark.parametrize("head", list(CHANNELS))
def test_descending_the_gradient_finds_the_truth(name: str, head: Head) -> None:
    logits, target = example(head)
    optimizer = torch.optim.Adam([logits], lr=0.3)
    loss = build_loss(name, head)
    before = loss(logits, target).item()
    for _ in range(60):
        optimizer.zero_grad()
        loss(logits, target).backward()
        optimizer.step()
    assert loss(logits, target).item() < 0.25 * before
    found = logits.argmax(1) if head == "multiclass" else (logits > 0).long()
    truth = target[:, None] if head == "binary" else target
    assert (found == truth)[truth != IGNORED].float().mean() > 0.97


def test_a_sum_is_the_sum_of_its_terms() -> None:
    logits, target = example("multiclass")
    parts = [build_loss(name, "multiclass")(logits, target) for name in ("ce", "dice", "lovasz")]
    together = build_loss(" ce + 2*dice+0.5 * lovasz", "multiclass")(logits, target)
    torch.testing.assert_close(together, parts[0] + 2 * parts[1] + 0.5 * parts[2])
    assert read_loss("ce+.5*dice") == (LossTerm("ce"), LossTerm("dice", 0.5))


@pytest.mark.parametrize("text", ["", "dyce", "ce+", "0*ce", "-1*ce", "ce*2", "nan*ce", "ce+ce"])
def test_sums_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ConfigError, match="loss: ") as refused:
        read_loss(text)
    assert refused.value.hint
