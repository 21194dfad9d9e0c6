"""What is measured of a data set equals what was put into it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tifffile import imwrite

from everymask.core.labels import labels_of
from everymask.data.dataset import Dataset
from everymask.data.feed.preprocess import Preprocess
from everymask.data.fingerprint import fingerprint
from everymask.data.formats.coco.instances import read_coco
from everymask.data.pictures.read import write_image
from everymask.data.records import Annotation, Objects, Polygons, Record
from everymask.errors import DataError


def square(x, y, side):
    return Polygons((np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]], float),))


def dataset(folder, images, objects=(), crowd=False):
    records = []
    for number, image in enumerate(images):
        file = folder / f"{number}.png"
        write_image(file, image)
        annotations = tuple(Annotation(0, shape, crowd=crowd) for shape in (objects if number == 0 else objects[:1]))
        records.append(Record(str(number), file, image.shape[:2], Objects(annotations)))
    return Dataset(labels_of(["thing"]), tuple(records), "coco", folder)


def noise(size, channels=3, top=255, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, top + 1, (*size, channels)).astype(dtype)


def test_bytes(tmp_path):
    images = [noise((30, 50), seed=1), noise((60, 40), seed=2), noise((30, 50), seed=3)]
    found = fingerprint(dataset(tmp_path, images, [square(5, 5, 10), square(20, 10, 20)]), seed=0)
    assert (found.pictures, found.measured, found.channels, found.dtype, found.scale) == (3, 3, 3, "uint8", 255.0)
    assert (found.short, found.long) == (30, 50)
    assert found.max_objects == 2
    assert found.object_sizes[2] == 10
    assert found.object_sizes[-1] > 15
    weighted = [image.reshape(-1, 3) / 255 for image in images]
    mean = np.mean([pixels.mean(axis=0) for pixels in weighted], axis=0)
    square_mean = np.mean([(pixels**2).mean(axis=0) for pixels in weighted], axis=0)
    np.testing.assert_allclose(found.mean, mean, atol=1e-6)
    np.testing.assert_allclose(found.std, np.sqrt(square_mean - mean**2), atol=1e-6)


def test_shapes_are_heights_by_widths_of_objects_without_crowds(tmp_path):
    oblong = Polygons((np.array([[4, 2], [10, 2], [10, 32], [4, 32]], float),))
    found = fingerprint(dataset(tmp_path, [noise((40, 40))], [oblong]), seed=0)
    assert found.object_shapes == (5, 5, 5, 5, 5)
    found = fingerprint(dataset(tmp_path, [noise((40, 40))], [square(5, 5, 10)], crowd=True), seed=0)
    assert found.object_shapes == ()


def test_normalising_with_it_gives_zero_mean_and_unit_spread(tmp_path):
    image = noise((64, 64), top=200)
    found = fingerprint(dataset(tmp_path, [image]), seed=0)
    preprocess = Preprocess(found.channels, found.scale, found.mean, found.std)
    normalised = preprocess.normalise(image)
    np.testing.assert_allclose(normalised.mean(axis=(1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(normalised.std(axis=(1, 2)), 1, atol=1e-4)


@pytest.mark.parametrize(("top", "scale"), [(4095, 4095), (65535, 65535), (3000, 4095), (200, 511)])
def test_the_range_of_words_is_measured(tmp_path, top, scale):
    image = noise((64, 64), 1, top, np.uint16)
    image[0, 0] = top
    found = fingerprint(dataset(tmp_path, [image]), seed=0)
    assert (found.dtype, found.channels, found.scale) == ("uint16", 1, scale)
    Preprocess(1, found.scale, found.mean, found.std).apply(image)


def test_grey_among_colour_is_taken_as_colour(tmp_path):
    found = fingerprint(dataset(tmp_path, [noise((20, 20), 1), noise((20, 20), 3)]), seed=0)
    assert found.channels == len(found.mean) == 3


def test_constant_pictures_have_a_spread(tmp_path):
    found = fingerprint(dataset(tmp_path, [np.full((20, 20, 3), 7, np.uint8)]), seed=0)
    assert min(found.std) > 0


def test_big_pictures_are_thinned_and_still_right(tmp_path):
    rows = np.linspace(0, 255, 1200).astype(np.uint8)
    found = fingerprint(dataset(tmp_path, [np.repeat(rows[:, None, None], 900, axis=1)]), seed=0)
    assert abs(found.mean[0] - 0.5) < 0.01


def test_only_some_are_measured_and_always_the_same(tmp_path):
    data = dataset(tmp_path, [noise((20, 20), seed=k, top=50 + 20 * k) for k in range(9)])
    first = fingerprint(data, seed=1, pictures=4)
    assert (first.measured, first.pictures) == (4, 9)
    assert fingerprint(data, seed=1, pictures=4) == first
    assert fingerprint(data, seed=2, pictures=4) != first


def test_without_objects_and_with_crowds(tmp_path):
    bare = fingerprint(dataset(tmp_path / "bare", [noise((20, 20))]), seed=0)
    crowd = fingerprint(dataset(tmp_path / "crowd", [noise((20, 20))], [square(1, 1, 9)], crowd=True), seed=0)
    assert bare.object_sizes == crowd.object_sizes == ()
    assert bare.max_objects == crowd.max_objects == 0


def test_regions_to_ignore_are_no_objects(tmp_path):
    data = dataset(tmp_path, [noise((20, 20))], [square(1, 1, 9)])
    records = tuple(
        replace(record, truth=replace(record.objects, ignored=(square(3, 3, 5),))) for record in data.records
    )
    assert fingerprint(replace(data, records=records).semantic(), seed=0).max_objects == 1


def test_json(tmp_path):
    found = fingerprint(dataset(tmp_path, [noise((20, 20))]), seed=0)
    assert json.loads(json.dumps(found.to_json()))["mean"] == list(found.mean)


def test_nothing_to_measure(tmp_path):
    with pytest.raises(DataError, match="no pictures"):
        fingerprint(dataset(tmp_path, []), seed=0)


def test_different_types_name_their_files(tmp_path):
    mixed = dataset(tmp_path, [noise((20, 20), 1), noise((20, 20), 1, 60000, np.uint16)])
    with pytest.raises(DataError, match=r"0\.png: uint8.*1\.png: uint16"):
        fingerprint(mixed, seed=0)


def test_a31_a_fourth_band_is_no_alpha(tmp_path):
    mixed = dataset(tmp_path, [noise((20, 20)), noise((20, 20))])
    imwrite(mixed.records[1].image, noise((20, 20), 4), photometric="rgb", extrasamples=["unspecified"])
    with pytest.raises(DataError, match=r"different channel counts: .*with 3; .*with 4"):
        fingerprint(mixed, seed=0)


def test_real_pictures(shared):
    found = fingerprint(read_coco(shared / "coco128_seg"), seed=0, pictures=20)
    assert (found.channels, found.dtype) == (3, "uint8")
    assert all(0.3 < value < 0.6 for value in found.mean)
    assert all(0.2 < value < 0.35 for value in found.std)
