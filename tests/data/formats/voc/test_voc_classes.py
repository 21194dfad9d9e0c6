"""Pascal VOC's lists of classes, as CVAT, labelme and people write them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.data.dataset import Dataset
from everymask.data.formats.table import read_dataset, write_dataset
from everymask.data.formats.voc.objects import read_voc
from everymask.data.formats.voc.semantic import read_voc_semantic
from everymask.data.records import Annotation, BoxOnly, Objects, Polygons, Record
from everymask.errors import DataError

CAT, DOG = (48, 112, 32), (176, 112, 32)


def save(file, array):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(file)


def lay_out(root, labelmap, *, background=(0, 0, 0), objects=True):
    """One picture of 20 x 10 pixels with 30 pixels of a cat and 8 of a dog, in CVAT's colours."""
    ids = np.zeros((10, 20), np.uint8)
    ids[1:6, 2:8], ids[7:9, 10:14] = 1, 2
    save(root / "JPEGImages/a.png", np.zeros((10, 20, 3)))
    save(root / "SegmentationClass/a.png", np.array([background, CAT, DOG])[ids])
    if objects:
        save(root / "SegmentationObject/a.png", np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0)])[ids])
    (root / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + labelmap)
    return ids


def rows(*rows):
    return "".join(f"{name}:{','.join(map(str, colour))}::\n" for name, colour in rows)


@pytest.mark.parametrize(
    ("labelmap", "background", "names"),
    [
        (rows(("background", (0, 0, 0)), ("Cat", CAT), ("Dog", DOG)), (0, 0, 0), ["background", "Cat", "Dog"]),
        (rows(("Cat", CAT), ("background", (0, 0, 0)), ("Dog", DOG)), (0, 0, 0), ["Cat", "background", "Dog"]),
        (rows(("Cat", CAT), ("Dog", DOG), ("Background", (0, 0, 0))), (0, 0, 0), ["Cat", "Dog", "Background"]),
        (rows(("background", (9, 8, 7)), ("Cat", CAT), ("Dog", DOG)), (9, 8, 7), ["background", "Cat", "Dog"]),
        (rows(("Cat", CAT), ("Dog", DOG)), (0, 0, 0), ["background", "Cat", "Dog"]),
    ],
    ids=["first", "middle", "last, spelled Background", "another colour", "not listed"],
)
def test_background_is_the_class_of_that_name(tmp_path, labelmap, background, names):
    ids = lay_out(tmp_path, labelmap, background=background)
    semantic = read_voc_semantic(tmp_path)
    assert semantic.labels.names == tuple(names)
    place = next(row for row, name in enumerate(names) if name.lower() == "background")
    expected = np.array([place, names.index("Cat"), names.index("Dog")])[ids]
    assert np.array_equal(semantic.label_map(0).ids, expected)
    objects = read_voc(tmp_path)
    assert objects.labels.names == ("Cat", "Dog")
    truth = objects.truth(0)
    assert dict(zip(truth.class_ids.tolist(), truth.masks.areas().tolist(), strict=True)) == {0: 30, 1: 8}


def test_the_table_says_the_same_to_every_format(tmp_path):
    labelmap = rows(("Cat", CAT), ("background", (0, 0, 0)), ("Dog", DOG))
    lay_out(tmp_path, labelmap, objects=False)
    voc = read_voc_semantic(tmp_path)
    (tmp_path / "JPEGImages").rename(tmp_path / "images")
    (tmp_path / "SegmentationClass").rename(tmp_path / "masks")
    masks = read_dataset(tmp_path, format="image-masks")
    assert masks.labels.names == voc.labels.names
    assert dict(voc.coding.table).items() >= dict(masks.coding.table).items()


@pytest.mark.parametrize("read", [read_voc, read_voc_semantic])
@pytest.mark.parametrize("policy", ["strict", "skip"])
def test_two_classes_of_one_colour_are_refused(tmp_path, read, policy):
    lay_out(tmp_path, rows(("background", (0, 0, 0)), ("Cat", CAT), ("Dog", CAT)))
    with pytest.raises(DataError, match=r"a colour stands there twice \(found \(48, 112, 32\) for Cat and Dog\)"):
        read(tmp_path, policy=policy)


RESERVED = ["background", "Background", "_background_", "__background__", "void", "ignore", "ignored", "__ignore__",
            "unlabelled", "3 cats", "red 1 2 3"]  # fmt: skip


def make(folder, name, *, boxes=False):
    folder.mkdir()
    save(folder / "a.png", np.zeros((20, 30, 3)))
    square = np.array([[2.0, 2.0], [9.0, 2.0], [9.0, 9.0], [2.0, 9.0]])
    objects = []
    for class_id, move in ((0, 0.0), (1, 12.0)):
        box = (2.0 + move, 2.0, 9.0 + move, 9.0)
        shape = BoxOnly() if boxes else Polygons((square + np.array([move, 0.0]),))
        objects.append(Annotation(class_id, shape, box))
    record = Record("a", folder / "a.png", (20, 30), Objects(tuple(objects)))
    return Dataset(labels_of([name, "thing"]), (record,), "fake", folder, boxes_only=boxes)


@pytest.mark.parametrize("boxes", [False, True])
@pytest.mark.parametrize("name", RESERVED)
def test_classes_called_like_background_or_void_come_back(tmp_path, name, boxes):
    made = make(tmp_path / "in", name, boxes=boxes)
    write_dataset(tmp_path / "out", made, "voc")
    found = read_dataset(tmp_path / "out")
    assert (found.format, found.labels.names, found.issues) == ("voc", (name, "thing"), ())
    assert found.truth(0).class_ids.tolist() == [0, 1]
    assert found.truth(0).boxes.tolist() == made.truth(0).boxes.tolist()


@pytest.mark.parametrize("name", RESERVED)
def test_label_maps_of_such_classes_come_back(tmp_path, name):
    made = make(tmp_path / "in", name).semantic()
    write_dataset(tmp_path / "out", made, "voc-semantic")
    found = read_dataset(tmp_path / "out")
    assert found.format == "voc-semantic"
    assert [n.strip("_").lower() for n in found.labels.names] == [n.strip("_").lower() for n in made.labels.names]
    assert np.array_equal(found.label_map(0).ids, made.label_map(0).ids)


def test_objects_of_a_class_called_background_lie_on_another_background(tmp_path):
    write_dataset(tmp_path / "out", make(tmp_path / "in", "background"), "voc")
    found = read_dataset(tmp_path / "out", task="semantic")
    assert found.labels.names == ("_background_", "background", "thing")
    assert [int((found.label_map(0).ids == k).sum()) for k in range(3)] == [600 - 98, 49, 49]
