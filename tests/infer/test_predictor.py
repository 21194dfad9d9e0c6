"""Whatever a picture comes as, the same model finds the same in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from everymask.backends.devices import choose_device
from everymask.backends.pytorch import build_predictor
from everymask.core.labels import labels_of
from everymask.core.sample import Sample
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.errors import ConfigError, DataError
from everymask.infer.predictor import Predictor
from everymask.infer.result import Result
from everymask.infer.sources import as_sample
from everymask.models.build import build
from everymask.models.card import Card
from everymask.models.specs.regions import MaskRCNN

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def model() -> Predictor:
    """A network that has learned nothing and reports everything."""
    spec = MaskRCNN(
        encoder="mobilenetv3_small_100",
        fpn_channels=16,
        rpn_channels=16,
        rpn_post_nms=(20, 20),
        box_fcs=(16,),
        mask_convs=(16,),
        mask_channels=16,
        score_threshold=0.0,
        max_detections=5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build(spec, 2)
    card = Card(spec, labels_of(["a", "b"]), Preprocess(resize=Resize(64, 96)))
    return build_predictor(module, card, "cpu", precision="exact")


def same(first: Result, second: Result) -> None:
    np.testing.assert_allclose(first.instances.boxes, second.instances.boxes, atol=1e-3)
    np.testing.assert_allclose(first.instances.scores, second.instances.scores, atol=1e-5)
    assert first.instances.masks.size == second.instances.masks.size == (40, 56)


def test_path_array_sample_and_pillow_image_are_one_picture(model: Predictor, tmp_path: Path) -> None:
    file = tmp_path / "cells.png"
    Image.fromarray(PIXELS).save(file)
    with Image.open(file) as opened:
        results = [
            model.predict(source)
            for source in (file, str(file), PIXELS, Sample(PIXELS), Image.fromarray(PIXELS), opened)
        ]
    for result in results[1:]:
        same(results[0], result)
    assert [result.id for result in results] == ["cells", "cells", "picture", "", "picture", "cells"]
    assert len(results[0].instances) == 5


def test_a_list_gives_a_list_in_its_order_whatever_the_batch(model: Predictor) -> None:
    pictures = [PIXELS, PIXELS[::-1].copy(), PIXELS[:, ::-1].copy()]
    alone = [model.predict(picture) for picture in pictures]
    for batched in (model.predict(pictures), list(model.stream(pictures, batch=2))):
        assert len(batched) == 3
        for one, other in zip(alone, batched, strict=True):
            same(one, other)


def test_pictures_of_a_list_that_have_no_file_are_told_apart(model: Predictor, tmp_path: Path) -> None:
    file = tmp_path / "cells.png"
    Image.fromarray(PIXELS).save(file)
    results = model.predict([PIXELS, file, Image.fromarray(PIXELS), Sample(PIXELS, id="mine")])
    assert [result.to_coco()[0]["image_id"] for result in results] == ["picture-1", "cells", "picture-3", "mine"]
    batched = model.stream([PIXELS] * 3, batch=2)
    assert [result.id for result in batched] == ["picture-1", "picture-2", "picture-3"]


def test_a_predictor_says_on_one_line_what_it_is(model: Predictor) -> None:
    assert repr(model) == "<Predictor MaskRCNN mobilenetv3_small_100, 2 classes: a, b; cpu>"


@pytest.mark.parametrize("name", ["gpu", "CPU", "", "cuda:x", "cuda:99", "privateuseone"])
def test_f17_a_device_that_is_not_there_is_answered_with_those_that_are(name: str) -> None:
    with pytest.raises(ConfigError, match=f"device '{name}' cannot be used.*; this machine has cpu") as raised:
        choose_device(name)
    assert "auto takes the first GPU" in raised.value.hint
    assert "ipu" not in str(raised.value)


def test_grey_is_taken_by_a_colour_model(model: Predictor) -> None:
    grey = PIXELS[..., 0]
    same(model.predict(grey), model.predict(np.repeat(grey[..., None], 3, axis=2)))
    same(model.predict(grey), model.predict(Image.fromarray(grey)))


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_pillow_image_is_turned_as_its_file_would_be(model: Predictor, turn: int, tmp_path: Path) -> None:
    """A22."""
    exif = Image.Exif()
    exif[0x0112] = turn
    file = tmp_path / "turned.png"
    Image.fromarray(PIXELS).save(file, exif=exif)
    with Image.open(file) as opened:
        np.testing.assert_array_equal(model.predict(opened).sample.image, model.predict(file).sample.image)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2)], ids="A16 {}".format)
def test_tiny_pictures_have_masks_of_their_size(model: Predictor, size: tuple[int, int]) -> None:
    result = model.predict(np.full((*size, 3), 7, np.uint8))
    assert result.instances.masks.size == result.sample.size == size


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param(
            np.zeros((8, 8, 5), np.uint8), "takes pictures with 3 channels, but this one has 5", id="A31 bands"
        ),
        pytest.param(np.zeros((8, 8, 3)), "uint8, uint16 or float32, but got float64", id="float64"),
        pytest.param(np.zeros((2, 8, 8, 3), np.uint8), r"\[H, W\] or \[H, W, C\]", id="several pictures"),
        pytest.param(np.zeros((0, 8, 3), np.uint8), "not empty", id="empty"),
        pytest.param(np.full((8, 8, 3), np.nan, np.float32), "192 NaN", id="A25 NaN"),
        pytest.param("missing.png", "missing.png: there is no such file", id="A02 missing"),
        pytest.param(7, "a path, bytes, an open file, a PIL image or an array, but got int", id="a number"),
    ],
)
def test_what_is_no_picture_for_this_model_is_refused(model: Predictor, source: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        model.predict(source)


def test_more_detections_are_kept_when_asked_for(model: Predictor) -> None:
    assert len(model.with_detections(12).predict(PIXELS).instances) == 12
    assert len(model.predict(PIXELS).instances) == 5
    with pytest.raises(ConfigError, match="at least 1"):
        model.with_detections(0)


def test_a_result_says_up_to_which_score_a_limit_may_have_cut(model: Predictor) -> None:
    found = model.predict(PIXELS)
    assert found.cut_below is not None
    assert 0 < found.cut_below <= found.instances.scores.min()
    assert "may be missing" in repr(found)
    assert Result.from_json(found.to_json(), found.sample.image).cut_below == found.cut_below


def test_an_object_is_found_once_when_asked_for(model: Predictor) -> None:
    """The untrained network finds every region as both classes, with boxes that are nearly the same."""
    everything = model.with_detections(40)
    found, once = (each.predict(PIXELS).instances for each in (everything, everything.without_duplicates(0.3)))
    assert len(once) < len(found)
    assert once.scores.max() == found.scores.max()
    same = everything.without_duplicates(1.0).predict(PIXELS).instances
    np.testing.assert_array_equal(same.boxes, found.boxes)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        model.without_duplicates(2)


@pytest.mark.parametrize(("mode", "dtype"), [("I;16", np.uint16), ("I", np.uint16), ("F", np.float32)])
def test_pillow_pictures_of_more_than_8_bits_keep_their_values(mode: str, dtype: type) -> None:
    values = np.array([[0, 300], [40000, 65535]])
    stored = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
    sample = as_sample(Image.fromarray(values.astype(stored)))
    assert sample.image.dtype == dtype
    assert sample.image[..., 0].tolist() == values.tolist()


def test_pillow_pictures_beyond_16_bits_are_refused() -> None:
    with pytest.raises(DataError, match="0 to 65535"):
        as_sample(Image.fromarray(np.array([[70000]], np.int32)))
