"""Bytes and open files are read as files by their path are."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
import tifffile
from PIL import Image

from everymask.core.randomness import rng
from everymask.data.pictures.read import read_header, read_image
from everymask.errors import DataError
from tests.data.pictures.test_read import COLOUR, WORDS, photo, refused, save


def files(tmp_path):
    """A picture of each kind that is read in its own way."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a.png", "a.jpg", "a.bmp", "a.gif", "a.webp", "a.ppm", "a.jp2", "turned.jpg"):
        photo().save(tmp_path / name, **({"exif": exif} if name == "turned.jpg" else {}))
    photo().convert("P").save(tmp_path / "palette.png")
    photo().save(tmp_path / "packed.tif", compression="tiff_lzw")
    bands = rng(2, "bands").integers(0, 9, (6, 7, 5), np.uint16)
    tifffile.imwrite(tmp_path / "bands.tif", bands, photometric="minisblack", planarconfig="contig")
    for name, order in (("c.npy", "C"), ("fortran.npy", "F")):
        np.save(tmp_path / name, np.asarray(COLOUR, order=order))
    np.save(tmp_path / "grey.npy", WORDS)
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "endless.jpg").write_bytes(whole.removesuffix(b"\xff\xd9"))
    return sorted(path for path in tmp_path.iterdir() if path.is_file())


def test_bytes_and_open_files_are_read_as_their_files_are(tmp_path):
    for file in files(tmp_path):
        data, expected = file.read_bytes(), read_image(file)
        with file.open("rb") as opened, zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
            packed.write(file, "inside")
            with packed.open("inside") as member:
                sources = (data, bytearray(data), memoryview(data), io.BytesIO(data), opened, member)
                for read in [read_image(source) for source in sources]:
                    assert read.dtype == expected.dtype
                    np.testing.assert_array_equal(read, expected)
            assert opened.read() == b"" and not opened.closed
        assert read_header(data) == read_header(file)


def test_an_open_file_is_read_from_where_it_stands(tmp_path):
    stream = io.BytesIO(b"before" + save(tmp_path / "a.png", Image.fromarray(COLOUR)).read_bytes())
    stream.seek(6)
    np.testing.assert_array_equal(read_image(stream), COLOUR)
    with pytest.raises(DataError, match=r"picture given as bytes: there are no bytes\n.*seek\(0\)"):
        read_image(stream)


@pytest.mark.parametrize(
    "name", ["pointer.jpg", "page.jpg", "short.png", "flipped.png", "header.png", "noend.png", "bomb.png", "texts.png"]
)
def test_bytes_are_refused_as_their_files_are(tmp_path, name):
    file = refused(tmp_path, name)
    with pytest.raises(DataError) as by_path:
        read_image(file)
    with pytest.raises(DataError) as by_bytes:
        read_image(file.read_bytes())
    with file.open("rb") as opened, pytest.raises(DataError) as by_stream:
        read_image(opened)
    assert str(by_bytes.value) == str(by_path.value).replace(str(file), "picture given as bytes")
    assert str(by_stream.value) == str(by_path.value)


def npy(dtype, shape, content):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
    return header.getvalue() + content


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "there are no bytes", id="A01 empty"),
        pytest.param(b"hello", "something else", id="A06 text"),
        pytest.param(npy("|u1", (5, 7, 3), b"123"), "damaged or cut short", id="A09 short array"),
        pytest.param(npy("|u1", (10**9, 10**9), b"123"), "damaged or cut short", id="A14 huge array"),
        pytest.param(npy("|O", (5, 7), bytes(280)), "damaged or cut short", id="Python objects"),
        pytest.param(npy("|u1", (5, 7, 3, 1), bytes(105)), r"an array \[H, W\]", id="four axes"),
        pytest.param(npy("<c8", (5, 7), bytes(280)), r"an array \[H, W\]", id="complex"),
    ],
)
def test_bytes_that_are_no_picture_are_refused(data, message):
    with pytest.raises(DataError, match=f"^picture given as bytes: .*{message}"):
        read_image(data)


def test_a_file_opened_as_text_is_named(tmp_path):
    file = save(tmp_path / "a.ppm", Image.fromarray(np.zeros((2, 2, 3), np.uint8)))
    with file.open(encoding="latin-1") as opened, pytest.raises(DataError, match=r'gives text\n.*open\(path, "rb"\)'):
        read_image(opened)
    with pytest.raises(DataError, match="reading gives int"):
        read_image(type("Odd", (), {"read": lambda self: 7})())
