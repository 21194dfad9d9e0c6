"""ADE20K's maps of objects: classes in R and G, objects in B, and what they are called in texts beside them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.data.formats.labelmaps.ade20k_objects import write_ade20k_objects
from everymask.data.formats.table import read_dataset
from everymask.data.panoptic import PanopticRule
from everymask.errors import DataError
from tests.contracts.test_formats import make_fake

WALL, DOOR, CAR = (110, 208, 20), (0, 77, 40), (0, 77, 200)
"""Class 11 * 256 + 208, and two objects of class 77: of three objects the first, the second and the third."""
COLOURS = [[WALL, WALL, DOOR], [(0, 0, 0), CAR, CAR]]
TEXT = (
    '001 # 0 # 0 # wall # wall # ""\n'
    '002 # 0 # 1 # door # front door # "open"\n'
    '001 # 1 # 0 # handle # handle # ""\n'
    '003 # 0 # 0 # door # door # ""\n'
)
OBJECTS = [{"name_ndx": 3024, "name": "wall"}, {"name_ndx": 77, "name": "door"}, {"name_ndx": "x"}, 5]


def scene(root: Path, colours: object = COLOURS, *, text: str | None = TEXT, name: str = "a") -> Path:
    """A picture, its map and its text; the map."""
    pixels = np.array(colours, np.uint8)
    folder = root / "images/training/d/door"
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", pixels.shape[1::-1]).save(folder / f"{name}.jpg")
    Image.fromarray(pixels).save(folder / f"{name}_seg.png")
    if text is not None:
        (folder / f"{name}_atr.txt").write_text(text, "utf-8")
    return folder / f"{name}_seg.png"


@pytest.mark.parametrize("listed", [False, True])
def test_colours_are_classes_and_objects(listed: bool, tmp_path: Path) -> None:
    file = scene(tmp_path, text=None if listed else TEXT)
    if listed:
        file.with_name("a.json").write_text(json.dumps({"annotation": {"object": OBJECTS}}), "utf-8")
    Image.new("RGB", (3, 2)).save(file.with_name("a_parts_1.png"))
    found = read_dataset(tmp_path, decode=True)
    assert (found.format, found.kind, found.splits()) == ("ade20k-objects", "objects", {"train": 1})
    assert found.labels.names == ("door", "wall")
    assert [issue.code for issue in found.issues] == ["parts"] and found.issues[0].count == 1
    objects = found.objects(0)
    assert objects.masks is not None
    shown = [(found.labels.names[k], objects.masks.to_dense(row).tolist()) for row, k in enumerate(objects.class_ids)]
    assert sorted(shown) == [
        ("door", [[False, False, False], [False, True, True]]),
        ("door", [[False, False, True], [False, False, False]]),
        ("wall", [[True, True, False], [False, False, False]]),
    ]


def test_a_rule_makes_them_panoptic(tmp_path: Path) -> None:
    scene(tmp_path)
    found = read_dataset(tmp_path, task="panoptic", rule=PanopticRule(stuff=("wall",)))
    one = found.panoptic_map(0)
    assert sorted(row.class_id for row in one.segments) == [0, 0, 1] and one.ids[1, 0] == 0


def test_classes_that_no_object_has_keep_their_places(tmp_path: Path) -> None:
    made = make_fake(tmp_path / "made")
    names = (*made.labels.names, "nothing")
    write_ade20k_objects(tmp_path / "set", replace(made, labels=labels_of(names)))
    assert read_dataset(tmp_path / "set").labels.names == names
    with pytest.raises(DataError, match="without #"):
        write_ade20k_objects(tmp_path / "other", replace(made, labels=labels_of(("a#", "b"))))


@pytest.mark.parametrize(("colour", "shown"), [((11, 1, 2), "11, 1, 2"), ((0, 0, 9), "0, 0, 9")])
def test_colours_that_are_no_class_are_defects(colour: tuple[int, ...], shown: str, tmp_path: Path) -> None:
    scene(tmp_path)
    file = scene(tmp_path, [[colour, DOOR]], name="b")
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path)
    [issue] = caught.value.issues
    assert (issue.code, issue.file, issue.where) == ("unknown-colour", str(file), f"colour {shown}")
    assert len(read_dataset(tmp_path, policy="skip")) == 1


def test_objects_without_a_name_and_lines_that_say_nothing_are_defects(tmp_path: Path) -> None:
    scene(tmp_path)
    file = scene(tmp_path, [[(20, 1, 2)]], text="002 # 0 # 0 # lamp\nx # 0 # 0 # lamp\n\n3 # 0\n", name="b")
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path)
    found = [(issue.code, issue.file, issue.where) for issue in caught.value.issues]
    text = str(file.with_name("b_atr.txt"))
    assert found == [
        ("object-text", text, "line 2"), ("object-text", text, "line 4"), ("class-missing", str(file), "")
    ]  # fmt: skip


def test_files_that_stay_alone_or_are_cut_off_are_defects(tmp_path: Path) -> None:
    file = scene(tmp_path)
    other = scene(tmp_path, name="b")
    other.with_name("b.jpg").unlink()
    with pytest.raises(DataError, match="belongs to no picture"):
        read_dataset(tmp_path)
    other.unlink()
    Image.new("RGB", (3, 2)).save(file.with_name("c.jpg"))
    with pytest.raises(DataError, match="no map of its objects"):
        read_dataset(tmp_path)
    file.with_name("c.jpg").unlink()
    Image.new("RGB", (9, 9)).save(file.with_name("a.jpg"))
    with pytest.raises(DataError, match="9 x 9"):
        read_dataset(tmp_path)
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(DataError):
        read_dataset(tmp_path)


def test_what_the_maps_cannot_hold_is_refused(tmp_path: Path) -> None:
    made = make_fake(tmp_path / "made", overlap=True)
    with pytest.raises(DataError, match="overlap"):
        write_ade20k_objects(tmp_path / "set", made)
