"""Prediction by windows: what one shot says, in memory that does not grow with the height."""

from __future__ import annotations

import tempfile
import tracemalloc
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from everymask.backends.pytorch import build_predictor
from everymask.core.arrays import Array
from everymask.core.labels import Labels, labels_of
from everymask.core.randomness import rng
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.pictures.strips import Strips
from everymask.errors import ConfigError, DataError, MachineError
from everymask.infer import tiling
from everymask.infer.predictor import Predictor
from everymask.infer.tiling import Tiling, predict_strips, strips_of
from everymask.models.card import Card
from everymask.models.semantic.build import build_semantic
from everymask.models.specs.prompted import PromptedSmall
from everymask.models.specs.semantic import PLAIN_ENCODER, Head, UNet
from tests.grey_model import grey_model

LABELS = Labels(("ground", "road", "sky"))


@cache
def network(head: Head = "multiclass") -> Predictor:
    """A network of convolutions, pooling and norms, with the statistics of the pictures here and even answers.

    It looks about 10 pixels far.
    """
    spec = UNet(encoder=PLAIN_ENCODER, decoder_channels=(8,), upsampling="bilinear", head=head)
    preprocess = Preprocess(3, 255.0, (0.5,) * 3, (0.25,) * 3, Resize(rule="none"), divisor=8)
    labels = labels_of(LABELS.names[: 2 if head == "binary" else 3])
    image = torch.from_numpy(preprocess.normalise(picture(64, 96)))[None]
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        module = build_semantic(spec, len(labels))
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.momentum = None
        for _ in range(3):
            logits = module(image).logits
        module.get_submodule("classifier").bias -= logits.mean(dim=(0, 2, 3))
    return build_predictor(module, Card(spec, labels, preprocess), "cpu", precision="exact")


def picture(height: int, width: int) -> Array:
    """Soft blots: neighbouring pixels belong together, as in a photograph."""
    small = rng(7, "blots").random((height // 12 + 2, width // 12 + 2, 3), np.float32)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, 3)
    return (255 * large.clip(0, 1)).astype(np.uint8)


@pytest.mark.parametrize("head", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("size", [(61, 40), (1, 64), (50, 1)])
def test_one_window_gives_what_one_shot_gives(head: Head, size: tuple[int, int]) -> None:
    model, image = network(head).with_scores(), picture(*size)
    once, tiled = model.predict(image).semantic, model.predict(image, tiling=Tiling(64)).semantic
    np.testing.assert_array_equal(tiled.ids, once.ids)
    np.testing.assert_array_equal(tiled.scores, once.scores)


@pytest.mark.parametrize(
    ("head", "size", "tiles"),
    [
        ("multiclass", (97, 203), Tiling(64, 0.5)),
        ("multiclass", (203, 150), Tiling(96, 0.25)),
        ("multiclass", (65, 66), Tiling(64, 0.5)),
        ("multiclass", (250, 9), Tiling(60, 0.8)),
        ("binary", (161, 130), Tiling(64, 0.5)),
        ("multilabel", (161, 130), Tiling(64, 0.5)),
    ],
)
def test_windows_differ_from_one_shot_in_a_thousandth_at_most(head: Head, size: tuple[int, int], tiles: Tiling) -> None:
    image = picture(*size)
    once = network(head).predict(image).semantic.ids
    [tiled] = network(head).predict([image], tiling=tiles)
    assert tiled.semantic.ids.dtype == once.dtype
    assert len(np.unique(once)) > 1
    assert (tiled.semantic.ids != once).mean() <= 0.001


def test_windows_give_the_logits_of_one_shot_where_a_quarter_of_the_overlap_is_what_the_network_sees() -> None:
    model, image = network().with_scores(), picture(150, 133)
    once, tiled = model.predict(image).semantic, model.predict(image, tiling=Tiling(64, 0.7)).semantic
    assert once.scores is not None and tiled.scores is not None
    np.testing.assert_allclose(tiled.scores, once.scores, atol=1e-5)


def test_without_overlap_only_pixels_at_the_seams_differ() -> None:
    image = picture(128, 160)
    differs = network().predict(image).semantic.ids != network().predict(image, tiling=Tiling(64, 0)).semantic.ids
    rows, columns = np.nonzero(differs)
    # Windows lie at 0, 48 and 96 of the width: what they have in common is divided in its middle.
    seams = np.stack([abs(rows - 64), abs(columns - 56), abs(columns - 104)])
    assert len(rows)
    assert seams.min(axis=0).max() < 12


@pytest.mark.parametrize("divisor", [1, 7, 32])
@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.9])
def test_shares_of_windows_make_one_everywhere(overlap: float, divisor: int) -> None:
    for length in (1, 63, 64, 65, 129, 1000):
        spans = tiling.spans(length, Tiling(64, overlap), divisor)
        total = np.zeros(length)
        for span in spans:
            assert span.start <= span.first < span.done <= span.last <= span.stop
            assert span.start % divisor == 0 and span.stop - span.start <= -(-64 // divisor) * divisor
            total[span.first : span.last] += span.weights
        np.testing.assert_allclose(total, 1, rtol=1e-6)
        for before, after in pairwise(spans):
            assert before.done == after.first and before.last <= after.done
            assert before.stop - after.start >= min(overlap * 64, 64 - divisor)


def test_what_windows_share_may_lie_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = network().with_scores(), picture(90, 75)
    kept = model.predict(image, tiling=Tiling(32, 0.5)).semantic
    monkeypatch.setattr(tiling, "_BYTES_IN_MEMORY", 0)
    filed = model.predict(image, tiling=Tiling(32, 0.5)).semantic
    np.testing.assert_array_equal(filed.ids, kept.ids)
    np.testing.assert_array_equal(filed.scores, kept.scores)


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """J01"""

    class Full(tempfile.SpooledTemporaryFile[bytes]):
        def write(self, _: Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tiling, "_BYTES_IN_MEMORY", 0)
    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(MachineError, match="No space left") as caught:
        network().predict(picture(90, 75), tiling=Tiling(32))
    assert "TMPDIR" in caught.value.hint


def test_memory_does_not_grow_with_the_height(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    keep = tiling._Blocks.keep

    def watched(blocks: tiling._Blocks, sums: Array, place: int) -> None:
        keep(blocks, sums, place)
        held.append(sum((block if block.base is None else block.base).nbytes for block in blocks._in_memory.values()))

    monkeypatch.setattr(tiling._Blocks, "keep", watched)

    def peaks(height: int) -> tuple[int, int]:
        remaining = height

        def read(count: int) -> Array:
            nonlocal remaining
            count = min(count, remaining)
            remaining -= count
            return np.full((count, 200, 1), 60, np.uint8)

        held.clear()
        tracemalloc.start()
        try:
            strips = Strips((height, 200), 1, "uint8", False, read)
            rows = sum(len(found.ids) for _, found in predict_strips(grey_model(LABELS), strips, Tiling(64)))
            assert rows == height
            return tracemalloc.get_traced_memory()[1], max(held)
        finally:
            tracemalloc.stop()

    peaks(128)
    (few, few_kept), (many, many_kept) = peaks(256), peaks(1024)
    assert many - few < 0.25 * 200 * (1024 - 256)
    # Half of an overlap of a quarter of 64 rows, three classes.
    assert few_kept == many_kept == 4 * 3 * 8 * 200


def test_numbers_that_are_none_never_win() -> None:
    model = grey_model(LABELS, (float("nan"), 50.0, 100.0))
    image = np.repeat(np.array([[0, 60, 110]], np.uint8), 30, 0).repeat(12, 1)
    np.testing.assert_array_equal(
        model.predict(image, tiling=Tiling(16)).semantic.ids, np.repeat([[1, 1, 2]], 30, 0).repeat(12, 1)
    )


def test_more_classes_than_bytes_can_number() -> None:
    model = grey_model(labels_of(f"class {k}" for k in range(300)), [0.5 * k for k in range(300)])
    image = np.arange(20 * 30, dtype=np.float32).reshape(20, 30) / 4
    found = model.predict(image, tiling=Tiling(16, 0.5)).semantic.ids
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, model.predict(image).semantic.ids)


def test_windows_keep_the_resolution_of_the_picture() -> None:
    card = network().card
    shrinking = replace(network(), card=replace(card, preprocess=replace(card.preprocess, resize=Resize(16, 16))))
    image = picture(70, 90)
    assert (shrinking.predict(image).semantic.ids != network().predict(image).semantic.ids).any()
    tiled = [model.predict(image, tiling=Tiling(64)).semantic.ids for model in (network(), shrinking)]
    np.testing.assert_array_equal(*tiled)


def test_grey_is_repeated_for_a_network_of_colours() -> None:
    grey = picture(70, 40)[..., 0]
    np.testing.assert_array_equal(
        network().predict(grey, tiling=Tiling(32)).semantic.ids,
        network().predict(np.stack([grey] * 3, axis=2), tiling=Tiling(32)).semantic.ids,
    )


def floats(*values: float) -> Array:
    """Strips of 20 rows that are as bright as `values`."""
    return np.repeat(np.array(values, np.float32), 20)[:, None].repeat(9, 1)


def test_floats_fit_the_model_if_any_strip_says_so() -> None:
    model = replace(network(), card=replace(network().card, preprocess=Preprocess(1, 255.0, (0.0,), (1.0,))))
    model = replace(model, backend=grey_model(LABELS).backend)
    assert model.predict(floats(0.5, 0.5, 200), tiling=Tiling(32)).semantic.ids.shape == (60, 9)
    tiled = predict_strips(model, strips_of(floats(0.5, 0.5, 0.5)[..., None]), Tiling(32), name="dark.tif")
    with pytest.raises(DataError, match=r"^dark\.tif: .*float32 with values up to 0\.5"):
        list(tiled)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        pytest.param(floats(1, np.nan), "NaN", id="A27 NaN"),
        pytest.param(picture(40, 40).astype(np.uint16), "uint16", id="A25 16 bits"),
        pytest.param(np.zeros((40, 40, 5), np.uint8), "5", id="A26 channels"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(image: Array, message: str) -> None:
    with pytest.raises(DataError, match=rf"^picture: .*{message}"):
        network().predict(image, tiling=Tiling(32))


@pytest.mark.parametrize(("side", "overlap"), [(0, 0.25), (-5, 0.25), (64, -0.1), (64, 1.0), (64, float("nan"))])
def test_tiles_that_make_no_sense_are_refused(side: int, overlap: float) -> None:
    with pytest.raises(ConfigError, match=r"must (be at least|lie between)"):
        Tiling(side, overlap)


def test_prompts_are_not_answered_by_windows() -> None:
    with pytest.raises(ConfigError, match="answers prompts"):
        replace(network(), card=replace(network().card, spec=PromptedSmall())).predict(
            picture(40, 40), tiling=Tiling(32)
        )
