"""Prediction of what changed: in Python, whole and by tiles, from whatever a picture can come as."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.api import load
from everymask.core.arrays import Array
from everymask.core.segmentation import ChangeMap
from everymask.data.pictures.read import write_image
from everymask.data.pictures.strips import open_dates
from everymask.errors import ConfigError, DataError
from everymask.infer.predictor import Predictor
from everymask.infer.result import Result
from everymask.infer.sources import TwoDates
from everymask.infer.tiling import Tiling, predict_strips
from everymask.infer.variants import TestTimeAugmentation
from tests.commands.small_models import make_change_model
from tests.data.change_files import place


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return load(make_change_model(tmp_path_factory.mktemp("model")), device="cpu", precision="exact")


def dates(number: int = 0, size: tuple[int, int] = (64, 96)) -> tuple[Array, Array]:
    before, after, _ = place(number, size)
    return before, after


def test_the_later_date_is_predicted_and_the_earlier_given_with_it(model: Predictor, tmp_path: Path) -> None:
    before, after = dates()
    found = model.predict(after, before=before)
    assert isinstance(found.segmentation, ChangeMap) and found.segmentation.size == (64, 96)
    assert 0 < found.segmentation.ids.mean() < 1
    for name, picture in (("before", before), ("after", after)):
        write_image(tmp_path / f"{name}.png", picture)
    files = model.predict(tmp_path / "after.png", before=Image.open(tmp_path / "before.png"))
    np.testing.assert_array_equal(files.semantic.ids, found.semantic.ids)
    assert (files.id, files.file) == ("after", str(tmp_path / "after.png"))
    turned = model.predict(before, before=after)
    assert not np.array_equal(turned.semantic.ids, found.semantic.ids)


def test_many_are_predicted_as_one_by_one(model: Predictor) -> None:
    pairs = [dates(number, (32 + 16 * (number % 2), 48)) for number in range(5)]
    found = model.predict([after for _, after in pairs], before=[before for before, _ in pairs])
    streamed = list(model.stream([TwoDates(*pair) for pair in pairs], batch=2))
    for (before, after), one, other in zip(pairs, found, streamed, strict=True):
        alone = model.predict(after, before=before).semantic.ids
        np.testing.assert_array_equal(one.semantic.ids, alone)
        np.testing.assert_array_equal(other.semantic.ids, alone)


def test_a_wrong_number_of_dates_is_refused_with_a_cure(model: Predictor) -> None:
    before, after = dates()
    with pytest.raises(DataError, match="takes two dates of a place, but got 1") as caught:
        model.predict(after)
    assert "before" in caught.value.hint
    with pytest.raises(DataError, match="two dates of one size and type"):
        model.predict(after, before=before[:-1])
    with pytest.raises(DataError, match="two dates of one size and type"):
        model.predict(after, before=before[:-1], tiling=Tiling(32))
    for wrong in ([before], before):
        with pytest.raises(ConfigError, match="each picture needs one of the earlier date"):
            model.predict([after, after], before=wrong)  # type: ignore[call-overload]


def test_tiles_say_what_one_shot_says(model: Predictor) -> None:
    before, after = dates(size=(160, 128))
    whole = model.predict(after, before=before).semantic.ids
    one = model.predict(after, before=before, tiling=Tiling(192)).segmentation
    assert isinstance(one, ChangeMap)
    np.testing.assert_array_equal(one.ids, whole)
    # The network sees 30 pixels far, a quarter of the overlap.
    many = model.predict(after, before=before, tiling=Tiling(64, 0.5)).semantic.ids
    assert (many == whole).mean() > 0.99


def test_files_are_read_by_strips_together(model: Predictor, tmp_path: Path) -> None:
    before, after = dates(size=(160, 96))
    files = [tmp_path / "before.png", tmp_path / "after.png"]
    for file, picture in zip(files, (before, after), strict=True):
        write_image(file, picture)
    with open_dates(files) as strips:
        assert strips.channels == 6
        parts = list(predict_strips(model, strips, Tiling(64)))
    np.testing.assert_array_equal(
        np.concatenate([image for image, _ in parts]), np.concatenate([before, after], axis=2)
    )
    maps = np.concatenate([found.ids for _, found in parts])
    np.testing.assert_array_equal(maps, model.predict(after, before=before, tiling=Tiling(64)).semantic.ids)
    write_image(files[0], before[:-1])
    with pytest.raises(DataError, match=r"before.png: expected 96 x 160 pixels"), open_dates(files):
        pass


def test_variants_and_scores_know_two_dates(model: Predictor) -> None:
    before, after = dates()
    found = model.with_augmentation(TestTimeAugmentation("horizontal")).with_scores().predict(after, before=before)
    mirrored = model.with_augmentation(TestTimeAugmentation("horizontal")).predict(
        after[:, ::-1], before=before[:, ::-1]
    )
    np.testing.assert_array_equal(mirrored.semantic.ids[:, ::-1], found.semantic.ids)
    assert found.semantic.scores is not None and found.semantic.scores.min() >= 0.5


def test_a_result_is_drawn_told_and_kept(model: Predictor) -> None:
    before, after = dates()
    found = model.predict(after, before=before)
    drawn = found.draw(names=False)
    assert drawn.shape[0] == 64 and drawn.shape[1] > 3 * 96
    np.testing.assert_array_equal(drawn[:, :96], before)
    assert "% changed" in repr(found) or "no change" in repr(found)
    again = Result.from_json(json.loads(json.dumps(found.to_json())), after)
    assert isinstance(again.segmentation, ChangeMap)
    np.testing.assert_array_equal(again.segmentation.ids, found.semantic.ids)
    assert next(row.name for row in found.areas()) in ("changed", "unchanged")
