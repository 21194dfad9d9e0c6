"""Thresholds are those of the reference implementations, and foreground is the side that it should be."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from everymask.classical.bases import PixelMethod
from everymask.classical.feed import fed
from everymask.classical.found import pixel_logits
from everymask.classical.grey import cleaned, filled
from everymask.classical.specs import Adaptive, Hysteresis, MultiOtsu, Otsu, Sauvola, Triangle
from everymask.classical.thresholds import threshold_of
from tests.classical.blobs import blobs

PLAIN = {"blur": 0.0, "polarity": "bright", "fill_holes": False, "min_area": 0}


def planes(image: np.ndarray) -> np.ndarray:
    return fed(Otsu()).apply(image)[0]


def foreground(spec: PixelMethod, image: np.ndarray) -> np.ndarray:
    return pixel_logits(spec, planes(image))[0] > 0


@pytest.fixture(params=range(3))
def grey(request: pytest.FixtureRequest) -> np.ndarray:
    """Two or three hills in the histogram; floats, whose levels lie nowhere in particular."""
    rng = np.random.default_rng(request.param)
    hills = [rng.normal(centre, 0.05, 3000) for centre in rng.uniform(0.1, 0.9, 2 + request.param % 2)]
    return np.clip(np.concatenate(hills), 0, 1).astype(np.float32).reshape(-1, 100)


def test_otsu_is_that_of_scikit_image(grey: np.ndarray) -> None:
    filters = pytest.importorskip("skimage.filters")
    assert threshold_of(grey, "otsu") == pytest.approx(filters.threshold_otsu(grey), abs=1e-6)


def test_li_and_the_classes_of_multi_otsu_are_those_of_scikit_image(grey: np.ndarray) -> None:
    filters = pytest.importorskip("skimage.filters")
    picture = np.repeat(grey[None], 3, axis=0)
    assert threshold_of(grey, "li") == pytest.approx(filters.threshold_li(grey))
    found = pixel_logits(MultiOtsu(blur=0), picture).argmax(axis=0)
    assert (found == np.digitize(picture.mean(axis=0), filters.threshold_multiotsu(grey, classes=3))).all()


def test_otsu_and_triangle_of_bytes_are_those_of_opencv() -> None:
    image = blobs()[0]
    image[0, 0], image[0, 1] = 0, 255  # so that the 256 levels are the bytes themselves
    for spec, kind in ((Otsu(**PLAIN), cv2.THRESH_OTSU), (Triangle(**PLAIN), cv2.THRESH_TRIANGLE)):
        _, expected = cv2.threshold(image[..., 0], 0, 1, cv2.THRESH_BINARY | kind)
        assert (foreground(spec, image) == (expected > 0)).all()


def test_adaptive_is_that_of_opencv_but_for_rounding() -> None:
    image = blobs()[0]
    for method, kind in (("mean", cv2.ADAPTIVE_THRESH_MEAN_C), ("gaussian", cv2.ADAPTIVE_THRESH_GAUSSIAN_C)):
        expected = cv2.adaptiveThreshold(image[..., 0], 1, kind, cv2.THRESH_BINARY, 31, 2) > 0
        found = foreground(Adaptive(block=31, offset=2 / 255, method=method, **PLAIN), image)  # type: ignore[arg-type]
        assert (found == expected).mean() > 0.97


def test_sauvola_and_hysteresis_are_those_of_scikit_image() -> None:
    filters = pytest.importorskip("skimage.filters")
    image = blobs()[0]
    shown = planes(image).mean(axis=0)
    found = foreground(Sauvola(window=15, **(PLAIN | {"polarity": "dark"})), image)
    assert (found == (shown < filters.threshold_sauvola(shown, window_size=15, k=0.2, r=0.5))).mean() > 0.999
    limit = threshold_of(shown, "otsu")
    expected = filters.apply_hysteresis_threshold(shown, 0.5 * limit, 1.2 * limit)
    assert (foreground(Hysteresis(low=0.5, high=1.2, **PLAIN), image) == expected).all()


def test_dark_objects_are_found_as_bright_ones_are() -> None:
    image, numbers = blobs()
    bright, dark = foreground(Otsu(), image), foreground(Otsu(), 255 - image)
    assert (bright == dark).mean() > 0.99 and (bright == (numbers > 0)).mean() > 0.97
    assert (foreground(Otsu(polarity="dark", fill_holes=False), image) == ~bright).mean() > 0.97


@pytest.mark.parametrize("turned", [False, True])
def test_a_factor_counts_from_the_background(turned: bool) -> None:
    image = blobs()[0]
    image = 255 - image if turned else image
    low, usual, high = (int(foreground(Otsu(factor=factor), image).sum()) for factor in (0.4, 1.0, 1.5))
    assert low > usual > high


def test_a_block_needs_objects_brighter_than_their_surroundings() -> None:
    """A ramp is no object: one threshold takes half of it, and with a block there is next to nothing."""
    ramp = np.repeat(np.linspace(0, 255, 200, dtype=np.float32).astype(np.uint8)[None], 60, axis=0)
    image = np.repeat(ramp[..., None], 3, axis=2)
    assert foreground(Otsu(), image).mean() > 0.4
    image[20:40, 50:60] += 90
    found = foreground(Otsu(factor=0.5, block=101), image)
    assert found[25:35, 52:58].all()


def test_flat_pictures_show_nothing() -> None:
    for value in (0, 90, 255):
        image = np.full((20, 30, 3), value, np.uint8)
        assert not foreground(Otsu(polarity="bright"), image).any()
        assert not foreground(Otsu(), image).any()


def test_holes_are_filled_and_specks_dropped() -> None:
    mask = np.zeros((20, 20), bool)
    mask[3:12, 3:12] = True
    mask[6:8, 6:8] = False
    mask[15, 15] = True
    mask[0:3, 18] = mask[2, 18:] = True  # the border of the picture encloses nothing
    assert filled(mask)[6:8, 6:8].all() and not filled(mask)[0, 19]
    kept = cleaned(mask, fill_holes=True, min_area=20)
    assert kept.sum() == 81
