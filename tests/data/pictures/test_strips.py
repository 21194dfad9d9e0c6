"""Pictures read by strips: the strips put together are what `read_image` gives, and damage is found."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from everymask.core.arrays import Array
from everymask.core.randomness import rng
from everymask.data.pictures import png_rows, strips
from everymask.data.pictures.read import read_image
from everymask.data.pictures.strips import open_strips
from everymask.errors import DataError

RANDOM = rng(1, "test_strips")
GREY = RANDOM.integers(0, 256, (45, 53), np.uint8)
COLOUR = RANDOM.integers(0, 256, (45, 53, 3), np.uint8)
RGBA = RANDOM.integers(0, 256, (45, 53, 4), np.uint8)
WORDS = RANDOM.integers(0, 65536, (45, 53), np.uint16)
FLOATS = RANDOM.normal(size=(45, 53)).astype(np.float32)
FEW_COLOURS = Image.fromarray(COLOUR).quantize(9)
SMOOTH = (np.add.outer(np.arange(45), np.arange(53)) * 2 + GREY // 64).astype(np.uint8)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, bits: int, colour_type: int, *chunks: bytes, interlaced: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def all_filters(row_bytes: int) -> bytes:
    """Filtered rows of random bytes: each kind of filter in turn, on the first row too."""
    rows = RANDOM.integers(0, 256, (45, 1 + row_bytes), np.uint8)
    rows[:, 0] = (np.arange(45) + 3) % 5
    return rows.tobytes()


def filtered_png(file: Path, bits: int, colour_type: int, row_bytes: int, *before: bytes) -> None:
    packed = zlib.compress(all_filters(row_bytes))
    cut = [packed[:1], b"", packed[1:100], packed[100:]]
    file.write_bytes(png(53, 45, bits, colour_type, *before, *(chunk(b"IDAT", part) for part in cut)))


def pillow(image: Image.Image | Array, **options: object):
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    return lambda file: picture.save(file, **options)


def tiff(array: Array, **options: object):
    return lambda file: tifffile.imwrite(file, array, metadata=None, **options)


PALETTE = chunk(b"PLTE", bytes(range(30)))
BANDS = {"photometric": "minisblack", "planarconfig": "contig"}
BY_PARTS = {
    "grey.png": pillow(GREY),
    "smooth.png": pillow(SMOOTH),
    "rgb.png": pillow(COLOUR),
    "rgba.png": pillow(RGBA),
    "alpha.png": pillow(Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(GREY.T.reshape(45, 53))])),
    "words.png": pillow(WORDS),
    "black-white.png": pillow(Image.fromarray(GREY > 128)),
    "palette.png": pillow(FEW_COLOURS),
    "transparent.png": pillow(FEW_COLOURS, transparency=3),
    "filters 1.png": lambda file: filtered_png(file, 1, 0, 7),
    "filters 2.png": lambda file: filtered_png(file, 2, 0, 14),
    "filters 4.png": lambda file: filtered_png(file, 4, 0, 27),
    "filters 8.png": lambda file: filtered_png(file, 8, 0, 53),
    "filters 16.png": lambda file: filtered_png(file, 16, 0, 106),
    "filters rgb.png": lambda file: filtered_png(file, 8, 2, 159),
    "filters alpha.png": lambda file: filtered_png(file, 8, 4, 106),
    "filters rgba.png": lambda file: filtered_png(file, 8, 6, 212),
    "palette 1.png": lambda file: filtered_png(file, 1, 3, 7, PALETTE),
    "palette 4, indices behind its end.png": lambda file: filtered_png(file, 4, 3, 27, PALETTE),
    "palette 8, indices behind its end.png": lambda file: filtered_png(file, 8, 3, 53, PALETTE),
    "grey.tif": tiff(GREY),
    "rgb.tif": tiff(COLOUR, photometric="rgb"),
    "rgb alpha.tif": tiff(RGBA, photometric="rgb", extrasamples=["unassalpha"]),
    "rgb planes.tif": tiff(np.moveaxis(COLOUR, -1, 0), photometric="rgb", planarconfig="separate", rowsperstrip=8),
    "rgb tiles.tif": tiff(COLOUR, photometric="rgb", tile=(16, 32), compression="zlib", predictor=True),
    "rgb strips.tif": tiff(COLOUR, photometric="rgb", rowsperstrip=7, compression="zlib", predictor=True),
    "words.tif": tiff(WORDS, rowsperstrip=8, byteorder=">", compression="zlib", predictor=True),
    "signed.tif": tiff(GREY.astype(np.int16)),
    "floats.tif": tiff(FLOATS, tile=(16, 16), bigtiff=True),
    "lzw.tif": pillow(COLOUR, compression="tiff_lzw"),
    "lzw predictor.tif": pillow(COLOUR, compression="tiff_lzw", tiffinfo={317: 2, 278: 9}),
    "packbits.tif": pillow(GREY, compression="packbits", tiffinfo={278: 11}),
    "zstd.tif": pillow(Image.fromarray(WORDS), compression="zstd"),
    "bands.tif": tiff(np.dstack([WORDS] * 5), rowsperstrip=10, **BANDS),
    "signed bands.tif": tiff(np.dstack([GREY.astype(np.int32)] * 2), tile=(16, 16), **BANDS),
    "grey.npy": lambda file: np.save(file, GREY),
    "columns.npy": lambda file: np.save(file, np.asfortranarray(COLOUR)),
    "doubles.npy": lambda file: np.save(file, FLOATS.astype(">f8")),
    "bool.npy": lambda file: np.save(file, GREY > 9),
    "long.npy": lambda file: np.save(file, COLOUR.astype(np.int64)),
}
WHOLE = {
    "a.jpg": pillow(COLOUR),
    "a.bmp": pillow(COLOUR),
    "a.webp": pillow(COLOUR),
    "turned.png": pillow(COLOUR, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"),
    "turned.tif": tiff(COLOUR, photometric="rgb", extratags=[(274, "H", 1, 6, True)]),
    "interlaced.png": lambda file: file.write_bytes(
        png(1, 1, 8, 0, chunk(b"IDAT", zlib.compress(b"\0\x07")), interlaced=1)
    ),
    "deep.png": lambda file: filtered_png(file, 16, 2, 318),
    "deep alpha.png": lambda file: filtered_png(file, 16, 4, 212),
    "white is zero.tif": tiff(GREY, photometric="miniswhite"),
    "palette.tif": pillow(FEW_COLOURS),
    "jpeg.tif": pillow(COLOUR, compression="jpeg"),
    "cmyk.tif": pillow(Image.fromarray(RGBA, "CMYK")),
    "bits.tif": pillow(Image.fromarray(GREY > 9)),
    "premultiplied.tif": tiff(RGBA, photometric="rgb", extrasamples=["assocalpha"]),
}


@pytest.mark.parametrize("name", [*BY_PARTS, *WHOLE])
@pytest.mark.parametrize("count", [17, 1000])
def test_strips_put_together_are_the_picture(tmp_path, monkeypatch, name, count):
    monkeypatch.setattr(png_rows, "_BYTES_AT_ONCE", 600)
    file = tmp_path / name
    (BY_PARTS | WHOLE)[name](file)
    whole = read_image(file)
    with open_strips(file) as picture:
        assert picture.in_memory == (name in WHOLE)
        assert (*picture.size, picture.channels) == whole.shape
        parts = []
        while len(part := picture.read(count)):
            assert part.dtype == whole.dtype == picture.dtype
            assert part.flags.c_contiguous
            parts.append(part)
        assert picture.read(count).shape == (0, *whole.shape[1:])
    assert [len(part) for part in parts[:-1]] == [min(count, len(whole))] * (len(parts) - 1)
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a19_a20_animations_and_pages(tmp_path, caplog):
    first, second = Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)
    first.save(tmp_path / "a.png", save_all=True, append_images=[second])
    with open_strips(tmp_path / "a.png") as picture:
        np.testing.assert_array_equal(picture.read(99), COLOUR)
    assert "an animation" in caplog.text
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    with pytest.raises(DataError, match="expected one page"), open_strips(tmp_path / "a.tif"):
        pass


def test_a_packed_strip_that_is_too_large_is_decoded_with_the_whole(tmp_path, monkeypatch):
    file = tmp_path / "a.tif"
    tiff(COLOUR, photometric="rgb", rowsperstrip=45, compression="zlib")(file)
    monkeypatch.setattr(strips, "_MAX_BLOCK", COLOUR.nbytes - 1)
    with open_strips(file) as picture:
        assert picture.in_memory
        np.testing.assert_array_equal(picture.read(45), COLOUR)
    monkeypatch.setattr(strips, "_MAX_BLOCK", COLOUR.nbytes)
    with open_strips(file) as picture:
        assert not picture.in_memory


def damaged(file: Path, name: str) -> None:
    rows = b"".join(b"\0" + row.tobytes() for row in GREY)
    packed = zlib.compress(rows)
    if name == "checksum":
        data = bytearray(png(53, 45, 8, 0, chunk(b"IDAT", packed)))
        data[-13] ^= 1
        file.write_bytes(data)
    elif name == "adler":
        file.write_bytes(png(53, 45, 8, 0, chunk(b"IDAT", packed[:-1] + bytes([packed[-1] ^ 1]))))
    elif name == "late adler":
        file.write_bytes(png(53, 45, 8, 0, chunk(b"IDAT", packed[:-4]), chunk(b"IDAT", bytes(4))))
    elif name == "rows":
        file.write_bytes(png(53, 45, 8, 0, chunk(b"IDAT", zlib.compress(rows[:-60]))))
    elif name == "filter":
        file.write_bytes(png(53, 45, 8, 0, chunk(b"IDAT", zlib.compress(rows[:-54] + b"\7" + rows[-53:]))))
    elif name == "end":
        file.write_bytes(png(53, 45, 8, 0, chunk(b"IDAT", packed))[:-12])
    elif name == "cut":
        tiff(COLOUR, photometric="rgb")(file)
        file.write_bytes(file.read_bytes()[:-100])
    elif name == "packed":
        tiff(COLOUR, photometric="rgb", compression="zlib", rowsperstrip=15)(file)
        file.write_bytes(file.read_bytes()[:-100])
    elif name == "tile":
        tiff(COLOUR, photometric="rgb", compression="zlib", tile=(16, 16))(file)
        data = file.read_bytes()
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif name == "nan":
        tiff(np.where(np.arange(45)[:, None] == 44, np.nan, FLOATS).astype(np.float32))(file)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("checksum", "wrong checksum", id="A12 checksum of a chunk"),
        pytest.param("adler", "damaged or cut short", id="A12 checksum of the pixels"),
        pytest.param("late adler", "damaged or cut short", id="A12 checksum of the pixels in a chunk of its own"),
        pytest.param("tile", "damaged or cut short", id="A12 checksum of a tile that passes the lower edge"),
        pytest.param("rows", "the pixels end before row 45", id="A09 missing rows"),
        pytest.param("filter", "damaged or cut short", id="A12 filter"),
        pytest.param("end", "the file ends before its end mark", id="A09 no end mark"),
        pytest.param("cut", "damaged or cut short", id="A09 cut TIFF"),
        pytest.param("packed", "damaged or cut short", id="A09 cut strip"),
        pytest.param("nan", "53 values are NaN or infinite, the first at row 44, column 0", id="A25 NaN"),
    ],
)
def test_damage_is_found_at_its_strip(tmp_path, name, message):
    file = tmp_path / "a"
    damaged(file, name)
    with open_strips(file) as picture:
        assert not picture.in_memory
        picture.read(20)
        with pytest.raises(DataError, match=message) as caught:
            picture.read(25)
    assert str(file) in str(caught.value)


def test_errors_of_the_callers_code_are_left_alone(tmp_path):
    np.save(tmp_path / "a.npy", GREY)
    with pytest.raises(ValueError, match="mine"), open_strips(tmp_path / "a.npy"):
        raise ValueError("mine")


def test_a13_limits_of_pictures_read_by_parts(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(png(900_000, 20_000, 8, 0, chunk(b"IDAT", b"")))
    with open_strips(file) as picture:
        assert picture.size == (20_000, 900_000)
    file.write_bytes(png(900_000, 30_000, 8, 0, chunk(b"IDAT", b"")))
    with pytest.raises(DataError, match="up to 20,000,000,000 pixels"), open_strips(file):
        pass
    with pytest.raises(DataError, match="no such file"), open_strips(tmp_path / "b.png"):
        pass
