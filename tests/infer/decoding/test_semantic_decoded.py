"""Logits become class ids of the original picture, as one resize of all planes would give them."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from everymask.backends.pytorch import build_predictor
from everymask.backends.pytorch_decode import decode_on_device
from everymask.core.arrays import FloatArray
from everymask.core.labels import labels_of
from everymask.core.sample import Sample
from everymask.data.feed.preprocess import Placement, Preprocess, Resize
from everymask.errors import ConfigError
from everymask.infer.decoding import semantic as module
from everymask.infer.decoding.semantic import decode_semantic
from everymask.models.card import Card
from everymask.models.semantic.build import build_semantic
from everymask.models.specs.semantic import PLAIN_ENCODER, Head, UNet
from tests.grey_model import grey_model

LABELS = labels_of(["ground", "cell"])
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)


def planes(classes: int, size: tuple[int, int] = (12, 15)) -> FloatArray:
    return np.random.default_rng(classes).normal(size=(classes, *size)).astype(np.float32)


def interpolated(logits: FloatArray, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(torch.from_numpy(logits)[None], size=size, mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize("pixels_at_once", [1, 2 * 37, 1 << 16], ids=["one row", "two rows", "all"])
@pytest.mark.parametrize("size", [(31, 37), (12, 37), (31, 15), (12, 15), (5, 7)], ids="{0[0]}x{0[1]}".format)
def test_some_rows_at_a_time_decide_as_all_at_once(
    monkeypatch: pytest.MonkeyPatch, pixels_at_once: int, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(module, "_PIXELS_AT_ONCE", pixels_at_once)
    logits = planes(7)
    whole = interpolated(logits, size)
    found = decode_semantic(logits, Placement(size, (12, 15)), "multiclass", ignore=255).ids
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, whole.argmax(dim=0).numpy())
    several = decode_semantic(logits, Placement(size, (12, 15)), "multilabel", ignore=255).ids
    np.testing.assert_array_equal(several, np.where(whole.max(dim=0).values > 0, whole.argmax(dim=0), 255))


def test_padding_and_offset_are_cut_away() -> None:
    logits = planes(3)
    found = decode_semantic(logits, Placement((6, 8), (6, 8), (2, 3), (12, 15)), "multiclass", ignore=255).ids
    np.testing.assert_array_equal(found, logits[:, 2:8, 3:11].argmax(axis=0))


def test_one_logit_tells_foreground_from_background() -> None:
    logits = np.array([[[-1.0, 0.0, 0.1]]], np.float32)
    assert decode_semantic(logits, Placement((1, 3), (1, 3)), "binary", ignore=255).ids.tolist() == [[0, 0, 1]]


def test_of_equal_logits_the_first_class_wins_and_nan_never() -> None:
    logits = np.array([[[1.0, 0.0, 0.0]], [[1.0, np.nan, 2.0]], [[0.0, 0.0, np.nan]]], np.float32)
    assert decode_semantic(logits, Placement((1, 3), (1, 3)), "multiclass", ignore=255).ids.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("pixels_at_once", [1, 1 << 16], ids=["one row", "all"])
def test_scores_are_the_probabilities_of_what_was_chosen(monkeypatch: pytest.MonkeyPatch, pixels_at_once: int) -> None:
    monkeypatch.setattr(module, "_PIXELS_AT_ONCE", pixels_at_once)
    # Twice the size: float32 holds the places that are read, whatever the kernel.
    placement, logits = Placement((24, 30), (12, 15)), 5 * planes(7)
    whole = interpolated(logits, (24, 30))
    several = whole.sigmoid().max(dim=0).values
    foreground = whole[0].sigmoid()
    expected = {
        "multiclass": whole.softmax(dim=0).max(dim=0).values,
        "multilabel": several.where(several > 0.5, 0),
        "binary": torch.maximum(foreground, 1 - foreground),
        "from-to": torch.where(
            foreground > 0.5, foreground * whole[4:].softmax(dim=0).max(dim=0).values, 1 - foreground
        ),
    }
    for head in get_args(Head):
        found = decode_semantic(logits, placement, head, ignore=255, scored=True)
        np.testing.assert_allclose(found.scores, expected[head], atol=1e-6)
        assert found.scores.dtype == np.float32
        without = decode_semantic(logits, placement, head, ignore=255)
        assert without.scores is None
        np.testing.assert_array_equal(found.ids, without.ids)


def test_scores_of_logits_that_are_no_numbers_or_beyond_them() -> None:
    inf, nan = np.inf, np.nan
    logits = np.array(
        [[[nan, -inf, inf, 90.0, -1e4]], [[2.0, -inf, inf, -90.0, nan]], [[2.0, 0.0, 1.0, nan, -1e4]]], np.float32
    )
    found = decode_semantic(logits, Placement((1, 5), (1, 5)), "multiclass", ignore=255, scored=True)
    assert found.ids.tolist() == [[1, 2, 0, 0, 0]]
    assert found.scores.tolist() == [[0.5, 1, 0.5, 1, 0.5]]
    nothing = np.full((2, 1, 1), nan, np.float32)
    for head, score in (("multiclass", 0.5), ("binary", 0.5), ("multilabel", 0)):
        assert decode_semantic(nothing, Placement((1, 1), (1, 1)), head, ignore=255, scored=True).scores == score


@pytest.mark.parametrize("head", get_args(Head))
@pytest.mark.parametrize("size", [(64, 48), (31, 97), (150, 133)], ids="{0[0]}x{0[1]}".format)
def test_the_values_of_a_pixel_may_lie_side_by_side(head: Head, size: tuple[int, int]) -> None:
    """As networks that work with the channels last in memory give them."""
    logits = planes(5, (64, 48))
    last = np.ascontiguousarray(logits.transpose(1, 2, 0)).transpose(2, 0, 1)
    placement = Placement(size, (60, 47), (3, 1), (64, 48))
    first, second = (decode_semantic(each, placement, head, ignore=255, scored=True) for each in (logits, last))
    np.testing.assert_array_equal(first.ids, second.ids)
    np.testing.assert_array_equal(first.scores, second.scores)


@pytest.mark.parametrize("head", get_args(Head))
@pytest.mark.parametrize("classes", [3, 300])
def test_a_device_decides_as_the_processor_does(head: Head, classes: int) -> None:
    logits = 3 * planes(classes)
    logits[:, 4, 5] = np.nan
    placement = Placement((31, 37), (10, 14), (1, 0), (12, 15))
    here = decode_semantic(logits, placement, head, ignore=255, scored=True)
    there = decode_on_device(torch.from_numpy(logits), placement, head, ignore=255, scored=True)
    assert here.ids.dtype == there.ids.dtype
    np.testing.assert_array_equal(here.ids, there.ids)
    np.testing.assert_allclose(here.scores, there.scores, atol=1e-6)


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


def test_there_are_no_detections_to_limit_or_to_merge() -> None:
    with pytest.raises(ConfigError, match="max-detections"):
        grey_model(LABELS).with_detections(5)
    with pytest.raises(ConfigError, match="duplicate-iou"):
        grey_model(LABELS).without_duplicates(0.8)
