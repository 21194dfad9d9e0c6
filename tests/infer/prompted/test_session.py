"""Sessions: a picture is looked at once, prompts add up, and what cannot be meant is refused."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from everymask.core.masks import Masks
from everymask.errors import ConfigError, DataError, WeightsError
from everymask.infer.predictor import Predictor
from everymask.infer.prompted.looks import Looks
from everymask.models.prompted.network import PromptedNetwork
from everymask.models.specs.prompted import SAM, SAM2
from tests.models.prompted.random_sam import official_sam, own_of, predictor_of, scatter


@cache
def small_model(seed: int = 0, *, second: bool = False) -> Predictor:
    """A network of random weights."""
    module = PromptedNetwork(SAM2(side=64) if second else SAM(encoder="vit_t", side=64))
    scatter(module, seed)
    return predictor_of(module.eval())


def picture(height: int = 40, width: int = 60, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def masks_of(result: Any) -> list[np.ndarray]:
    return [result.instances.masks.to_dense(row) for row in range(len(result.instances))]


def test_a_session_says_what_the_authors_predictor_says() -> None:
    segment_anything = pytest.importorskip("segment_anything", reason="segment-anything is the reference")
    sam, image = official_sam(), picture(157, 211)
    theirs = segment_anything.SamPredictor(sam)
    theirs.set_image(image)
    session = predictor_of(own_of(sam.state_dict())).session(image)

    masks, scores, logits = theirs.predict(np.array([[30, 40]]), np.array([1]))
    found = session.predict([[30, 40]], candidates=True)
    order = np.argsort(-scores)
    assert masks.any(axis=(1, 2)).all() and not masks.all(axis=(1, 2)).any()
    check_same(found, masks[order], scores[order])

    mask, score, _ = theirs.predict(
        np.array([[30, 40], [60.5, 70]]), np.array([1, 0]), mask_input=logits[[scores.argmax()]], multimask_output=False
    )
    check_same(session.predict([[60.5, 70]], [0]), mask, score)

    box = np.array([10, 20, 100, 120])
    mask, score, _ = theirs.predict(box=box, multimask_output=False)
    check_same(session.predict(boxes=box), mask, score)


def check_same(found: Any, masks: np.ndarray, scores: np.ndarray) -> None:
    np.testing.assert_allclose(found.instances.scores, np.clip(scores, 0, 1), atol=1e-4)
    for mine, his in zip(masks_of(found), masks, strict=True):
        assert (mine & his).sum() >= 0.999 * (mine | his).sum()


@pytest.mark.parametrize("second", [False, True])
def test_what_is_pointed_at_becomes_an_ordinary_result(second: bool) -> None:
    session = small_model(second=second).session(picture())
    found = session.predict(boxes=[[5, 6, 30, 30], [0, 0, 60, 40]], points=[[[10, 10]], [[20, 20]]], labels=[[1], [0]])
    instances = found.instances
    assert found.sample.size == instances.size == session.size == (40, 60)
    assert (
        len(instances) == 2
        and instances.scores is not None
        and ((instances.scores >= 0) & (instances.scores <= 1)).all()
    )
    assert instances.masks is not None and (instances.boxes == instances.masks.boxes()).all()
    assert [row.name for row in found.objects()] == ["object", "object"]
    assert len(found.to_coco()) == 2
    assert session.logits is not None and session.logits.shape == (2, 16, 16)


def test_points_refine_until_a_box_or_reset_begins_anew() -> None:
    session, other = small_model().session(picture()), small_model().session(picture())
    first = session.predict([10, 10])
    assert session.logits is not None
    before = session.logits
    second = session.predict([[30, 20]], [0])
    # The same at once: all points, and the mask of the answer before.
    np.testing.assert_array_equal(
        masks_of(second)[0], masks_of(other.predict([[10, 10], [30, 20]], [1, 0], mask=before))[0]
    )
    session.undo()
    np.testing.assert_array_equal(session.logits, before)
    np.testing.assert_array_equal(masks_of(session.predict([[30, 20]], [0]))[0], masks_of(second)[0])
    boxed = session.predict(boxes=[5, 5, 30, 30])
    fresh = small_model().session(picture())
    np.testing.assert_array_equal(masks_of(boxed)[0], masks_of(fresh.predict(boxes=[5, 5, 30, 30]))[0])
    session.reset()
    assert session.logits is None
    np.testing.assert_array_equal(masks_of(session.predict([10, 10]))[0], masks_of(first)[0])


def test_many_boxes_are_answered_as_each_alone() -> None:
    boxes = np.array([[5, 6, 30, 30], [0, 0, 60, 40], [40, 20, 60, 40]])
    session = small_model().session(picture())
    together = masks_of(session.predict(boxes=boxes))
    for box, mask in zip(boxes, together, strict=True):
        assert (masks_of(session.predict(boxes=box))[0] ^ mask).mean() < 1e-3


@pytest.mark.parametrize("second", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_mask_is_a_prompt_as_pixels_and_as_logits(second: bool) -> None:
    session = small_model(second=second).session(picture())
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:50] = True
    from_pixels = session.predict(mask=mask)
    logits = session.logits
    session.reset()
    given = Masks.from_dense(mask[None])
    np.testing.assert_array_equal(masks_of(session.predict(mask=given))[0], masks_of(from_pixels)[0])
    session.reset()
    assert len(session.predict(mask=logits).instances) == 1
    session.reset()
    assert len(session.predict(mask=np.stack([mask, ~mask])).instances) == 2


def test_a_picture_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, looks = predictor_of(own_of(PromptedNetwork(SAM(encoder="vit_t", side=64)).state_dict())), []
    encode = type(model.backend).encode
    monkeypatch.setattr(type(model.backend), "encode", lambda self, image: looks.append(1) or encode(self, image))
    for _ in range(2):
        model.session(picture()).predict([1, 1])
    assert len(looks) == 1
    model.session(picture(seed=1))
    model.session(picture())
    assert len(looks) == 2
    assert len(pickle.loads(pickle.dumps(model)).session(picture()).predict([1, 1]).instances) == 1


def test_threads_share_a_model() -> None:
    model, boxes = replace(small_model(), looks=Looks()), [[5, 5, 30, 30], [0, 0, 60, 40], [40, 20, 60, 40]]

    def answered(number: int) -> np.ndarray:
        return masks_of(model.session(picture(seed=number)).predict(boxes=boxes[number]))[0]

    expected = [answered(number) for number in range(3)]
    model = replace(model, looks=Looks())
    with ThreadPoolExecutor(3) as pool:
        for number, mask in enumerate(pool.map(answered, [0, 1, 2] * 3)):
            np.testing.assert_array_equal(mask, expected[number % 3])


def test_looks_stay_within_their_budget() -> None:
    session = small_model().session(picture())
    seen = session._seen.embedding
    looks = Looks(budget=2 * seen.nbytes)
    for name in "abca":
        looks.get(name, lambda: seen)
    made: list[str] = []
    for name in "acb":
        looks.get(name, lambda name=name: made.append(name) or seen)  # type: ignore[misc,func-returns-value]
    assert made == ["b"]
    small = Looks(budget=1)
    assert small.get("a", lambda: seen) is seen and not small._kept


def test_what_was_seen_is_stored_and_only_for_its_picture_and_network(tmp_path: Path) -> None:
    session = small_model().session(picture())
    expected = masks_of(session.predict(boxes=[5, 5, 30, 30]))[0]
    session.save(tmp_path / "seen.safetensors")
    fresh = Predictor(small_model().backend, small_model().card)
    again = fresh.session(picture(), embedding=tmp_path / "seen.safetensors")
    np.testing.assert_array_equal(masks_of(again.predict(boxes=[5, 5, 30, 30]))[0], expected)
    with pytest.raises(DataError, match="another picture"):
        fresh.session(picture(seed=1), embedding=tmp_path / "seen.safetensors")
    with pytest.raises(WeightsError, match="another network"):
        other = predictor_of(own_of(PromptedNetwork(SAM(encoder="vit_t", side=64)).state_dict()))
        other.session(picture(), embedding=tmp_path / "seen.safetensors").predict([1, 1])
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "seen.safetensors").read_bytes()[:-9])
    for name in ("cut.safetensors", "none.safetensors"):
        with pytest.raises(DataError, match="not a whole file"):
            fresh.session(picture(), embedding=tmp_path / name)
    data = bytearray((tmp_path / "seen.safetensors").read_bytes())
    data[-100] ^= 1
    (tmp_path / "flipped.safetensors").write_bytes(data)
    with pytest.raises(DataError, match="do not match their digest"):
        fresh.session(picture(), embedding=tmp_path / "flipped.safetensors")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "there is no prompt"),
        ({"points": [[60, 10]]}, r"\(60, 10\) lies outside the picture, which is 60 pixels wide and 40 high"),
        ({"points": [[10, 50]]}, r"seems to be \(y, x\)"),
        ({"points": [[-1, 5]]}, "lies outside"),
        ({"points": [[1, 2], [3, 4]], "labels": [0, 0]}, "negative"),
        ({"points": [[np.nan, 2]]}, "finite"),
        ({"points": [["a", "b"]]}, "numbers"),
        ({"points": [[1, 2, 3]]}, r"\[N, 2\]"),
        ({"points": [[1, 2], [3]]}, "different lengths"),
        ({"points": []}, r"\[N, 2\]"),
        ({"points": [[1, 2]], "labels": [1, 0]}, r"labels must be \[1, 1\]"),
        ({"points": [[1, 2]], "labels": [2]}, "1 .on the object. or 0"),
        ({"labels": [1]}, "there are no points"),
        ({"boxes": [30, 5, 10, 20]}, "reversed"),
        ({"boxes": [10, 5, 10, 20]}, "empty"),
        ({"boxes": [[1, 1, 5, 5], [0, 0, 61, 20]]}, "box 1 .* outside"),
        ({"boxes": [1, 2, np.inf, 4]}, "finite"),
        ({"boxes": [1, 2, 3]}, r"\[B, 4\]"),
        ({"boxes": np.zeros((0, 4))}, r"\[B, 4\]"),
        ({"boxes": [[1, 1, 5, 5], [2, 2, 9, 9]], "points": [[1, 2]]}, "for 1 and boxes for 2"),
        ({"mask": np.zeros((40, 61), bool)}, r"booleans \[1, 40, 60\]"),
        ({"mask": np.zeros((40, 60))}, "float64"),
        ({"mask": "x"}, "mask must be"),
        ({"mask": np.full((16, 16), np.nan, np.float32)}, "finite logits"),
    ],
)
def test_what_cannot_be_meant_is_refused(asked: dict[str, Any], said: str) -> None:
    session = small_model().session(picture())
    with pytest.raises(ConfigError, match=said):
        session.predict(**asked)
    assert session.logits is None


def test_nothing_to_take_back_and_other_objects_in_progress_are_refused() -> None:
    session = small_model().session(picture())
    with pytest.raises(ConfigError, match="nothing to take back"):
        session.undo()
    session.predict(boxes=[[1, 1, 5, 5], [2, 2, 9, 9]])
    with pytest.raises(ConfigError, match="for 1 objects, but 2 are in progress"):
        session.predict([[3, 3]])


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (20_000, 3)])
@pytest.mark.parametrize("second", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_pictures_of_any_size_are_answered(size: tuple[int, int], second: bool) -> None:
    session = small_model(second=second).session(picture(*size))
    found = session.predict(points=[[size[1] - 1, size[0] - 1]], candidates=True)
    assert found.instances.size == size and len(found.instances) == 3


def test_a_model_that_answers_prompts_finds_nothing_unasked() -> None:
    with pytest.raises(ConfigError, match="finds nothing unasked"):
        small_model().predict(picture())
    with pytest.raises(ConfigError, match="no number of detections"):
        small_model().with_detections(5)
