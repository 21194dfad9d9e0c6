"""Layouts of panoptic data in COCO's form other than COCO's own: ADE20K as it is prepared for it, Mapillary Vistas."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.data.dataset import Dataset
from everymask.data.formats.coco.panoptic_writing import write_coco_panoptic
from everymask.data.formats.table import read_dataset, write_dataset
from everymask.errors import DataError
from tests.data.panoptic_files import ids_of, make_panoptic

FOLDERS = {"train": "training", "val": "validation"}


def written(folder: Path) -> Path:
    """COCO's layout, with JPEG pictures, whose names are not those of the maps."""
    write_coco_panoptic(folder / "coco", make_panoptic(folder / "source"))
    for picture in (folder / "coco" / "images").rglob("*.png"):
        Image.open(picture).save(picture.with_suffix(".jpg"))
        picture.unlink()
    for file in (folder / "coco" / "annotations").glob("*.json"):
        document = json.loads(file.read_text("utf-8"))
        for entry in document["images"]:
            entry["file_name"] = Path(entry["file_name"]).with_suffix(".jpg").name
        file.write_text(json.dumps(document), "utf-8")
    return folder / "coco"


def check_maps(found: Dataset, numbers: list[int]) -> None:
    """Whether the data set has the maps of these pictures, and pictures that are no maps."""
    assert [record.image.name for record in found.records] == [f"p{number}.jpg" for number in numbers]
    for row, number in enumerate(numbers):
        assert np.array_equal(found.panoptic_map(row).ids, ids_of(number))
        assert found[row].image.shape[2] == 3


@pytest.mark.parametrize("whole", [False, True])
def test_ade20k_in_the_form_of_coco_is_read_with_its_splits(tmp_path: Path, whole: bool) -> None:
    source, root = written(tmp_path), tmp_path / "ADEChallengeData2016"
    for split, name in FOLDERS.items():
        shutil.copytree(source / "images" / split, root / "images" / name)
        shutil.copytree(source / "annotations" / f"panoptic_{split}", root / f"ade20k_panoptic_{split}")
        shutil.copy(source / "annotations" / f"panoptic_{split}.json", root / f"ade20k_panoptic_{split}.json")
        if whole:  # the benchmark's label maps too, whose names are those of the panoptic maps
            (root / "annotations" / name).mkdir(parents=True)
            for picture in (root / "images" / name).iterdir():
                Image.new("L", (16, 12)).save(root / "annotations" / name / f"{picture.stem}.png")
    if whole:
        (root / "objectInfo150.txt").write_text("Idx\tName\n", "utf-8")
        assert read_dataset(root).format == "ade20k"
    found = read_dataset(root, task="panoptic")
    assert (found.format, found.splits()) == ("coco-panoptic", {"train": 3, "val": 1})
    check_maps(found, [0, 1, 3, 2])


def test_mapillary_vistas_is_read_with_its_folder_of_pictures(tmp_path: Path) -> None:
    source, root = written(tmp_path), tmp_path / "vistas" / "training"
    shutil.copytree(source / "images" / "train", root / "images")
    maps = root / "v2.0" / "panoptic"
    shutil.copytree(source / "annotations" / "panoptic_train", maps)
    shutil.copy(source / "annotations" / "panoptic_train.json", maps / "panoptic_2020.json")
    found = read_dataset(maps, images=root / "images")
    assert found.format == "coco-panoptic"
    check_maps(found, [0, 1, 3])


@pytest.mark.parametrize("name", ["train", "ade20k_panoptic_train"])
def test_pictures_that_are_called_as_the_maps_are_no_maps(name: str, tmp_path: Path) -> None:
    write_coco_panoptic(tmp_path / "coco", make_panoptic(tmp_path / "source"))
    root = tmp_path / "set"
    shutil.copytree(tmp_path / "coco/images/train", root / "images/training")
    shutil.copytree(tmp_path / "coco/annotations/panoptic_train", root / name)
    shutil.copy(tmp_path / "coco/annotations/panoptic_train.json", root / f"{name}.json")
    found = read_dataset(root)
    assert {record.image.parent.name for record in found.records} == {"training"} and len(found) == 3
    for row, number in enumerate((0, 1, 3)):
        assert np.array_equal(found.panoptic_map(row).ids, ids_of(number))
        assert np.array_equal(found[row].image, np.asarray(Image.open(tmp_path / f"source/p{number}.png")))


CATEGORIES = [
    {"id": 200, "name": "sky", "isthing": 0},
    {"id": 3, "name": "car", "isthing": 1},
    {"id": 40, "name": "Öl", "isthing": 1},
]
CHANNELS = [[[0, 0, 0], [200, 0, 0], [3, 1, 0]], [[40, 7, 0], [3, 2, 0], [3, 2, 0]]]
"""No truth, sky, a car, an oil drop, and a second car."""


def two_channels(root: Path, pixels: object = CHANNELS, *, beside: bool = False) -> Path:
    """A picture with a map of two channels; the classes in the file, or in one `beside` it."""
    colours = np.array(pixels, np.uint8)
    for file, image in ((root / "images/a.png", np.zeros_like(colours)), (root / "panoptic_val/a.png", colours)):
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    height, width = colours.shape[:2]
    document = {"images": [{"id": 5, "file_name": "a.png", "height": height, "width": width}]}
    if beside:
        (root / "panoptic_coco_categories.json").write_text(json.dumps(CATEGORIES), "utf-8")
    else:
        document["categories"] = CATEGORIES
    (root / "panoptic_val.json").write_text(json.dumps(document), "utf-8")
    return root / "panoptic_val/a.png"


@pytest.mark.parametrize("beside", [False, True])
def test_maps_of_two_channels_say_what_they_show(beside: bool, tmp_path: Path) -> None:
    two_channels(tmp_path, beside=beside)
    found = read_dataset(tmp_path, decode=True)
    assert (found.format, found.kind, found.labels.names) == ("coco-panoptic", "panoptic", ("car", "Öl", "sky"))
    assert found.labels.things == {0, 1} and not found.issues
    one = found.panoptic_map(0)
    kinds = {row.id: row.class_id for row in one.segments}
    classes = [[kinds.get(number) for number in row] for row in one.ids.tolist()]
    assert classes == [[None, 2, 0], [1, 0, 0]] and len(kinds) == 4
    write_dataset(tmp_path / "again", found, "coco-panoptic")
    again = read_dataset(tmp_path / "again").panoptic_map(0)
    assert sorted(row.class_id for row in again.segments) == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("colour", "message"),
    [((4, 0, 0), "is the id of no category"), ((0, 9, 0), "no category"), ((3, 1, 1), "B stands")],
)
def test_colours_that_are_no_category_are_defects(colour: tuple[int, ...], message: str, tmp_path: Path) -> None:
    file = two_channels(tmp_path, [[colour, [3, 0, 0]]])
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path)
    [issue] = caught.value.issues
    assert (issue.code, issue.file) == ("unknown-category", str(file)) and message in issue.message
    assert issue.where == f"colour {', '.join(map(str, colour))}"


def test_maps_of_two_channels_that_cannot_be_used_are_defects(tmp_path: Path) -> None:
    file = two_channels(tmp_path)
    Image.new("RGB", (5, 5)).save(file)
    with pytest.raises(DataError, match="3 x 2"):
        read_dataset(tmp_path)
    Image.new("L", (3, 2)).save(file)
    with pytest.raises(DataError, match="3 x 8 bits"):
        read_dataset(tmp_path)
    file.unlink()
    assert [issue.code for issue in read_dataset(tmp_path, policy="skip").issues] == ["unlabelled"]
