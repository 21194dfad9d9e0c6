"""Label Studio's exports as JSON and JSON-min, with the pictures in a folder beside the file or elsewhere below.

Read are polygons, brushes, ellipses and rectangles, of which the last two may be turned, in percent of the picture.
Regions with points or vectors cover no area, and results that are no regions (choices, texts) no shape; both are left
out, with a warning that counts them. Predictions are no annotations.

Of several annotations of one picture the newest that is not cancelled is read, by `updated_at`, which a warning counts.
A picture whose annotations are all cancelled, or that has none, is not annotated; one with an empty annotation shows no
objects. `data.split` is the split, else the file's name where it is train, val or test.

Classes are the labels of `label_config.xml` beside the file in their order, else the labels that occur in alphabetical
order. The picture is named by `data.image`, or by the only value that looks like a picture's name: a path, an address,
`/data/upload/1/0a1b2c3d-x.jpg`, `/data/local-files/?d=folder/x.jpg`. Its end counts, with or without the eight digits
that Label Studio puts before uploaded names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import quoteattr

from everymask.core.files import write_json, write_text
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.objects import Place
from everymask.data.formats.drawn.pictures import Pictures, files_of_kind
from everymask.data.formats.drawn.reading import Listed, annotation_files, drawn_dataset, split_name
from everymask.data.formats.drawn.shapes import Drawn
from everymask.data.formats.drawn.writing import Piece, pieces, report_lost
from everymask.data.formats.folders import SPLIT_FOLDERS, copy_picture, files_in
from everymask.data.formats.label_studio.regions import KINDS, read_regions
from everymask.data.formats.label_studio.rle import brush_from_mask
from everymask.data.issues import IssueLog, Policy
from everymask.data.pictures.read import SUFFIXES
from everymask.data.strict.json_files import read_strict_json
from everymask.data.strict.xml_files import check_xml_text, read_strict_xml
from everymask.errors import printable

_CONFIG = "label_config.xml"
_HEAD = 1 << 20
_TASKS = re.compile(rb'"(annotations|completions|predictions)"\s*:\s*\[')
_MINIMAL = re.compile(rb'"(polygon|brush|ellipse|rectangle)labels"\s*:\s*\[')


def looks_like_label_studio(path: Path) -> bool:
    """Whether this is a list of Label Studio's tasks, or a folder that holds one."""
    return bool(_annotation_files(path))


def read_label_studio(path: str | Path, images: str | Path | None = None, *, policy: Policy = "strict") -> Dataset:
    """The data set of an export, or of a folder with some; this module's text says how they are read.

    `images` is the folder of the pictures, where they are not below the file's folder. Raises `DataError` with all
    defects under the strict policy; with `"skip"` defective regions and pictures are left out.
    """
    given = Path(path)
    hint = "name the .json file of an export as JSON or JSON-MIN"
    files, root = annotation_files(given, _annotation_files, "a file of Label Studio", hint)
    issues = IssueLog(policy)
    pictures = Pictures(root if images is None else Path(images))
    listed: list[Listed] = []
    for file in files:
        tasks = read_strict_json(file, issues)
        if isinstance(tasks, list):
            listed += _listed_tasks(tasks, file, pictures, issues)
        elif tasks is not None:
            issues.error("label-studio-top", "expected a list of tasks", file=file)
    names = _config_names(root / _CONFIG, issues)
    what = f"Label Studio's files in {printable(given)}"
    return drawn_dataset(listed, format="label-studio", root=root, issues=issues, names=names, what=what)


def write_label_studio(folder: str | Path, dataset: Dataset) -> None:
    """Write `tasks.json` and `label_config.xml`, and copies of the pictures in `images/<split>/`.

    Pictures are named as Label Studio names those of its own disk, below the folder written. Single outlines stay
    polygons, boxes rectangles; everything else is painted by brush, which keeps every pixel. Left out with a logged
    warning that counts them are crowds, objects without a pixel and regions without truth. Raises `DataError` for class
    names with characters that XML cannot hold.
    """
    root, lost = Path(folder), Counter[str]()
    for name in dataset.labels.names:
        check_xml_text(name)
    tasks = []
    for index, record in enumerate(dataset.records):
        split = record.split or ""
        picture = copy_picture(record, root / "images" / split)
        named = quote(f"images/{split}/{picture.name}".replace("//", "/"), errors="surrogateescape")
        drawn = pieces(dataset, index, lost, crowds=False)
        results = [_result(piece, record.size, f"r{piece.row + 1}") for piece in drawn]
        data = {"image": f"/data/local-files/?d={named}", **({"split": split} if split else {})}
        annotation = {"id": index + 1, "was_cancelled": False, "ground_truth": False, "result": results}
        tasks.append({"id": index + 1, "data": data, "annotations": [annotation], "predictions": []})
    write_json(root / "tasks.json", tasks)
    write_text(root / _CONFIG, _config_text(dataset))
    report_lost(root, lost)


def _annotation_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() == ".json" and _has_keys(path) else []
    return files_of_kind(files_in(path, (".json",)), _has_keys)


def _has_keys(file: Path) -> bool:
    """Whether the file is a list that begins as tasks do, in either form."""
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError:
        return False
    if not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        return False
    return (b'"data"' in head and _TASKS.search(head) is not None) or _MINIMAL.search(head) is not None


def _listed_tasks(tasks: list[Any], file: Path, pictures: Pictures, issues: IssueLog) -> Iterator[Listed]:
    usual = SPLIT_FOLDERS.get(file.stem.lower())
    minimal: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for index, task in enumerate(tasks):
        where = f"/{index}"
        data = task.get("data", task) if isinstance(task, dict) else None
        if not isinstance(data, dict):
            issues.error("task", "expected an object with data and annotations", file=file, where=where, value=task)
            continue
        name = _picture_name(data)
        if name is None:
            message = "expected the name of the picture, as under /data/image"
            issues.error("file-name", message, file=file, where=where, value=data.get("image"))
        elif "data" not in task:
            minimal.setdefault(name, []).append((index, task))
        elif (picture := _find(name, pictures, issues, file=file, where=f"{where}/data")) is not None:
            yield _listed_task(task, picture, file, where, _split(data, usual), issues)
    for name, rows in minimal.items():  # of JSON-min each annotation is a row
        index, task = max(rows, key=lambda row: _age(row[1], row[0]))
        if len(rows) > 1:
            _note_several(file, issues)
        picture = _find(name, pictures, issues, file=file, where=f"/{index}")
        if picture is not None:
            yield Listed(picture, file, f"/{index}", partial(_draw_minimal, task), split=_split(task, usual))


def _split(data: dict[str, Any], usual: str | None) -> str | None:
    given = data.get("split")
    return split_name(given) if isinstance(given, str) else usual


def _listed_task(
    task: dict[str, Any], picture: Path, file: Path, where: str, split: str | None, issues: IssueLog
) -> Listed:
    key = "annotations" if "annotations" in task else "completions"
    found = task.get(key, [])
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        issues.error("annotations", "expected a list of annotations", file=file, where=f"{where}/{key}", value=found)
        found = []
    kept = [index for index, item in enumerate(found) if not item.get("was_cancelled")]
    if not kept:
        message = "{count} pictures have no annotation that is not cancelled; they are not annotated"
        issues.warn_shared("not-annotated", message, file=file, hint="predictions are no annotations")
        return Listed(picture, file, where, None, split=split)
    if len(kept) > 1:
        _note_several(file, issues)
    newest = max(kept, key=lambda index: _age(found[index], index))
    draw = partial(_draw_regions, found[newest])
    return Listed(picture, file, f"{where}/{key}/{newest}", draw, split=split)


def _note_several(file: Path, issues: IssueLog) -> None:
    message = "{count} pictures have several annotations; of each the newest that is not cancelled is read"
    issues.warn_shared("several-annotations", message, file=file, hint="keep one of them to choose another")


def _age(entry: dict[str, Any], index: int) -> tuple[str, int]:
    found = entry.get("updated_at") or entry.get("created_at")
    return (found if isinstance(found, str) else "", index)


def _draw_regions(annotation: dict[str, Any], place: Place) -> Iterator[Drawn]:
    results = annotation.get("result")
    if isinstance(results, list):
        yield from read_regions(results, place)
    else:
        place.error("result", "/result", "expected a list of results", results)


def _draw_minimal(task: dict[str, Any], place: Place) -> Iterator[Drawn]:
    for key, value in task.items():
        if isinstance(value, list) and any(_is_region(item) for item in value):
            inner = Place(place.file, f"{place.pointer}/{key}", place.size, place.issues)
            yield from read_regions(value, inner, minimal=True)


def _is_region(value: Any) -> bool:
    return isinstance(value, dict) and any(key.endswith("labels") for key in value)


def _picture_name(data: dict[str, Any]) -> str | None:
    """The path that a task gives its picture, without address and query."""
    texts = {key: value for key, value in data.items() if isinstance(value, str) and value.strip()}
    paths = {key: _path(value) for key, value in texts.items()}
    likely = [path for path in paths.values() if PurePosixPath(path).suffix.lower() in SUFFIXES]
    if "image" in paths and paths["image"].strip("/"):
        return paths["image"]
    return likely[0] if len(likely) == 1 else None


def _path(value: str) -> str:
    text = value.replace("\\", "/")
    try:
        parts = urlsplit(text) if "://" in text or "?" in text else None
    except ValueError:  # an address with brackets that are no IPv6
        parts = None
    if parts is None:
        return unquote(text) if "/data/" in text else text
    inner = parse_qs(parts.query).get("d")
    return inner[0].replace("\\", "/") if inner else unquote(parts.path)


def _find(name: str, pictures: Pictures, issues: IssueLog, *, file: Path, where: str) -> Path | None:
    path = PurePosixPath(name)
    plain = re.sub(r"^[0-9a-f]{8}-", "", path.name)
    meant = name if pictures.has(path.name) or not pictures.has(plain) else str(path.with_name(plain))
    return pictures.find(meant, issues, file=file, where=where)


def _config_names(file: Path, issues: IssueLog) -> tuple[str, ...]:
    """The labels of a labelling configuration as results name them, in its order; empty where there is none."""
    document = read_strict_xml(file, issues, max_bytes=1 << 20) if file.is_file() else None
    if document is None:
        return ()
    found = [label.get("alias") or label.get("value") or "" for label in document.iter("Label")]
    return tuple(dict.fromkeys(name for name in found if name.strip()))


def _config_text(dataset: Dataset) -> str:
    labels = "".join(f"<Label value={quoteattr(name)}/>" for name in dataset.labels.names)
    controls = "".join(
        f'  <{kind.title()}Labels name="{kind}" toName="image">{labels}</{kind.title()}Labels>\n' for kind in KINDS
    )
    return f'<View>\n  <Image name="image" value="$image"/>\n{controls}</View>\n'


def _result(piece: Piece, size: tuple[int, int], number: str) -> dict[str, Any]:
    height, width = size
    if piece.box is not None:
        (x1, y1, x2, y2), kind = piece.box, "rectangle"
        value: dict[str, Any] = {"x": 100 * x1 / width, "y": 100 * y1 / height, "rotation": 0}
        value |= {"width": 100 * (x2 - x1) / width, "height": 100 * (y2 - y1) / height}
    elif len(piece.rings) == 1:
        kind = "polygon"
        value = {"points": (100 * piece.rings[0] / (width, height)).tolist(), "closed": True}
    else:
        kind = "brush"
        value = {"format": "rle", "rle": brush_from_mask(piece.dense(size))}
    kinds = {"id": number, "type": f"{kind}labels", "from_name": kind, "to_name": "image"}
    sizes = {"original_width": width, "original_height": height, "image_rotation": 0}
    return {**kinds, **sizes, "value": {**value, f"{kind}labels": [piece.name]}}
