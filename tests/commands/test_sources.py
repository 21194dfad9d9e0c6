"""Files, folders and patterns become a list of pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from everymask.commands.sources import find_pictures
from everymask.errors import ConfigError, DataError, counted


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`photos` with pictures at two depths, and with what is no picture or hidden."""
    for name in ("b.png", "a.JPG", "deep/c.tif", "notes.txt", ".hidden.png", ".cache/d.png", "[1].png", "-e.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*sources: str) -> list[str]:
    return [path.as_posix() for path in find_pictures(sources)]


def test_a_folder_stands_for_all_pictures_below_it(folder: Path) -> None:
    expected = ["photos/-e.png", "photos/[1].png", "photos/a.JPG", "photos/b.png", "photos/deep/c.tif"]
    assert names("photos") == expected


def test_patterns_match_pictures_at_any_depth(folder: Path) -> None:
    assert names("photos/[ab].*") == ["photos/a.JPG", "photos/b.png"]
    assert names("photos/**/*.tif") == ["photos/deep/c.tif"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder: Path) -> None:
    assert names("photos/[1].png") == ["photos/[1].png"]


def test_a_picture_named_twice_comes_once_where_it_was_first(folder: Path) -> None:
    assert names("photos/b.png", "photos/../photos/b.png", "photos/a.JPG") == ["photos/b.png", "photos/a.JPG"]


def test_a_file_that_is_named_is_taken_whatever_its_ending(folder: Path) -> None:
    """Whether it is a picture is for the reader to say, who looks inside."""
    assert names("photos/notes.txt") == ["photos/notes.txt"]


LAYOUTS = {
    "mask files": (["a/images/1.png", "b/images/2.png"], ["a/masks/1.png", "a/masks/2.png", "b/masks/cell/1.png"]),
    "folders": (["images/1.jpg", "images/2.jpg"], ["masks/1.png", "masks/2.png", "masks/3.png"]),
    "splits": (["train/images/1.jpg", "val/images/2.jpg"], ["train/labels/1.png", "val/labels/2.png"]),
    "side by side": (["1.jpg", "2.jpg"], ["1_mask.png", "2_mask.png"]),
    "camvid": (["train/1.png", "val/2.png"], ["trainannot/1.png", "valannot/2.png"]),
    "cityscapes": (["leftImg8bit/val/x/x_leftImg8bit.png"], ["gtFine/val/x/x_gtFine_labelIds.png"]),
    "voc": (["JPEGImages/1.jpg", "JPEGImages/2.jpg"], ["SegmentationClass/1.png", "SegmentationObject/1.png"]),
    "devkit": (["VOCdevkit/VOC2012/JPEGImages/1.jpg"], ["VOCdevkit/VOC2012/SegmentationClass/1.png"]),
    "pedestrians": (["PNGImages/1.png"], ["PedMasks/1_mask.png"]),
    "other names": (["images/1.jpg", "labels/wine.jpg", "labels/beer.jpg"], []),
    "original": (["original_images/1.jpg"], ["label_images_semantic/1.png"]),
    "a list of other files": (["images/1.png", "left/1.png", "right/1.png", "pairs.txt"], ["masks/1.png"]),
    "photographs": (["left/1.jpg", "1.jpg", "1_l.jpg"], []),
    "stereo pairs": (["left/1.png", "right/1.png", "pairs.txt"], []),
    "restoration pairs": (["train/input/1.png", "train/target/1.png", "input/1.png", "target/1.png"], []),
    "ground truth": (["images/1.png", "ground_truth/1.png"], []),
    "left and right scans": (["scan0.png", "scan0_l.png", "scan1.png", "scan1_lab.png"], []),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_of_a_data_set_the_pictures_are_taken(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Masks are told by names alone: the files are empty."""
    pictures, masks = LAYOUTS[layout]
    for name in (*pictures, *masks):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text("left/1.png right/1.png\n" if name == "pairs.txt" else "")
    monkeypatch.chdir(tmp_path)
    assert names("data") == sorted(f"data/{name}" for name in pictures if not name.endswith(".txt"))
    left_out, cure = counted(len(masks), "mask"), "to predict them too, give their folder or a pattern"
    said = [f"data is a data set: {left_out} left out, such as {min(masks, default='')}; {cure}"]
    assert caplog.messages == (said if masks else [])
    if masks:
        assert names(f"data/{masks[0]}") == [f"data/{masks[0]}"]


@pytest.mark.parametrize(
    ("sources", "error", "message"),
    [
        pytest.param(["photos/*.webp"], ConfigError, "matched nothing", id="F20 pattern"),
        pytest.param(["photos/*.txt"], ConfigError, "no picture was named", id="F20 pattern without pictures"),
        pytest.param([], ConfigError, "no picture was named", id="F20 nothing"),
        pytest.param(["photos/x\n.png"], DataError, r"photos/x\\n.png does not exist", id="A33 escaped"),
        pytest.param(["photos/.cache/empty"], DataError, "does not exist", id="A02 missing"),
        pytest.param(["."], DataError, "no picture in the folder", id="F16 empty folder"),
    ],
)
def test_what_names_no_picture_is_refused(
    sources: list[str], error: type[Exception], message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sources == ["."]:
        (folder / "empty").mkdir()
        monkeypatch.chdir(folder / "empty")
    with pytest.raises(error, match=message):
        find_pictures(sources)
