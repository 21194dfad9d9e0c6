"""Pictures with instance-id label maps: the pedestrians' layout, what tells them from class maps, bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.data.dataset import Dataset
from everymask.data.formats.instance_pngs import looks_like_instance_pngs, read_instance_pngs, write_instance_pngs
from everymask.data.formats.mask_files import read_mask_files
from everymask.data.formats.readings import judge_maps
from everymask.data.formats.table import read_dataset
from everymask.data.pictures.read import read_label_map
from everymask.data.records import Annotation, Objects, Polygons, Record
from everymask.errors import DataError


def objects(count=3, size=(40, 60), dtype=np.uint8, step=1):
    ids = np.zeros(size, dtype)
    for row in range(count):
        ids[3 + 9 * (row // 5) : 10 + 9 * (row // 5), 2 + 11 * (row % 5) : 11 + 11 * (row % 5)] = 1 + row * step
    return ids


def pair(root, name, ids, *, folders=("images", "masks"), suffix="", palette=False):
    file = root / folders[1] / f"{name}{suffix}{'.tif' if ids.dtype == np.int32 else '.png'}"
    for folder in (root / folders[0], file.parent):
        folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*ids.shape, 3), np.uint8)).save(root / folders[0] / f"{name}.png")
    image = Image.fromarray(ids)
    if palette:
        image.putpalette([40, 0, 9, 200, 200, 7] * 128)
    image.save(file)
    return file


def test_pedestrians(tmp_path):
    for number, count in enumerate((2, 1, 3)):
        folders = ("PNGImages", "PedMasks")
        pair(tmp_path, f"FudanPed{number}", objects(count), folders=folders, suffix="_mask", palette=True)
    assert looks_like_instance_pngs(tmp_path)
    dataset = read_instance_pngs(tmp_path)
    assert dataset.labels.names == ("pedestrian",) and not dataset.issues
    assert [len(dataset.truth(index)) for index in range(3)] == [2, 1, 3]
    truth = dataset.truth(2)
    assert truth.ids.tolist() == [1, 2, 3]
    assert truth.boxes[1].tolist() == [13.0, 3.0, 22.0, 10.0]
    assert truth.masks.areas().tolist() == [63, 63, 63]


@pytest.mark.parametrize(("dtype", "step"), [(np.uint8, 1), (np.uint16, 9000), (np.int32, 70_000)])
def test_8_16_and_32_bits_keep_their_numbers(tmp_path, dtype, step):
    pair(tmp_path, "a", objects(5, dtype=dtype, step=step))
    truth = read_instance_pngs(tmp_path).truth(0)
    assert truth.ids.tolist() == [1 + row * step for row in range(5)]
    assert truth.masks.areas().tolist() == [63] * 5


@pytest.mark.parametrize("layout", ["{split}/images", "images/{split}"])
def test_splits_are_folders_above_or_below(tmp_path, layout):
    for number, split in enumerate(("train", "train", "val")):
        folders = (layout.format(split=split), layout.replace("images", "masks").format(split=split))
        pair(tmp_path, f"p{number}", objects(2 + number), folders=folders)
    assert looks_like_instance_pngs(tmp_path)
    assert read_instance_pngs(tmp_path).splits() == {"train": 2, "val": 1}


def test_labels_json_gives_each_object_its_class(tmp_path):
    pair(tmp_path, "a", objects(3))
    (tmp_path / "labels.json").write_text(json.dumps({"a": {"1": "dog", "2": "cat", "3": "dog"}}))
    dataset = read_instance_pngs(tmp_path)
    assert dataset.labels.names == ("cat", "dog")
    assert dataset.truth(0).class_ids.tolist() == [1, 0, 1]
    (tmp_path / "labels.json").write_text(json.dumps({"a": {"1": "dog", "2": "cow"}}))
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    with pytest.raises(DataError) as error:
        read_instance_pngs(tmp_path)
    assert [(issue.code, issue.where) for issue in error.value.issues] == [
        ("unknown-class", "/a/2"), ("class-missing", "/a/3"),
    ]  # fmt: skip


def test_255_without_254_is_void(tmp_path):
    ids = objects(2)
    ids[30:] = 255
    pair(tmp_path, "a", ids)
    dataset = read_instance_pngs(tmp_path)
    assert dataset.truth(0).ids.tolist() == [1, 2]
    assert "void" in [issue.code for issue in dataset.issues]


def test_class_maps_are_not_taken_for_objects(shared, tmp_path):
    maps = [read_label_map(file) for file in sorted((shared / "camvid" / "valannot").glob("*.png"))[:12]]
    assert judge_maps(maps).best == "classes"
    for number, ids in enumerate(maps[:4]):
        pair(tmp_path, f"street{number}", ids.astype(np.uint8))
    assert not looks_like_instance_pngs(tmp_path)
    assert "looks-semantic" in [issue.code for issue in read_instance_pngs(tmp_path).issues]


def test_numbered_nuclei_are_taken_for_objects(shared, tmp_path):
    dataset = read_mask_files(shared / "nuclei_one_mask_per_file")
    for index in range(4):
        masks = dataset.truth(index).masks
        ids = np.zeros(masks.size, np.uint16)
        for number in range(len(masks)):
            ids[masks.to_dense(number)] = number + 1
        pair(tmp_path, f"n{index}", ids)
    assert looks_like_instance_pngs(tmp_path)
    found = read_instance_pngs(tmp_path)
    assert not found.issues
    for index in range(4):
        assert sorted(found.truth(index).masks.to_rle()) == sorted(dataset.truth(index).masks.to_rle())


def halves(values):
    return np.repeat(np.array(values, np.uint8), 20)[None].repeat(30, axis=0)


@pytest.mark.parametrize("maps", [
    pytest.param([halves([0, 255]), halves([255, 0])], id="binary"),
    pytest.param([halves([0, 1]), halves([2, 0]), halves([3, 3])], id="one number each"),
    pytest.param([halves([1, 2, 3]), halves([3, 2, 1]), halves([2, 1, 3])], id="the same numbers everywhere"),
    pytest.param([halves([2, 0, 5]), halves([7, 2])], id="gaps among small numbers"),
    pytest.param([halves([1, 2, 1, 2]), halves([1, 3, 2, 1, 3])], id="in several pieces"),
    pytest.param([halves([2, 0, 5, 255]), halves([7, 2, 255])], id="gaps and void"),
])  # fmt: skip
def test_habits_of_class_maps(maps):
    assert judge_maps(maps).best == "classes"


@pytest.mark.parametrize("maps", [
    pytest.param([objects(2), objects(5), objects(3)], id="counts differ"),
    pytest.param([objects(5), objects(1)], id="a picture with one object among others"),
    pytest.param([objects(4, dtype=np.uint16, step=300), objects(2, dtype=np.uint16, step=50)], id="large numbers"),
])  # fmt: skip
def test_habits_of_object_maps(maps):
    assert judge_maps(maps).best == "objects"


def spoil_size(root):
    pair(root, "b", objects(2, size=(40, 61)))
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(root / "images" / "b.png")


def rgb(root):
    file = pair(root, "b", objects(2))
    Image.fromarray(np.dstack([objects(2), objects(3), objects(2)])).save(file)


def jpeg(root):
    file = pair(root, "b", objects(2))
    Image.fromarray(objects(2)).save(file.with_suffix(".jpg"))
    file.unlink()


def negative(root):
    pair(root, "b", objects(2, dtype=np.int32) - 1)


BAD = [
    pytest.param(spoil_size, "mask-size", id="B01 size"),
    pytest.param(lambda root: pair(root, "b", objects(1) * 255), "binary-mask", id="B03 0 and 255"),
    pytest.param(negative, "mask", id="B04 negative"),
    pytest.param(rgb, "mask", id="B05 RGB"),
    pytest.param(jpeg, "mask", id="B06 JPEG"),
    pytest.param(lambda root: pair(root, "b", objects(2)).unlink(), "mask-missing", id="B12 no map"),
    pytest.param(lambda root: (pair(root, "b", objects(2)), (root / "images/b.png").unlink()), "picture-missing",
                 id="B12 no picture"),
    pytest.param(lambda root: Image.new("L", (60, 40)).save(root / "images" / "a.bmp"), "repeated-picture",
                 id="A34 same stem"),
    pytest.param(lambda root: (root / "classes.txt").write_text("a\nb\n"), "class-missing", id="two classes, no table"),
    pytest.param(lambda root: (root / "labels.json").write_text('{"a": [1]}'), "labels-table", id="bad table"),
    pytest.param(lambda root: (root / "labels.json").write_text('{"a": {"1": "x", "1": "y"}}'), "json-repeated-key",
                 id="C04 table with a repeated key"),
]  # fmt: skip


def test_d20_a_map_whose_name_ends_otherwise_is_not_paired(tmp_path):
    pair(tmp_path, "a", objects(3))
    pair(tmp_path, "b", objects(2)).rename(tmp_path / "masks" / "b_gtFine.png")
    with pytest.raises(DataError) as caught:
        read_instance_pngs(tmp_path)
    assert [issue.code for issue in caught.value.issues] == ["mask-missing", "picture-missing"]
    assert "b_mask.png" in caught.value.issues[0].hint
    assert [record.id for record in read_instance_pngs(tmp_path, policy="skip").records] == ["a"]


def test_d20_of_two_maps_for_a_picture_the_other_is_named(tmp_path):
    file = pair(tmp_path, "a", objects(3))
    file.with_name("a_mask.png").write_bytes(file.read_bytes())
    with pytest.raises(DataError, match=r"a_mask.png: the label map belongs to no picture"):
        read_instance_pngs(tmp_path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_b08_three_equal_channels_count_as_one(tmp_path, mode):
    file = pair(tmp_path, "a", objects(3))
    Image.fromarray(objects(3)).convert(mode).save(file)
    found = read_instance_pngs(tmp_path)
    assert found.truth(0).ids.tolist() == [1, 2, 3]
    assert [issue.code for issue in found.issues] == ["mask-channels"]


@pytest.mark.parametrize(("spoil", "code"), BAD)
def test_bad_input_is_listed(tmp_path, spoil, code):
    pair(tmp_path, "a", objects(3))
    spoil(tmp_path)
    with pytest.raises(DataError) as error:
        read_instance_pngs(tmp_path)
    assert code in [issue.code for issue in error.value.issues]
    assert all(issue.file for issue in error.value.issues)
    assert len(read_instance_pngs(tmp_path, policy="skip")) >= 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_objects_per_picture_come_back_as_objects_in_every_part(tmp_path, count):
    """Maps that hold the same few numbers could as well hold classes: labels.json says what they hold."""
    records = []
    for number, split in enumerate(("train", "train", "val")):
        image = tmp_path / f"p{number}.png"
        Image.new("RGB", (40, 20), (number, 0, 0)).save(image)
        corners = np.array([[1.0, 1.0], [9.0, 1.0], [9.0, 9.0], [1.0, 9.0]])
        objects = tuple(Annotation(0, Polygons((corners + np.array([12.0 * k, 0.0]),))) for k in range(count))
        records.append(Record(f"p{number}", image, (20, 40), Objects(objects), split))
    write_instance_pngs(tmp_path / "out", Dataset(labels_of(["cell"]), tuple(records), "fake", tmp_path))
    for part, pictures in (("", 3), ("train", 2), ("val", 1)):
        found = read_dataset(tmp_path / "out" / part)
        assert (found.format, found.labels.names, found.issues) == ("instance-pngs", ("cell",), ())
        assert [len(record.objects.annotations) for record in found.records] == [count] * pictures
