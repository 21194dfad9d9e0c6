"""Pictures that look alike are found, and others are not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from everymask.core.labels import labels_of
from everymask.core.randomness import rng
from everymask.data.dataset import Dataset
from everymask.data.doctor.examine import check
from everymask.data.doctor.near import Thumbnails, alike, difference_hash, near_pictures
from everymask.data.pictures.read import read_header
from everymask.data.records import Objects, Record


def scene(seed: int) -> Image.Image:
    """A picture of smooth blotches, unlike that of any other seed."""
    small = rng(seed, "scene").integers(0, 255, (12, 16, 3)).astype(np.uint8)
    return Image.fromarray(cv2.resize(small, (320, 240), interpolation=cv2.INTER_CUBIC))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    pictures = {
        "a.png": scene(1),
        "b.png": scene(2),
        "a-small.png": scene(1).resize((200, 150)),
        "c.png": scene(3),
        "a-bright.png": ImageEnhance.Brightness(scene(1)).enhance(0.8),
        "black.png": Image.new("RGB", (320, 240)),
        "black-too.png": Image.new("RGB", (320, 240), (1, 0, 0)),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / name)
    scene(2).save(tmp_path / "b.jpg", quality=40)
    (tmp_path / "broken.png").write_bytes(b"nothing")
    return [tmp_path / name for name in (*pictures, "b.jpg", "broken.png")]


def test_copies_are_found_and_what_shows_nothing_is_like_nothing(files: list[Path]) -> None:
    seen: list[tuple[int, int]] = []
    sizes = [(240, 320)] * len(files)
    found = near_pictures(files, sizes, Thumbnails(), progress=lambda *step: seen.append(step))
    assert [[files[row].name for row in group] for group in found] == [
        ["a.png", "a-small.png", "a-bright.png"],
        ["b.png", "b.jpg"],
    ]
    assert seen[-1] == (len(files), len(files))


def test_a_thousand_scenes_are_all_different_and_a_crowded_band_ends() -> None:
    thumbnails = []
    for seed in range(1000):
        small = cv2.resize(np.asarray(scene(seed).convert("L"), np.float32), (32, 32), interpolation=cv2.INTER_AREA)
        small -= small.mean()
        thumbnails.append(small / np.float32(np.linalg.norm(small)))
    assert alike(thumbnails) == []
    assert alike([thumbnails[0]] * 500) == [list(range(500))]


def test_a_hash_says_where_it_becomes_brighter() -> None:
    ramp = np.tile(np.arange(32, dtype=np.float32), (32, 1))
    assert difference_hash(ramp) == 2**64 - 1
    assert difference_hash(-ramp) == 0


def test_a_leak_across_splits_is_named_before_copies_within_one(files: list[Path], tmp_path: Path) -> None:
    splits = {"a.png": "val", "b.png": "train", "b.jpg": "train"}
    records = tuple(
        Record(file.name, file, read_header(file).size, Objects(), splits.get(file.name, "train"))
        for file in files
        if file.name != "broken.png"
    )
    dataset = Dataset(labels_of(["x"]), records[::-1], "fake", tmp_path)
    found = check(dataset)
    assert [issue.code for issue in found.issues] == ["near-leak", "near-duplicate"]
    assert [set(group.splits) for group in found.near] == [{"train", "val"}, {"train"}]
    assert not check(dataset, decode=False).near
    assert "not decoded" in check(dataset, decode=False).not_looked_at[0]
