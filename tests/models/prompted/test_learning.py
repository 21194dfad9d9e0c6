"""How networks learn to answer prompts: what is drawn, what is lost, and that it depends on the seed alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.data.feed.pipelines import prepare
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.shapes import ShapesConfig, draw_shapes
from everymask.errors import DataError
from everymask.models.base import Batch, PromptBatch, collate
from everymask.models.blocks.overlap import dice_loss
from everymask.models.prompted import learning
from everymask.models.prompted.learning import Objects, click_losses, drawn_objects
from everymask.models.specs.prompted import PromptedSmall
from tests.models.networks import own_network

SMALL = PromptedSmall(side=64, width=32)


def batch(pictures: int = 2) -> Batch:
    config = ShapesConfig(size=(64, 64), pictures=pictures)
    fed = Preprocess(resize=Resize(rule="none"))
    return collate([prepare(draw_shapes(config, index), fed) for index in range(pictures)], 64)


def squares(*boxes: tuple[int, int, int, int], crowd: bool = False) -> InstanceSet:
    planes = np.zeros((len(boxes), 32, 32), bool)
    for plane, (x1, y1, x2, y2) in zip(planes, boxes, strict=True):
        plane[y1:y2, x1:x2] = True
    masks = Masks.from_dense(planes)
    return InstanceSet(masks.boxes(), np.zeros(len(boxes), np.int64), masks=masks, crowd=np.full(len(boxes), crowd))


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_same_seed_teaches_the_same() -> None:
    module, pictures = own_network(SMALL).eval(), batch()

    def losses(seed: int) -> list[float]:
        found = module.loss(pictures, torch.Generator().manual_seed(seed))
        return [value.item() for value in found.values()]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_objects_are_drawn_without_crowds_and_without_what_no_place_shows() -> None:
    truths = (squares((0, 0, 8, 8), (10, 10, 30, 20), (4, 30, 5, 31)), squares((0, 0, 32, 32), crowd=True))
    found = drawn_objects(truths, 64, 16, draw())
    assert found is not None and found.pictures.tolist() == [0, 0] and found.shares.shape == (2, 16, 16)
    # Four pixels a place: the square of 8 x 8 pixels at the corner fills two times two.
    corner = int(found.boxes[:, 0].argmin())
    assert found.shares[corner].sum() == 4 and found.masks[corner, :2, :2].all()
    assert found.shares[1 - corner].sum() == pytest.approx(200 / 16)
    assert drawn_objects((truths[1],), 64, 16, draw()) is None
    many = squares(*((4 * column, 0, 4 * column + 4, 4) for column in range(8)))
    some = [drawn_objects((many,), 32, 32, draw(seed)) for seed in range(2)]
    assert all(one is not None and len(one.pictures) == 3 for one in some)
    assert some[0] is not None and some[1] is not None and not np.array_equal(some[0].boxes, some[1].boxes)


def test_truth_of_another_kind_is_refused() -> None:
    with pytest.raises(DataError, match="expected annotated objects"):
        drawn_objects((None,), 64, 16, draw())


def test_a_perfect_answer_is_asked_for_clicks_and_a_box_and_loses_next_to_nothing() -> None:
    objects = drawn_objects((squares((4, 4, 20, 20)), squares((8, 0, 32, 16))), 32, 8, draw())
    assert objects is not None
    asked: list[PromptBatch] = []

    def perfect(prompts: PromptBatch) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append(prompts)
        right = 40 * torch.from_numpy(objects.masks).float()[:, None] - 20
        masks = torch.cat([-right, right, -right], 1) if prompts.several else right
        return masks, torch.tensor([[0.0, 1, 0]] * 2) if prompts.several else torch.ones(2, 1)

    losses = click_losses(perfect, objects, draw(), torch.device("cpu"))
    assert [(one.several, one.points.shape[1], one.masks is None) for one in asked] == [
        (True, 1, True), (False, 2, False), (False, 3, False), (False, 4, False), (False, 2, True),
    ]  # fmt: skip
    assert all(value.item() == pytest.approx(0, abs=1e-3) for value in losses.values())
    # All clicks lie on the objects, whose masks are four pixels a place.
    for prompts in asked[:4]:
        assert (prompts.labels == 1).all()
        places = ((prompts.points + 0.5) / 4).long()
        assert all(objects.masks[row, y, x] for row in range(2) for x, y in places[row].tolist())
    assert asked[4].labels.tolist() == [[2, 3]] * 2


def test_wrong_answers_are_corrected_and_only_the_best_of_three_counts() -> None:
    objects = drawn_objects((squares((0, 0, 16, 16)),), 32, 8, draw())
    assert objects is not None
    right = 40 * torch.from_numpy(objects.masks).float()[:, None] - 20
    seen: list[PromptBatch] = []

    def wrong(prompts: PromptBatch) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(prompts)
        count = 3 if prompts.several else 1
        return -right.expand(-1, count, -1, -1), torch.full((1, count), 0.5)

    losses = click_losses(wrong, objects, draw(), torch.device("cpu"))
    assert losses["dice"].item() > 0.95 and losses["iou"].item() == pytest.approx(0.25)
    # What is beside the object is larger, so clicks say that it is not part of it.
    assert (seen[1].labels[:, 1:] == 0).all()


def test_the_losses_are_the_papers() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 3, 4, 4, generator=generator)
    wanted = torch.rand(2, 3, 4, 4, generator=generator).round()
    shown = logits.sigmoid()
    alike = torch.where(wanted == 1, shown, 1 - shown)
    weight = torch.where(wanted == 1, 0.25, 0.75)
    focal = (-weight * (1 - alike) ** 2 * alike.log()).mean((2, 3))
    torch.testing.assert_close(learning._focal(logits, wanted), focal, rtol=1e-4, atol=1e-5)
    common = F.relu(shown * wanted).sum((2, 3))
    dice = 1 - (2 * common + 1) / (shown.sum((2, 3)) + wanted.sum((2, 3)) + 1)
    torch.testing.assert_close(dice_loss(logits.sigmoid(), wanted, (2, 3)), dice)


def test_boxes_are_drawn_a_little_off_and_inside_the_square() -> None:
    boxes = np.array([[0, 0, 100, 50], [30, 30, 31, 128], [60, 60, 128, 128]], np.float32)
    objects = Objects(np.zeros(3, np.int64), np.zeros((3, 8, 8), np.float32), boxes, 128)
    found = np.stack([learning._jittered(objects, draw(seed)) for seed in range(200)])
    assert (found >= 0).all() and (found <= 128).all() and (found[..., 2:] - found[..., :2] >= 1).all()
    # A tenth of the sides, and at most 20 pixels of 1,024.
    assert 1 < np.abs(found[:, 2] - boxes[2]).max() <= 2.5
    assert found[:, 2, 0].std() > 0.5 and not np.array_equal(found[0], found[1])


@pytest.mark.slow
def test_it_learns_a_picture_by_heart() -> None:
    module, pictures = own_network(SMALL), batch()
    optimizer = torch.optim.AdamW(module.parameters(), 3e-3)
    totals = []
    for step in range(25):
        total = torch.stack([*module.loss(pictures, torch.Generator().manual_seed(step)).values()]).sum()
        total.backward()
        optimizer.step()
        optimizer.zero_grad()
        totals.append(total.item())
    assert np.mean(totals[-5:]) < 0.75 * np.mean(totals[:5])


def test_a_picture_is_answered_alike_whoever_is_beside_it() -> None:
    """Prompts of several pictures are asked at once; each sees its own."""
    module, pictures = own_network(SMALL).eval(), batch()
    points = torch.tensor([[[20.0, 20.0]], [[40.0, 30.0]]])
    prompts = PromptBatch(points, torch.ones(2, 1, dtype=torch.long), None, True, -float("inf"))
    with torch.no_grad():
        together, scores = module._asking(module.embed(pictures.images))(prompts)
        for row in range(2):
            seen = module.embed(pictures.images[row : row + 1])
            own = replace(prompts, points=points[row : row + 1], labels=prompts.labels[:1])
            alone = module.answer(seen, own)
            torch.testing.assert_close(together[row], alone.logits, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(scores[row], alone.scores, atol=1e-4, rtol=1e-4)
