"""What is noted of many picture files at once by their headers: once per oddity, with the number of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from everymask.data.formats.folders import read_map
from everymask.data.issues import IssueLog
from everymask.data.pictures.headers import read_headers
from everymask.data.pictures.read import read_image
from everymask.errors import DataError

PIXELS = np.arange(8 * 9 * 3, dtype=np.uint8).reshape(8, 9, 3)


def pictures(folder: Path, number: int, suffix: str = ".jpg", **options: object) -> list[Path]:
    files = [folder / f"{index}{suffix}" for index in range(number)]
    for file in files:
        Image.fromarray(PIXELS).save(file, **options)
    return files


def notes(issues: IssueLog) -> list[tuple[str, str, int]]:
    return [(issue.code, issue.severity, issue.count) for issue in issues.noted()]


def test_a05_wrong_endings_are_counted(tmp_path):
    issues = IssueLog()
    assert all(read_headers(pictures(tmp_path, 3, format="PNG"), issues))
    assert notes(issues) == [("picture-name", "warning", 3)]
    assert "3 pictures have the ending of another format" in issues.finish("data")[0].message


def test_a10_garbage_behind_the_end_is_counted(tmp_path):
    files = pictures(tmp_path, 3)
    for file in files[:2]:
        file.write_bytes(file.read_bytes() + b"rest")
    issues = IssueLog()
    assert all(read_headers(files, issues))
    assert notes(issues) == [("picture-tail", "warning", 2)]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"], ids=lambda suffix: f"A32 {suffix}")
def test_colour_profiles_are_counted_and_not_applied(tmp_path, suffix):
    lossless = {".webp": {"lossless": True}, ".jpg": {"quality": 100}}.get(suffix, {})
    plain = pictures(tmp_path, 1, suffix, **lossless)[0]
    expected = read_image(plain)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile, found in ((srgb, []), (lab, [("picture-profile", "warning", 2)])):
        files = pictures(tmp_path, 2, suffix, icc_profile=profile, **lossless)
        issues = IssueLog()
        assert all(read_headers(files, issues))
        assert notes(issues) == found
        np.testing.assert_array_equal(read_image(files[0]), expected)


@pytest.mark.parametrize("brand", [b"avif", b"heic"])
def test_a32_avif_and_heic_are_refused_by_name(tmp_path, brand):
    file = tmp_path / "a.avif"
    file.write_bytes(b"\0\0\0\x20ftyp" + brand + bytes(40))
    with pytest.raises(DataError, match=r"found AVIF or HEIC\n.*convert it to PNG or JPEG"):
        read_image(file)


def test_a28_palettes_among_masks_are_counted_where_they_are_unusual(tmp_path):
    mask = Image.fromarray(np.eye(4, dtype=np.uint8), "P")
    mask.putpalette([255, 255, 255, 0, 0, 0])
    mask.save(tmp_path / "a.png")
    for usual, found in ((True, []), (False, [("mask-palette", "warning", 2)])):
        issues = IssueLog()
        for _ in range(2):
            np.testing.assert_array_equal(read_map(tmp_path / "a.png", (4, 4), issues, palette=usual), np.eye(4))
        assert notes(issues) == found
