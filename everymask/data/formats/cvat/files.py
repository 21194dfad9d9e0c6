"""CVAT for images 1.1 and CVAT for video 1.1: `annotations.xml`, with the pictures in `images/` or elsewhere below.

    annotations.xml           images/X.png, or images/<subset>/X.png in the export of a project
    train.xml, val.xml        several files: the splits are their names where images name no subset

Read are polygons, boxes, ellipses and masks; boxes and ellipses may be turned. Shapes of one label and `group_id` are
one object. Lines, points, cuboids, skeletons and tags cover no area and are left out, with a warning that counts them.
The attribute `is_crowd` marks a group, as in CVAT's own COCO format. Classes are the labels in the order in which the
file lists them. An `<image>` without shapes shows no objects. `subset` is the split.

Of a video, tracks are read frame by frame (see `tracks`). Written is CVAT for images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

from everymask.core.arrays import FloatArray
from everymask.core.files import write_text
from everymask.data.dataset import Dataset
from everymask.data.formats.coco.objects import Place
from everymask.data.formats.cvat.elements import CROWD, Marked, mask_attributes, read_element
from everymask.data.formats.cvat.tracks import track_pictures
from everymask.data.formats.drawn.pictures import Pictures, files_of_kind
from everymask.data.formats.drawn.reading import Listed, annotation_files, drawn_dataset, split_name
from everymask.data.formats.drawn.shapes import Drawn
from everymask.data.formats.drawn.writing import Piece, pieces, report_lost
from everymask.data.formats.folders import SPLIT_FOLDERS, copy_picture, files_in, folders_in
from everymask.data.issues import IssueLog, Policy
from everymask.data.strict.xml_files import check_xml_text, read_strict_xml
from everymask.errors import printable

_MAX_BYTES = 1 << 30
_HEAD = 1 << 16


def looks_like_cvat(path: Path) -> bool:
    """Whether this is one of CVAT's XML files, or a folder that holds some, itself or in folders in it."""
    return bool(_annotation_files(path))


def read_cvat(path: str | Path, images: str | Path | None = None, *, policy: Policy = "strict") -> Dataset:
    """The data set of one of CVAT's XML files, or of a folder with some; this module's text says how they are read.

    `images` is the folder of the pictures, where they are not below the file's folder. Raises `DataError` with all
    defects under the strict policy; with `"skip"` defective shapes and pictures are left out.
    """
    given = Path(path)
    hint = "name the annotations.xml of an export as CVAT for images or CVAT for video"
    files, root = annotation_files(given, _annotation_files, "a file of CVAT", hint)
    issues = IssueLog(policy)
    pictures = Pictures(root if images is None else Path(images))
    listed: list[Listed] = []
    names: dict[str, None] = {}
    for file in files:
        document = read_strict_xml(file, issues, max_bytes=_MAX_BYTES)
        if document is None:
            continue
        if document.tag != "annotations":
            issues.error("xml-type", "expected <annotations> at the top", file=file, value=document.tag)
            continue
        names.update(dict.fromkeys(_labels(document, file, issues)))
        split = SPLIT_FOLDERS.get(file.stem.lower(), SPLIT_FOLDERS.get(file.parent.name.lower()))
        listed += _listed_images(document, file, pictures, split, issues)
        if document.find("track") is not None:
            listed += track_pictures(document, file, pictures, split, issues)
    what = f"CVAT's files in {printable(given)}"
    return drawn_dataset(listed, format="cvat", root=root, issues=issues, names=tuple(names), what=what)


def write_cvat(folder: str | Path, dataset: Dataset) -> None:
    """Write `annotations.xml` for images, and copies of the pictures in `images/<subset>/`.

    Outlines stay outlines, with a `group_id` where an object has several; everything else becomes a mask, and what has
    only a box a box. Left out with a logged warning that counts them are objects without a pixel and regions without
    truth; areas and ids of the source are not kept. Raises
    `DataError` for names with characters that XML cannot hold.
    """
    root, lost = Path(folder), Counter[str]()
    for text in (*dataset.labels.names, *(f"{record.id}{record.split or ''}" for record in dataset.records)):
        check_xml_text(text)
    labels = zip(dataset.labels.names, dataset.labels.colours, strict=True)
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>", "  <meta>", "    <task>",
        f"      <size>{len(dataset)}</size>", "      <mode>annotation</mode>", "      <labels>",
        *(f"        <label><name>{escape(name)}</name><color>#{bytes(colour).hex()}</color></label>"
          for name, colour in labels),
        "      </labels>", "    </task>", "  </meta>",
    ]  # fmt: skip
    for index, record in enumerate(dataset.records):
        picture = copy_picture(record, root / "images" / (record.split or ""))
        height, width = record.size
        subset = f" subset={quoteattr(record.split)}" if record.split else ""
        shape = f'width="{width}" height="{height}"'
        lines.append(f'  <image id="{index}" name={quoteattr(picture.name)}{subset} {shape}>')
        for piece in pieces(dataset, index, lost):
            lines += _written(piece)
        lines.append("  </image>")
    write_text(root / "annotations.xml", "\n".join([*lines, "</annotations>", ""]))
    report_lost(root, lost)


def _annotation_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.lower() == ".xml" and _has_head(path) else []
    if not path.is_dir():
        return []
    for places in ([path], folders_in(path)):
        files = [file for place in places for file in files_in(place, (".xml",))]
        if found := files_of_kind(files, _has_head):
            return found
    return []


def _has_head(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError:
        return False
    return b"<annotations" in head and any(mark in head for mark in (b"<meta", b"<image", b"<track"))


def _labels(document: Element, file: Path, issues: IssueLog) -> Iterator[str]:
    """The labels in the order of the file; those of a skeleton's points, which have a parent, are no classes."""
    for index, label in enumerate(document.iterfind("meta//labels/label"), 1):
        name = label.findtext("name") or ""
        if (label.findtext("parent") or "").strip():
            continue
        if name.strip():
            yield name
        else:
            issues.error("category-name", "expected a name", file=file, where=f"labels/label[{index}]/name")


def _listed_images(
    document: Element, file: Path, pictures: Pictures, split: str | None, issues: IssueLog
) -> Iterator[Listed]:
    for index, image in enumerate(document.iterfind("image"), 1):
        where, name, subset = f"image[{index}]", image.get("name") or "", image.get("subset") or ""
        sides = [image.get(side, "").strip() for side in ("height", "width")]
        if not all(side.isascii() and side.isdigit() and 0 < len(side) < 8 for side in sides):
            message = "expected height and width as whole numbers"
            issues.error("image-size", message, file=file, where=where, value=sides)
            continue
        if not name.strip():
            issues.error("file-name", "expected the name of the picture", file=file, where=f"{where}/@name")
            continue
        picture = pictures.find(f"{subset}/{name}" if subset else name, issues, file=file, where=f"{where}/@name")
        if picture is not None:
            size = (int(sides[0]), int(sides[1]))
            draw = partial(_draw, image)
            yield Listed(picture, file, where, draw, size, split_name(subset) if subset else split)


def _draw(image: Element, place: Place) -> Iterator[Drawn]:
    for index, element in enumerate(image, 1):
        drawn = read_element(Marked(element, f"/{element.tag}[{index}]", element.get("label") or ""), place)
        if drawn is not None:
            yield drawn


def _written(piece: Piece) -> Iterator[str]:
    label, inner = f"label={quoteattr(piece.name)}", ""
    if piece.crowd:
        inner = f'<attribute name="{CROWD}">true</attribute>'
    if piece.box is not None:
        sides = zip(("xtl", "ytl", "xbr", "ybr"), piece.box, strict=True)
        yield _element("box", label, " ".join(f'{name}="{value!r}"' for name, value in sides), inner)
    elif piece.rings:
        group = f' group_id="{piece.row + 1}"' if len(piece.rings) > 1 else ""
        for ring in piece.rings:
            yield _element("polygon", label, f'points="{_pairs(ring)}"{group}', inner)
    elif piece.crop is not None:
        attributes = mask_attributes(piece.crop, piece.corner)
        yield _element("mask", label, " ".join(f'{name}="{value}"' for name, value in attributes.items()), inner)


def _element(tag: str, label: str, attributes: str, inner: str) -> str:
    return f'    <{tag} {label} {attributes} occluded="0" source="file" z_order="0">{inner}</{tag}>'


def _pairs(ring: FloatArray) -> str:
    points: Sequence[Sequence[float]] = ring.tolist()
    return ";".join(f"{x!r},{y!r}" for x, y in points)
