"""Pictures with label maps in the layouts that people have, what the maps hold, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from everymask.data.formats.instance_pngs import looks_like_instance_pngs
from everymask.data.formats.labelmaps.image_masks import looks_like_image_masks, read_image_masks
from everymask.data.formats.table import read_dataset
from everymask.errors import DataError
from tests.data.semantic_files import blobs, put

SHORT = {"train": "train", "val": "val"}
LAYOUTS = {
    "two folders": ("images", "masks", "{}.png"),
    "other names": ("img_dir", "ann_dir", "{}.png"),
    "one image, many labels": ("image", "label", "{}.png"),
    "ending in the other folder": ("imgs", "annotations", "{}_mask.png"),
    "beginning": ("images", "labels", "mask_{}.png"),
    "side by side": (".", ".", "{}_mask.png"),
    "splits above": ("{split}/images", "{split}/masks", "{}.png"),
    "splits below": ("images/{split}", "masks/{split}", "{}.png"),
    "splits in names": ("{split}_images", "{split}_masks", "{}.png"),
    "splits side by side": ("{split}", "{split}", "{}_label.png"),
    "deeper": ("images/{split}/city", "masks/{split}/city", "{}_gt.png"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(tmp_path, name):
    for number, split in enumerate(("train", "train", "val")):
        pictures, maps, file = LAYOUTS[name]
        folders = (pictures.format(split=split), maps.format(split=split))
        put(tmp_path, f"p{number}", blobs(seed=number), folders=folders, map_name=file)
    assert looks_like_image_masks(tmp_path)
    found = read_dataset(tmp_path)
    assert found.format == "image-masks"
    assert [record.id for record in found.records] == ["p0", "p1", "p2"]
    assert found.splits() == ({"train": 2, "val": 1} if "{split}" in pictures else {})
    assert (found.label_map(1).ids == blobs(seed=1)).all()


def test_lists_give_pairs_or_splits(tmp_path):
    for number in range(3):
        put(tmp_path, f"p{number}", blobs(seed=number), folders=("a", "b"))
    lists = {"train.txt": "a/p0.jpg b/p0.png\r\n\r\na/p1.jpg b/p1.png\r\n", "val.txt": "\ufeffa/p2.jpg,b/p2.png"}
    for name, text in lists.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_dataset(tmp_path).splits() == {"train": 2, "val": 1}
    for number in range(3):
        put(tmp_path / "named", f"p{number}", blobs(seed=number))
    (tmp_path / "named" / "train.txt").write_text("p0\n\np2.jpg\n")
    (tmp_path / "named" / "val.txt").write_text("images/p1.jpg\n")
    assert [record.split for record in read_dataset(tmp_path / "named").records] == ["train", "val", "train"]


D22 = [
    pytest.param("a/p0.jpg b/p0.png\n/elsewhere/x.jpg b/p1.png", "list-path", id="D22 absolute"),
    pytest.param("a/p0.jpg b/p0.png\n../a/p1.jpg b/p1.png", "list-path", id="D22 above"),
    pytest.param("a/p0.jpg b/p0.png\na/p0.jpg b/p0.png", "list-repeated", id="D22 twice"),
    pytest.param("a/p0.jpg b/p0.png\na/p7.jpg b/p7.png", "picture-missing", id="D22 missing"),
    pytest.param("a/p0.jpg b/p0.png\na/p1.jpg b/p0.png", "mask-repeated", id="D22 one map twice"),
    pytest.param("a/p0.jpg b/p0.png\na/p2.jpg b/p2.png", "split-leak", id="D22 two lists"),
]


@pytest.mark.parametrize(("text", "code"), D22)
def test_bad_lists(tmp_path, text, code):
    for number in range(3):
        put(tmp_path, f"p{number}", blobs(seed=number), folders=("a", "b"))
    (tmp_path / "train.txt").write_text(text)
    (tmp_path / "val.txt").write_text("a/p2.jpg b/p2.png")
    with pytest.raises(DataError) as caught:
        read_image_masks(tmp_path)
    assert code in [issue.code for issue in caught.value.issues]


def test_a_list_of_another_machine_is_read_by_the_ends_of_its_paths(tmp_path):
    put(tmp_path, "p0", blobs(), folders=("a", "b"))
    (tmp_path / "train.txt").write_text("/data/set/a/p0.jpg /data/set/b/p0.png")
    found = read_image_masks(tmp_path)
    assert (found.splits(), [issue.code for issue in found.issues]) == ({"train": 1}, ["list-path"])


def binary(value, dtype=np.uint8):
    return (blobs(2) * value).astype(dtype)


RGB = np.array([[200, 10, 0], [0, 60, 255], [9, 9, 9]], np.uint8)
STORED = {
    "numbers": (lambda ids: ids, ("class 0", "class 1", "class 2"), "0 class 0"),
    "shifted by one": (lambda ids: ids + 1, ("class 1", "class 2", "class 3"), "1 class 1"),
    "greys": (lambda ids: np.array([0, 128, 255], np.uint8)[ids], ("class 0", "class 128", "class 255"), "255 class"),
    "void": (lambda ids: np.array([0, 1, 255], np.uint8)[ids], ("class 0", "class 1"), "255 without truth"),
    "16 bit": (lambda ids: np.array([0, 300, 65535], np.uint16)[ids], ("class 0", "class 300", "class 65535"), "300"),
    "0 and 255": (lambda ids: (ids > 0) * np.uint8(255), ("background", "foreground"), "255 foreground"),
    "0 and 1": (lambda ids: (ids > 0).astype(np.uint8), ("background", "foreground"), "1 foreground"),
    "1 bit": (lambda ids: ids > 0, ("background", "foreground"), "1 foreground"),
    "0 and 38": (lambda ids: (ids > 0) * np.uint8(38), ("background", "foreground"), "38 foreground"),
}


@pytest.mark.parametrize("name", STORED)
def test_what_maps_hold_is_recognised_and_said(tmp_path, name):
    store, names, said = STORED[name]
    for number in range(2):
        put(tmp_path, f"p{number}", store(blobs(seed=number)))
    found = read_image_masks(tmp_path)
    assert found.labels.names == names
    assert said in found.coding.sentence(found.labels)
    ids = blobs(seed=1)
    expected = (
        ids > 0 if len(names) == 2 and name != "void" else np.where(ids == 2, 255, ids) if name == "void" else ids
    )
    assert (found.label_map(1).ids == expected).all()


def test_membrane(shared):
    found = read_dataset(shared / "membrane")
    assert (len(found), found.labels.names) == (30, ("background", "foreground"))
    stored = np.asarray(Image.open(shared / "membrane" / "label" / "7.png"))
    row = next(row for row, record in enumerate(found.records) if record.id == "7")
    assert (found.label_map(row).ids == stored / 255).all()


@pytest.mark.parametrize("name", ["classes.csv", "labelmap.txt"])
def test_colours_with_a_table(tmp_path, name):
    put(tmp_path, "p", RGB[blobs()])
    rows = {"classes.csv": "name,r,g,b\nroad,200,10,0\nsky,0,60,255\nvoid,9,9,9", "labelmap.txt": (
        "# label:color_rgb:parts:actions\nroad:200,10,0::\nsky:0,60,255::\nvoid:9,9,9::")}  # fmt: skip
    (tmp_path / name).write_text(rows[name])
    found = read_image_masks(tmp_path)
    assert (found.labels.names, found.labels.colours) == (("road", "sky"), ((200, 10, 0), (0, 60, 255)))
    assert (found.label_map(0).ids == np.array([0, 1, 255])[blobs()]).all()


def test_colours_without_a_table_are_listed_with_the_file_to_write(tmp_path):
    put(tmp_path, "p", RGB[blobs()])
    with pytest.raises(DataError) as caught:
        read_image_masks(tmp_path)
    issue = caught.value.issues[0]
    assert issue.code == "colours-unknown" and "#c80a00" in issue.message
    file, *rows = issue.hint.splitlines()
    assert str(tmp_path / "classes.csv") in file
    (tmp_path / "classes.csv").write_text("\n".join(row.strip() for row in rows))
    assert len(read_image_masks(tmp_path).labels) == 3
    (tmp_path / "classes.csv").unlink()
    assert set(read_image_masks(tmp_path, policy="skip").labels.names) == {"#c80a00", "#003cff", "#090909"}


def test_a28_palettes_count_by_index(tmp_path):
    file = put(tmp_path, "p", blobs())
    image = Image.fromarray(blobs(), "P")
    image.putpalette([90, 1, 7, 0, 255, 3, 8, 8, 200])
    image.save(file)
    assert (read_image_masks(tmp_path).label_map(0).ids == blobs()).all()


def test_roboflow(tmp_path):
    for split in ("train", "valid"):
        put(tmp_path, f"{split}0", blobs(), folders=(split, split), map_name="{}_mask.png")
        (tmp_path / split / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, cat\n2, dog\n")
    found = read_dataset(tmp_path)
    assert (found.labels.names, found.splits()) == (("background", "cat", "dog"), {"train": 1, "val": 1})


def test_a_table_of_classes_tells_class_maps_from_object_maps(tmp_path):
    for number in range(3):
        ids = np.zeros((30, 40), np.uint8)
        ids[2:9, 3:9], ids[15:22, 20 + number : 30] = 1, 2
        put(tmp_path, f"p{number}", ids + np.uint8(0) if number else np.where(ids == 2, 0, ids))
    assert looks_like_instance_pngs(tmp_path)
    (tmp_path / "classes.txt").write_text("background\ncell\nwall\n")
    assert not looks_like_instance_pngs(tmp_path)
    assert read_dataset(tmp_path).labels.names == ("background", "cell", "wall")
