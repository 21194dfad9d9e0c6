"""Whether pictures have an up is told from what is put into them."""

import numpy as np
import pytest

from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet, SemanticMap
from everymask.data.fingerprint import fingerprint
from everymask.data.formats.table import read_dataset
from everymask.data.uprightness import Uprightness

SIZE = 80, 100


def scene(seed, *, low=0.0, length=1.0, foot=0.0, light=0.0, count=12):
    """Ellipses on noise: set lower, longer from top to bottom, wider at their foot, under a brighter upper half."""
    draw = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    masks = []
    for _ in range(count):
        y, x = draw.uniform(15, 65) + low * SIZE[0], draw.uniform(15, 85)
        tall, wide = draw.uniform(4, 8, 2) * (length**0.5, length**-0.5)
        wide = wide * (1 + foot * (rows - y) / tall)
        masks.append(((rows - y) / tall) ** 2 + ((columns - x) / np.maximum(wide, 0.5)) ** 2 < 1)
    image = draw.integers(0, 200, (*SIZE, 3)).astype(np.uint8)
    image[: SIZE[0] // 2] += np.uint8(light * 255)
    found = Masks.from_dense(np.array(masks))
    return image, InstanceSet(found.boxes(), np.zeros(count, np.int64), masks=found)


def told(scenes):
    uprightness = Uprightness()
    for image, truth in scenes:
        uprightness.add(image, truth.regions())
    return uprightness.free


def test_scenes_that_may_be_turned_are_free():
    assert told(scene(seed) for seed in range(30))


@pytest.mark.parametrize("trait", [{"low": 0.15}, {"length": 1.6}, {"length": 0.6}, {"foot": 0.6}, {"light": 0.2}])
def test_each_trait_shows_an_up(trait):
    assert not told(scene(seed, **trait) for seed in range(30))


def test_a_few_pictures_show_nothing():
    assert not told(scene(seed) for seed in range(11))
    assert not told([])


def test_a_class_that_stands_is_seen_beside_one_that_does_not():
    def mixed(seed):
        image, some = scene(seed)
        _, others = scene(seed + 100, length=1.6)
        masks = Masks.concatenate([some.masks, others.masks])
        return image, InstanceSet(masks.boxes(), np.repeat([0, 1], len(some)), masks=masks)

    assert not told(mixed(seed) for seed in range(30))


def test_pictures_without_objects_show_nothing():
    assert not told((scene(seed)[0], InstanceSet.empty(SIZE)) for seed in range(30))


def test_objects_are_told_by_their_boxes_where_there_is_nothing_else():
    def boxes(seed, **traits):
        image, found = scene(seed, **traits)
        return image, InstanceSet(found.boxes, found.class_ids)

    assert told(boxes(seed) for seed in range(30))
    assert not told(boxes(seed, length=1.6) for seed in range(30))


def test_classes_of_pixels_are_told_by_their_place():
    def sky(seed, top):
        image, found = scene(seed)
        ids = (found.to_ids() > 0).astype(np.uint8)
        ids[:top] = 2
        return image, SemanticMap(ids)

    assert told(sky(seed, 0) for seed in range(60))
    assert not told(sky(seed, 30) for seed in range(60))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "domain"), [("nuclei", "free"), ("membrane", "free"), ("camvid", "upright"), ("coco128_seg", "upright")]
)
def test_real_pictures(shared, name, domain):
    assert fingerprint(read_dataset(shared / name).annotated(), seed=0).domain == domain
