"""A small COCO file to spoil."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image
from pycocotools import mask as reference

SQUARE = [2.0, 2.0, 12.0, 2.0, 12.0, 10.0, 2.0, 10.0]
RUNS = [5, 3, 20 * 30 - 8]

Document = dict[str, Any]


def document() -> Document:
    """Two pictures of 30 x 20 pixels, a polygon, a run-length mask and a crowd."""
    common = {"image_id": 7, "category_id": 3, "iscrowd": 0}
    loose, packed = ({"size": [20, 30], "counts": counts} for counts in (list(RUNS), compressed(RUNS)))
    return {
        "info": {"year": 2017},
        "images": [
            {"id": 7, "file_name": "a.png", "width": 30, "height": 20},
            {"id": 9, "file_name": "sub/b.png", "width": 30, "height": 20},
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 1, "name": "dog"}],
        "annotations": [
            {**common, "id": 1, "segmentation": [list(SQUARE)], "bbox": [2, 2, 10, 8], "area": 80.0},
            {**common, "id": 5, "segmentation": loose, "bbox": [0, 5, 1, 3], "area": 3},
            {**common, "id": 6, "segmentation": packed, "bbox": [0, 5, 1, 3], "iscrowd": 1, "category_id": 1},
        ],
    }


def compressed(runs: list[int]) -> str:
    return reference.frPyObjects({"size": [20, 30], "counts": runs}, 20, 30)["counts"].decode()


def lay_out(folder: Path, content: Document | str | bytes, name: str = "instances.json") -> Path:
    for picture in ("a.png", "sub/b.png"):
        file = folder / "images" / picture
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), (len(picture), 0, 0)).save(file)
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    data = json.dumps(content) if isinstance(content, dict) else content
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    return file
