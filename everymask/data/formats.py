"""Recognising what kind of data set a path holds, and reading it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from everymask.data.coco import looks_like_coco, read_coco
from everymask.data.dataset import Dataset
from everymask.data.folders import files_in, folders_in
from everymask.data.instance_pngs import looks_like_instance_pngs, read_instance_pngs
from everymask.data.issues import IssueLog, Policy
from everymask.data.labelme import looks_like_labelme, read_labelme
from everymask.data.mask_files import looks_like_mask_files, read_mask_files
from everymask.data.splits import without_leaks
from everymask.data.voc import looks_like_voc, read_voc
from everymask.data.yolo import looks_like_yolo, read_yolo
from everymask.errors import ConfigError, DataError, MachineError, printable

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of data set: how a path is recognised, what is looked for (for messages), and how it is read."""

    name: str
    looks_like: Callable[[Path], bool]
    sign: str
    read: Callable[..., Dataset]


FORMATS = (
    Format("coco", looks_like_coco, "a .json file with images, annotations and categories", read_coco),
    Format("yolo", looks_like_yolo, "a data.yaml, or images/ beside labels/ with .txt files", read_yolo),
    Format("labelme", looks_like_labelme, ".json files with shapes and imagePath, one per picture", read_labelme),
    Format("voc", looks_like_voc, "JPEGImages/ with SegmentationObject/ or Annotations/*.xml", read_voc),
    Format("mask-files", looks_like_mask_files, "<id>/images/ with <id>/masks/, one file per object", read_mask_files),
    Format("instance-pngs", looks_like_instance_pngs, "pictures with maps of object numbers", read_instance_pngs),
)
"""The formats in the order in which they are tried."""


def read_dataset(
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002
    images: str | Path | None = None,
    policy: Policy = "strict",
) -> Dataset:
    """Read an annotated data set: a folder or an annotation file, whose format is recognised unless `format` names it.

    `images` is the folder of pictures of a COCO file, where it is not beside it. A picture that lies in two splits is
    an error; with `policy="skip"` it stays in the last of them, so that no score is taken on pictures trained on.

    Raises `DataError` where nothing is recognised (saying what was looked for and found, and which folder nearby would
    do) and for every defect of the data; `ConfigError` for an unknown `format`.
    """
    root = Path(path)
    if not root.exists():
        raise DataError(f"{printable(root)}: there is no such file or folder")
    chosen = _named(format) if format is not None else _recognised(root)
    if images is not None and chosen.name != "coco":
        raise ConfigError(f"a folder of images belongs to COCO files, but {printable(root)} is read as {chosen.name}")
    dataset = chosen.read(root, policy=policy, **({} if images is None else {"images": images}))
    issues = IssueLog(policy)
    kept = without_leaks(dataset, issues)
    return replace(kept, issues=(*kept.issues, *issues.finish(printable(root))))


def find_formats(path: Path) -> list[Format]:
    """The formats that a path looks like, the one that is taken first."""
    return [candidate for candidate in FORMATS if candidate.looks_like(path)]


def _named(name: str) -> Format:
    for candidate in FORMATS:
        if candidate.name == name.replace("_", "-"):
            return candidate
    raise ConfigError(f"there is no format {name!r}; the formats are {', '.join(known.name for known in FORMATS)}")


def _recognised(root: Path) -> Format:
    found = find_formats(root)
    if len(found) > 1:
        others = ", ".join(other.name for other in found[1:])
        _log.warning("%s is read as %s; it looks like %s too (choose with --format)", root, found[0].name, others)
    if found:
        return found[0]
    if root.suffix.lower() == ".json":
        return _named("coco")  # whose reader says what is wrong with the file
    looked_for = "".join(f"\n    {known.name}: {known.sign}" for known in FORMATS)
    near = _nearest(root)
    hint = f"did you mean {printable(near[0])} ({near[1]})?" if near else "name the folder or file that holds these"
    raise DataError(f"{printable(root)}: no known data set; {_contents(root)}. Looked for:{looked_for}", hint=hint)


def _nearest(root: Path) -> tuple[Path, str] | None:
    """A data set one or two folders below, else one or two above, and its format."""
    try:
        below = folders_in(root)[:50] if root.is_dir() else []
        inner = [place for folder in below[:20] for place in folders_in(folder)[:20]]
        for place in (*below, *inner, root.resolve().parent, root.resolve().parent.parent):
            if found := find_formats(place):
                return place, found[0].name
    except MachineError:  # a folder that cannot be read is no reason to hide the error that brought us here
        return None
    return None


def _contents(root: Path) -> str:
    if root.is_file():
        return f"found a {root.suffix or 'file without ending'}"
    suffixes = Counter(file.suffix.lower() or "no ending" for file in files_in(root))
    parts = [f"{count} x {suffix}" for suffix, count in suffixes.most_common(5)]
    folders = [folder.name + "/" for folder in folders_in(root)]
    parts += folders[:8] + (["..."] if len(folders) > 8 else [])
    return f"found {printable(', '.join(parts))}" if parts else "the folder is empty"
