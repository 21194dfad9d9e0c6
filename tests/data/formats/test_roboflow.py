"""What Roboflow exports: COCO and YOLO with train/, valid/ and test/, read with their splits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from everymask.data.formats.table import read_dataset

RING = [5.0, 5.0, 30.0, 5.0, 30.0, 20.0]
FOLDERS = {"train": "train", "valid": "val", "test": "test"}


def picture(file: Path, value: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40), (80 * value, 0, 0)).save(file)


def test_coco(tmp_path):
    for number, folder in enumerate(FOLDERS):
        name = f"p{number}_png.rf.0a1b2c3d.jpg"
        picture(tmp_path / folder / name, number)
        document = {
            "info": {"description": "Exported from roboflow.com"},
            "categories": [{"id": 0, "name": "cells", "supercategory": "none"},
                           {"id": 1, "name": "nucleus", "supercategory": "cells"}],
            "images": [{"id": 0, "license": 1, "file_name": name, "height": 40, "width": 60}],
            "annotations": [{"id": 0, "image_id": 0, "category_id": 1, "bbox": [5, 5, 25, 15], "area": 187.5,
                             "segmentation": [RING], "iscrowd": 0}],
        }  # fmt: skip
        (tmp_path / folder / "_annotations.coco.json").write_text(json.dumps(document))
    dataset = read_dataset(tmp_path)
    assert (dataset.format, dataset.splits()) == ("coco", {"test": 1, "train": 1, "val": 1})
    assert dataset.truth(0).class_ids.tolist() == [dataset.labels.names.index("nucleus")]


def test_yolo(tmp_path):
    line = " ".join(f"{value:.6f}" for value in (np.array(RING).reshape(-1, 2) / (60, 40)).ravel())
    for number, folder in enumerate(FOLDERS):
        picture(tmp_path / folder / "images" / f"p{number}_png.rf.0a1b.jpg", number)
        (tmp_path / folder / "labels").mkdir()
        (tmp_path / folder / "labels" / f"p{number}_png.rf.0a1b.txt").write_text(f"1 {line}\n")
    settings = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\nnames: ['a', 'b']\n"
    (tmp_path / "data.yaml").write_text(f"{settings}\nroboflow:\n  workspace: x\n  version: 1\n")
    dataset = read_dataset(tmp_path)
    assert (dataset.format, dataset.splits()) == ("yolo", {"train": 1, "val": 1, "test": 1})
    assert dataset.labels.names == ("a", "b")
    assert dataset.truth(0).class_ids.tolist() == [1]


def test_a_project_of_roboflow_in_the_wild(shared):
    dataset = read_dataset(shared / "format_fixtures/coco_dataset/coco_roboflow", policy="skip")
    assert dataset.splits() == {"train": 1, "val": 1}
