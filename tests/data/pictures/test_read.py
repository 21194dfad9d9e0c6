"""The image reader: right pixels from every kind of file, a clear refusal of everything else."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from everymask.core.randomness import rng
from everymask.data.pictures.read import Header, read_header, read_image, read_label_map, write_image
from everymask.errors import ConfigError, DataError, MachineError

RANDOM = rng(1, "test_images")
COLOUR = RANDOM.integers(0, 256, (5, 7, 3), np.uint8)
GREY = RANDOM.integers(0, 256, (5, 7), np.uint8)
WORDS = RANDOM.integers(0, 65536, (5, 7), np.uint16)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def photo(height: int = 48, width: int = 64) -> Image.Image:
    rows, columns = np.mgrid[:height, :width]
    noise = RANDOM.integers(0, 60, (height, width, 3))
    return Image.fromarray((np.stack([rows * 3, columns * 3, rows + columns], 2) + noise).clip(0, 255).astype(np.uint8))


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(width: int, height: int, depth: int = 8, colour: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)


def png_bits(path: Path, values: np.ndarray, bits: int) -> Path:
    rows = b"".join(b"\0" + np.packbits(_bits(row, bits)).tobytes() for row in values)
    body = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    path.write_bytes(png_header(values.shape[1], values.shape[0], bits) + body)
    return path


def _bits(row: np.ndarray, bits: int) -> np.ndarray:
    return ((row[:, None] >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8).ravel()


@pytest.mark.parametrize(
    ("name", "pixels", "expected"),
    [
        ("a.png", COLOUR, COLOUR),
        ("a.png", GREY, GREY[..., None]),
        ("a.png", WORDS, WORDS[..., None]),
        ("a.tif", COLOUR, COLOUR),
        ("a.tif", WORDS, WORDS[..., None]),
        ("a.tif", WORDS.astype(np.float32) / 7, (WORDS.astype(np.float32) / 7)[..., None]),
        ("a.tif", WORDS.astype(np.int32), WORDS[..., None]),
        ("a.bmp", COLOUR, COLOUR),
        ("a.ppm", COLOUR, COLOUR),
        ("a.pgm", GREY, GREY[..., None]),
    ],
)
def test_lossless_pixels_come_back_the_same(tmp_path, name, pixels, expected):
    file = save(tmp_path / name, Image.fromarray(pixels))
    found = read_image(file)
    assert found.dtype == expected.dtype
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, expected)
    header = read_header(file)
    assert (header.size, header.channels, header.dtype) == (expected.shape[:2], expected.shape[2], str(expected.dtype))


def test_lossless_webp_and_jpeg_2000(tmp_path):
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.webp", Image.fromarray(COLOUR), lossless=True)), COLOUR)
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.jp2", Image.fromarray(COLOUR))), COLOUR)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2)], ids=lambda size: f"A16 {size}")
def test_tiny_pictures_keep_their_size(tmp_path, size):
    file = save(tmp_path / "a.png", Image.fromarray(RANDOM.integers(0, 256, (*size, 3), np.uint8)))
    assert read_image(file).shape == (*size, 3)
    assert read_header(file).size == size


def test_a05_content_counts_and_not_the_ending(tmp_path):
    file = save(tmp_path / "a.jpg", Image.fromarray(COLOUR), format="PNG")
    np.testing.assert_array_equal(read_image(file), COLOUR)
    assert not read_header(file).fits_name(file)
    assert read_header(file).fits_name("a.png")
    assert read_header(file).fits_name("a.unheard")


@pytest.mark.parametrize("orientation", range(1, 9), ids=lambda value: f"A22 orientation {value}")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_orientation_is_applied(tmp_path, suffix, orientation):
    upright = np.zeros((16, 32), np.uint8)
    upright[:8, :16], upright[8:, 16:] = 80, 250
    # What each number says of the stored picture (EXIF 2.32): the inverse of what the reader has to do.
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T,
        6: np.rot90(upright), 7: np.rot90(upright, 2).T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    options = {".jpg": {"quality": 100}, ".webp": {"lossless": True}}.get(suffix, {})
    file = save(tmp_path / f"a{suffix}", image, exif=exif, **options)
    header = read_header(file)
    assert (header.size, header.stored_size, header.orientation) == ((16, 32), stored.shape, orientation)
    found = read_image(file)[..., 0]
    assert found.shape == (16, 32)
    assert np.abs(found.astype(int) - upright).max() <= 2


def test_a22_orientation_behind_the_pixels_of_a_png_counts(tmp_path):
    whole = io.BytesIO()
    Image.fromarray(GREY).save(whole, "PNG")
    exif = Image.Exif()
    exif[0x0112] = 6
    data, end = whole.getvalue()[:-12], whole.getvalue()[-12:]
    file = tmp_path / "a.png"
    file.write_bytes(data + png_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + end)
    assert read_header(file).size == (7, 5)
    np.testing.assert_array_equal(read_image(file)[..., 0], np.rot90(GREY, -1))


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(
            b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + struct.pack("<HH", value, 0),
            id=f"A23 orientation {value}",
        )
        for value in (0, 9, 65535)
    ]
    + [
        pytest.param(b"II*\0\x08\0\0\0\xff\xff\x12\x01", id="A23 cut short"),
        pytest.param(b"II*\0\xff\xff\xff\xff", id="A23 directory outside"),
        pytest.param(b"garbage", id="A23 garbage"),
    ],
)
def test_invalid_exif_counts_as_upright(tmp_path, block, caplog):
    file = save(tmp_path / "a.png", Image.fromarray(GREY), exif=b"Exif\0\0" + block)
    assert read_header(file).orientation == 1
    assert ("EXIF" in caplog.text) == (block != b"garbage")
    np.testing.assert_array_equal(read_image(file)[..., 0], GREY)


def test_a26_cmyk_and_adobe_jpegs_become_rgb(tmp_path):
    picture = photo()
    cmyk = save(tmp_path / "cmyk.jpg", picture.convert("CMYK"), quality=100, subsampling=0)
    found = read_image(cmyk)
    assert found.shape == (48, 64, 3)
    assert np.abs(found.astype(int) - np.asarray(picture)).mean() < 3
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.tif", picture.convert("CMYK"))), np.asarray(picture))


def test_a27_palettes_become_rgb(tmp_path):
    image = Image.fromarray(COLOUR).quantize(8)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", image)), expected)
    with_alpha = save(tmp_path / "b.png", image, transparency=bytes([0, 100, 255]))
    np.testing.assert_array_equal(read_image(with_alpha), expected)


def test_a29_alpha_is_dropped_and_not_blended(tmp_path):
    alpha = RANDOM.integers(0, 256, (5, 7), np.uint8)
    colour = Image.fromarray(np.dstack([COLOUR, alpha]), "RGBA")
    grey = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)])
    for suffix in (".png", ".tif"):
        np.testing.assert_array_equal(read_image(save(tmp_path / f"a{suffix}", colour)), COLOUR)
        np.testing.assert_array_equal(read_image(save(tmp_path / f"b{suffix}", grey)), GREY[..., None])


@pytest.mark.parametrize("bits", [1, 2, 4], ids=lambda bits: f"A30 {bits} bit")
def test_few_bits_are_scaled_in_pictures_and_kept_in_label_maps(tmp_path, bits):
    values = RANDOM.integers(0, 2**bits, (6, 11)).astype(np.uint8)
    file = png_bits(tmp_path / "a.png", values, bits)
    np.testing.assert_array_equal(read_image(file)[..., 0], values * (255 // (2**bits - 1)))
    np.testing.assert_array_equal(read_label_map(file), values)
    assert read_header(file).bits == bits


def test_a30_big_endian_words(tmp_path):
    file = save(tmp_path / "a.tif", Image.frombytes("I;16B", (7, 5), WORDS.astype(">u2").tobytes()))
    found = read_image(file)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found[..., 0], WORDS)
    np.testing.assert_array_equal(read_label_map(file), WORDS)


def test_a25_not_finite_values_are_counted(tmp_path):
    values = WORDS.astype(np.float32)
    values[2, 3], values[4, 0] = np.nan, np.inf
    file = save(tmp_path / "a.tif", Image.fromarray(values))
    with pytest.raises(DataError, match=r"a.tif: 2 values are NaN or infinite, the first at row 2, column 3"):
        read_image(file)


def test_values_beyond_16_bits_are_refused_and_not_clipped(tmp_path):
    for value in (-1, 65536):
        file = save(tmp_path / "a.tif", Image.fromarray(np.full((3, 3), value, np.int32)))
        with pytest.raises(DataError, match=f"0 to 65535, but found {value}"):
            read_image(file)


def test_a19_only_the_first_frame_of_an_animation_is_used(tmp_path, caplog):
    frames = [Image.fromarray(np.full((5, 7, 3), shade, np.uint8)) for shade in (10, 200)]
    for name, options in (("a.gif", {}), ("a.png", {}), ("a.webp", {"lossless": True})):
        file = save(tmp_path / name, frames[0], save_all=True, append_images=frames[1:], **options)
        caplog.clear()
        assert (read_image(file) == 10).all()
        assert "only its first frame is used" in caplog.text


def test_a20_several_pages_are_refused(tmp_path):
    page = Image.fromarray(GREY)
    file = save(tmp_path / "a.tif", page, save_all=True, append_images=[page])
    for read in (read_image, read_label_map):
        with pytest.raises(DataError, match="expected one page"):
            read(file)


@cache
def contents() -> dict[str, bytes]:
    """Files that no reader may accept."""
    good = io.BytesIO()
    photo().save(good, "PNG")
    whole = good.getvalue()
    return {
        "empty.png": b"",
        "pointer.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n",
        "page.jpg": b"\n<!DOCTYPE html><html></html>",
        "text.png": b"hello",
        "script.png": b"%!PS-Adobe-3.0 EPSF-3.0\n",
        "paper.png": b"%PDF-1.7\n",
        "drawing.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "layers.png": b"8BPS\0\1",
        "short.png": whole[: len(whole) // 2],
        "flipped.png": whole[:2000] + bytes([whole[2000] ^ 4]) + whole[2001:],
        "header.png": whole[:20],
        "zero.png": png_header(0, 4),
        "noend.png": whole[:-20],
        "bomb.png": png_header(32_000, 32_000) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b""),
        "wide.png": png_header(1_000_000, 1) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b""),
        "texts.png": png_header(4, 4) + png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 26))) + whole[33:],
    }


def refused(tmp_path: Path, name: str) -> Path:
    """One of them."""
    file = tmp_path / name
    file.write_bytes(contents()[name])
    return file


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("empty.png", "the file is empty", id="A01 empty"),
        pytest.param("pointer.jpg", r"Git LFS pointer\n.*git lfs pull", id="A06 LFS pointer"),
        pytest.param("page.jpg", "a web page", id="A06 HTML"),
        pytest.param("text.png", "something else", id="A06 text"),
        pytest.param("script.png", "PostScript", id="A07 EPS"),
        pytest.param("paper.png", "document or drawing", id="A07 PDF"),
        pytest.param("drawing.png", "document or drawing", id="A07 SVG"),
        pytest.param("layers.png", "document or drawing", id="A07 PSD"),
        pytest.param("short.png", "damaged or cut short", id="A09 truncated PNG"),
        pytest.param("flipped.png", "damaged or cut short", id="A12 flipped bit"),
        pytest.param("header.png", "damaged or cut short", id="A09 header only"),
        pytest.param("noend.png", "damaged or cut short", id="A09 no end"),
        pytest.param("zero.png", "damaged or cut short|0 x 4", id="A17 no width"),
        pytest.param("bomb.png", "up to 500,000,000 pixels, but the header says 32000 x 32000", id="A14 bomb"),
        pytest.param("wide.png", "sides up to 65500", id="A15 side"),
        pytest.param("texts.png", "damaged or cut short", id="A18 text bomb"),
    ],
)
def test_what_is_no_sound_picture_is_refused_by_name(tmp_path, name, message):
    file = refused(tmp_path, name)
    for read in (read_image, read_label_map):
        with pytest.raises(DataError, match=message) as caught:
            read(file)
        assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    "name", ["empty.png", "pointer.jpg", "script.png", "header.png", "zero.png", "bomb.png", "wide.png"]
)
def test_the_header_alone_is_enough_to_refuse(tmp_path, name):
    with pytest.raises(DataError):
        read_header(refused(tmp_path, name))


def test_a13_the_pixel_limit_is_the_callers(tmp_path):
    file = save(tmp_path / "a.png", Image.fromarray(COLOUR))
    assert read_image(file, max_pixels=35).shape == (5, 7, 3)
    with pytest.raises(DataError, match="up to 34 pixels"):
        read_image(file, max_pixels=34)


def test_no_bomb_warning_below_the_limit(tmp_path):
    """Pillow would warn here; warnings are errors in this suite."""
    header = read_header(refused(tmp_path, "bomb.png"), max_pixels=2 * 10**9)
    assert header.size == (32_000, 32_000)


def test_a02_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere.png: there is no such file"):
        read_image(tmp_path / "nowhere.png")


def test_a03_only_regular_files_are_opened(tmp_path):
    with pytest.raises(DataError, match="found a folder"):
        read_image(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(DataError, match="found a pipe, socket or device"):
            read_header(tmp_path / "pipe.png")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="everything is readable for this user")
def test_a04_a_file_without_permission_is_the_machines_fault(tmp_path):
    file = save(tmp_path / "a.png", Image.fromarray(COLOUR))
    file.chmod(0)
    with pytest.raises(MachineError, match=r"a.png: cannot be read"):
        read_image(file)


def test_a33_strange_names(tmp_path):
    file = save(tmp_path / "-a\nb\tü'.png", Image.fromarray(COLOUR))
    np.testing.assert_array_equal(read_image(file), COLOUR)
    with pytest.raises(DataError, match=r"a\\nb.png: there is no such file"):
        read_image(tmp_path / "a\nb.png")
    with pytest.raises(DataError, match="NUL"):
        read_image(tmp_path / "a\0b.png")


@pytest.mark.parametrize("suffix", [".tif", ".webp", ".gif", ".bmp", ".ppm", ".jp2"])
def test_a09_truncated_files_of_other_formats_are_refused(tmp_path, suffix):
    whole = save(tmp_path / f"whole{suffix}", photo()).read_bytes()
    file = tmp_path / f"a{suffix}"
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged or cut short"):
        read_image(file)


def test_a28_palette_label_maps_give_indices(tmp_path):
    labels = np.arange(35, dtype=np.uint8).reshape(5, 7) % 5
    image = Image.fromarray(labels, "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 0, 9, 9, 9])
    for name in ("a.png", "a.gif", "a.bmp", "a.tif"):
        np.testing.assert_array_equal(read_label_map(save(tmp_path / name, image)), labels)


def test_label_maps_keep_wide_numbers(tmp_path):
    wide = np.array([[0, 70_000], [255, 2**31 - 1]], np.int32)
    np.testing.assert_array_equal(read_label_map(save(tmp_path / "a.tif", Image.fromarray(wide))), wide)
    np.testing.assert_array_equal(read_label_map(save(tmp_path / "a.png", Image.fromarray(WORDS))), WORDS)
    whole = wide[:1].astype(np.float32)
    np.testing.assert_array_equal(read_label_map(save(tmp_path / "b.tif", Image.fromarray(whole))), wide[:1])


def test_b08_three_equal_channels_count_as_one(tmp_path):
    stacked = np.dstack([GREY, GREY, GREY])
    np.testing.assert_array_equal(read_label_map(save(tmp_path / "a.png", Image.fromarray(stacked))), GREY)
    with_alpha = Image.fromarray(np.dstack([stacked, GREY // 2]), "RGBA")
    np.testing.assert_array_equal(read_label_map(save(tmp_path / "b.png", with_alpha)), GREY)


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        pytest.param("a.png", Image.fromarray(COLOUR), "one number per pixel, but found colours", id="B05 colours"),
        pytest.param("a.jpg", Image.fromarray(GREY), "lossless format .* but found JPEG", id="B06 JPEG"),
        pytest.param("a.webp", Image.fromarray(COLOUR), "lossless", id="B06 WebP"),
        pytest.param(
            "a.tif", Image.fromarray(np.full((2, 2), 0.5, np.float32)), "whole numbers, but found 0.5", id="B09 float"
        ),
        pytest.param(
            "a.tif", Image.fromarray(np.full((2, 2), np.nan, np.float32)), "whole numbers, but found nan", id="B09 NaN"
        ),
        pytest.param(
            "a.tif", Image.fromarray(np.full((2, 2), -1, np.int32)), "from 0 to 2147483647", id="B04 negative"
        ),
    ],
)
def test_label_maps_that_are_none_are_refused(tmp_path, name, image, message):
    with pytest.raises(DataError, match=message):
        read_label_map(save(tmp_path / name, image))


@pytest.mark.parametrize(
    "pixels", [COLOUR, GREY, GREY[..., None], WORDS], ids=["colour", "grey", "one channel", "16 bit"]
)
def test_write_image_gives_back_the_same_png(tmp_path, pixels):
    write_image(tmp_path / "new" / "a.png", pixels)
    np.testing.assert_array_equal(read_image(tmp_path / "new" / "a.png").squeeze(), pixels.squeeze())


def test_write_image_makes_a_jpeg_by_its_ending(tmp_path):
    write_image(tmp_path / "a.JPG", np.asarray(photo()))
    assert read_header(tmp_path / "a.JPG") == Header((48, 64), 3, "uint8", 8, "JPEG", 1, (48, 64))


@pytest.mark.parametrize(
    ("name", "pixels"), [("a.gif", GREY), ("a.jpg", WORDS), ("a.png", COLOUR[..., :2]), ("a.png", GREY * 0.5)]
)
def test_write_image_refuses_what_it_cannot_keep(tmp_path, name, pixels):
    with pytest.raises(ConfigError, match=r"a.gif: expected a name ending in .png|a picture to write must be uint8"):
        write_image(tmp_path / name, pixels)
    assert not list(tmp_path.iterdir())


def test_pillows_settings_are_left_alone(tmp_path):
    before = (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_MEMORY)
    read_image(save(tmp_path / "a.png", Image.fromarray(COLOUR)))
    assert before == (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_MEMORY)


def test_real_photographs(shared):
    files = sorted((shared / "coco128_seg" / "images" / "train2017").glob("*.jpg"))[:20]
    assert files
    for file in files:
        expected = np.asarray(Image.open(file))
        np.testing.assert_array_equal(read_image(file).squeeze(), expected)
        assert read_header(file).size == expected.shape[:2]
