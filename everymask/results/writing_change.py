"""The folder that `predict` writes for what changed between two dates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from everymask.core.arrays import Array, ByteArray, IntArray
from everymask.core.labels import Labels
from everymask.core.segmentation import ChangeMap
from everymask.errors import printable
from everymask.results.output import OutputNames
from everymask.results.writing_semantic import SemanticFolder
from everymask.viz.change import draw_change


class ChangeFolder(SemanticFolder):
    """Writes results that are change maps into a folder, one at a time; only the names given so far stay in memory.

    - `overlays/<name>.png` (or `.jpg`, as `overlay` says; or none): the earlier date, the later one with what changed,
      and how far they differ, side by side
    - `maps/`, `classes.csv` and `predictions.csv` as `SemanticFolder` writes them: 0 in the maps is what did not change

    Pictures are named after the later date, which is the last of the `inputs`.
    """

    dates = 2

    def __init__(self, out: str | Path, labels: Labels, *, inputs: Sequence[str | Path] = (), **options: Any) -> None:
        super().__init__(out, labels, inputs=inputs, **options)
        self._names = OutputNames(inputs[-1:])

    def sentence(self) -> str:
        """The share of all pixels that changed."""
        names = self.labels.names
        total = max(1, self.found.total())
        parts = [f"{100 * self.found[name] / total:.2f} % {printable(name, 40)}" for name in names[1:]]
        return ", ".join(parts)

    def _drawing(self, dates: Sequence[Array], ids: IntArray) -> ByteArray:
        """The earlier date, if there is one, the later one, and what differs."""
        before = dates[0] if len(dates) > 1 else None
        return draw_change(dates[-1], ChangeMap(ids, ignore=self.labels.ignore), self.labels, before=before)
