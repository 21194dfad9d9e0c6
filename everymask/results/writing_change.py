"""The folder that `predict` writes for what changed between two dates."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from everymask.core.arrays import Array, ByteArray, IntArray
from everymask.core.files import write_json
from everymask.core.labels import Labels
from everymask.core.segmentation import ChangeMap, SemanticMap
from everymask.errors import printable
from everymask.results.change_pieces import Piece, change_pieces
from everymask.results.output import OutputNames, csv_line, csv_lines
from everymask.results.writing_semantic import SemanticFolder
from everymask.viz.change import draw_change

_COLUMNS = "file", "piece", "was", "is", "pixels", "share", "x1", "y1", "x2", "y2"
_MOST_PIXELS = 1 << 27

_log = logging.getLogger(__name__)


class ChangeFolder(SemanticFolder):
    """Writes results that are change maps into a folder, one at a time; only the names given so far stay in memory.

    - `overlays/<name>.png` (or `.jpg`, as `overlay` says; or none): the earlier date, the later one with what changed,
      and how far they differ, side by side
    - `maps/`, `classes.csv` and `predictions.csv` as `SemanticFolder` writes them: 0 in the maps is what did not
      change; `maps_before/` has what was there, where the model says it
    - `changes.csv`: a line for each piece of change (pixels that touch, also at corners, and changed alike): what was
      and what is there, its pixels, its share of the picture, and its box xyxy in pixels
    - `vectors/<name>.geojson`: the outlines of these pieces in pixels, x to the right and y down, with their holes

    Pictures are named after the later date, which is the last of the `inputs`. The pieces need the whole map in memory,
    with up to ten bytes for each pixel; of pictures of more than 134 million pixels there are none, which the log says.
    """

    dates = 2

    def __init__(self, out: str | Path, labels: Labels, *, inputs: Sequence[str | Path] = (), **options: Any) -> None:
        super().__init__(out, labels, inputs=inputs, **options)
        self._names = OutputNames(inputs[-1:])
        self._strips: list[SemanticMap] = []
        self._pixels = 0

    def sentence(self) -> str:
        """The share of all pixels that changed."""
        names = self.labels.names
        total = max(1, self.found.total())
        parts = [f"{100 * self.found[name] / total:.2f} % {printable(name, 40)}" for name in names[1:]]
        return ", ".join(parts)

    def _opened(self, stack: ExitStack) -> Sequence[BinaryIO]:
        self._pieces = stack.enter_context(self._table("changes.csv"))
        self._pieces.write(csv_line(_COLUMNS))
        return (self._pieces,)

    def _seen(self, strip: SemanticMap) -> None:
        self._pixels += strip.ids.size
        if self._pixels > _MOST_PIXELS:
            self._strips.clear()
        else:
            self._strips.append(strip)

    def _end(self, name: str, shown: str, size: tuple[int, int]) -> None:
        strips, self._strips, self._pixels = self._strips, [], 0
        if not strips:
            _log.warning("%s: too large for changes.csv and vectors; its map is written", printable(shown))
            return
        planes = {plane: np.concatenate([strip.planes[plane] for strip in strips]) for plane in strips[0].planes}
        pieces = list(change_pieces(planes["ids"], planes.get("was"), len(self.labels)))
        lines = [self._line(shown, number, piece, size) for number, piece in enumerate(pieces, 1)]
        self._pieces.write(csv_lines(lines))
        features = [piece.to_feature(number, self.labels) for number, piece in enumerate(pieces, 1)]
        write_json(self.out / f"vectors/{name}.geojson", {"type": "FeatureCollection", "features": features})

    def _line(self, shown: str, number: int, piece: Piece, size: tuple[int, int]) -> tuple[object, ...]:
        was = "" if piece.was is None else self.labels.names[piece.was]
        share = f"{piece.pixels / (size[0] * size[1]):.6f}"
        return (shown, number, was, self.labels.names[piece.now], piece.pixels, share, *piece.box)

    def _drawing(self, dates: Sequence[Array], planes: IntArray) -> ByteArray:
        """The earlier date, if there is one, the later one, and what differs."""
        before = dates[0] if len(dates) > 1 else None
        was = planes[..., 1] if planes.shape[2] > 1 else None
        found = ChangeMap(planes[..., 0], ignore=self.labels.ignore, was=was)
        return draw_change(dates[-1], found, self.labels, before=before)
