"""Pascal VOC's XML files: one per picture, with its size and a box per object."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from everymask.core.files import write_text
from everymask.core.geometry import turned_corners
from everymask.data.formats.finding.named import folded
from everymask.data.formats.turned import note_turned, stated_turn, upright
from everymask.data.issues import IssueLog
from everymask.data.pictures.headers import check_picture_size
from everymask.data.pictures.read import Header
from everymask.data.records import Annotation, Box, BoxOnly
from everymask.data.strict.xml_files import read_strict_xml

_MAX_BYTES = 16 << 20
_SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, slots=True)
class XmlObject:
    """One `<object>`: its class, its xyxy box (0-based, x2 and y2 exclusive), whether it is marked difficult."""

    name: str
    box: Box
    difficult: bool
    where: str


def read_voc_xml(file: Path, header: Header | None, issues: IssueLog) -> list[XmlObject] | None:
    """The objects of one file, or None when `issues` was told why it cannot be used; bad objects are left out.

    `header` is the picture's, None if it could not be read. The boxes in the file count pixels from 1 and include
    both ends, so x1 = xmin - 1 and x2 = xmax. A box that reaches out by at most one pixel is clipped, with a warning.
    Refused are any DTD, a missing or another size, another file name, and boxes turned inside out or further outside.
    """
    root = read_strict_xml(file, issues, max_bytes=_MAX_BYTES)
    if root is None:
        return None
    if root.tag != "annotation":
        issues.error("xml-type", "expected <annotation> at the top", file=file, value=root.tag)
        return None
    named = (root.findtext("filename") or "").strip()
    spellings = {folded(PureWindowsPath(named).stem), folded(PureWindowsPath(named).name)}
    if named and folded(file.stem) not in spellings:
        message = f"expected the name of the picture {file.stem} in <filename>"
        issues.error("xml-filename", message, file=file, where="filename", value=named, hint="correct it, or rename")
        return None
    found = _size(root)
    if found is None:
        hint = "write the picture's <size> with <width> and <height>"
        issues.error("xml-size", "expected <size> with two positive whole numbers", file=file, where="size", hint=hint)
        return None
    if header is not None and not check_picture_size(header, found, issues, file=file, where="size"):
        return None
    return list(_objects(root, file, found, issues))


def write_voc_xml(
    file: Path, picture: str, size: tuple[int, int], objects: tuple[Annotation, ...], names: tuple[str, ...]
) -> None:
    """Write boxes for the picture file called `picture`; a crowd is marked difficult."""
    lines = [
        "<annotation>", f"  <filename>{escape(picture)}</filename>",
        f"  <size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>",
    ]  # fmt: skip
    for annotation in objects:
        x1, y1, x2, y2 = annotation.box or (0.0, 0.0, 0.0, 0.0)
        sides = zip(_SIDES, (x1 + 1, y1 + 1, x2, y2), strict=True)
        box = "".join(f"<{side}>{value!r}</{side}>" for side, value in sides)
        name, difficult = escape(names[annotation.class_id]), int(annotation.crowd)
        lines.append(f"  <object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{box}</bndbox></object>")
    write_text(file, "\n".join([*lines, "</annotation>", ""]))


def to_annotation(found: XmlObject, names: tuple[str, ...], number: int) -> Annotation:
    """The object as annotation `number`; what is marked difficult becomes a crowd: neither trained on nor missed."""
    return Annotation(names.index(found.name), BoxOnly(), found.box, found.difficult, number)


def _size(root: Element) -> tuple[int, int] | None:
    width, height = (_number(root.findtext(f"size/{side}")) for side in ("width", "height"))
    if width is None or height is None or width < 1 or height < 1 or width % 1 or height % 1:
        return None
    return int(height), int(width)


def _objects(root: Element, file: Path, size: tuple[int, int], issues: IssueLog) -> Iterator[XmlObject]:
    for index, element in enumerate(root.findall("object"), 1):
        where = f"object[{index}]"
        name = (element.findtext("name") or "").strip()
        if not name:
            issues.error("class-missing", "expected <name>", file=file, where=where)
            continue
        sides = [_number(element.findtext(f"bndbox/{side}")) for side in _SIDES]
        x1, y1, x2, y2 = (math.nan if side is None else side for side in sides)
        if None in sides:
            message = f"expected finite numbers in {', '.join(_SIDES)}"
            texts = [element.findtext(f"bndbox/{side}") for side in _SIDES]
            issues.error("box-number", message, file=file, where=f"{where}/bndbox", value=texts)
            continue
        degrees = stated_turn(_attributes(element), file=file, issues=issues)
        found: Box = (x1 - 1, y1 - 1, x2, y2)
        if degrees and x2 > x1 - 1 and y2 > y1 - 1:
            note_turned(outlined=False, file=file, issues=issues)
            found = upright(turned_corners((x1 - 1, y1 - 1, x2, y2), degrees), size)
        box = _clipped(found, size, file, f"{where}/bndbox", issues)
        if box is not None:
            difficult = (element.findtext("difficult") or "0").strip().lower() in ("1", "true", "yes")
            yield XmlObject(name, box, difficult, where)


def _attributes(element: Element) -> dict[str, str]:
    """What an object says beside its box: CVAT's `<attribute>`s, and elements of their own."""
    found = {child.tag: child.text or "" for child in element if not len(child)}
    rows = element.iterfind("attributes/attribute")
    return found | {row.findtext("name") or "": row.findtext("value") or "" for row in rows}


def _clipped(box: Box, size: tuple[int, int], file: Path, where: str, issues: IssueLog) -> Box | None:
    x1, y1, x2, y2 = box
    height, width = size
    stored = (x1 + 1, y1 + 1, x2, y2)
    if x2 <= x1 or y2 <= y1:
        hint = "xmin and ymin are the upper left corner, xmax and ymax the lower right one, counted from 1"
        issues.error(
            "box-order", "expected xmin <= xmax and ymin <= ymax", file=file, where=where, value=stored, hint=hint
        )
        return None
    inside = (min(max(x1, 0.0), width), min(max(y1, 0.0), height), min(max(x2, 0.0), width), min(max(y2, 0.0), height))
    beyond = max(abs(a - b) for a, b in zip(box, inside, strict=True))
    if beyond > 1 or inside[2] <= inside[0] or inside[3] <= inside[1]:
        message = f"expected a box inside the picture of {width} x {height} pixels"
        issues.error("box-outside", message, file=file, where=where, value=stored, hint="correct the box")
        return None
    if beyond > 0:
        message = "a box that reaches out by a pixel is clipped; VOC counts pixels from 1"
        issues.warn("box-clipped", message, file=file, where=where, value=stored)
    return inside


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
