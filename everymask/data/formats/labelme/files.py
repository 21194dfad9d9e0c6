"""labelme: a JSON file per picture, beside it or elsewhere below the folder.

The picture is the file that `imagePath` names, relative to the JSON file. If it is not there but a file of that name
lies in the folder, that one is taken, with a warning (see `finding.named`). A picture embedded in `imageData` is used
where there is no file: it is unpacked into the user's cache folder. Otherwise it is compared: its size always, its
content for the first pictures of a data set.

Polygons, rectangles, circles and masks are objects; shapes of one label and one `group_id` are one object. Polygons are
rasterised as COCO does it, circles as labelme does it. A shape with the flag `crowd` stands for a group.

Class names are the labels in alphabetical order, or the lines of `labels.txt` in the folder (or in the one above, if
it begins with `__ignore__`, as labelme's do); its first lines `__ignore__` and `_background_` are no classes, and
shapes so labelled are no objects, which is noted: label maps have no truth in the former. Splits are folders called
train, val, test. A picture without JSON file is not annotated, which is noted as a warning; one without objects
needs a file with no shapes.
"""

from __future__ import annotations

import mmap
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from everymask.core.files import write_json, write_text
from everymask.core.labels import labels_of
from everymask.data.dataset import Dataset
from everymask.data.formats.finding.named import NamedFiles
from everymask.data.formats.folders import (
    copy_picture,
    file_stem,
    files_in,
    names_text,
    read_names,
    split_of,
    unique_ids,
)
from everymask.data.formats.labelme.embedded import compare_embedded, unpack_picture
from everymask.data.formats.labelme.shapes import (
    IGNORED,
    NO_TRUTH,
    LabelmeObject,
    encode_mask,
    label_names,
    read_shapes,
)
from everymask.data.formats.unannotated import Loose, loose_records
from everymask.data.issues import IssueLog, Policy
from everymask.data.pictures.headers import check_picture_size, read_headers
from everymask.data.pictures.read import SUFFIXES, Header
from everymask.data.records import Annotation, BoxOnly, Objects, Polygons, Record, Rle, draw_shapes
from everymask.data.strict.json_files import read_strict_json
from everymask.errors import DataError

_COMPARED = 20
_KEYS = (b'"shapes"', b'"imagePath"')


@dataclass(frozen=True, slots=True)
class _Document:
    file: Path
    picture: Path
    objects: list[LabelmeObject]
    size: tuple[int, int]

    @property
    def ignored(self) -> tuple[Polygons | Rle, ...]:
        return tuple(item.shape for item in self.objects if item.label == NO_TRUTH)


def looks_like_labelme(path: Path) -> bool:
    """Whether one of the first JSON files in the folder, or the file itself, has labelme's keys."""
    if path.is_file():
        return path.suffix.lower() == ".json" and _has_keys(path)
    if not path.is_dir():
        return False
    patterns = ("*.json", "*/*.json", "*/*/*.json")
    return any(_has_keys(file) for file in islice(chain.from_iterable(map(path.glob, patterns)), 10))


def read_labelme(path: str | Path, *, policy: Policy = "strict") -> Dataset:
    """The data set of a folder of labelme files, or of one file; this module's text says how they are read.

    Raises `DataError` with all defects under the strict policy; with `"skip"` defective shapes and pictures are left
    out.
    """
    given = Path(path)
    root = given.parent if given.is_file() else given
    files = [given] if given.is_file() else _json_files(root)
    issues = IssueLog(policy)
    found = _documents(files, root, issues)
    if not found and not issues.total("error"):
        issues.error("no-pictures", "expected labelme files: *.json with shapes and imagePath", file=given)
    names = _class_names(root, found, issues)
    ids = unique_ids([document.picture for document in found], root)
    records = []
    for document, name in zip(found, ids, strict=True):
        kept = [item for item in document.objects if item.label in names]
        annotations = tuple(
            Annotation(names.index(item.label), item.shape, crowd=item.crowd, id=number)
            for number, item in enumerate(kept, 1)
        )
        split = split_of(document.file, root)
        picture, size, ignored = document.picture, document.size, document.ignored
        records.append(Record(name, picture, size, Objects(annotations, ignored), split))
    if not given.is_file():
        loose = [Loose(file, split_of(file, root)) for file in _unlabelled(found, issues)]
        records += loose_records(loose, ids, root, issues)
    return Dataset(labels_of(names), tuple(records), "labelme", root, issues.finish(f"labelme files in {given}"))


def write_labelme(folder: str | Path, dataset: Dataset) -> None:
    """Write a copy of each picture with its JSON file, in folders by split, and `labels.txt`.

    Polygons stay polygons, with a `group_id` where an object has several; everything else becomes a mask. Regions to be
    ignored are labelled `__ignore__`. Raises `DataError` for objects without a mask.
    """
    root, names = Path(folder), dataset.labels.names
    if set(names) & set(IGNORED):
        raise DataError(
            f"the class names {' and '.join(IGNORED)} mean something else in labelme", hint="rename the class"
        )
    for record in dataset.records:
        if any(isinstance(annotation.shape, BoxOnly) for annotation in record.objects.annotations):
            raise DataError(f"{record.id}: expected a mask for every object", hint="write boxes as COCO or Pascal VOC")
    listing = names_text((*IGNORED, *names))
    for index, record in enumerate(dataset.records):
        target = root / (record.split or "")
        shapes = list(_shapes(dataset, index))
        picture = copy_picture(record, target)
        document: dict[str, Any] = {
            "version": "5.0.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": picture.name,
            "imageData": None,
            "imageHeight": record.size[0],
            "imageWidth": record.size[1],
        }
        write_json(target / f"{file_stem(record)}.json", document, indent=1)
    write_text(root / "labels.txt", listing)


def _json_files(root: Path) -> list[Path]:
    files = sorted(file for file in root.rglob("*.json") if file.is_file())
    return [file for file in files if not any(part.startswith(".") for part in file.relative_to(root).parts)]


def _has_keys(file: Path) -> bool:
    try:
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return all(content.find(key) >= 0 for key in _KEYS)
    except (OSError, ValueError):  # mmap refuses empty files with ValueError
        return False


def _documents(files: list[Path], root: Path, issues: IssueLog) -> list[_Document]:
    found: list[tuple[Path, Path, dict[str, Any]]] = []
    named = NamedFiles(root, issues)
    for file in files:
        data = read_strict_json(file, issues)
        if data is None:
            continue
        if not isinstance(data, dict) or "shapes" not in data or "imagePath" not in data:
            issues.warn("not-labelme", "a JSON file without shapes and imagePath is passed over", file=file)
            continue
        if not isinstance(data["shapes"], list):
            issues.error("shapes", "expected a list", file=file, where="/shapes", value=data["shapes"])
            continue
        picture, embedded = _picture(data, file, named), data.pop("imageData", None)
        if picture is None and embedded and _is_name(data["imagePath"]):
            picture = unpack_picture(embedded, file, issues)
        elif picture is not None:
            compare_embedded(embedded, file, picture, len(found) < _COMPARED, issues)
        if picture is not None:
            found.append((file, picture, data))
    pictures, places = [picture for _, picture, _ in found], [str(file) for file, _, _ in found]
    documents: list[_Document] = []
    for (file, picture, data), header in zip(found, read_headers(pictures, issues, where=places), strict=True):
        if header is not None and _check_size(data, header, file, issues):
            objects = read_shapes(data["shapes"], header.size, file, issues)
            documents.append(_Document(file, picture, objects, header.size))
    return documents


def _picture(data: dict[str, Any], file: Path, files: NamedFiles) -> Path | None:
    """The picture file that `imagePath` means, or None when the log was told why there is none, or one is embedded."""
    name = data["imagePath"]
    if not _is_name(name):
        files.issues.error("image-path", "expected the name of a picture", file=file, where="/imagePath", value=name)
        return None
    if data.get("imageData"):
        return files.look(name, [file.parent], file=file)
    return files.find(name, [file.parent], file=file, where="/imagePath", code="image-path")


def _is_name(name: object) -> bool:
    return isinstance(name, str) and bool(name.strip()) and "\0" not in name


def _check_size(data: dict[str, Any], header: Header, file: Path, issues: IssueLog) -> bool:
    """Whether the size that the file states, if it does, is the picture's as displayed."""
    height, width = data.get("imageHeight"), data.get("imageWidth")
    if height is None and width is None:
        return True
    if type(height) is not int or type(width) is not int or height < 1 or width < 1:
        where, message = "/imageHeight", "expected two positive whole numbers as height and width"
        issues.error("picture-size", message, file=file, where=where, value=[height, width])
        return False
    return check_picture_size(header, (height, width), issues, file=file, where="/imageHeight")


def _class_names(root: Path, found: list[_Document], issues: IssueLog) -> tuple[str, ...]:
    used = {name for document in found for name in label_names(document.objects)}
    file = _labels_file(root)
    if file is None:
        folded: dict[str, str] = {}
        for name in sorted(used):
            other = folded.setdefault(name.strip().casefold(), name)
            if other != name:
                hint = "use one spelling, or list both in labels.txt"
                issues.warn(
                    "similar-classes", f"the labels {other!r} and {name!r} are two classes", file=root, hint=hint
                )
        return tuple(sorted(used)) or ("object",)
    listed = (unicodedata.normalize("NFC", name) for name in read_names(file, issues))
    names = tuple(name for name in listed if name not in IGNORED)
    for document in found:
        for name in sorted(label_names(document.objects) - set(names)):
            hint = f"correct the label, or add it to {file.name}"
            issues.error(
                "unknown-class", f"expected a label that {file} lists", file=document.file, value=name, hint=hint
            )
    return names or ("object",)


def _labels_file(root: Path) -> Path | None:
    if (root / "labels.txt").is_file():
        return root / "labels.txt"
    above = root.absolute().parent / "labels.txt"
    return above if above.is_file() and read_names(above, IssueLog("skip"))[:1] == (IGNORED[0],) else None


def _unlabelled(found: list[_Document], issues: IssueLog) -> list[Path]:
    """The pictures beside annotated ones that have no JSON file, which is noted."""
    loose: list[Path] = []
    known = {document.picture for document in found} | {document.file.with_suffix("") for document in found}
    for folder in sorted({document.picture.parent for document in found}):
        rest = [
            file
            for file in files_in(folder)
            if file.suffix.lower() in SUFFIXES and file not in known and file.with_suffix("") not in known
        ]
        if rest:
            hint = "save the pictures that show no objects in labelme without shapes"
            message = f"{len(rest)} pictures without annotation are left out"
            issues.warn("unlabelled", message, file=folder, value=rest[0].name, hint=hint)
            loose += rest
    return loose


def _shapes(dataset: Dataset, index: int) -> Iterator[dict[str, Any]]:
    record = dataset.records[index]
    drawn = [(item.shape, dataset.labels.names[item.class_id], item.crowd) for item in record.objects.annotations]
    drawn += [(shape, NO_TRUTH, False) for shape in record.objects.ignored]
    masks = draw_shapes([shape for shape, _, _ in drawn], record.size, record.image)
    for number, (shape, label, crowd) in enumerate(drawn):
        shared: dict[str, Any] = {
            "label": label,
            "group_id": None,
            "flags": {"crowd": True} if crowd else {},
        }
        if isinstance(shape, Polygons):
            rings = shape.rings
            if len(rings) > 1:
                shared["group_id"] = number
            for ring in rings:
                yield {**shared, "shape_type": "polygon", "points": np.asarray(ring).tolist()}
        elif masks.areas()[number]:
            x1, y1, x2, y2 = masks.windows[number].tolist()
            points = [[x1, y1], [x2 - 1, y2 - 1]]
            yield {**shared, "shape_type": "mask", "points": points, "mask": encode_mask(masks.crop(number))}
