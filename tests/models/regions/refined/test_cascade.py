"""Cascade R-CNN: what each stage learns from, and what is averaged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from everymask.errors import ConfigError
from everymask.models.regions.refined.cascade import CascadeNetwork
from everymask.models.regions.samples import Known, Sampled
from everymask.models.specs.regions import CascadeMaskRCNN, CascadeRCNN, FasterRCNN
from tests.models.networks import REGIONS, object_batch, own_network, shared_network


def cascade(name: str) -> CascadeNetwork:
    network = shared_network(REGIONS[name])
    assert isinstance(network, CascadeNetwork)
    return network


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stage_ious": (0.5, 0.6)}, "must have a value for each stage, but have 2, 3 and 3"),
        ({"stage_ious": ()}, "have 0, 3 and 3"),
        ({"stage_ious": (0.5, 0.6, 1.7)}, "up to 1"),
        ({"stage_box_weights": ((0.0, 1.0, 1.0, 1.0),) * 3}, "above 0"),
    ],
)
@pytest.mark.parametrize("kind", [CascadeRCNN, CascadeMaskRCNN])
def test_stages_that_cannot_be_are_refused(kind: type[FasterRCNN], change: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        kind(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize("scores", ["probabilities", "logits"])
def test_stages_see_the_boxes_of_the_one_before_and_are_averaged(scores: str) -> None:
    network = cascade("cascade-rcnn").sharing()
    network.spec = replace(network.spec, stage_scores=scores)  # type: ignore[type-var]
    logits = torch.tensor([[[0.0, 3, 1, 0]], [[2.0, 0, 1, 0]], [[0.0, 1, 9, 0]]])
    deltas = torch.tensor([1.0, 0, 0, 0]).expand(1, 1, 4)
    seen = []

    def at(stage: int, pooler: object, regions: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(regions[0].clone())
        return logits[stage], deltas

    network._classify_at = at  # type: ignore[method-assign, assignment]
    region = torch.tensor([[10.0, 10, 30, 30]])
    found, boxes = network._judged(None, [region], torch.tensor([[0, 0, 96, 96]]))  # type: ignore[arg-type]
    steps = torch.tensor([[1.0, 0, 1, 0]]) * 20 / torch.tensor([[10.0], [20], [30]])  # of the width, by dx = 1
    torch.testing.assert_close(torch.cat(seen), torch.cat([region, region + steps[:1], region + steps[:2].sum(0)]))
    torch.testing.assert_close(boxes[0], (region + steps.sum(0)).expand(4, 4))
    mean = logits.softmax(2).mean(0) if scores == "probabilities" else logits.mean(0).softmax(1)
    torch.testing.assert_close(found, mean)


def test_a_later_stage_asks_for_more_overlap() -> None:
    """A region that overlaps its object by 0.65 stands for it in the first two stages, and not in the third."""
    network = cascade("cascade-rcnn").sharing()
    labels: list[list[int]] = []

    def at(stage: int, pooler: object, regions: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros(len(regions[0]), 4), torch.zeros(len(regions[0]), 1, 4)

    network._classify_at = at  # type: ignore[method-assign, assignment]
    truth = torch.tensor([[0.0, 0, 100, 10]])
    regions = torch.tensor([[0.0, 0, 65, 10], [0, 0, 100, 10], [0, 0, 55, 10]])
    sampled = Sampled([regions], [torch.zeros(3, dtype=torch.int64)], [torch.full((3,), 2)])
    known = Known([], [truth], [torch.tensor([2])], torch.tensor([[0, 0, 100, 100]]))
    counts = []
    for stage_ious in ((0.5, 0.6, 0.7), (0.5, 0.5, 0.5)):
        network.spec = replace(network.spec, stage_ious=stage_ious)
        losses = network._head_losses(None, sampled, known, None)  # type: ignore[arg-type]
        counts.append([float(losses[f"loss_box_reg_{stage}"]) > 0 for stage in (1, 2, 3)])
        labels.append([round(float(losses[f"loss_box_reg_{stage}"]), 6) for stage in (1, 2, 3)])
    assert counts == [[True, True, False], [True, True, True]]
    # Less overlap makes a larger loss, of which the second stage counts half.
    assert labels[0][1] < labels[1][1]


@pytest.mark.parametrize("name", ["cascade-mask-rcnn", "cascade-mask-rcnn-stages"])
def test_every_stage_learns_by_its_share(name: str) -> None:
    module, batch = own_network(REGIONS[name]), object_batch()
    draw = torch.Generator().manual_seed(0)
    losses = module.loss(batch, draw)
    masks = {f"loss_mask_{stage}" for stage in (1, 2, 3)} if name.endswith("stages") else {"loss_mask"}
    parts = {f"loss_{part}_{stage}" for part in ("classifier", "box_reg") for stage in (1, 2, 3)}
    assert set(losses) == parts | masks | {"loss_objectness", "loss_rpn_box_reg"}
    module.spec = replace(module.spec, stage_losses=(1.0, 1.0, 1.0))  # type: ignore[type-var, assignment]
    with torch.no_grad():
        whole = module.loss(batch, torch.Generator().manual_seed(0))
    shares = [
        float(losses[f"loss_classifier_{stage}"].detach() / whole[f"loss_classifier_{stage}"]) for stage in (1, 2, 3)
    ]
    assert np.allclose(shares, (1, 0.5, 0.25), rtol=0.01)
    torch.stack(list(losses.values())).sum().backward()
    assert all(
        parameter.grad is not None for key, parameter in module.named_parameters() if key.startswith("roi_heads.box")
    )


def test_mask_heads_of_all_stages_are_averaged() -> None:
    network = cascade("cascade-mask-rcnn-stages").sharing()
    values = torch.tensor([2.0, -1, 0.5])
    network._stage_masks = lambda stage, pooled, planes: values[stage].expand(1, 28, 28)  # type: ignore[method-assign]

    class Pool:
        def pool(self, *given: object) -> torch.Tensor:
            return torch.zeros(1, 16, 14, 14)

    found = network._mask_logits(Pool(), torch.zeros(1, 4), torch.zeros(1), torch.ones(1))  # type: ignore[arg-type]
    torch.testing.assert_close(found.sigmoid().mean(), values.sigmoid().mean())
