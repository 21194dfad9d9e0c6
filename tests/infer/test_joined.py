"""Things and objects by windows: what several windows see of one thing becomes one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import pytest

from everymask.core.arrays import Array, FloatArray, IntArray
from everymask.core.labels import Labels
from everymask.core.randomness import rng
from everymask.core.segmentation import InstanceSet, PanopticMap, Segment
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.errors import ConfigError
from everymask.infer.decoding.outputs import Wanted
from everymask.infer.joined import predict_joined
from everymask.infer.predictor import Predictor
from everymask.infer.tiling import Tiling, predict_strips, strips_of
from everymask.models.card import Card
from everymask.models.specs.panoptic import PanopticFPN
from everymask.models.specs.regions import MaskRCNN

LABELS = Labels(("disc", "dark", "light"), things=frozenset({0}))
BRIGHT = 200
SIZE = (150, 190)


def seen(image: Array, least: int = 0) -> PanopticMap:
    """The segments of a grey picture [H, W]: each bright piece is a disc, and the rest is dark or light."""
    count, ids = cv2.connectedComponents((image >= BRIGHT).astype(np.uint8))
    segments = [
        Segment(number, 0, number / 1000 + float(image[ids == number].mean()) / 512) for number in range(1, count)
    ]
    ids = np.asarray(ids, np.int32)
    for class_id, where in ((1, image < 50), (2, (image >= 50) & (image < BRIGHT))):
        if where.sum() > least:
            segments.append(Segment(len(segments) + 1, class_id))
            ids[where] = len(segments)
    return PanopticMap(ids, tuple(segments))


@dataclass(frozen=True)
class Seen:
    """What the backend says: pictures whose segments are found by looking."""

    images: FloatArray
    objects: bool
    cut: float | None

    def segmentation(self, index: int, wanted: Wanted) -> PanopticMap | InstanceSet:
        height, width = wanted.placements[index].original
        found = seen(self.images[index, 0, :height, :width], 0 if wanted.part else 400)
        if not self.objects:
            return found
        discs = found.countable(LABELS).regions()
        return discs[np.argsort(-discs.scores, kind="stable")]

    def cut_below(self, index: int) -> float | None:
        return self.cut

    def planes(self) -> Any:
        raise TypeError


@dataclass(frozen=True)
class Looking:
    """A backend that finds what `seen` finds."""

    spec: Any
    cut: float | None = None
    device: str = "cpu"
    most_pixels: int = 1 << 20
    lanes: int = 1

    def run(self, images: FloatArray, windows: IntArray, wanted: Wanted | None = None) -> Any:
        return Seen(images, not isinstance(self.spec, PanopticFPN), self.cut)


def model(spec: Any, cut: float | None = None) -> Predictor:
    preprocess = Preprocess(1, 1.0, (0.0,), (1.0,), Resize(rule="none"), divisor=8)
    labels = LABELS if isinstance(spec, PanopticFPN) else Labels(("disc",))
    return Predictor(Looking(spec, cut), Card(spec, labels, preprocess))


PANOPTIC, OBJECTS = (model(spec) for spec in (PanopticFPN(things=(0,), stuff_area=400), MaskRCNN()))


def picture(size: tuple[int, int] = SIZE, seed: int = 0) -> Array:
    """Discs that do not touch, of which some are larger than a window of 64 pixels, on a dark and a light half."""
    image = np.full(size, 20, np.uint8)
    image[:, size[1] // 2 :] = 100
    draw, room = rng(seed, "discs"), np.zeros(size, np.uint8)
    for radius in (45, 30, *[9] * 12, *[3] * 40):
        x, y = draw.integers(0, size[::-1]).tolist()
        place = np.zeros(size, np.uint8)
        cv2.circle(place, (x, y), radius + 2, 1, -1)
        if not (room & place).any():
            room |= place
            cv2.circle(image, (x, y), radius, int(draw.integers(BRIGHT, 256)), -1)
    return image


def same_regions(one: IntArray, other: IntArray) -> bool:
    """Whether two maps are the same but for their numbers."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return len(pairs[0]) == len(set(pairs[0].tolist())) == len(set(pairs[1].tolist()))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tiles", [Tiling(64, 0.25), Tiling(48, 0.5)])
def test_a_thing_that_crosses_seams_is_one_segment(seed: int, tiles: Tiling) -> None:
    image = picture(seed=seed)
    once, tiled = PANOPTIC.predict(image).panoptic, PANOPTIC.predict(image, tiling=tiles).panoptic
    assert same_regions(once.ids, tiled.ids)
    assert [one.id for one in tiled.segments] == list(range(1, len(once.segments) + 1))
    kinds = {one.id: one.class_id for one in once.segments}
    assert all(kinds[int(once.ids[tiled.ids == one.id][0])] == one.class_id for one in tiled.segments)


def test_one_window_gives_what_one_shot_gives() -> None:
    image = picture()
    for predictor in (PANOPTIC, replace(OBJECTS, duplicate_iou=0.8)):
        once, tiled = predictor.predict(image), predictor.predict(image, tiling=Tiling(256))
        np.testing.assert_array_equal(tiled.to_ids(), once.to_ids())
        assert len(once.table()) > 2 and tiled.table() == once.table() and tiled.cut_below == once.cut_below
    whole = PANOPTIC.predict(image).panoptic.segments
    assert PANOPTIC.predict(image, tiling=Tiling(256)).panoptic.segments == whole


@pytest.mark.parametrize("seed", range(3))
def test_objects_are_joined_alike(seed: int) -> None:
    image = picture(seed=seed)
    once, tiled = (OBJECTS.predict(image, tiling=tiles).instances for tiles in (None, Tiling(64, 0.25)))
    assert same_regions(once.to_ids(), tiled.to_ids()) and len(once) == len(tiled)
    overlaps = tiled.masks.iou(once.masks)
    assert (overlaps.max(axis=1) == 1).all()
    np.testing.assert_array_equal(tiled.boxes, once.boxes[overlaps.argmax(axis=1)])
    assert (np.diff(tiled.scores) <= 0).all()


def test_objects_without_masks_are_joined_by_their_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture()
    whole = OBJECTS.predict(image).instances
    found = Seen.segmentation
    monkeypatch.setattr(Seen, "segmentation", lambda *a: replace(found(*a), masks=None))
    tiled = OBJECTS.predict(image, tiling=Tiling(64, 0.25)).instances
    assert tiled.masks is None
    assert sorted(map(tuple, tiled.boxes.tolist())) == sorted(map(tuple, whole.boxes.tolist()))


def test_stuff_is_small_by_its_pixels_in_the_whole_picture() -> None:
    image = np.full((40, 400), 20, np.uint8)
    image[30:32], image[5:15, 5:35] = 100, 255
    tiled = PANOPTIC.predict(image, tiling=Tiling(64)).panoptic
    # A row of a window has fewer than 400 / 75 of the picture's pixels; all together have more.
    assert sorted(one.class_id for one in tiled.segments) == [0, 1, 2]
    assert (tiled.ids == next(one.id for one in tiled.segments if one.class_id == 2)).sum() == 800
    image[30:32, 100:] = 20
    assert [one.class_id for one in PANOPTIC.predict(image, tiling=Tiling(64)).panoptic.segments] == [0, 1]


def test_what_the_limits_cut_in_any_window_is_said() -> None:
    assert model(MaskRCNN(), cut=0.4).predict(picture(), tiling=Tiling(64)).cut_below == 0.4
    assert OBJECTS.predict(picture(), tiling=Tiling(64)).cut_below is None


def test_the_rows_of_the_picture_are_shown_once() -> None:
    image, rows = picture()[..., None], []
    predict_joined(PANOPTIC, strips_of(image), Tiling(64), seen=rows.append)
    np.testing.assert_array_equal(np.concatenate(rows), image)


def test_windows_that_share_nothing_are_refused() -> None:
    for tiles in (Tiling(64, 0), Tiling(8, 0.25)):
        with pytest.raises(ConfigError, match="nothing in common"):
            PANOPTIC.predict(picture(), tiling=tiles)
    assert PANOPTIC.predict(picture((60, 60)), tiling=Tiling(64, 0)).panoptic.segments


def test_things_do_not_come_by_strips() -> None:
    with pytest.raises(ConfigError, match="predict_joined"):
        next(predict_strips(PANOPTIC, strips_of(picture()[..., None]), Tiling(64)))
