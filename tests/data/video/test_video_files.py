"""Frames of video files are what was asked for, in any order; what is no video says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from everymask.core.files import in_order
from everymask.data.video import file as files
from everymask.data.video.file import VideoFile, is_video
from everymask.errors import DataError
from everymask.infer.prompted.frames import open_frames
from tests.data.video.small_videos import number_of, write_video

COUNT = 25


@pytest.mark.parametrize(("name", "fourcc"), [("a.avi", "MJPG"), ("a.mp4", "mp4v")])
def test_frames_are_those_of_their_numbers_in_any_order(
    tmp_path: Path, name: str, fourcc: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = VideoFile(write_video(tmp_path / name, COUNT, fourcc=fourcc))
    assert len(video) == COUNT
    np.testing.assert_allclose(video.times, np.arange(COUNT) / 10, atol=1e-6)
    monkeypatch.setattr(files, "_BACKWARDS", 5 * 32 * 48 * 3)
    for order in (range(COUNT), range(COUNT - 1, -1, -1), (3, 20, 20, 19, 7, 8, 0, 24)):
        for frame in order:
            assert number_of(video.read(frame)) == frame
            assert len(video._kept) <= 5
    assert video.read(0).shape == (32, 48, 3) and video.read(0).dtype == np.uint8
    video.close()
    assert number_of(video.read(9)) == 9


def test_colours_are_red_green_blue(tmp_path: Path) -> None:
    import cv2

    writer = cv2.VideoWriter(str(tmp_path / "red.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 32))
    writer.write(np.full((32, 32, 3), (0, 0, 250), np.uint8))
    writer.release()
    red, green, blue = VideoFile(tmp_path / "red.avi").read(0).mean((0, 1))
    assert red > 200 and green < 50 and blue < 50


def test_a_file_that_lies_about_its_places_is_read_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = VideoFile(write_video(tmp_path / "a.avi", COUNT))
    video.times = video.times + 1.0
    assert [number_of(video.read(frame)) for frame in (20, 4, 11, 3)] == [20, 4, 11, 3]


def test_what_is_no_video_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video at all")
    (tmp_path / "a.txt").write_text("words")
    (tmp_path / "empty").mkdir()
    for source, said in (
        ("a.mp4", "no video that OpenCV can read"),
        ("a.txt", "neither a video nor a folder"),
        ("gone.mp4", "does not exist"),
        ("empty", "has no frames"),
    ):
        with pytest.raises(DataError, match=said):
            open_frames(tmp_path / source)
    whole = write_video(tmp_path / "b.mp4", COUNT, fourcc="mp4v").read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="no video that OpenCV can read"):
        open_frames(tmp_path / "b.mp4")


def test_numbers_in_names_count_as_numbers(tmp_path: Path) -> None:
    names = ["b/1.png", "a10.png", "a2.png", "A1.png", "1.png", "02.png"]
    assert [str(file) for file in in_order(map(Path, names))] == [
        "1.png", "02.png", "A1.png", "a2.png", "a10.png", "b/1.png",
    ]  # fmt: skip
    assert is_video("a.MP4") and not is_video("a.png")


def test_a_folder_is_read_in_that_order(tmp_path: Path) -> None:
    from PIL import Image

    for number in (1, 2, 10):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(tmp_path / f"f{number}.png")
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("words")
    frames = open_frames(tmp_path)
    assert [int(frames.sample(frame).image[0, 0, 0]) for frame in range(len(frames))] == [1, 2, 10]
    assert frames.sample(2).id == "f10" and frames.seconds(0) is None
