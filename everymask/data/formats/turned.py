"""Boxes that stand at an angle, which most formats of boxes do not know, and some tools write beside an upright box.

CVAT gives the box before it was turned, and `rotation` in degrees, clockwise about its middle; so is that key read
wherever it stands. What other keys mean (`angle`, `theta`: degrees or radians, which way) nobody says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from everymask.core.arrays import FloatArray
from everymask.data.issues import IssueLog
from everymask.data.records import Box

_UNCLEAR = ("angle", "theta", "rotate", "rotation_angle")
ANGLES = frozenset({"rotation", *_UNCLEAR})
"""The keys that may say that a box stands at an angle."""


def stated_turn(keys: Mapping[str, Any], *, file: object, issues: IssueLog) -> float:
    """The degrees by which an object's box is turned, by its `keys`; 0 where they say nothing, or nothing clear."""
    found = keys.get("rotation")
    try:
        degrees = 0.0 if found is None or isinstance(found, bool) else float(found)
    except (TypeError, ValueError, OverflowError):
        degrees = math.nan
    unclear = [key for key in _UNCLEAR if keys.get(key) not in (None, "", 0, 0.0, "0", "0.0")]
    if not math.isfinite(degrees) or unclear:
        message = "{count} boxes state an angle in a way that is not known; the boxes are taken as they stand"
        shown = ", ".join(unclear or [repr(found)])
        hint = f"expected degrees clockwise under rotation, as CVAT writes them; found {shown}"
        issues.warn_shared("box-angle", message, file=file, hint=hint)
    return math.remainder(degrees, 360.0) if math.isfinite(degrees) else 0.0


def upright(corners: FloatArray, size: tuple[int, int]) -> Box:
    """The xyxy box around `corners` [K, 2], as far as it lies in a picture of `size` (H, W)."""
    height, width = size
    (x1, y1), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))


def note_turned(outlined: bool, *, file: object, issues: IssueLog) -> None:
    """Note what became of a box that is turned: its outline, or the upright box around it."""
    message = "{count} boxes are turned; the upright box around each is taken, since the other objects have boxes only"
    if outlined:
        message = "{count} boxes are turned; each is outlined by its four corners"
    issues.warn_shared("box-turned", message, file=file)
