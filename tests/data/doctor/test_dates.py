"""What `check` says of pairs of dates: shifts, and dates that are the wrong way round."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from everymask.core.arrays import Array
from everymask.core.randomness import rng
from everymask.data.change.scenes import scene_of
from everymask.data.change.shift import shift_between
from everymask.data.doctor.change import taken
from everymask.data.doctor.examine import check
from everymask.data.doctor.summary import Summary
from everymask.data.feed.change_pipelines import shifted
from everymask.data.formats.change.files import read_change_pairs
from everymask.data.pictures.read import write_image
from tests.data.change_files import write_places


def ground(seed: int) -> Array:
    """Smooth blobs, as photographs have."""
    noise = rng(seed, "ground").random((160, 192, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    low, high = smooth.min(), smooth.max()
    return (255 * (smooth - low) / (high - low)).astype(np.uint8)


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (3.0, -2.0), (-4.5, 0.5), (12.0, 7.0)])
def test_the_shift_is_found_in_another_light(x: float, y: float) -> None:
    before = ground(1)
    after = shifted(before, x, y)
    dimmed = (40 + 0.5 * after.astype(np.float32)).astype(np.uint8)
    found = shift_between(before, dimmed)
    assert found[:2] == pytest.approx((x, y), abs=0.3) and found[2] > 0.1


def test_pictures_of_other_places_are_not_sure_of_a_shift() -> None:
    assert shift_between(ground(1), ground(2))[2] < 0.1
    assert shift_between(ground(1)[:20], ground(2)[:20]) == (0, 0, 0)


def write_shifted(folder: Path, shifts: list[tuple[float, float]]) -> Summary:
    for number, (x, y) in enumerate(shifts):
        before = ground(number)
        label = np.zeros(before.shape[:2], np.uint8)
        label[:20, :20] = 255
        for name, picture in (("A", before), ("B", shifted(before, x, y)), ("label", label)):
            write_image(folder / name / f"{number}.png", picture)
    return check(read_change_pairs(folder))


def test_shifted_pairs_are_told_with_their_shift(tmp_path: Path) -> None:
    summary = write_shifted(tmp_path / "one", [(0, 0), (5, -3), (0, 1)])
    (issue,) = (issue for issue in summary.issues if issue.code.startswith("dates"))
    assert "+5.0 pixels in x, -3.0 in y" in issue.message and issue.file.endswith("1.png")
    assert (summary.task, summary.pictures) == ("change", 3)
    alike = write_shifted(tmp_path / "all", [(4, 2)] * 5)
    assert [issue.code for issue in alike.issues].count("dates-shifted-alike") == 1


def test_dates_that_files_know_to_be_the_wrong_way_round_are_told(tmp_path: Path) -> None:
    for number in range(3):
        for name, year in (("A", 2020), ("B", 2011 + 10 * number)):
            tags = Image.Exif()
            tags[0x0132] = f"{year}:05:01 10:00:00"
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(ground(number)).save(tmp_path / name / f"{number}.tif", exif=tags)
        write_image(tmp_path / "label" / f"{number}.png", np.eye(160, 192, dtype=np.uint8) * 255)
    (issue,) = (issue for issue in check(read_change_pairs(tmp_path)).issues if issue.code == "dates-swapped")
    assert "taken later: 2020-05-01" in issue.message and issue.file.endswith("0.tif")


@pytest.mark.parametrize(
    ("name", "when"),
    [
        ("beirut_20150820", "2015-08-20"), ("roads-2019_07_31", "2019-07-31"), ("x/2016/a", "2016"),
        ("train_36_0512_0256", ""), ("000000201512", ""), ("20191399", ""), ("post", ""),
    ],
)  # fmt: skip
def test_names_tell_when_a_picture_was_taken_only_where_they_say_a_date(tmp_path: Path, name: str, when: str) -> None:
    file = tmp_path / "pictures" / f"{name}.png"
    write_image(file, np.zeros((4, 4), np.uint8))
    assert taken(file) == when


@pytest.mark.parametrize(
    ("name", "scene"),
    [
        ("train_36_0512_0256", "train_36"), ("city_0_96", "city"), ("a-b-256-512", "a-b"),
        ("road_2019_07", "road_2019_07"),
        ("00017", "00017"), ("tile_3_4", "tile_3_4"), ("flood_00000012_post_disaster", "flood_00000012_post_disaster"),
    ],
)  # fmt: skip
def test_names_of_crops_tell_their_scene(name: str, scene: str) -> None:
    assert scene_of(name) == scene


def test_small_pairs_are_checked_without_a_word(tmp_path: Path) -> None:
    write_places(tmp_path)
    summary = check(read_change_pairs(tmp_path), decode=False)
    assert summary.num_errors == 0 and not any(issue.code.startswith("dates") for issue in summary.issues)
