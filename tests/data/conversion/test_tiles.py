"""Large pictures cut into tiles, with their truth."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import tifffile
from PIL import Image

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.core.randomness import rng
from everymask.data.conversion.tiles import Tiles, tile_pictures
from everymask.data.dataset import Dataset
from everymask.data.pictures.read import read_image
from everymask.data.records import Annotation, BoxOnly, Objects, Polygons, Record, Rle
from everymask.errors import ConfigError
from tests.data.semantic_files import make_semantic

SIZE = (150, 220)


def picture(folder, name="large.png", size=SIZE):
    file = folder / name
    Image.fromarray(rng(name, "tiles").integers(0, 256, (*size, 3), np.uint8)).save(file)
    return file


def rectangle(x1, y1, x2, y2, size=SIZE):
    mask = np.zeros(size, np.bool_)
    mask[y1:y2, x1:x2] = True
    return Rle(Masks.from_dense(mask[None]).to_rle()[0])


def dataset(folder, *annotations, size=SIZE):
    record = Record("large", picture(folder, size=size), size, Objects(tuple(annotations)), "val")
    return Dataset(labels_of(["thing"]), (record,), "fake", folder)


@pytest.mark.parametrize("length", [5, 64, 65, 100, 127, 128, 1000])
@pytest.mark.parametrize("overlap", [0, 0.2, 0.9])
def test_tiles_cover_all_and_share_what_they_must(length, overlap):
    windows = Tiles(64, overlap).windows((10, length))
    assert windows[0][0] == 0 and windows[-1][2] == length
    assert all(x2 - x1 == min(64, length) and (y1, y2) == (0, 10) for x1, y1, x2, y2 in windows)
    shared = [left[2] - right[0] for left, right in pairwise(windows)]
    assert min(shared, default=64) >= int(64 * overlap) - 1
    assert len(windows) == (1 if length <= 64 else 1 + -(-(length - 64) // int(64 * (1 - overlap))))


def test_tiles_are_the_pixels_that_their_names_say(tmp_path):
    made = dataset(tmp_path)
    cut, counts = tile_pictures(made, Tiles(100, 0.2), tmp_path / "out")
    whole = read_image(made.records[0].image)
    assert [record.id for record in cut.records] == [f"large_{y}_{x}" for y in (0, 50) for x in (0, 60, 120)]
    for record in cut.records:
        y, x = map(int, record.id.split("_")[1:])
        assert np.array_equal(read_image(record.image), whole[y : y + 100, x : x + 100])
        assert record.size == (100, 100) and record.split == "val"
    assert (counts.pictures, counts.tiles, counts.empty) == (1, 6, 6)


def test_objects_are_cut_as_their_pixels_are(tmp_path):
    random = rng(1, "tiles")
    shapes = [rectangle(x, y, x + 70, y + 60) for x, y in random.integers(0, 90, (20, 2)).tolist()]
    made = dataset(tmp_path, *(Annotation(0, shape, id=row, area=7.0) for row, shape in enumerate(shapes)))
    cut, counts = tile_pictures(made, Tiles(100, 0.2), tmp_path / "out")
    masks = made.objects(0).masks
    parts = Counter()
    for row, record in enumerate(cut.records):
        y, x = map(int, record.id.split("_")[1:])
        found = set(cut.objects(row).masks.to_rle())
        for number in range(20):
            inside = masks.to_dense(number)[y : y + 100, x : x + 100]
            code = Masks.from_dense(inside[None]).to_rle()[0]
            largest = max(masks.to_dense(number)[b : b + 100, a : a + 100].sum() for b in (0, 50) for a in (0, 60, 120))
            kept = inside.sum() >= 0.1 * largest
            assert not kept or code in found
            parts["kept" if kept else "sliver"] += bool(inside.any())
    assert (counts.parts, counts.slivers) == (parts["kept"], parts["sliver"])
    assert counts.whole + counts.cut == 20 and counts.slivers > 0 and counts.cut > 0
    assert all(a.area == 7.0 or a.area is None for record in cut.records for a in record.objects.annotations)


def test_a_long_object_of_which_no_tile_shows_a_tenth_is_kept_everywhere(tmp_path):
    size = (40, 3000)
    made = dataset(tmp_path, Annotation(0, rectangle(5, 10, 2990, 12, size)), size=size)
    cut, counts = tile_pictures(made, Tiles(40, 0), tmp_path / "out")
    assert len(cut) == 75 and counts.parts == 75 and counts.slivers == 0
    assert (counts.whole, counts.cut) == (0, 1)


def test_a_sliver_is_left_out_and_the_object_is_not(tmp_path):
    made = dataset(tmp_path, Annotation(0, rectangle(97, 20, 140, 40)))
    cut, counts = tile_pictures(made, Tiles(100, 0), tmp_path / "out")
    shown = {record.id: len(record.objects.annotations) for record in cut.records}
    assert counts.slivers > 0 and sum(shown.values()) == counts.parts
    assert counts.whole == 1


def test_outlines_of_whole_objects_stay_outlines(tmp_path):
    ring = np.array([[65.5, 20.25], [90.0, 25.0], [70.0, 44.75]])
    made = dataset(tmp_path, Annotation(0, Polygons((ring,)), box=(65.0, 20.0, 90.0, 45.0)))
    cut, _ = tile_pictures(made, Tiles(100, 0.2), tmp_path / "out")
    found = {record.id: record.objects.annotations for record in cut.records}
    (inner,) = found["large_0_60"]
    assert isinstance(inner.shape, Polygons) and np.array_equal(inner.shape.rings[0], ring - (60, 0))
    assert inner.box == (5.0, 20.0, 30.0, 45.0)
    assert isinstance(found["large_0_0"][0].shape, Polygons)
    for row, record in enumerate(cut.records):
        y, x = map(int, record.id.split("_")[1:])
        expected = made.objects(0).masks.to_dense(0)[y : y + 100, x : x + 100]
        assert not record.objects.annotations or (cut.objects(row).masks.to_dense(0) == expected).all()


def test_boxes_are_cut_as_boxes(tmp_path):
    made = dataset(tmp_path, Annotation(0, BoxOnly(), (50.5, 10.0, 110.0, 30.0)))
    made = Dataset(made.labels, made.records, "fake", tmp_path, boxes_only=True)
    cut, counts = tile_pictures(made, Tiles(100, 0.2), tmp_path / "out")
    found = {record.id: [a.box for a in record.objects.annotations] for record in cut.records}
    assert found["large_0_0"] == [(50.5, 10.0, 100.0, 30.0)] and found["large_0_60"] == [(0.0, 10.0, 50.0, 30.0)]
    assert (counts.whole, counts.cut) == (0, 1)


def test_label_maps_are_cut_with_their_pictures(tmp_path):
    made = make_semantic(tmp_path / "in", labels_of(["sky", "water", "land"]))
    cut, _ = tile_pictures(made, Tiles(20, 0.2), tmp_path / "out")
    wholes = {record.id: made.label_map(row).ids for row, record in enumerate(made.records)}
    assert len(cut) > 20
    for row, record in enumerate(cut.records):
        name, y, x = record.id.rsplit("_", 2)
        expected = wholes[name][int(y) : int(y) + 20, int(x) : int(x) + 20]
        assert (cut.label_map(row).ids == expected).all()
        assert record.truth.pixels == tuple((expected == name).sum() for name in range(3))


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint16), (5, np.uint16), (3, np.uint16), (2, np.float32)])
def test_pictures_of_any_depth_keep_their_values(tmp_path, channels, dtype):
    values = rng(2, "deep").integers(0, 60_000, (90, 130, channels)).astype(dtype)
    file = tmp_path / "deep.tif"
    tifffile.imwrite(file, values[..., 0] if channels == 1 else values, photometric="minisblack", planarconfig="contig")
    made = Dataset(labels_of(["x"]), (Record("deep", file, (90, 130), Objects()),), "fake", tmp_path)
    cut, _ = tile_pictures(made, Tiles(64, 0.1), tmp_path / "out")
    for record in cut.records:
        y, x = map(int, record.id.split("_")[1:])
        assert np.array_equal(read_image(record.image), values[y : y + 64, x : x + 64])


def test_a_picture_of_one_tile_is_not_written_again(tmp_path):
    made = dataset(tmp_path)
    cut, counts = tile_pictures(made, Tiles(1024), tmp_path / "out")
    assert [(record.id, record.image) for record in cut.records] == [("large_0_0", made.records[0].image)]
    assert counts.tiles == 1 and not (tmp_path / "out").exists()


def test_memory_holds_a_row_of_tiles(tmp_path):
    size = (4000, 1000)
    file = tmp_path / "tall.tif"
    tifffile.imwrite(file, np.zeros((*size, 3), np.uint8), photometric="rgb", compression="zlib", rowsperstrip=16)
    made = Dataset(labels_of(["x"]), (Record("tall", file, size, Objects()),), "fake", tmp_path)
    tracemalloc.start()
    tile_pictures(made, Tiles(200), tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000  # the picture has 12,000,000 bytes


@pytest.mark.parametrize(("side", "overlap"), [(4, 0.2), (100, 0.95), (100, -0.1)])
def test_tiles_must_make_sense(side, overlap):
    with pytest.raises(ConfigError):
        Tiles(side, overlap)
