"""Two models as one panoptic model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from everymask.core.labels import Labels, labels_of
from everymask.core.segmentation import PanopticMap
from everymask.errors import ConfigError
from everymask.evaluate import evaluate
from everymask.infer.merged import Merged
from everymask.infer.tiling import Tiling
from everymask.models.specs.regions import FasterRCNN, MaskRCNN
from tests.data.panoptic_files import make_panoptic
from tests.grey_model import grey_model
from tests.infer.test_joined import model, picture, same_regions

DISCS = model(MaskRCNN(score_threshold=0.0))
GREYS = grey_model(Labels(("dark", "disc", "light")), (20.0, 230.0, 100.0))


def test_things_are_those_of_the_one_and_stuff_what_only_the_other_knows() -> None:
    both, image = Merged(DISCS, GREYS, min_score=0.0, stuff_area=0), picture()
    assert (both.labels.names, both.labels.things) == (("disc", "dark", "light"), {0})
    found = both.predict(image)
    assert isinstance(found.segmentation, PanopticMap) and found.seconds > 0
    objects = DISCS.predict(image).instances
    segments = {one.id: one for one in found.panoptic.segments}
    assert [one.class_id for one in segments.values()] == [0] * len(objects) + [1, 2]
    shown = np.where(found.panoptic.ids == len(objects) + 1, 20, np.where(found.panoptic.ids > len(objects), 100, 255))
    assert ((shown == image) | (image >= 200)).all()
    assert (found.panoptic.ids > 0).all()
    assert [result.panoptic.segments for result in both.stream([image, image])] == [found.panoptic.segments] * 2


def test_where_stuff_is_a_thing_that_nobody_found_there_is_nothing() -> None:
    image = picture()
    found = Merged(DISCS, GREYS, min_score=1.0).predict(image).panoptic
    assert {one.class_id for one in found.segments} == {1, 2}
    np.testing.assert_array_equal(found.ids == 0, image >= 165)


def test_both_look_through_windows() -> None:
    both, image = Merged(DISCS, GREYS, min_score=0.0), picture()
    assert same_regions(both.predict(image).to_ids(), both.predict(image, tiling=Tiling(64)).to_ids())


def test_names_that_differ_in_case_are_one_class(caplog: pytest.LogCaptureFixture) -> None:
    both = Merged(DISCS, grey_model(labels_of(("Disc", "dark"))))
    assert both.labels.names == ("disc", "dark")
    assert "disc and Disc are taken for one class" in caplog.text


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ((GREYS, GREYS), "stuff is added to objects"),
        ((DISCS, DISCS), "stuff is told by a model that gives label maps"),
        ((model(FasterRCNN()), GREYS), "finds boxes"),
        ((DISCS, grey_model(labels_of(("disc", "DISC")))), "there is no stuff"),
    ],
)
def test_models_that_do_not_go_together_are_refused(pair: tuple, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Merged(*pair)


def test_background_is_stuff_unless_the_data_have_no_such_class(caplog: pytest.LogCaptureFixture) -> None:
    both = Merged(DISCS, grey_model(labels_of(("background", "road"))))
    assert both.labels.names == ("disc", "background", "road")
    assert both.named_after(labels_of(("background", "disc", "road"))) is both
    assert both.named_after(labels_of(("disc", "road"))).labels.names == ("disc", "road")
    assert "background is no segment" in caplog.text
    alone = Merged(DISCS, grey_model(labels_of(("background", "disc"))))
    assert alone.named_after(labels_of(("disc",))) is alone


def test_it_is_judged_by_panoptic_quality(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = make_panoptic(tmp_path)
    stuff = grey_model(labels_of(("sky", "Öl")), channels=3)
    cars = replace(DISCS, card=replace(DISCS.card, labels=labels_of(("car",)), preprocess=stuff.card.preprocess))
    both = Merged(cars, stuff)
    report = evaluate(both, dataset, boundary=True)
    assert report.others["boundary"].headline_name == "boundary PQ" and "boundary PQ" in report.numbers()
    assert report.others["boundary"].headline <= report.headline
    with pytest.raises(ConfigError, match="boundary IoU is always given"):
        evaluate(stuff, dataset, boundary=True)
    assert report.headline_name == "PQ" and report.pictures == 4
    assert set(report.scores.per_class) == {"car", "sky", "Öl"} and report.scores.per_class["car"].thing
    assert "the data set counts Öl one by one, which is stuff for the model" in caplog.text
