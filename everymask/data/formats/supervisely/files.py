"""Supervisely's projects: `meta.json` beside datasets, each with `img/` and `ann/`.

    meta.json                 the classes
    <dataset>/img/X.jpg       the pictures
    <dataset>/ann/X.jpg.json  what is on them; datasets may lie in datasets, in a folder `datasets`

Read are polygons with their holes, bitmaps, alpha masks (all that is not wholly transparent) and rectangles. Points,
lines, graphs and cuboids cover no area and are left out, with a warning that counts them. Classes are those of
`meta.json` in its order. The split is the name of the nearest folder that is called train, val or test, else the
picture's tag of such a name. A picture without annotation file is not annotated; one without objects shows none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from everymask.core.files import write_json
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.objects import Place
from everymask.data.formats.drawn.reading import Listed, drawn_dataset
from everymask.data.formats.drawn.shapes import Drawn
from everymask.data.formats.drawn.writing import Piece, pieces, report_lost
from everymask.data.formats.folders import SPLIT_FOLDERS, copy_picture, files_in, folders_in, split_of
from everymask.data.formats.supervisely.objects import encode_bitmap, read_object
from everymask.data.issues import IssueLog, Policy
from everymask.data.strict.json_files import read_strict_json
from everymask.errors import DataError, printable

_META = "meta.json"
_DEPTH = 8
_ROUNDED = "boxes moved to whole pixels"


def looks_like_supervisely(path: Path) -> bool:
    """Whether the folder has `meta.json` beside datasets with `img/` and `ann/`, or is such a dataset."""
    return path.is_dir() and _meta_file(path) is not None and bool(_datasets(path, _DEPTH))


def read_supervisely(path: str | Path, *, policy: Policy = "strict") -> Dataset:
    """The data set of a project, or of one of its datasets; this module's text says how it is read.

    Raises `DataError` with all defects under the strict policy; with `"skip"` defective objects and pictures are left
    out.
    """
    root = Path(path)
    meta, datasets = _meta_file(root), _datasets(root, _DEPTH)
    if meta is None or not datasets:
        hint = "name the folder of a project, which has meta.json"
        raise DataError(f"{printable(root)}: expected meta.json beside datasets with img/ and ann/", hint=hint)
    issues = IssueLog(policy)
    names = _class_names(meta, issues)
    listed = [item for dataset in datasets for item in _listed(dataset, root, issues)]
    what = f"Supervisely's project in {printable(root)}"
    return drawn_dataset(listed, format="supervisely", root=root, issues=issues, names=names, what=what)


def write_supervisely(folder: str | Path, dataset: Dataset) -> None:
    """Write a project with a dataset per split; masks of every kind become bitmaps, which keep every pixel.

    Boxes become rectangles of whole pixels; those that had to be moved are counted in a logged warning, as are crowds,
    objects without a pixel and regions without truth, which are left out.
    """
    root, lost = Path(folder), Counter[str]()
    for index, record in enumerate(dataset.records):
        target = root / (record.split or "ds0")
        objects = [
            {"id": piece.row + 1, "classTitle": piece.name, "tags": [], **_geometry(piece, lost)}
            for piece in pieces(dataset, index, lost, crowds=False)
        ]
        picture = copy_picture(record, target / "img")
        size = {"height": record.size[0], "width": record.size[1]}
        document = {"description": "", "tags": [], "size": size, "objects": objects}
        write_json(target / "ann" / f"{picture.name}.json", document)
    kind = "rectangle" if dataset.boxes_only else "any"
    colours = zip(dataset.labels.names, dataset.labels.colours, strict=True)
    classes = [{"title": name, "shape": kind, "color": f"#{bytes(colour).hex()}"} for name, colour in colours]
    write_json(root / _META, {"classes": classes, "tags": [], "projectType": "images"})
    report_lost(root, lost)


def _meta_file(path: Path) -> Path | None:
    """The file of classes: in the folder, or where it is a dataset, above it."""
    above = [path.resolve().parent] if (path / "ann").is_dir() and (path / "img").is_dir() else []
    return next((place / _META for place in (path, *above) if (place / _META).is_file()), None)


def _datasets(path: Path, depth: int) -> list[Path]:
    if not path.is_dir():
        return []
    here = [path] if (path / "ann").is_dir() and (path / "img").is_dir() else []
    inner = [folder for folder in folders_in(path) if folder.name not in ("ann", "img")] if depth else []
    return here + [found for folder in inner for found in _datasets(folder, depth - 1)]


def _class_names(meta: Path, issues: IssueLog) -> tuple[str, ...]:
    document = read_strict_json(meta, issues)
    classes = document.get("classes") if isinstance(document, dict) else None
    if not isinstance(classes, list):
        if document is not None:
            issues.error("meta", "expected a list of classes", file=meta, where="/classes", value=classes)
        return ()
    names: list[str] = []
    for index, entry in enumerate(classes):
        title, where = entry.get("title") if isinstance(entry, dict) else None, f"/classes/{index}/title"
        if not isinstance(title, str) or not title.strip():
            issues.error("category-name", "expected a title", file=meta, where=where, value=title)
        elif title in names:
            issues.error("repeated-class", "the title stands there twice", file=meta, where=where, value=title)
        else:
            names.append(title)
    return tuple(names)


def _listed(dataset: Path, root: Path, issues: IssueLog) -> Iterator[Listed]:
    annotations = files_in(dataset / "ann", (".json",))
    for file in annotations:
        document = read_strict_json(file, issues)
        if not isinstance(document, dict) or not isinstance(document.get("objects"), list):
            if document is not None:
                issues.error("objects", "expected an object with a list called objects", file=file, where="/objects")
            continue
        sides = document["size"] if isinstance(document.get("size"), dict) else {}
        height, width = sides.get("height"), sides.get("width")
        if type(height) is not int or type(width) is not int or height < 1 or width < 1:
            message = "expected height and width as whole numbers"
            issues.error("image-size", message, file=file, where="/size", value=document.get("size"))
            continue
        split = split_of(file, root) or SPLIT_FOLDERS.get(dataset.resolve().name.lower()) or _tagged(document)
        picture = dataset / "img" / file.stem
        yield Listed(picture, file, "", partial(_draw, document["objects"]), (height, width), split)


def _tagged(document: dict[str, Any]) -> str | None:
    tags = document["tags"] if isinstance(document.get("tags"), list) else []
    found = [tag.get("name") for tag in tags if isinstance(tag, dict)]
    splits = [SPLIT_FOLDERS[name.lower()] for name in found if isinstance(name, str) and name.lower() in SPLIT_FOLDERS]
    return splits[0] if len(set(splits)) == 1 else None


def _draw(objects: list[Any], place: Place) -> Iterator[Drawn]:
    for index, entry in enumerate(objects):
        drawn = read_object(entry, place, f"/objects/{index}")
        if drawn is not None:
            yield drawn


def _geometry(piece: Piece, lost: Counter[str]) -> dict[str, Any]:
    if piece.crop is not None:
        bitmap = {"data": encode_bitmap(piece.crop), "origin": list(piece.corner)}
        return {"geometryType": "bitmap", "bitmap": bitmap}
    x1, y1, x2, y2 = np.rint(piece.box or (0.0, 0.0, 0.0, 0.0)).astype(np.int64).tolist()
    lost[_ROUNDED] += (x1, y1, x2, y2) != piece.box
    corners = [[x1, y1], [max(x2 - 1, x1), max(y2 - 1, y1)]]
    return {"geometryType": "rectangle", "points": {"exterior": corners, "interior": []}}
