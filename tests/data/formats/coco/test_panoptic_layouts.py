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
from everymask.data.formats.table import read_dataset
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
