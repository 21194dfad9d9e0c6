"""A network made of a foreign file finds what plain functions on the tensors of that file find."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from everymask.models.build import build
from everymask.models.foreign.whole import Whole
from tests.models.foreign.region_reference import Reference

_HEADS = ("objectness_logits", "anchor_deltas", "cls_score", "bbox_pred")


def small_heads(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with the last layers of RPN and box heads so small that boxes and scores lie within their limits."""
    return tensors | {name: 0.02 * tensor for name, tensor in tensors.items() if name.split(".")[-2] in _HEADS}


def assert_same_detections(
    found: Whole, reference: Reference, *, ends: Callable[[Tensor], Tensor] = lambda boxes: boxes
) -> None:
    """Of a picture with padding 100 boxes of 4 classes within 0.01 pixels, scores within 1e-4, and the logits of masks.

    `ends` makes boxes of the reference such as end where ours do.
    """
    network = build(found.spec, 4).eval()
    network.load_state_dict(dict(found.tensors), strict=False)
    inside = (90, 120)
    image = torch.randn(1, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    image[:, :, inside[0] :] = image[:, :, :, inside[1] :] = 0
    with torch.no_grad():
        boxes, classes, scores, masks = reference(image.flip(1), inside)
        own = network(image, torch.tensor([[0, 0, inside[1], inside[0]]]))
    assert len(boxes) == 100 == len(own.boxes) and len(set(classes.tolist())) > 1
    assert torch.equal(own.class_ids, classes)
    torch.testing.assert_close(own.scores, scores, atol=1e-4, rtol=0)
    torch.testing.assert_close(own.boxes, ends(boxes), atol=1e-2, rtol=0)
    torch.testing.assert_close(own.mask_logits, masks, atol=1e-3, rtol=1e-3)
