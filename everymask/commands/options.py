"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import tyro

from everymask.commands.terminal import quoted
from everymask.errors import ConfigError, printable
from everymask.train.folder import BEST

Format: TypeAlias = Literal[
    "coco", "yolo", "labelme", "voc", "mask-files", "instance-pngs",
    "camvid", "cityscapes", "ade20k", "voc-semantic", "image-masks",
]  # fmt: skip
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


def check_order(verb: str, model: str, others: Sequence[str]) -> None:
    """`ConfigError` where MODEL is none and one of the words behind it is."""
    swapped = next((other for other in others if _is_model(other)), None)
    if swapped is not None and not _is_model(model):
        words = " ".join(map(quoted, (swapped, model, *(word for word in others if word != swapped))))
        raise ConfigError(
            f"the model stands first, but {printable(model)} is none, and {printable(swapped)} is one",
            hint=f"did you mean: everymask {verb} {words}?",
        )


def _is_model(word: str) -> bool:
    from everymask.models.catalog import catalog

    path = Path(word)
    if path.exists():
        return (path / BEST).is_file() or path.suffix in (".safetensors", ".pth")
    return word in {row.name for row in catalog()}
