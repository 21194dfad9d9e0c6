"""GeoJSON with coordinates in pixels, as QuPath exports objects: a file per picture, of its name.

    X.png beside X.geojson, or both anywhere below the folder; X.ome.tif with X.geojson or X.ome.geojson

Read are Polygon and MultiPolygon with their holes; points and lines cover no area and are left out, with a warning that
counts them. Of a cell its outline counts, not its nucleus. A file is a FeatureCollection, a list of features, or one
feature. One that names a coordinate system (`crs`) is on a map and not on a picture, which is an error.

The class is QuPath's `classification`, else a text called class, label, class_name or category; where no feature has
one there is one class, `object`. Regions of the class `Ignore*` have no truth. `crowd: true` marks a group. Classes are
the lines of `classes.txt` in the folder, else those that occur in alphabetical order. Splits are folders called train,
val, test. A file without features says that its picture shows no objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from everymask.core.arrays import FloatArray
from everymask.core.files import write_json, write_text
from everymask.core.labels import Labels
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.objects import Place
from everymask.data.formats.drawn.pictures import Pictures, files_of_kind
from everymask.data.formats.drawn.reading import Listed, annotation_files, drawn_dataset
from everymask.data.formats.drawn.shapes import Drawn
from everymask.data.formats.drawn.writing import Piece, check_masks, parts_of, pieces, report_lost
from everymask.data.formats.folders import (
    copy_picture,
    file_stem,
    files_in,
    folders_in,
    names_text,
    read_names,
    split_of,
)
from everymask.data.formats.geojson.features import CROWD, class_of, read_feature
from everymask.data.issues import IssueLog, Policy
from everymask.data.strict.json_files import read_strict_json
from everymask.errors import printable

_CLASSES = "classes.txt"
_HEAD = 1 << 16
_DEPTH = 3


def looks_like_geojson(path: Path) -> bool:
    """Whether this is a GeoJSON file, or one of the first in the folder is."""
    return bool(_files(path))


def read_geojson(path: str | Path, images: str | Path | None = None, *, policy: Policy = "strict") -> Dataset:
    """The data set of a GeoJSON file, or of a folder with some; this module's text says how they are read.

    `images` is the folder of the pictures, where they are not below the folder. Raises `DataError` with all defects
    under the strict policy; with `"skip"` defective features and pictures are left out.
    """
    given = Path(path)
    hint = "name the .geojson file, or the folder with one for each picture"
    files, root = annotation_files(given, _files, "GeoJSON", hint)
    issues = IssueLog(policy)
    pictures = Pictures(root if images is None else Path(images))
    found = [(file, features) for file in files if (features := _features(file, issues)) is not None]
    classified = any(class_of(_properties(feature)) for _, features in found for _, feature in features)
    listed = []
    for file, features in found:
        picture = _picture(file, pictures, issues)
        if picture is not None:
            draw = partial(_draw, features, classified)
            listed.append(Listed(picture, file, "", draw, split=split_of(file, root)))
    names = read_names(root / _CLASSES, issues) if (root / _CLASSES).is_file() else ()
    what = f"GeoJSON in {printable(given)}"
    return drawn_dataset(listed, format="geojson", root=root, issues=issues, names=names, what=what)


def write_geojson(folder: str | Path, dataset: Dataset) -> None:
    """Write a copy of each picture with its GeoJSON file, in folders by split, and `classes.txt`.

    Outlines stay as they are; masks become outlines along the edges of their pixels, with their holes, which keep every
    pixel. Left out with a logged warning that counts them are objects without a pixel and regions without truth. Raises
    `DataError` for objects without a mask.
    """
    root, lost = Path(folder), Counter[str]()
    check_masks(dataset)
    listing = names_text(dataset.labels.names)
    for index, record in enumerate(dataset.records):
        target = root / (record.split or "")
        copy_picture(record, target)
        features = [to_feature(piece, dataset.labels) for piece in pieces(dataset, index, lost)]
        write_json(target / f"{file_stem(record)}.geojson", {"type": "FeatureCollection", "features": features})
    write_text(root / _CLASSES, listing)
    report_lost(root, lost)


def _files(path: Path, depth: int = _DEPTH) -> list[Path]:
    if path.is_file():
        return [path] if _is_geojson(path) else []
    if not path.is_dir():
        return []
    found = files_in(path, (".geojson",)) + files_of_kind(files_in(path, (".json",)), _is_geojson)
    inner = folders_in(path) if depth else []
    return found + [file for folder in inner for file in _files(folder, depth - 1)]


def _is_geojson(file: Path) -> bool:
    if file.suffix.lower() not in (".geojson", ".json"):
        return False
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError:
        return False
    return b'"FeatureCollection"' in head or (b'"Feature"' in head and b'"geometry"' in head)


def _features(file: Path, issues: IssueLog) -> list[tuple[str, Any]] | None:
    """The features with their JSON pointers, or None when `issues` was told why the file cannot be used."""
    document = read_strict_json(file, issues)
    if document is None:
        return None
    if isinstance(document, dict) and document.get("crs") is not None:
        message = "the coordinates are on a map, and expected were pixels of a picture"
        issues.error("geojson-crs", message, file=file, where="/crs", value=document["crs"])
        return None
    if isinstance(document, dict) and document.get("type") == "Feature":
        return [("", document)]
    features = document.get("features") if isinstance(document, dict) else document
    if not isinstance(features, list):
        issues.error("geojson-top", "expected a list called features", file=file, where="/features", value=features)
        return None
    top = "/features" if isinstance(document, dict) else ""
    return [(f"{top}/{index}", feature) for index, feature in enumerate(features)]


def _properties(feature: Any) -> Any:
    return feature.get("properties") if isinstance(feature, dict) else None


def _picture(file: Path, pictures: Pictures, issues: IssueLog) -> Path | None:
    """The picture of the file's name; its own ending may stand before the file's, and `.ome` may be missing."""
    near = f"{file.parent.name}/"
    if pictures.has(file.stem):
        return pictures.find(near + file.stem, issues, file=file, where="")
    stem = file.stem if pictures.has_stem(file.stem) else f"{file.stem}.ome"
    stem = stem if pictures.has_stem(stem) else file.stem
    return pictures.find(near + stem, issues, file=file, where="", stem=True)


def _draw(features: Sequence[tuple[str, Any]], classified: bool, place: Place) -> Iterator[Drawn]:
    for where, feature in features:
        drawn = read_feature(feature, place, where, classified=classified)
        if drawn is not None:
            yield drawn


def to_feature(piece: Piece, labels: Labels) -> dict[str, Any]:
    """An object as a feature of GeoJSON: its rings, else the outlines of its pixels."""
    parts = [[ring] for ring in piece.rings] or parts_of(piece)
    coordinates = [[_closed(ring) for ring in rings] for rings in parts]
    several = len(coordinates) > 1
    geometry = {
        "type": "MultiPolygon" if several else "Polygon",
        "coordinates": coordinates if several else coordinates[0],
    }
    colour = list(labels.colours[labels.names.index(piece.name)])
    properties: dict[str, Any] = {"objectType": "annotation", "classification": {"name": piece.name, "color": colour}}
    if piece.crowd:
        properties[CROWD] = True
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _closed(ring: FloatArray) -> list[list[float]]:
    return np.concatenate([ring, ring[:1]]).tolist()  # type: ignore[no-any-return]
