"""What an RF-DETR gives of what its queries say, and how masks of the frame become masks of the picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from everymask.data.feed.preprocess import Placement
from everymask.infer.decoding.instances import decode_instances
from everymask.models.detr.network import RFDETRNetwork
from everymask.models.detr.windows import into_windows, out_of_windows
from tests.models.networks import CLASSES, DETR, own_network


def test_the_surest_pairs_of_a_query_and_a_class_are_given_and_none_is_suppressed() -> None:
    module = own_network(DETR["rf-detr-seg"]).eval()
    assert isinstance(module, RFDETRNetwork)
    images = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        (said,), found = module.answers(images, last=True), module.with_detections(40)(images)
    assert said.masks is not None and found.mask_logits is not None and found.cut is not None
    scores, order = said.classes[0].sigmoid().flatten().sort(descending=True)
    rows = order[:40] // CLASSES
    torch.testing.assert_close(found.scores, scores[:40])
    assert torch.equal(found.class_ids, order[:40] % CLASSES) and found.cut.item() == scores[40].item()
    assert len(rows.unique()) < 40, "a query may be several classes"
    torch.testing.assert_close(found.mask_logits, said.masks.logits(0, rows))
    x, y, width, height = (96 * said.boxes[0, rows]).unbind(dim=1)
    expected = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], dim=1).clamp(0, 96)
    torch.testing.assert_close(found.boxes, expected)
    sure = module.with_detections(40)
    sure.spec = replace(sure.spec, score_threshold=float(scores[9]))
    with torch.no_grad():
        assert len(sure(images).scores) == 10


def test_windows_are_squares_of_the_picture_and_come_back() -> None:
    grid = torch.arange(4 * 6.0).view(1, 4, 6, 1)
    tokens = torch.cat([torch.full((2, 1, 1), -1.0), torch.cat([grid, 100 + grid]).flatten(1, 2)], dim=1)
    parts = into_windows(tokens, (4, 6), 2)
    assert parts.shape == (8, 7, 1)
    assert parts[1, :, 0].tolist() == [-1, 3, 4, 5, 9, 10, 11] and parts[6, 1:4, 0].tolist() == [112, 113, 114]
    assert torch.equal(out_of_windows(parts, (4, 6), 2)[1, 0], 100 + grid[0, ..., 0])


def test_masks_of_a_whole_square_become_those_of_the_picture_in_one_step() -> None:
    logits = torch.randn(3, 12, 12, generator=torch.Generator().manual_seed(2))
    boxes, ids, scores = np.array([[0, 0, 48, 48]] * 3, np.float32), np.zeros(3, np.int64), np.ones(3, np.float32)
    for placement, inside in ((Placement((75, 120), (48, 48)), (48, 48)), (Placement((75, 60), (40, 32)), (40, 32))):
        frame = logits[None]
        if inside != (48, 48):
            frame = F.interpolate(frame, scale_factor=4, mode="bilinear")[..., : inside[0], : inside[1]]
        expected = F.interpolate(frame, size=placement.original, mode="bilinear")[0] > 0
        found = decode_instances(boxes, ids, scores, logits.numpy(), placement, "quarter frame")
        assert found.masks is not None
        dense = np.stack([found.masks.to_dense(row) for row in range(3)])
        assert 0.2 < dense.mean() < 0.8 and (dense != expected.numpy()).mean() < 1e-3
