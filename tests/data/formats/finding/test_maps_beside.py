"""Folders whose names say nothing: which holds the label maps is told by what is in them, or asked."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from everymask.data.formats.table import read_dataset
from everymask.errors import DataError


def picture(file, seed=0):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 48, 3), np.uint8)).save(file)


def label_map(file, values):
    """Rectangles of the `values`, one below another."""
    file.parent.mkdir(parents=True, exist_ok=True)
    ids = np.zeros((40, 48), np.uint8)
    for row, value in enumerate(values):
        ids[6 * row + 1 : 6 * row + 5, 4:40] = value
    Image.fromarray(ids).save(file)


@pytest.mark.parametrize(
    ("pictures", "maps"), [("Bilder", "Masken"), ("fotos", "annotation"), ("img", "seg"), ("a b", "größer")]
)
def test_label_maps_in_folders_of_any_name_are_found_and_told(tmp_path, pictures, maps):
    for number in range(3):
        picture(tmp_path / pictures / f"Zelle {number} ä.JPG", number)
        label_map(tmp_path / maps / f"Zelle {number} ä.png", (255,))
    (tmp_path / pictures / "Thumbs.db").write_bytes(b"x")
    found = read_dataset(tmp_path)
    assert (found.format, len(found), found.labels.names) == ("image-masks", 3, ("background", "foreground"))
    (told,) = [issue for issue in found.issues if issue.code == "maps-beside"]
    assert told.message.startswith(f"the files in {maps}/ are taken for the label maps of the pictures in {pictures}/")


def test_maps_of_many_objects_and_splits_are_found_too(tmp_path):
    for split, first in (("train", 0), ("val", 3)):
        for number in range(first, first + 3):
            picture(tmp_path / split / "Bilder" / f"{number}.png", number)
            label_map(tmp_path / split / "Masken" / f"{number}.png", range(1, 3 + number))
    found = read_dataset(tmp_path)
    assert (found.format, found.splits()) == ("instance-pngs", {"train": 3, "val": 3})


def test_a_picture_without_its_map_is_a_defect_as_elsewhere(tmp_path):
    for number in range(3):
        picture(tmp_path / "Bilder" / f"{number}.png", number)
        label_map(tmp_path / "Masken" / f"{number}.png", (255,))
    (tmp_path / "Masken/1.png").unlink()
    with pytest.raises(DataError, match=r"1 defect found(?s:.*)1\.png: the picture has no label map in Masken/"):
        read_dataset(tmp_path)


def test_nothing_is_guessed_where_it_is_not_clear(tmp_path):
    for number in range(3):
        picture(tmp_path / "eins" / f"{number}.png", number)
        picture(tmp_path / "zwei x" / f"{number}.png", number + 3)
    with pytest.raises(DataError, match=r"eins/ and zwei x/ are called alike(?s:.*)--masks 'zwei x', or --masks eins"):
        read_dataset(tmp_path)
    for name in ("drei", "vier"):
        for number in range(3):
            label_map(tmp_path / name / f"{number}.png", (255,))
    with pytest.raises(DataError, match="no names that pair"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("names", [(), ("a.txt", "b.txt"), ("sub/a.docx",)])
def test_where_nothing_could_be_data_no_formats_are_listed(tmp_path, names):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path)
    first, *hints = str(caught.value).splitlines()
    assert "no known data set" in first
    assert hints == [
        "    name the folder or file that holds pictures and annotations: docs/data.md shows how they may lie"
    ]
