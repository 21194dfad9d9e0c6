"""What a path is that is no data set for us: other tools' annotations, videos, volumes, addresses, and the way out."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from everymask.data.formats.finding.maps_beside import folders_alike
from everymask.data.formats.folders import files_in, folders_in
from everymask.data.issues import IssueLog
from everymask.data.pictures.foreign import foreign_kind, passed_over
from everymask.data.pictures.kinds import kind_of
from everymask.data.pictures.read import SUFFIXES
from everymask.data.strict.json_files import parse_strict_json
from everymask.errors import DataError, MachineError, printable

_HEAD = 1 << 20
_MOST_BYTES = 64 << 20
_LOOKED_AT = 20
_SHOWN = 4
_COCO = "export it there as COCO"
_ADDRESS = re.compile(r"(?i)(https?|s3|gs|ftp|hf|az|hdfs):/")
_TOOLS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("_via_img_metadata",), "a project of VIA", "in VIA: Annotation > Export Annotations (COCO format)"),
    (("shape_attributes", "region_attributes"), "an export of VIA", "in VIA: Annotation > Export Annotations (COCO)"),
    (("segments_info",), "of COCO's panoptic form", "name a file that has images, annotations and categories"),
    (("result", "from_name", "to_name"), "an export of Label Studio", "in Label Studio: Export > COCO with images"),
    (("original_width", "brushlabels"), "an export of Label Studio", "in Label Studio: Export > COCO with images"),
    (("classTitle", "points"), "annotations of Supervisely", "run Supervisely's app Export to COCO"),
    (("data_row", "projects"), "an export of Labelbox", "convert it with labelbox.data.serialization to COCO"),
    (("slots", "item"), "annotations of V7 Darwin", "run: darwin convert coco"),
    (
        ("instances", "metadata", "className"),
        "annotations of SuperAnnotate",
        "run: superannotate export_annotation coco",
    ),
    (("FeatureCollection", "geometry"), "GeoJSON (QuPath or a map)", "export label maps as PNG or TIFF from there"),
    (
        ("frames", "labels", "poly2d"),
        "annotations in Scalabel's format (BDD100K)",
        "run: python -m scalabel.label.to_coco",
    ),
    (("image", "annotations", "coordinates"), "annotations in CreateML's format", _COCO),
    (("image_id", "category_id", "score"), "results in COCO's format, which are predictions", "name the annotations"),
    (("image_id", "caption"), "captions", "name the file of objects (instances_*.json)"),
)
"""The keys of a tool's JSON, what it is, and how to get what is read. The first whose keys all occur is taken."""


def address_refused(path: str | Path) -> None:
    """Raise `DataError` for a web address or a bucket: nothing is fetched."""
    if _ADDRESS.match(str(path)):
        raise DataError(
            f"{printable(path)} is an address, and nothing is fetched from there",
            hint="download it, and name the file or folder",
        )


def what_it_is(path: Path) -> tuple[str, str]:
    """What a path that no format knows is or holds, and what to do with it; empty texts where nobody can say."""
    if path.is_dir():
        return _folder(path)
    if kind := foreign_kind(path):
        return f"the file is {kind[0]}", kind[1]
    return _file(path)


def missing_json(folder: Path) -> str:
    """What to do where a folder, or one in it, has panoptic maps without the file that says what they show; else
    nothing.
    """
    for place in (folder, *folders_in(folder)[:_LOOKED_AT]) if folder.is_dir() else ():
        for maps in folders_in(place)[:_LOOKED_AT]:
            if maps.name.lower().startswith("panoptic") and files_in(maps, (".png",)):
                where, file = printable(maps.relative_to(folder)), printable(f"{maps.name}.json")
                return f"{where} looks like panoptic maps: put {file}, which says what they show, beside that folder"
    return ""


def note_passed_over(folders: Iterable[Path], issues: IssueLog) -> None:
    """Warn of the files beside the pictures of a data set that show something in a form that is not read."""
    for folder in dict.fromkeys(folders):
        count, listed = passed_over(path.name for path in folder.iterdir())
        if count:
            issues.warn("passed-over", f"{count} files are passed over: {listed}", file=folder)


def _folder(folder: Path) -> tuple[str, str]:
    files = [file for place in (folder, *folders_in(folder)[:_LOOKED_AT]) for file in files_in(place)]
    count, listed = passed_over(file.name for file in files)
    if count:
        return f"{count} of {len(files)} files are of a kind that is not read", listed
    for file in [file for file in files if file.suffix.lower() in (".json", ".xml", ".csv", ".ndjson", "")][
        :_LOOKED_AT
    ]:
        found, cure = _file(file)
        if found:
            return found.replace("the file is", f"{printable(file.relative_to(folder))} is", 1), cure
    kinds = Counter(kind for kind in map(foreign_kind, files) if kind is not None)
    if kinds:
        (what, cure), count = kinds.most_common(1)[0]
        return f"it holds {count} x {what}", cure
    pictures = [file for file in files if file.suffix.lower() in SUFFIXES]
    if pictures and len(pictures) > len(files) / 2:
        named = ", ".join(printable(file.relative_to(folder)) for file in pictures[:_SHOWN])
        more = f" and {len(pictures) - _SHOWN:,} more" if len(pictures) > _SHOWN else ""
        cure = (
            "put pictures into images/ and their label maps, called alike, into masks/; or X_mask.png beside X.jpg; or "
            "the annotation file beside the pictures (docs/data.md shows the formats)"
        )
        if alike := folders_alike(folder):
            first, second = (printable(place.name) for place in alike)
            cure = (
                f"say which folder holds the label maps: --masks {shlex.quote(second)}, or --masks {shlex.quote(first)}"
            )
            return (
                f"the files in {first}/ and {second}/ are called alike, and it is not clear which are label maps",
                cure,
            )
        return f"it holds pictures, and no names that pair one with a label map: {named}{more}", cure
    return "", ""


def _file(file: Path) -> tuple[str, str]:
    head = _head(file)
    if not head.strip():
        return "the file is empty", "fetch or export it again"
    if file.suffix.lower() in SUFFIXES:
        return "the file is a picture", "name the folder that holds pictures and annotations"
    if head.lstrip()[:1] in (b"{", b"["):
        found = _tool(file, head)
        return found if found[0] or file.suffix else ("the file is JSON without an ending", "give it the ending .json")
    if b"region_shape_attributes" in head[:1000]:
        return "the file is a table of VIA", "in VIA: Annotation > Export Annotations (COCO format)"
    if b"<annotations>" in head and b"<image " in head:
        return "the file is CVAT's own XML", "in CVAT: Export task dataset > COCO 1.0"
    if file.suffix:
        return "", ""
    if head[:4] == b"PK\x03\x04" or head[:2] == b"\x1f\x8b":
        return "the file is an archive without an ending", "give it its ending: .zip or .tar.gz"
    try:
        with file.open("rb") as stream:
            kind = kind_of(stream, file)
    except DataError:
        return "the file is one without an ending, and no picture", "name a folder, an annotation file or an archive"
    ending = {"JPEG": ".jpg", "TIFF": ".tif"}.get(kind, f".{kind.lower()}")
    return f"the file is a picture ({kind}) without an ending", f"give such files their ending: {ending}"


def _tool(file: Path, head: bytes) -> tuple[str, str]:
    """Which tool wrote a JSON file, by the keys in it."""
    try:
        whole = file.read_bytes() if file.stat().st_size <= _MOST_BYTES else head
    except OSError:
        whole = head
    keys = _keys(whole, file)
    for wanted, what, cure in _TOOLS:
        if all(key in keys if keys else f'"{key}"'.encode() in whole for key in wanted):
            return f"the file is {what}", cure
    return "", ""


def _keys(data: bytes, file: Path) -> set[str]:
    """The keys of all objects in JSON text, and the texts of `type`; none where it is not whole."""
    found: set[str] = set()

    def collect(entry: dict[str, Any]) -> dict[str, Any]:
        found.update(entry)
        if isinstance(entry.get("type"), str):
            found.add(entry["type"])
        return entry

    parse_strict_json(data, file, IssueLog("skip"), compact=collect)
    return found


def _head(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(_HEAD)
    except OSError as error:
        raise MachineError(f"cannot read {printable(file)}: {error.strerror or error}") from error
