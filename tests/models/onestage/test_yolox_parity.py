"""YOLOX beside its authors' package: what it says, which places stand for which objects, and what it loses."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from everymask.core.segmentation import InstanceSet
from everymask.models.base import Batch
from everymask.models.build import build
from everymask.models.foreign.whole_models import load_foreign, read_foreign
from everymask.models.onestage.places import places_of
from everymask.models.onestage.simota import assign
from everymask.models.onestage.yolox import YOLOXNetwork
from everymask.models.specs.onestage import YOLOX
from tests.models.onestage.yolox_reference import authors_yolox

CLASSES = 5


def pair(encoder: str, classes: int = CLASSES) -> tuple[YOLOXNetwork, Any]:
    theirs = authors_yolox(YOLOX(encoder=encoder), classes)
    ours = build(YOLOX(encoder=encoder), classes).eval()
    ours.load_state_dict(theirs.state_dict())
    assert isinstance(ours, YOLOXNetwork)
    return ours, theirs


@pytest.mark.parametrize("encoder", ["csp_darknet_nano", pytest.param("csp_darknet_tiny", marks=pytest.mark.slow)])
def test_says_what_the_authors_network_says(encoder: str) -> None:
    ours, theirs = pair(encoder)
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        boxes, objectness, logits, _ = ours.look(images)
        expected = theirs(images)
    middle, extent = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    found = torch.cat([middle, extent, objectness.sigmoid()[..., None], logits.sigmoid()], dim=-1)
    assert expected[..., 5:].std() > 0.005
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["csp_darknet_s", "csp_darknet_m", "csp_darknet_l", "csp_darknet_x"])
def test_has_their_tensors(encoder: str) -> None:
    with torch.device("meta"):
        theirs, ours = authors_yolox_bare(encoder), build(YOLOX(encoder=encoder), 80)
    shapes = {name: tensor.shape for name, tensor in theirs.state_dict().items()}
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == shapes


def authors_yolox_bare(encoder: str) -> Any:
    from everymask.models.onestage.csp_darknet import SIZES
    from tests.models.onestage.yolox_reference import REASON

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = pytest.importorskip("yolox.models", reason=REASON)
    size = SIZES[encoder]  # type: ignore[index]
    return models.YOLOX(models.YOLOPAFPN(size.depth, size.width), models.YOLOXHead(80, size.width))


def test_assigns_and_loses_as_the_authors_do() -> None:
    ours, theirs = pair("csp_darknet_nano")
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(3, 3, 96, 128, generator=generator)
    # Wide and narrow boxes, some on each other, one smaller than a cell, and a picture without any.
    low = torch.rand(2, 6, 2, generator=generator) * torch.tensor([90.0, 60.0])
    extent = torch.rand(2, 6, 2, generator=generator) * 50 + 2
    boxes = torch.cat([low, low + extent], dim=2)
    kinds = torch.randint(0, CLASSES, (2, 6), generator=generator)
    truths = (*map(instances, boxes, kinds), instances(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)))
    batch = Batch(images, torch.tensor([[0, 0, 128, 96]] * 3), truths, files=("a", "b", "c"))
    labels = torch.zeros(3, 8, 5)
    labels[:2, :6, 0] = kinds
    labels[:2, :6, 1:] = torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, extent], dim=2)

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parts of PyTorch that they still use
        theirs.head.training = True  # which asks for losses; its norms stay as they are
        _, box, objectness, classes, _, matched = theirs.head(theirs.backbone(images), labels, images)
        losses = ours.loss(batch)
        seen = ours.look(images)
    expected = {"loss_box": box, "loss_objectness": objectness, "loss_classifier": classes}
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, atol=1e-4, rtol=1e-4)
    taken = [
        assign((own, label), seen[3], *(part[picture] for part in seen[:3])).places
        for picture, (own, label) in enumerate(zip(boxes, kinds, strict=True))
    ]
    assert sum(map(len, taken)) == pytest.approx(float(matched) * 12)


def instances(boxes: torch.Tensor, kinds: torch.Tensor) -> InstanceSet:
    return InstanceSet(boxes.numpy().astype(np.float32), kinds.numpy())


def test_simota_equals_theirs_on_random_cases() -> None:
    _, theirs = pair("csp_darknet_nano")
    maps = [torch.zeros(1, 1, 96 // stride, 96 // stride) for stride in (8, 16, 32)]
    places, head = places_of(maps), theirs.head
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        count, number = int(torch.randint(1, 9, (), generator=generator)), len(places.strides)
        low = torch.rand(count, 2, generator=generator) * 80
        own = torch.cat([low, low + 1 + 60 * torch.rand(count, 2, generator=generator)], dim=1)
        near = own[torch.randint(0, count, (number,), generator=generator)]
        boxes = near + 12 * torch.randn(number, 4, generator=generator)
        boxes = torch.cat([boxes[:, :2], torch.maximum(boxes[:, 2:], boxes[:, :2] + 1)], dim=1)
        kinds = torch.randint(0, CLASSES, (count,), generator=generator)
        objectness, logits = torch.randn(number, generator=generator), torch.randn(number, 5, generator=generator)
        found = assign((own, kinds), places, boxes, objectness, logits)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _, foreground, iou, rows, _ = head.get_assignments(
                0, count, number, _middles(own), kinds.float(), _middles(boxes), places.strides[None],
                places.corners[None, :, 0] / places.strides, places.corners[None, :, 1] / places.strides,
                logits[None], None, objectness[None, :, None], None, None,
            )  # fmt: skip
        assert torch.equal(found.places, foreground.nonzero()[:, 0]) and torch.equal(found.rows, rows)
        torch.testing.assert_close(found.iou, iou, atol=1e-5, rtol=1e-5)


def _middles(boxes: torch.Tensor) -> torch.Tensor:
    return torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], dim=1)


def test_their_files_load(tmp_path: Path) -> None:
    theirs = authors_yolox(YOLOX(), CLASSES)
    torch.save({"model": theirs.state_dict(), "start_epoch": 3, "best_ap": 0.1}, tmp_path / "best_ckpt.pth")
    foreign = read_foreign(tmp_path / "best_ckpt.pth")
    assert foreign is not None
    module, card = load_foreign(foreign, tmp_path / "best_ckpt.pth")
    assert card.spec == YOLOX(profile=card.spec.profile) and card.spec.profile.padding == (114.0,) * 3  # type: ignore[union-attr]
    assert card.preprocess.bgr and card.preprocess.divisor == 416
    assert card.labels.names == tuple(f"class {number}" for number in range(CLASSES))
    # They are given bytes, and our network what is left of them without the padding's grey.
    picture = torch.randint(0, 256, (1, 3, 64, 64), generator=torch.Generator().manual_seed(0)).float()
    with torch.no_grad():
        found, expected = module.look(picture - 114)[1].sigmoid(), theirs(picture)[..., 4]  # type: ignore[operator]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
