"""From classes of pixels to objects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from everymask.backends.methods import build_method
from everymask.classical.specs import Otsu, Watershed
from everymask.classical.splitting import Splitting, split_map, split_mask, things_of
from everymask.core.labels import labels_of
from everymask.core.segmentation import SemanticMap
from everymask.errors import ConfigError
from tests.classical.blobs import CENTRES, blobs
from tests.grey_model import STEP, grey_model

pytest.importorskip("skimage")


def test_discs_that_touch_are_told_apart() -> None:
    _, numbers = blobs()
    found = split_mask(numbers > 0, Splitting())
    assert found.max() == len(CENTRES)
    for disc in range(1, len(CENTRES) + 1):
        number = np.bincount(found[numbers == disc]).argmax()
        both = ((found == number) & (numbers == disc)).sum()
        assert both / ((found == number) | (numbers == disc)).sum() > 0.9


def test_it_is_the_watershed_of_scikit_image() -> None:
    from scipy.ndimage import distance_transform_edt
    from skimage.filters import gaussian
    from skimage.measure import label
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    mask = blobs()[1] > 0
    distance = gaussian(distance_transform_edt(mask), 1.5, mode="nearest")
    expected = watershed(-distance, label(h_maxima(distance, 0.75)), mask=mask)
    found = split_mask(mask, Splitting(min_area=0))
    assert found.max() == expected.max()
    assert ((found > 0) == (expected > 0)).all()
    pairs = np.unique(np.stack([found[mask], expected[mask]]), axis=1)
    largest = sum(np.bincount(expected[found == number]).max() for number in range(1, found.max() + 1))
    assert largest / mask.sum() > 0.999 and pairs.shape[1] >= found.max()


def test_every_part_is_an_object_even_where_no_peak_is_high_enough() -> None:
    mask = np.zeros((40, 40), bool)
    mask[5:8, 5:35] = True  # a bar, whose distance has no peak of 5 pixels
    mask[20:35, 10:30] = True
    assert split_mask(mask, Splitting(h=5)).max() == 2


def test_h_and_sigma_say_how_finely() -> None:
    mask = blobs()[1] > 0
    assert split_mask(mask, Splitting(h=20)).max() == len(CENTRES) - 1
    rough = mask & (np.random.default_rng(0).random(mask.shape) > 0.02)
    assert split_mask(rough, Splitting(h=0, sigma=0)).max() > split_mask(rough, Splitting()).max()


def test_classes_but_the_background_become_objects_as_sure_as_their_pixels() -> None:
    ids = np.zeros((30, 60), np.uint8)
    ids[5:25, 5:25], ids[5:25, 25:45] = 1, 2
    ids[2:28, 50:58] = 255
    scores = np.where(ids == 1, 0.9, 0.6).astype(np.float32)
    labels = labels_of(["background", "cell", "dirt"])
    found, cut = split_map(SemanticMap(ids, scores), labels, Splitting())
    assert things_of(labels).names == ("cell", "dirt")
    assert found.class_ids.tolist() == [0, 1] and cut is None
    assert found.scores is not None and found.scores.tolist() == pytest.approx([0.9, 0.6])
    assert found.masks is not None and found.masks.areas().tolist() == [400, 400]
    one, cut = split_map(SemanticMap(ids, scores), labels, Splitting(max_detections=1))
    assert one.class_ids.tolist() == [0] and cut == pytest.approx(0.9)


def test_a_predictor_of_label_maps_gives_objects() -> None:
    image, _numbers = blobs()
    model = build_method(Otsu()).with_objects()
    result = model.predict(image)
    assert len(result.instances) == len(CENTRES) and result.labels.names == model.labels.names == ("foreground",)
    assert model.task.name == "instance" and "split into objects" in repr(model)
    assert len(model.with_detections(2).predict(image).instances) == 2
    assert model.with_detections(2).predict(image).cut_below is not None
    same = build_method(Watershed()).predict(image).instances
    assert np.array_equal(np.sort(same.boxes, axis=0), np.sort(result.instances.boxes, axis=0))
    for refused in (model.with_scores, model.with_objects, build_method(Watershed()).with_objects):
        with pytest.raises(ConfigError, match="this model finds objects"):
            refused()


def test_label_maps_of_a_network_are_split_too() -> None:
    _, numbers = blobs()
    model = grey_model(labels_of(["background", "cell"]), channels=1).with_objects(Splitting(h=1))
    result = model.predict(np.where(numbers > 0, STEP, 0).astype(np.uint8))
    assert result.labels.names == ("cell",) and len(result.instances) == len(CENTRES)
    assert result.instances.scores is not None and (result.instances.scores > 0.5).all()


def test_no_class_but_background_is_refused() -> None:
    model = build_method(Otsu())
    blank = replace(model, card=replace(model.card, labels=labels_of(["background"])))
    with pytest.raises(ConfigError, match="no class but background"):
        blank.with_objects()
    with pytest.raises(ConfigError, match="split-h must be at least 0"):
        Splitting(h=-1)
