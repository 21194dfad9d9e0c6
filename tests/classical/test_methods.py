"""What every method promises: any picture, one answer, of the picture's size, and settings that are checked."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from everymask.backends.methods import build_method
from everymask.classical.found import OBJECTS, PIXELS
from everymask.classical.named import (
    EXTRA,
    METHODS,
    MethodName,
    labels_of_method,
    method_name,
    read_settings,
    with_settings,
)
from everymask.classical.specs import GrabCut, KMeans, MultiOtsu, Otsu, PixelForest, RegionGrowing, SplitMerge
from everymask.classical.split_merge import merged, split
from everymask.core.segmentation import InstanceSet, SemanticMap
from everymask.errors import ConfigError
from everymask.infer.predictor import Predictor
from everymask.models.specs.any_spec import spec_from_json, spec_to_json
from tests.classical.blobs import CENTRES, SIZE, blobs

NAMES = [name for name, kind in METHODS.items() if not kind.learns]


@pytest.fixture(params=NAMES)
def model(request: pytest.FixtureRequest) -> Predictor:
    if METHODS[request.param] in EXTRA:
        pytest.importorskip("skimage")
        pytest.importorskip("sklearn")
    return build_method(METHODS[request.param]())


def test_every_method_has_a_name_and_a_row() -> None:
    assert tuple(METHODS) == get_args(MethodName)
    assert {*PIXELS, *OBJECTS, PixelForest} == set(METHODS.values())
    assert [method_name(kind()) for kind in METHODS.values()] == [*METHODS]


def test_specs_go_through_files() -> None:
    for kind in METHODS.values():
        assert spec_from_json(spec_to_json(kind(side=77))) == kind(side=77)


def test_it_finds_something_in_discs(model: Predictor) -> None:
    image, _numbers = blobs()
    found = model.predict(image).segmentation
    assert found.size == SIZE
    if isinstance(found, SemanticMap):
        assert len(np.unique(found.ids)) > 1
    else:
        assert isinstance(found, InstanceSet) and found.scores is not None and found.masks is not None
        assert len(found) > 0 and ((found.scores > 0) & (found.scores <= 1)).all()
        assert (np.diff(found.scores) <= 0).all()
    assert (model.predict(image).segmentation.to_ids() == found.to_ids()).all()


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 40, 3), (3, 5, 1), (37, 23, 4), (24, 31, 2)])
def test_it_takes_any_picture(model: Predictor, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    for image in (rng.integers(0, 256, shape).astype(np.uint8), np.full(shape, 7, np.uint8)):
        assert model.predict(image).segmentation.size in (shape[:2], None)


def test_any_stored_type_says_the_same(model: Predictor) -> None:
    image = blobs()[0]
    ids = model.predict(image).segmentation.to_ids()
    for other in (image.astype(np.uint16) * 257, (image / 255).astype(np.float32)):
        assert (model.predict(other).segmentation.to_ids() == ids).mean() > 0.98


def test_large_pictures_are_shrunk_where_asked() -> None:
    image = np.repeat(np.repeat(blobs()[0], 3, axis=0), 3, axis=1)
    whole, small = (build_method(Otsu(side=side)).predict(image).semantic.ids for side in (0, 100))
    assert small.shape == whole.shape and (small == whole).mean() > 0.98
    found = build_method(SplitMerge(side=100)).predict(image).instances
    assert found.masks is not None and found.masks.size == image.shape[:2]


def test_marker_watershed_and_canny_find_the_discs() -> None:
    """Without anything but OpenCV."""
    image, _ = blobs()
    assert len(build_method(METHODS["marker-watershed"]()).predict(image).instances) == len(CENTRES)
    # Of two that overlap the outline is one.
    assert len(build_method(METHODS["canny"]()).predict(image).instances) == len(CENTRES) - 1


def test_regions_grow_from_seeds_or_the_background_from_the_corners() -> None:
    image, numbers = blobs()
    rest = build_method(RegionGrowing()).predict(image).semantic.ids
    assert (rest == (numbers > 0)).mean() > 0.95
    y, x, _ = CENTRES[3]
    one = build_method(RegionGrowing(seeds=(x / SIZE[1], y / SIZE[0]))).predict(image).semantic.ids
    assert (one == (numbers == 4)).mean() > 0.97


def test_grab_cut_stays_in_its_box() -> None:
    image, numbers = blobs()
    found = build_method(GrabCut(box=(0.55, 0.4, 0.95, 0.9))).predict(image).semantic.ids
    assert (found == (numbers == 4)).mean() > 0.97


def test_split_and_merge_gives_the_regions_of_a_chart() -> None:
    chart = np.zeros((32, 32), np.float32)
    chart[:16, 16:], chart[16:, 16:] = 0.5, 1.0
    assert split(chart, 0.05, 4).max() == 3
    regions = merged(split(chart, 0.05, 4), chart, 0.05)
    assert len(np.unique(regions)) == 3 and (regions[:, :16] == regions[0, 0]).all()


def test_classes_are_ordered() -> None:
    image, numbers = blobs()
    two = build_method(KMeans()).predict(image)
    assert two.labels.names == ("background", "foreground")
    assert (two.semantic.ids == (numbers > 0)).mean() > 0.95
    image[numbers == 4] = 255
    three = build_method(KMeans(classes=3)).predict(image)
    assert three.labels.names == ("level 1", "level 2", "level 3")
    assert (three.semantic.ids[numbers == 4] == 2).mean() > 0.8 and three.semantic.ids[0, 0] == 0


def test_labels_say_what_classes_are() -> None:
    assert labels_of_method(Otsu()).colours[0] == (0, 0, 0)
    assert labels_of_method(SplitMerge()).names == ("object",)
    assert len(labels_of_method(MultiOtsu(classes=4))) == 4


def test_settings_are_words() -> None:
    given = read_settings(["blur=2.5", "polarity=dark", "fill-holes=false", "min_area=0"])
    spec = with_settings(Otsu(), given, "otsu")
    assert spec == Otsu(blur=2.5, polarity="dark", fill_holes=False, min_area=0)
    assert with_settings(RegionGrowing(), {"seeds": "0.5,0.25"}, "x").seeds == (0.5, 0.25)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("blurr=1", r"otsu has no setting 'blurr'\n    did you mean blur\? there are side=0, blur=1.0"),
        ("blur=much", "blur must be a finite number"),
        ("blur=-1", "blur must be at least 0"),
        ("polarity=up", "polarity must be one of auto, bright, dark"),
        ("min_area=1.5", "min_area must be a whole number"),
        ("fill_holes=2", "fill_holes must be true or false"),
        ("blur", "a setting must be a name and a value"),
        ("blur=", "a setting must be a name and a value"),
    ],
)
def test_wrong_settings_say_what_there_is(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        with_settings(Otsu(), read_settings([text]), "otsu")
    import re

    assert re.search(said, str(error.value))


def test_a_setting_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="given twice"):
        read_settings(["blur=1", "blur=2"])


def test_a_forest_has_to_learn_first() -> None:
    with pytest.raises(ConfigError, match="has to learn"):
        build_method(PixelForest())
