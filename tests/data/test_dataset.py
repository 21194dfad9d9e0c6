"""A data set's records become samples: every kind of shape, in order, checked against the picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import everymask.data.records as module
from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.data.dataset import Dataset
from everymask.data.issues import IssueLog
from everymask.data.pictures.read import read_label_map
from everymask.data.records import Annotation, BoxOnly, MaskFile, Objects, Polygons, Record, Rle, check_shapes
from everymask.errors import ConfigError, DataError

SIZE = (8, 12)
TRIANGLE = Polygons((np.array([[1.0, 1.0], [9.0, 1.0], [1.0, 7.0]]),))


def block(y1: int, y2: int, x1: int, x2: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.bool_)
    mask[y1:y2, x1:x2] = True
    return mask


def rle(mask: np.ndarray) -> Rle:
    return Rle(Masks.from_dense(mask[None]).to_rle()[0])


def dataset(
    folder: Path, *objects: Annotation, splits: tuple[str | None, ...] = (None,), boxes_only: bool = False
) -> Dataset:
    Image.new("RGB", SIZE[::-1], (1, 2, 3)).save(folder / "a.png")
    records = tuple(
        Record(f"a{row}", folder / "a.png", SIZE, Objects(objects), split) for row, split in enumerate(splits)
    )
    return Dataset(labels_of(["x", "y"]), records, "fake", folder, boxes_only=boxes_only)


def test_a_notebook_shows_one_line(tmp_path):
    pictures = dataset(tmp_path, splits=("train", "train", "val"))
    assert repr(pictures) == f"<Dataset {tmp_path}: fake, 3 pictures, 2 train, 1 val, 2 classes>"


def test_a_data_set_without_splits_says_where_they_come_from(tmp_path):
    with pytest.raises(ConfigError, match=r"its splits are: none\n +take all of it"):
        dataset(tmp_path).split("val")


def test_shapes_of_all_kinds_keep_their_order(tmp_path):
    ids = np.zeros(SIZE, np.uint16)
    ids[0:2, 0:3], ids[5:7, 4:9] = 700, 3
    Image.fromarray(ids).save(tmp_path / "ids.png")
    Image.fromarray(block(2, 4, 2, 4).astype(np.uint8) * 255).save(tmp_path / "one.png")
    objects = (
        Annotation(1, MaskFile(tmp_path / "ids.png", 700)),
        Annotation(0, rle(block(1, 3, 5, 8)), id=40),
        Annotation(1, MaskFile(tmp_path / "one.png")),
        Annotation(0, TRIANGLE, box=(0.5, 0.5, 9.5, 7.5), crowd=True),
        Annotation(0, MaskFile(tmp_path / "ids.png", 3)),
        Annotation(1, MaskFile(tmp_path / "ids.png", 9)),
    )
    sample = dataset(tmp_path, *objects)[0]
    truth = sample.truth
    expected = [ids == 700, block(1, 3, 5, 8), block(2, 4, 2, 4), None, ids == 3, np.zeros(SIZE, np.bool_)]
    for index, mask in enumerate(expected):
        if mask is not None:
            np.testing.assert_array_equal(truth.masks.to_dense(index), mask)
    assert truth.class_ids.tolist() == [1, 0, 1, 0, 0, 1]
    assert truth.ids.tolist() == [1, 40, 3, 4, 5, 6]
    assert truth.crowd.tolist() == [False, False, False, True, False, False]
    assert truth.boxes.tolist() == [
        [0, 0, 3, 2], [5, 1, 8, 3], [2, 2, 4, 4], [0.5, 0.5, 9.5, 7.5], [4, 5, 9, 7], [0, 0, 0, 0],
    ]  # fmt: skip
    assert truth.boxes.dtype == np.float32
    assert (sample.id, sample.file, sample.image.shape) == ("a0", str(tmp_path / "a.png"), (8, 12, 3))


def test_a_label_map_is_decoded_once_per_picture(tmp_path, monkeypatch):
    Image.fromarray(np.arange(96, dtype=np.uint8).reshape(SIZE)).save(tmp_path / "ids.png")
    opened = []
    monkeypatch.setattr(module, "read_label_map", lambda file: opened.append(file) or read_label_map(file))
    objects = [Annotation(0, MaskFile(tmp_path / "ids.png", value)) for value in range(1, 40)]
    assert dataset(tmp_path, *objects).truth(0).masks.areas().tolist() == [1] * 39
    assert opened == [tmp_path / "ids.png"]


def test_polygons_of_one_object_are_united(tmp_path):
    square = np.array([[1.0, 1.0], [5.0, 1.0], [5.0, 5.0], [1.0, 5.0]])
    truth = dataset(tmp_path, Annotation(0, Polygons((square, square + 2)))).truth(0)
    np.testing.assert_array_equal(truth.masks.to_dense(0), block(1, 5, 1, 5) | block(3, 7, 3, 7))


def test_pictures_without_objects(tmp_path):
    truth = dataset(tmp_path).truth(0)
    assert (len(truth), truth.boxes.shape, len(truth.masks), truth.masks.size) == (0, (0, 4), 0, SIZE)
    assert dataset(tmp_path, boxes_only=True).truth(0).masks is None


def test_boxes_only(tmp_path):
    truth = dataset(tmp_path, Annotation(1, BoxOnly(), (1.0, 2.0, 3.5, 4.0)), boxes_only=True).truth(0)
    assert truth.masks is None
    assert truth.boxes.tolist() == [[1, 2, 3.5, 4]]


def test_a_box_among_masks_is_refused(tmp_path):
    with pytest.raises(DataError, match="object 2 has a box and no mask"):
        dataset(tmp_path, Annotation(0, TRIANGLE), Annotation(0, BoxOnly(), (1, 1, 2, 2))).truth(0)


def test_check_shapes_leaves_no_mixture():
    record = Record(
        "a", Path("a.png"), SIZE, Objects((Annotation(0, TRIANGLE), Annotation(0, BoxOnly(), (1, 1, 2, 2), id=9)))
    )
    issues = IssueLog("skip")
    records, boxes_only = check_shapes([record], issues, "file.json")
    assert [len(record.objects.annotations) for record in records] == [1]
    assert not boxes_only
    assert [(issue.code, issue.file, issue.where) for issue in issues.issues] == [
        ("no-mask", "file.json", "annotation id 9")
    ]
    only_boxes = Record("a", Path("a.png"), SIZE, Objects(record.objects.annotations[1:]))
    assert check_shapes([only_boxes], issues, "") == ((only_boxes,), True)
    assert check_shapes([Record("a", Path("a.png"), SIZE, Objects())], issues, "")[1] is False


@pytest.mark.parametrize(
    ("size", "message"),
    [((9, 12), r"expected a picture of 12 x 8 pixels, but it has 12 x 9"), ((12, 8), "(?s)it has 8 x 12.*EXIF")],
)
def test_the_pictures_size_is_checked(tmp_path, size, message):
    made = dataset(tmp_path)
    Image.new("RGB", size[::-1]).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=message):
        made[0]


def test_b01_the_masks_size_is_checked(tmp_path):
    Image.new("L", (5, 5), 1).save(tmp_path / "mask.png")
    for value in (None, 1):
        with pytest.raises(DataError, match=r"mask.png: expected a mask of 12 x 8 pixels, but it has 5 x 5"):
            dataset(tmp_path, Annotation(0, MaskFile(tmp_path / "mask.png", value))).truth(0)


def test_splits_and_subsets(tmp_path):
    made = dataset(tmp_path, splits=("train", "val", None, "train"))
    assert made.splits() == {"train": 2, "val": 1}
    assert [record.id for record in made.split("train").records] == ["a0", "a3"]
    assert [record.id for record in made.subset([3, 1]).records] == ["a3", "a1"]
    assert [sample.id for sample in made] == ["a0", "a1", "a2", "a3"]
    assert made[-1].id == "a3"
    with pytest.raises(IndexError):
        made[4]
    with pytest.raises(ConfigError, match=r"no split 'test' .* its splits are: train \(2\), val \(1\)"):
        made.split("test")


def test_a_stated_area_belongs_to_the_objects(tmp_path):
    stated = dataset(tmp_path, Annotation(0, TRIANGLE, area=20.5), Annotation(1, TRIANGLE, area=7.0)).objects(0)
    assert stated.areas.tolist() == [20.5, 7.0] and stated.areas.dtype == np.float64
    assert stated[stated.class_ids == 1].areas.tolist() == [7.0]
    assert dataset(tmp_path, Annotation(0, TRIANGLE, area=20.5), Annotation(1, TRIANGLE)).objects(0).areas is None
