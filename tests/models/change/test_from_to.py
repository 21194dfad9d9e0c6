"""Networks that say what became of what: their answers, their loss, and how both are read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from everymask.backends.pytorch_decode import decode_on_device
from everymask.core.segmentation import ChangeMap, SemanticMap
from everymask.data.feed.preprocess import Placement
from everymask.errors import ConfigError, DataError
from everymask.infer.decoding.semantic import decode_semantic
from everymask.models.base import Batch
from everymask.models.semantic.network import semantic_targets
from everymask.models.specs.change import TinyCD
from everymask.models.specs.named import network
from everymask.models.specs.semantic import UNet
from everymask.train.semantic_losses import build_loss
from tests.models.networks import own_network, shared_network

SPEC = UNet(encoder="plain", decoder_channels=(8, 4), fusion="difference", head="from-to")
CLASSES = 4


def two_dates() -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.rand(2, 2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    return drawn[0], drawn[1]


def test_each_date_has_its_classes_and_both_the_change() -> None:
    before, after = two_dates()
    module = shared_network(SPEC, CLASSES)
    with torch.no_grad():
        there = module(torch.cat([before, after], dim=1)).logits  # type: ignore[operator]
        back = module(torch.cat([after, before], dim=1)).logits  # type: ignore[operator]
    assert there.shape == (2, 7, 32, 48)
    torch.testing.assert_close(there[:, :1], back[:, :1])
    torch.testing.assert_close(there[:, 1:4], back[:, 4:])
    torch.testing.assert_close(there[:, 4:], back[:, 1:4])
    assert not torch.allclose(there[:, 1:4], there[:, 4:])


def test_a_date_is_seen_as_if_it_were_alone() -> None:
    before, after = two_dates()
    module = shared_network(SPEC, CLASSES)
    with torch.no_grad():
        first = module(torch.cat([before, after], dim=1)).logits  # type: ignore[operator]
        second = module(torch.cat([before, 1 - after], dim=1)).logits  # type: ignore[operator]
    torch.testing.assert_close(first[:, 1:4], second[:, 1:4])
    assert not torch.allclose(first[:, 4:], second[:, 4:])


@pytest.mark.parametrize("scored", [False, True])
def test_answers_become_what_was_and_what_is(scored: bool) -> None:
    logits = torch.randn(7, 16, 24, generator=torch.Generator().manual_seed(1))
    place = Placement((16, 24), (32, 48))
    found = decode_semantic(logits.numpy(), Placement((16, 24), (16, 24)), "from-to", ignore=255, scored=scored)
    assert isinstance(found, ChangeMap) and found.was is not None
    changed = logits[0].numpy() > 0
    np.testing.assert_array_equal(found.ids, np.where(changed, logits[4:].argmax(0).numpy() + 1, 0))
    np.testing.assert_array_equal(found.was, np.where(changed, logits[1:4].argmax(0).numpy() + 1, 0))
    if scored:
        sure = logits[:1].abs().sigmoid()[0] * torch.where(logits[0] > 0, logits[4:].softmax(0).amax(0), 1.0)
        np.testing.assert_allclose(found.scores, sure.numpy(), rtol=1e-5)
    assert place.original == (16, 24)
    device = decode_on_device(logits, Placement((16, 24), (16, 24)), "from-to", ignore=255, scored=scored)
    np.testing.assert_array_equal(device.ids, found.ids)
    np.testing.assert_array_equal(device.planes["was"], found.was)


def batch_of(truth: SemanticMap) -> Batch:
    return Batch(torch.rand(1, 6, 8, 8), torch.tensor([[0, 0, 8, 8]]), (truth,), ("a",), ("a.png",))


def test_classes_are_learned_inside_of_the_change_alone() -> None:
    now, was = np.zeros((2, 8, 8), np.uint8)
    now[:4], was[:4], now[7], was[7] = 3, 1, 255, 255
    target = semantic_targets(batch_of(ChangeMap(now, was=was)), CLASSES, "from-to")
    assert target.shape == (1, 2, 8, 8) and target[0, :, 0, 0].tolist() == [1, 3] and target[0, 0, 7, 0] == -100
    logits = torch.randn(1, 7, 8, 8, generator=torch.Generator().manual_seed(2), requires_grad=True)
    for text in ("ce", "ce+dice", "focal", "ohem", "lovasz"):
        loss = build_loss(text, "from-to", class_weights=(0.1, 1.0, 2.0, 3.0))
        (gradient,) = torch.autograd.grad(loss(logits, target), logits)
        assert gradient[0, 1:, 4:].abs().max() == 0 and gradient[0, 1:, :4].abs().min() > 0
        assert gradient[0, :, 7].abs().max() == 0
    perfect = torch.full((1, 7, 8, 8), -20.0)
    perfect[:, 0, :4] = perfect[:, 1, :4] = perfect[:, 6, :4] = 20.0
    assert build_loss("ce+dice", "from-to")(perfect, target) < 1e-3


def test_truth_of_the_change_alone_is_refused_with_a_cure() -> None:
    with pytest.raises(DataError, match="not what became of what") as caught:
        semantic_targets(batch_of(ChangeMap(np.zeros((8, 8), np.uint8))), CLASSES, "from-to")
    assert "label1/" in caught.value.hint


def test_a_training_step_moves_all_parts() -> None:
    module = own_network(SPEC, CLASSES)
    now, was = np.zeros((2, 32, 32), np.uint8)
    now[:16], was[:16] = 2, 3
    images = torch.rand(1, 6, 32, 32, generator=torch.Generator().manual_seed(3))
    batch = Batch(images, torch.tensor([[0, 0, 32, 32]]), (ChangeMap(now, was=was),), ("a",), ("a.png",))
    sum(module.loss(batch).values()).backward()  # type: ignore[union-attr]
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert module.class_rows().counts.keys() == {"classifier.weight", "classifier.bias"}


def test_it_needs_dates_that_are_seen_apart() -> None:
    assert network("unet", head="from-to") == UNet(fusion="difference", head="from-to")
    for wrong in (None, "early"):
        with pytest.raises(ConfigError, match="must see two dates apart"):
            UNet(head="from-to", fusion=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="TinyCD says what changed, but not what became of what"):
        TinyCD(head="from-to")
