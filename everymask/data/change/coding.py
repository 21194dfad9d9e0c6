"""Truth that says what changed between two dates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from everymask.core.labels import Labels
from everymask.data.coding import LabelCoding
from everymask.data.painting import Painting

CHANGE = Labels(("unchanged", "changed"), ((0, 0, 0), (230, 25, 75)))
"""The classes where only that something changed is known. The first one of any is what did not."""


@dataclass(frozen=True, slots=True)
class ChangeCoding:
    """What changed is stored, or painted of objects, as `maps` says: as classes are in a label map."""

    maps: LabelCoding | Painting

    @property
    def stored(self) -> list[Any]:
        """How changes are stored, as JSON."""
        return ["change", self.maps.stored]

    def sentence(self, labels: Labels) -> str:
        """What the files hold, for logs and tables."""
        return f"changes between two dates; {self.maps.sentence(labels)}"
