"""ImageJ: regions byte by byte as its decoder reads them, archives, groups, and what is damaged."""

from __future__ import annotations

import math
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.data.dataset import Dataset
from everymask.data.formats.imagej.files import looks_like_imagej, read_imagej, write_imagej
from everymask.data.formats.imagej.roi import decode_roi, encode_roi
from everymask.data.formats.table import read_dataset
from everymask.data.records import Annotation, BoxOnly, Objects, Record, Rle
from everymask.errors import DataError

TRIANGLE = [(6, 4), (30, 4), (30, 24)]


def roi(kind: int, box=(0, 0, 0, 0), points=(), *, fine=(), group: int = 0, path=()) -> bytes:
    """A file with every field at the offset at which ImageJ's RoiDecoder looks for it; `box` is x1, y1, x2, y2."""
    x1, y1, x2, y2 = box
    data = bytearray(64)
    data[0:4] = b"Iout"
    struct.pack_into(">h", data, 4, 228)
    data[6] = kind
    struct.pack_into(">4h", data, 8, y1, x1, y2, x2)
    struct.pack_into(">H", data, 16, len(points) or len(fine))
    if fine:
        struct.pack_into(">h", data, 50, 128)
    if path:
        struct.pack_into(">i", data, 36, len(path))
        data += struct.pack(f">{len(path)}f", *path)
    shorts = [x - x1 for x, _ in points or fine] + [y - y1 for _, y in points or fine]
    data += struct.pack(f">{len(shorts)}h", *map(int, shorts))
    if fine:
        data += struct.pack(f">{2 * len(fine)}f", *[x for x, _ in fine], *[y for _, y in fine])
    second = bytearray(64)
    second[30] = group
    struct.pack_into(">i", data, 60, len(data))
    return bytes(data + second)


def archive(root: Path, *rois: bytes, name: str = "p.zip", picture: str = "p.png") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    Image.new("L", (60, 40)).save(root / picture)
    with zipfile.ZipFile(root / name, "w") as target:
        for number, data in enumerate(rois):
            target.writestr(f"{number:04}-0010.roi", data)
    return root


def test_every_kind_of_region(tmp_path):
    path = [0, 2, 2, 1, 20, 2, 1, 20, 20, 1, 2, 20, 4, 0, 5, 5, 1, 9, 5, 1, 9, 9, 1, 5, 9, 4]
    rois = [
        roi(0, (6, 4, 30, 24), TRIANGLE),
        roi(7, (6, 4, 31, 25), fine=[(6.5, 4.25), (30.5, 4.25), (30.5, 24.75)]),
        roi(8, (6, 4, 30, 24), [(6, 4), (30, 4), (30, 24), (6, 24)]),
        roi(2, (10, 5, 40, 25)),
        roi(1, (2, 2, 20, 20), path=path),
        roi(1, (3, 4, 13, 24)),
        roi(3, (3, 4, 13, 24)),
        roi(10, (3, 4, 13, 24), [(3, 4)]),
    ]
    dataset = read_dataset(archive(tmp_path, *rois))
    assert (dataset.format, dataset.labels.names) == ("imagej", ("object",))
    truth = dataset.truth(0)
    fine = np.array([[6.5, 4.25], [30.5, 4.25], [30.5, 24.75]])
    assert truth.masks.to_rle()[:2] == Masks.from_polygons([[np.array(TRIANGLE)], [fine]], (40, 60)).to_rle()
    assert truth.boxes[2].tolist() == [6, 4, 30, 24]
    assert np.isclose(truth.masks.areas()[3], math.pi * 15 * 10, rtol=0.01)
    hollow = np.zeros((40, 60), bool)
    hollow[2:20, 2:20] = True
    hollow[5:9, 5:9] = False
    assert np.array_equal(truth.masks.to_dense(4), hollow)
    assert truth.boxes[5].tolist() == [3, 4, 13, 24]
    assert [issue.code for issue in dataset.issues] == ["no-area-line", "no-area-point", "box-as-mask"]


def test_curves_of_composite_selections():
    circle, k = [0, 20, 10], 0.5523
    for x1, y1, x2, y2 in ((20, 10, 10, 20), (10, 20, 0, 10), (0, 10, 10, 0), (10, 0, 20, 10)):
        first = (x1, y1 + 10 * k * np.sign(y2 - y1)) if y1 == 10 else (x1 + 10 * k * np.sign(x2 - x1), y1)
        last = (x2 + 10 * k * np.sign(x1 - x2), y2) if y1 == 10 else (x2, y2 + 10 * k * np.sign(y1 - y2))
        circle += [3, *first, *last, x2, y2]
    (ring,) = decode_roi(roi(1, (0, 0, 20, 20), path=[*circle, 4])).rings
    assert np.allclose(np.hypot(*(ring - 10).T), 10, atol=0.01)


def test_coordinates_beyond_16_bits_with_sign():
    """Very negative ones stand for those above 32,767, as ImageJ's decoder takes them."""
    (ring,) = decode_roi(roi(0, points=[(40_000 - 65_536, 0), (10, 0), (10, 9)])).rings
    assert ring.tolist() == [[40_000, 0], [10, 0], [10, 9]]


def test_groups_are_classes(tmp_path):
    rois = [roi(0, (6, 4, 30, 24), TRIANGLE, group=group) for group in (2, 1, 0)]
    root = archive(tmp_path, *rois)
    dataset = read_imagej(root)
    assert dataset.labels.names == ("group 0", "group 1", "group 2")
    (root / "classes.txt").write_text("nucleus\ncell\n")
    dataset = read_imagej(root, policy="skip")
    assert dataset.labels.names == ("nucleus", "cell")
    assert dataset.truth(0).class_ids.tolist() == [1, 0]
    assert [issue.code for issue in dataset.issues] == ["unknown-class"]


@pytest.mark.parametrize(
    ("name", "picture"),
    [("p.zip", "p.tif"), ("p_RoiSet.zip", "p.png"), ("RoiSet_p.zip", "p.png"), ("p-rois.zip", "p.png"),
     ("RoiSet.zip", "some picture.png"), ("p_roi.zip", "p_roi.png")],
)  # fmt: skip
def test_which_picture_an_archive_belongs_to(tmp_path, name, picture):
    root = archive(tmp_path, roi(0, (6, 4, 30, 24), TRIANGLE), name=name, picture=picture)
    assert read_imagej(root).records[0].image.name == picture


def test_one_region_in_a_file_of_its_own(tmp_path):
    archive(tmp_path)
    (tmp_path / "p.zip").unlink()
    (tmp_path / "p.roi").write_bytes(roi(0, (6, 4, 30, 24), TRIANGLE))
    assert looks_like_imagej(tmp_path / "p.roi")
    assert len(read_dataset(tmp_path).truth(0)) == len(read_dataset(tmp_path / "p.roi").truth(0)) == 1


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"", "roi"),
        (roi(0, (6, 4, 30, 24), TRIANGLE)[:70], "roi"),
        (b"Jout" + roi(0, (6, 4, 30, 24), TRIANGLE)[4:], "roi"),
        (roi(20), "roi"),
        (roi(1, path=[1, 2, 2]), "roi"),
        (roi(1, path=[0, 2]), "roi"),
        (roi(1, path=[float("nan"), 2, 2]), "roi"),
        (roi(0, (6, 4, 30, 24), TRIANGLE[:2]), "point-count"),
        (roi(7, fine=[(0, 0), (9, 0), (9, 9)])[:-76] + struct.pack(">3f", float("nan"), 0, 0) + bytes(64), "point"),
        (roi(0, (90, 4, 99, 24), [(90, 4), (99, 4), (99, 24)]), "shape-outside"),
        (roi(1, (5, 5, 5, 9)), "zero-area"),
        (roi(2, (5, 5, 5, 9)), "zero-area"),
    ],
)
def test_bad_regions_are_named_and_the_others_stay(tmp_path, bad, code):
    dataset = read_imagej(archive(tmp_path, roi(0, (6, 4, 30, 24), TRIANGLE), bad), policy="skip")
    (issue,) = dataset.issues
    assert (issue.code, issue.where) == (code, "0001-0010.roi")
    assert len(dataset.truth(0)) == 1


def test_a_damaged_archive_is_named(tmp_path):
    root = archive(tmp_path, roi(0, (6, 4, 30, 24), TRIANGLE))
    (root / "p.zip").write_bytes((root / "p.zip").read_bytes()[:-30])
    with pytest.raises(DataError, match="expected an archive of ROIs"):
        read_imagej(root)


def test_rois_before_the_beginning_of_an_archive_are_damage(tmp_path):
    root = archive(tmp_path, roi(0, (6, 4, 30, 24), TRIANGLE))
    data = bytearray((root / "p.zip").read_bytes())
    data[-6:-2] = (int.from_bytes(data[-6:-2], "little") + 1000).to_bytes(4, "little")
    (root / "p.zip").write_bytes(data)
    with pytest.raises(DataError, match="expected an archive of ROIs"):
        read_imagej(root)


def test_other_archives_are_not_taken(tmp_path):
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as target:
        target.writestr("a.txt", "x")
    assert not looks_like_imagej(tmp_path)
    assert not looks_like_imagej(tmp_path / "p.zip")


def test_written_regions_keep_holes_parts_and_boxes(tmp_path):
    Image.new("L", (60, 40)).save(tmp_path / "p.png")
    mask = np.zeros((40, 60), bool)
    mask[2:20, 2:20] = mask[25:30, 40:50] = True
    mask[5:9, 5:9] = False
    objects = Objects((Annotation(1, Rle(Masks.from_dense(mask[None]).to_rle()[0])),))
    made = Dataset(labels_of(["z", "a"]), (Record("p", tmp_path / "p.png", (40, 60), objects),), "fake", tmp_path)
    write_imagej(tmp_path / "out", made)
    again = read_imagej(tmp_path / "out")
    assert again.labels.names == ("z", "a")
    assert np.array_equal(again.truth(0).masks.to_dense(0), mask)
    box = Objects((Annotation(0, BoxOnly(), (1.5, 2.0, 9.25, 7.0)),))
    record = Record("p", tmp_path / "p.png", (40, 60), box)
    write_imagej(tmp_path / "boxes", Dataset(labels_of(["a"]), (record,), "fake", tmp_path, boxes_only=True))
    assert read_imagej(tmp_path / "boxes").truth(0).boxes.tolist() == [[1.5, 2, 9.25, 7]]


def test_the_fields_that_are_written_stand_where_imagej_looks(tmp_path):
    ring = np.array([[6.0, 4.0], [30.0, 4.0], [30.0, 24.0], [6.0, 24.0]])
    data = encode_roi([ring], None, "Öl-1", 7)
    assert struct.unpack_from(">4h", data, 8) == (4, 6, 24, 30)
    assert (data[6], struct.unpack_from(">H", data, 16)) == (8, (4,))
    second = struct.unpack_from(">i", data, 60)[0]
    at, length = struct.unpack_from(">ii", data, second + 16)
    assert data[at : at + 2 * length].decode("utf-16-be") == "Öl-1"
    assert data[second + 30] == 7


def test_what_the_format_cannot_hold_is_refused(tmp_path):
    Image.new("L", (60, 40)).save(tmp_path / "p.png")
    record = Record("p", tmp_path / "p.png", (40, 60), Objects())
    with pytest.raises(DataError, match="255 groups"):
        write_imagej(tmp_path / "out", Dataset(labels_of(map(str, range(256))), (record,), "fake", tmp_path))
    wide = Record("p", tmp_path / "p.png", (40, 40_000), Objects())
    with pytest.raises(DataError, match="32,767"):
        write_imagej(tmp_path / "out", Dataset(labels_of("a"), (wide,), "fake", tmp_path))
    assert not (tmp_path / "out").exists()
