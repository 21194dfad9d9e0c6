"""A result as plain JSON values, and back."""

from __future__ import annotations

import zlib
from typing import Any, get_args

from everymask.core.labels import Labels
from everymask.core.segmentation import Segmentation
from everymask.errors import DataError

SCHEMA = 1


def segmentation_to_json(found: Segmentation, labels: Labels, *, scores: bool) -> dict[str, Any]:
    """What was found, with its kind under `"kind"`; `scores` adds those of a label map's pixels."""
    return {"kind": found.kind, **found.to_json(labels, scores=scores)}


def segmentation_from_json(data: dict[str, Any], size: tuple[int, int], labels: Labels) -> Segmentation:
    """What `segmentation_to_json` was given, for a picture of `size`, in the classes of `labels`.

    `DataError` where that cannot be.
    """
    kinds: dict[str, type[Segmentation]] = {kind.kind: kind for kind in get_args(Segmentation)}
    try:
        kind = data["kind"]
        if kind not in kinds:
            raise DataError(f"a result must be of kind {' or '.join(kinds)}, but got {kind!r}")
        return kinds[kind].from_json(data, size, labels)
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise DataError(f"the JSON of a result is incomplete or damaged: {error!r}") from error
