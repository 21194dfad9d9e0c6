"""What the columns of a table of run-lengths mean, by the names that competitions have given them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

_RUNS = ("encodedpixels", "rle", "rlemask", "encoding", "annotation", "segmentation", "mask")
_PICTURES = ("imageid", "imagename", "image", "filename", "filepath", "imgid", "imgname", "id")
_CLASSES = ("classid", "classname", "class", "label", "labelname", "category", "categoryid", "celltype", "labelid")
_SIDES = {"height": ("height", "imgheight", "imageheight"), "width": ("width", "imgwidth", "imagewidth")}
_BOTH = re.compile(r"(image(id)?|img)_(class(id)?|label|category)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of the columns; `joined` says that the pictures' holds `<picture>_<class>`."""

    picture: str
    runs: str
    label: str | None
    height: str | None
    width: str | None
    joined: bool

    def picture_and_label(self, row: dict[str, str]) -> tuple[str, str]:
        """The picture's name and the class, empty where there is no column for it."""
        text = row[self.picture].strip()
        if not self.joined:
            return text, "" if self.label is None else row[self.label].strip()
        # x.jpg_3 belongs to x.jpg; a class may have underscores too
        found = re.fullmatch(r"(.*\.[A-Za-z]{3,4})_(.+)", text) or re.fullmatch(r"(.+)_([^_]+)", text)
        return (found[1], found[2]) if found else (text, "")


def find_columns(names: Sequence[str]) -> Columns | None:
    """The meaning of a table's columns, or None where it has no run-lengths of pictures."""
    plain = {re.sub(r"[^a-z]", "", name.lower()): name for name in names}

    def first(known: Sequence[str]) -> str | None:
        return next((plain[name] for name in known if name in plain), None)

    both = next((name for name in names if _BOTH.fullmatch(name)), None)
    picture, runs = both or first(_PICTURES), first(_RUNS)
    if picture is None or runs is None or picture == runs:
        return None
    label = first(_CLASSES) if both is None else None
    return Columns(picture, runs, label, first(_SIDES["height"]), first(_SIDES["width"]), both is not None)


def has_ending(name: str) -> bool:
    """Whether a picture's name has an ending, as `x.jpg` has and `x.1` has not."""
    return re.fullmatch(r"\.[A-Za-z][A-Za-z0-9]{1,3}", PurePosixPath(name).suffix) is not None
