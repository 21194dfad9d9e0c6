"""Label maps written by strips: other readers find the same ids, and a failure leaves no file."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from everymask.core.labels import Labels, labels_of
from everymask.core.randomness import rng
from everymask.data.pictures import map_strips
from everymask.data.pictures.map_strips import writing_label_map
from everymask.data.pictures.read import read_label_map, read_storage
from everymask.errors import ConfigError, DataError

RANDOM = rng(1, "test_map_strips")
LABELS = labels_of(["road", "sky", "tree"])
IDS = np.where(RANDOM.random((45, 53)) < 0.1, 255, np.arange(45)[:, None] // 5 % 3).astype(np.uint8)


def write(file, ids, labels=LABELS, cuts=(7, 7, 44)):
    with writing_label_map(file, ids.shape, labels) as write_rows:
        for rows in np.split(ids, cuts):
            write_rows(rows)


@pytest.mark.parametrize("chunk_bytes", [1, 100, 1 << 20])
def test_a_png_stores_ids_and_shows_colours(tmp_path, monkeypatch, chunk_bytes):
    monkeypatch.setattr(map_strips, "_CHUNK_BYTES", chunk_bytes)
    write(tmp_path / "a.png", IDS.astype(np.int32))
    colours = {**dict(enumerate(LABELS.colours)), 255: (224, 224, 192)}
    with Image.open(tmp_path / "a.png") as found:
        assert found.mode == "P"
        np.testing.assert_array_equal(found, IDS)
        shown = np.asarray(found.convert("RGB"))
    for stored, colour in colours.items():
        assert (shown[stored == IDS] == colour).all()
    assert read_storage(tmp_path / "a.png") == "palette"
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.png"), IDS)


@pytest.mark.parametrize("classic_bytes", [0, 1 << 32], ids=["BigTIFF", "TIFF"])
@pytest.mark.parametrize("strip_bytes", [1, 500, 1 << 18])
@pytest.mark.parametrize(("ignore", "dtype"), [(255, "uint8"), (256, "uint16"), (65_535, "uint16"), (70_000, "uint32")])
def test_a_tiff_holds_the_numbers(tmp_path, monkeypatch, classic_bytes, strip_bytes, ignore, dtype):
    monkeypatch.setattr(map_strips, "_CLASSIC_BYTES", classic_bytes)
    monkeypatch.setattr(map_strips, "_STRIP_BYTES", strip_bytes)
    ids = np.where(IDS == 255, ignore, IDS.astype(np.int32))
    write(tmp_path / "a.tif", ids, Labels(LABELS.names, ignore=ignore))
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.is_bigtiff == (classic_bytes == 0)
        assert tiff.pages.first.photometric.name == "MINISBLACK"
        assert tiff.pages.first.compression.name == "ADOBE_DEFLATE"
        found = tiff.asarray()
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, ids)
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.tif"), ids)
    if not tiff.is_bigtiff:
        with Image.open(tmp_path / "a.tif") as image:
            np.testing.assert_array_equal(image, ids)
    if dtype != "uint32":
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.tif"), cv2.IMREAD_UNCHANGED), ids)


def test_one_row_and_one_pixel(tmp_path):
    for ids in (IDS[:1], IDS[:, :1], IDS[:1, :1]):
        for name in ("a.png", "a.TIFF"):
            write(tmp_path / name, ids, cuts=())
            np.testing.assert_array_equal(read_label_map(tmp_path / name), ids)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize(
    ("strips", "message"),
    [
        ([IDS[:44]], "expected 45 rows, but got 44"),
        ([IDS, IDS[:1]], r"expected up to 0 rows of 53 ids, but got \[1, 53\]"),
        ([IDS[:, :52]], r"expected up to 45 rows of 53 ids, but got \[45, 52\]"),
        ([IDS[0]], r"but got \[53\]"),
        ([IDS.astype(np.int32) - 1], "expected ids from 0 to 255, but these reach from -1 to 254"),
        ([IDS.astype(np.int32) + 1], "from 1 to 256"),
    ],
)
def test_wrong_rows_are_refused_and_the_old_file_stays(tmp_path, name, strips, message):
    (tmp_path / name).write_bytes(b"old")
    with (
        pytest.raises(DataError, match=message) as caught,
        writing_label_map(tmp_path / name, IDS.shape, LABELS) as write_rows,
    ):
        for rows in strips:
            write_rows(rows)
    assert name in str(caught.value)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def test_an_interrupt_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), writing_label_map(tmp_path / "a.png", IDS.shape, LABELS) as write_rows:
        write_rows(IDS[:20])
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"ending in .png, .tif or .tiff"):
        write(tmp_path / "a.jpg", IDS)
