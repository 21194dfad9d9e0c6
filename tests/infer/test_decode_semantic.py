"""Logits become class ids of the original picture, as one resize of all planes would give them."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from everymask.core.labels import labels_of
from everymask.core.sample import Sample
from everymask.data.feed.preprocess import Placement, Preprocess, Resize
from everymask.errors import ConfigError
from everymask.infer import decode_semantic as module
from everymask.infer.decode_semantic import decode_semantic
from everymask.infer.predictor import build_predictor
from everymask.models.card import Card
from everymask.models.semantic.build import build_semantic
from everymask.models.specs.semantic import PLAIN_ENCODER, Head, UNet
from tests.grey_model import grey_model

LABELS = labels_of(["ground", "cell"])
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)


def planes(classes: int, size: tuple[int, int] = (12, 15)) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(classes).normal(size=(classes, *size)).astype(np.float32))


@pytest.mark.parametrize("bytes_at_once", [1, 2 * 4 * 31 * 37, 1 << 26], ids=["one", "two", "all"])
def test_some_classes_at_a_time_decide_as_all_at_once(monkeypatch: pytest.MonkeyPatch, bytes_at_once: int) -> None:
    monkeypatch.setattr(module, "_BYTES_AT_ONCE", bytes_at_once)
    logits = planes(7)
    whole = F.interpolate(logits[None], size=(31, 37), mode="bilinear", align_corners=False)[0]
    found = decode_semantic(logits, Placement((31, 37), (12, 15)), "multiclass").ids
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, whole.argmax(dim=0).numpy())
    several = decode_semantic(logits, Placement((31, 37), (12, 15)), "multilabel").ids
    np.testing.assert_array_equal(several, np.where(whole.max(dim=0).values > 0, whole.argmax(dim=0), 255))


def test_padding_and_offset_are_cut_away() -> None:
    logits = planes(3)
    found = decode_semantic(logits, Placement((6, 8), (6, 8), (2, 3), (12, 15)), "multiclass").ids
    np.testing.assert_array_equal(found, logits[:, 2:8, 3:11].argmax(dim=0).numpy())


def test_one_logit_tells_foreground_from_background() -> None:
    logits = torch.tensor([[[-1.0, 0.0, 0.1]]])
    assert decode_semantic(logits, Placement((1, 3), (1, 3)), "binary").ids.tolist() == [[0, 0, 1]]


def test_of_equal_logits_the_first_class_wins_and_nan_never() -> None:
    logits = torch.tensor([[[1.0, 0.0, 0.0]], [[1.0, torch.nan, 2.0]], [[0.0, 0.0, torch.nan]]])
    assert decode_semantic(logits, Placement((1, 3), (1, 3)), "multiclass").ids.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("bytes_at_once", [1, 1 << 26], ids=["one", "all"])
def test_scores_are_the_probabilities_of_what_was_chosen(monkeypatch: pytest.MonkeyPatch, bytes_at_once: int) -> None:
    monkeypatch.setattr(module, "_BYTES_AT_ONCE", bytes_at_once)
    placement, logits = Placement((31, 37), (12, 15)), 5 * planes(7)
    whole = F.interpolate(logits[None], size=(31, 37), mode="bilinear", align_corners=False)[0]
    several = whole.sigmoid().max(dim=0).values
    foreground = whole[0].sigmoid()
    expected = {
        "multiclass": whole.softmax(dim=0).max(dim=0).values,
        "multilabel": several.where(several > 0.5, 0),
        "binary": torch.maximum(foreground, 1 - foreground),
    }
    for head in get_args(Head):
        found = decode_semantic(logits, placement, head, scored=True)
        np.testing.assert_allclose(found.scores, expected[head], atol=1e-6)
        assert found.scores.dtype == np.float32
        without = decode_semantic(logits, placement, head)
        assert without.scores is None
        np.testing.assert_array_equal(found.ids, without.ids)


def test_scores_of_logits_that_are_no_numbers_or_beyond_them() -> None:
    inf, nan = torch.inf, torch.nan
    logits = torch.tensor(
        [[[nan, -inf, inf, 90.0, -1e4]], [[2.0, -inf, inf, -90.0, nan]], [[2.0, 0.0, 1.0, nan, -1e4]]]
    )
    found = decode_semantic(logits, Placement((1, 5), (1, 5)), "multiclass", scored=True)
    assert found.ids.tolist() == [[1, 2, 0, 0, 0]]
    assert found.scores.tolist() == [[0.5, 1, 0.5, 1, 0.5]]
    nothing = torch.full((2, 1, 1), nan)
    for head, score in (("multiclass", 0.5), ("binary", 0.5), ("multilabel", 0)):
        assert decode_semantic(nothing, Placement((1, 1), (1, 1)), head, scored=True).scores == score


def test_half_precision_decides_on_full_planes() -> None:
    logits = planes(4).bfloat16()
    full = decode_semantic(logits.float(), Placement((31, 37), (12, 15)), "multiclass")
    np.testing.assert_array_equal(decode_semantic(logits, Placement((31, 37), (12, 15)), "multiclass").ids, full.ids)


@pytest.mark.parametrize(("head", "expected"), [("multiclass", (0, 1)), ("binary", (0, 1)), ("multilabel", (255, 1))])
def test_a_prediction_has_the_size_of_the_picture(head: Head, expected: tuple[int, int]) -> None:
    model = grey_model(LABELS, None if head != "multilabel" else [1000.0, 50.0], head)
    picture = np.zeros((41, 57), np.uint8)
    picture[5:, 9:] = 50
    ids = model.predict(picture).semantic.ids
    np.testing.assert_array_equal(ids, np.where(picture, expected[1], expected[0]))


def test_a_batch_gives_what_single_pictures_give() -> None:
    """A network made by its spec, behind a resize and padding."""
    spec = UNet(encoder=PLAIN_ENCODER, decoder_channels=(8, 4), decoder_norm="none", upsampling="bilinear")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = build_semantic(spec, 2)
    card = Card(spec, LABELS, Preprocess(resize=Resize(24, 48), divisor=8))
    model = build_predictor(module, card, "cpu", precision="exact")
    pictures = [PIXELS, PIXELS[:30, ::-1], PIXELS[:, :40]]
    batched = list(model.stream([Sample(picture) for picture in pictures], batch=3))
    for picture, result in zip(pictures, batched, strict=True):
        assert result.semantic.ids.shape == picture.shape[:2]
    np.testing.assert_array_equal(batched[0].semantic.ids, model.predict(PIXELS).semantic.ids)
    assert repr(model) == "<Predictor UNet plain, 2 classes: ground, cell; cpu>"


def test_there_is_no_limit_of_detections() -> None:
    with pytest.raises(ConfigError, match="max-detections"):
        grey_model(LABELS).with_detections(5)
