"""Cut JPEGs are refused, by the reader and by the quicker check; complete ones with an odd end are read."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.core.randomness import rng
from everymask.data.pictures.read import check_image, read_header, read_image
from everymask.errors import DataError

RANDOM = rng(1, "test_jpeg")


def jpeg(**options: object) -> bytes:
    """A JPEG whose last bytes count: some encoders' padding hides the loss of the end marker from Pillow."""
    rows, columns = np.mgrid[:200, :300]
    noise = RANDOM.integers(0, 60, (200, 300, 3))
    pixels = (np.stack([rows * 3, columns * 3, rows + columns], 2) + noise).clip(0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90, **options)
    return stream.getvalue()


def written(folder: Path, data: bytes) -> Path:
    file = folder / "a.jpg"
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99], ids=lambda share: f"A08 {share}")
@pytest.mark.parametrize("progressive", [False, True])
def test_truncated_jpegs_are_refused(tmp_path, share, progressive):
    whole = jpeg(progressive=progressive)
    for lost in range(6):
        file = written(tmp_path, whole[: int(share * len(whole)) - lost])
        for judge in (read_image, check_image):
            with pytest.raises(DataError, match="damaged or cut short"):
                judge(file)


def test_a08_a_jpeg_cut_within_an_escaped_byte(tmp_path):
    whole = jpeg()
    places = [place for place in range(len(whole) // 2, len(whole) - 2) if whole[place : place + 2] == b"\xff\0"]
    assert places
    for place in places:
        file = written(tmp_path, whole[: place + 1])
        for judge in (read_image, check_image):
            with pytest.raises(DataError, match="damaged or cut short"):
                judge(file)


@pytest.mark.parametrize("progressive", [False, True], ids=["A10 baseline", "A10 progressive"])
@pytest.mark.parametrize("garbage", [b"\0", b"\n", b"garbage" * 100, b"\xff\xd8\xff\xe0"])
def test_something_behind_the_end_is_no_defect_and_remarked(tmp_path, garbage, progressive):
    whole = jpeg(progressive=progressive)
    file = written(tmp_path, whole)
    expected = read_image(file)
    assert read_header(file).remarks == ()
    file = written(tmp_path, whole + garbage)
    check_image(file)
    np.testing.assert_array_equal(read_image(file), expected)
    assert read_header(file).remarks == ("tail",)


def test_a10_the_end_of_a_thumbnail_is_not_the_end(tmp_path):
    thumbnail = jpeg()[:2000] + b"\xff\xd9"
    whole = jpeg()
    segment = b"\xff\xe5" + (len(thumbnail) + 2).to_bytes(2) + thumbnail
    assert read_header(written(tmp_path, whole[:2] + segment + whole[2:-2])).remarks == ()


def test_a11_a_jpeg_that_lacks_only_its_end_marker_is_read_and_left_alone(tmp_path, caplog):
    whole = jpeg()
    expected = read_image(written(tmp_path, whole))
    file = written(tmp_path, whole[:-2])
    np.testing.assert_array_equal(read_image(file), expected)
    assert "lacks its end marker" in caplog.text
    check_image(file)
    assert file.read_bytes() == whole[:-2]


def test_a_sound_jpeg_is_read_without_a_word(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    file = written(tmp_path, jpeg())
    read_image(file)
    check_image(file)
    assert not caplog.text


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".gif", ".bmp", ".npy"])
def test_a09_the_check_finds_cut_files_of_other_formats(tmp_path, suffix):
    file = tmp_path / f"a{suffix}"
    pixels = RANDOM.integers(0, 256, (40, 50, 3), np.uint8)
    if suffix == ".npy":
        np.save(file, pixels)
    else:
        Image.fromarray(pixels).save(file)
    check_image(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(DataError, match="damaged or cut short"):
        check_image(file)
