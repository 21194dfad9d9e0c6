"""Options that several verbs share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import tyro

Format: TypeAlias = Literal["coco", "yolo", "labelme", "voc", "mask-files", "instance-pngs"]
Data: TypeAlias = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DATA")]
Trained: TypeAlias = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How an annotated data set is read."""

    format: Format | None = None
    """The format, where it is not to be recognised."""
    images: Path | None = None
    """The folder of the pictures, where it is not beside the annotations."""
    on_defect: Literal["strict", "skip"] = "strict"
    """Refuse a data set with defects, or leave out what is defective, count it and list it."""
