"""VIA (VGG Image Annotator) 1 and 2: projects and exports as JSON, and exports as CSV; pictures beside the file.

    via_project.json, via_region_data.json, via_export_csv.csv
    train/via_region_data.json, val/via_region_data.json       splits are folders, or the files' names

Read are polygons, rectangles, circles and ellipses. Points and polylines cover no area and are left out, with a warning
that counts them. The class is the region attribute that has values; of several the one called class, label, category,
name, type or object, in this order, with a warning where more than one is called so. Of an attribute with check boxes
the ticked one counts. Without attributes there is one class, `object`.

Classes are the options of that attribute in a project's order, else the values that occur in alphabetical order. A
picture without regions shows no objects.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from everymask.core.files import write_json
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.objects import Place
from everymask.data.formats.drawn.pictures import Pictures, files_of_kind
from everymask.data.formats.drawn.reading import Listed, annotation_files, drawn_dataset
from everymask.data.formats.drawn.shapes import Drawn
from everymask.data.formats.drawn.writing import Piece, one_ring, pieces, report_lost
from everymask.data.formats.folders import SPLIT_FOLDERS, copy_picture, files_in, folders_in
from everymask.data.formats.via.regions import ClassAttribute, Region, class_attribute, read_region
from everymask.data.issues import IssueLog, Policy
from everymask.data.strict.csv_files import read_column_names, read_strict_csv
from everymask.data.strict.json_files import escape, parse_strict_json, read_strict_json
from everymask.errors import printable

_FILE = "via_project.json"
_CLASS = "class"
_COLUMNS = ("filename", "region_shape_attributes", "region_attributes")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A picture as a file lists it, with its regions."""

    name: str
    file: Path
    where: str
    regions: tuple[Region, ...]


def looks_like_via(path: Path) -> bool:
    """Whether this is a JSON or CSV file of VIA, or a folder that holds some, itself or in folders in it."""
    return bool(_annotation_files(path))


def read_via(path: str | Path, images: str | Path | None = None, *, policy: Policy = "strict") -> Dataset:
    """The data set of a file of VIA, or of a folder with some; this module's text says how they are read.

    `images` is the folder of the pictures, where they are not below the file's folder. Raises `DataError` with all
    defects under the strict policy, and where several attributes may be the class; with `"skip"` defective regions and
    pictures are left out.
    """
    given = Path(path)
    hint = "name the .json or .csv file that VIA saved"
    files, root = annotation_files(given, _annotation_files, "a file of VIA", hint)
    issues = IssueLog(policy)
    pictures = Pictures(root if images is None else Path(images))
    entries: list[_Entry] = []
    options: dict[str, list[str]] = {}
    for file in files:
        read = _csv_entries if file.suffix.lower() == ".csv" else partial(_json_entries, options=options)
        entries += read(file, issues)
    attribute = class_attribute([region for entry in entries for region in entry.regions], files[0], issues)
    listed = []
    for entry in entries:
        picture = _find(entry, pictures, issues)
        if picture is not None:
            split = SPLIT_FOLDERS.get(entry.file.stem.lower(), SPLIT_FOLDERS.get(entry.file.parent.name.lower()))
            draw = partial(_draw, entry.regions, attribute)
            listed.append(Listed(picture, entry.file, entry.where, draw, split=split))
    names = tuple(dict.fromkeys(options.get(attribute.name or "", [])))
    what = f"VIA's files in {printable(given)}"
    return drawn_dataset(listed, format="via", root=root, issues=issues, names=names, what=what)


def write_via(folder: str | Path, dataset: Dataset) -> None:
    """Write a project and copies of the pictures beside it, in folders by split; the class is the attribute `class`.

    VIA's polygons are single rings: objects of several parts or with holes become one ring by bridges of no width,
    which fill no pixel under the even-odd rule. Left out with a logged warning that counts them are crowds, objects
    without a pixel and regions without truth.
    """
    root, lost = Path(folder), Counter[str]()
    projects: dict[str, dict[str, Any]] = {}
    for index, record in enumerate(dataset.records):
        split = record.split or ""
        picture = copy_picture(record, root / split)
        regions = [
            {"shape_attributes": _shape(piece, record.size), "region_attributes": {_CLASS: piece.name}}
            for piece in pieces(dataset, index, lost, crowds=False)
        ]
        size = picture.stat().st_size
        entry = {"filename": picture.name, "size": size, "regions": regions, "file_attributes": {}}
        projects.setdefault(split, {})[f"{picture.name}{size}"] = entry
    for split, metadata in projects.items():
        write_json(root / split / _FILE, _project(metadata, dataset.labels.names))
    report_lost(root, lost)


def _annotation_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if _is_via(path) else []
    if not path.is_dir():
        return []
    places = [path, *(folder for folder in folders_in(path) if folder.name.lower() in SPLIT_FOLDERS)]
    files = [files_in(place, (".json", ".csv")) for place in places]
    return [file for listed in files for file in files_of_kind(listed, _is_via)]


def _is_via(file: Path) -> bool:
    if file.suffix.lower() == ".csv":
        return {name.lstrip("#") for name in read_column_names(file)} >= set(_COLUMNS)
    if file.suffix.lower() != ".json":
        return False
    try:
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            keys = (b'"filename"', b'"regions"', b'"file_attributes"')
            found = all(content.find(key) >= 0 for key in keys)
            return found or content.find(b'"_via_img_metadata"') >= 0
    except (OSError, ValueError):  # mmap refuses empty files with ValueError
        return False


def _json_entries(file: Path, issues: IssueLog, *, options: dict[str, list[str]]) -> Iterator[_Entry]:
    document = read_strict_json(file, issues)
    if not isinstance(document, dict):
        if document is not None:
            issues.error("via-top", "expected an object with a picture under each key", file=file)
        return
    top = ""
    if "_via_img_metadata" in document:
        _note_options(document.get("_via_attributes"), options)
        document, top = document["_via_img_metadata"], "/_via_img_metadata"
        if not isinstance(document, dict):
            issues.error("via-top", "expected an object with a picture under each key", file=file, where=top)
            return
    for key, entry in document.items():
        where = f"{top}/{escape(key)}"
        name = entry.get("filename") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name.strip():
            issues.error(
                "file-name", "expected the name of a picture", file=file, where=f"{where}/filename", value=name
            )
            continue
        regions = entry.get("regions", [])
        if not isinstance(regions, list | dict):  # version 1 numbers them as keys
            issues.error("regions", "expected a list of regions", file=file, where=f"{where}/regions", value=regions)
            continue
        pairs = enumerate(regions) if isinstance(regions, list) else regions.items()
        found = []
        for number, region in pairs:
            parts = region if isinstance(region, dict) else {}
            pointer = f"/regions/{escape(str(number))}"
            found.append(Region(parts.get("shape_attributes"), parts.get("region_attributes"), pointer))
        yield _Entry(name, file, where, tuple(found))


def _note_options(attributes: Any, options: dict[str, list[str]]) -> None:
    """The options of a project's region attributes, in their order."""
    found = attributes.get("region") if isinstance(attributes, dict) else None
    for name, value in found.items() if isinstance(found, dict) else []:
        listed = value.get("options") if isinstance(value, dict) else None
        if isinstance(listed, dict):
            options.setdefault(name, []).extend(option for option in listed if option.strip())


def _csv_entries(file: Path, issues: IssueLog) -> Iterator[_Entry]:
    found: dict[str, list[Region]] = {}
    first: dict[str, int] = {}
    for line, values in read_strict_csv(file, issues) or []:
        row = {name.lstrip("#"): value for name, value in values.items()}
        name = row.get("filename", "").strip()
        if not name:
            issues.error("file-name", "expected the name of a picture", file=file, where=f"line {line}")
            continue
        regions = found.setdefault(name, [])
        first.setdefault(name, line)
        shape, attributes = (
            parse_strict_json(row.get(column, "").encode(), f"{file}: line {line}: {column}", issues)
            for column in _COLUMNS[1:]
        )
        if shape:  # empty where the picture has no regions
            regions.append(Region(shape, attributes, f" (region on line {line})"))
    for name, regions in found.items():
        yield _Entry(name, file, f"line {first[name]}", tuple(regions))


def _find(entry: _Entry, pictures: Pictures, issues: IssueLog) -> Path | None:
    """The picture beside the file, else the one that is found below the folder of pictures."""
    folder = entry.file.parent
    beside = f"{folder.name}/{entry.name}" if "/" not in entry.name and "\\" not in entry.name else entry.name
    return pictures.find(beside, issues, file=entry.file, where=f"{entry.where}/filename")


def _draw(regions: Sequence[Region], attribute: ClassAttribute, place: Place) -> Iterator[Drawn]:
    for region in regions:
        drawn = read_region(region, attribute, place)
        if drawn is not None:
            yield drawn


def _shape(piece: Piece, size: tuple[int, int]) -> dict[str, Any]:
    if piece.box is not None:
        x1, y1, x2, y2 = piece.box
        return {"name": "rect", "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
    x, y = one_ring(piece, size).T.tolist()
    return {"name": "polygon", "all_points_x": x, "all_points_y": y}


def _project(metadata: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    attribute = {"type": "dropdown", "description": "", "options": dict.fromkeys(names, ""), "default_options": {}}
    grid = {"img_height": 80, "rshape_fill": "none", "rshape_fill_opacity": 0.3, "rshape_stroke": "yellow",
            "rshape_stroke_width": 2, "show_region_shape": True, "show_image_policy": "all"}  # fmt: skip
    image = {"region_label": _CLASS, "region_color": _CLASS, "region_label_font": "10px Sans",
             "on_image_annotation_editor_placement": "NEAR_REGION"}  # fmt: skip
    ui = {"annotation_editor_height": 25, "annotation_editor_fontsize": 0.8, "leftsidebar_width": 18,
          "image_grid": grid, "image": image}  # fmt: skip
    core = {"buffer_size": 18, "filepath": {}, "default_filepath": ""}
    return {
        "_via_settings": {"ui": ui, "core": core, "project": {"name": "everymask"}},
        "_via_img_metadata": metadata,
        "_via_attributes": {"region": {_CLASS: attribute}, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(metadata),
    }
