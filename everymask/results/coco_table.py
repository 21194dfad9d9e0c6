"""A COCO file of predictions that grows picture by picture."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from typing import Any, BinaryIO

from everymask.results.journal import Journal

_KEPT_IN_MEMORY = 1 << 20


class CocoTable:
    """`table` becomes the file: categories, annotations as they come, and last the images, which wait in `images`.

    What was written may be cut off at both (`OutputFolder`), so who adds says whether it is the `first`.
    """

    def __init__(self, table: BinaryIO, images: BinaryIO, categories: Sequence[dict[str, Any]]) -> None:
        self.table: BinaryIO = table
        self.images: BinaryIO = images
        table.write(b'{"categories":' + _json(categories) + b',"annotations":[')

    def annotate(self, entries: Sequence[dict[str, Any]], *, first: bool) -> None:
        """Add annotations, if there are any."""
        if entries:
            self.table.write((b"" if first else b",") + b",".join(map(_json, entries)))

    def picture(self, image: dict[str, Any], *, first: bool) -> None:
        """Add an image."""
        self.images.write((b"" if first else b",") + _json(image))

    def finish(self) -> None:
        """Write what ends the file."""
        self.table.write(b'],"images":[')
        self.images.seek(0)
        shutil.copyfileobj(self.images, self.table)
        self.table.write(b"]}\n")


def images_table(journal: Journal | None) -> AbstractContextManager[BinaryIO]:
    """Where images wait until the annotations, before which JSON cannot hold them, are complete."""
    if journal:
        return journal.table(None, "images.json")
    kept: Any = tempfile.SpooledTemporaryFile(_KEPT_IN_MEMORY)  # noqa: SIM115
    return closing(kept)


def utf8(text: str) -> str:
    """The text with what UTF-8 cannot hold (bytes of a file name in another encoding) written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
