"""pandas' frames: a row per object."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymask.core.geometry import Size
from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet
from everymask.errors import DataError, require
from everymask.infer.exchange.given import names_of, objects

_BOX = ("x1", "y1", "x2", "y2")


def to_pandas(found: InstanceSet, labels: Labels) -> Any:
    """A `pandas.DataFrame` with a row per object: `class`, `score` (where there are some), `area` in pixels, the box
    `x1`, `y1`, `x2`, `y2`, and with masks `mask`, COCO's compressed run-lengths as text.
    """
    rows = found.rows(labels)
    columns: dict[str, Any] = {"class": names_of(found, labels)}
    columns |= {} if found.scores is None else {"score": [row.score for row in rows]}
    columns |= {"area": np.array([row.area for row in rows], np.int64)}
    columns |= {name: found.boxes[:, k] for k, name in enumerate(_BOX)}
    columns |= {} if found.masks is None else {"mask": [runs.decode("ascii") for runs in found.masks.to_rle()]}
    return require("pandas").DataFrame(columns)


def from_pandas(frame: Any, size: Size, labels: Labels | None) -> tuple[InstanceSet, Labels]:
    """The objects of such a frame, in its order; further columns are left alone. Without `labels` the classes are
    those of the frame, by the alphabet.
    """
    missing = [name for name in ("class", *_BOX) if name not in frame.columns]
    if missing:
        raise DataError(f"a frame of objects has the columns class, {', '.join(_BOX)}, but {missing[0]} is missing")
    names = [str(name) for name in frame["class"]]
    labels = labels or Labels(tuple(sorted({*names})))
    unknown = sorted({*names} - {*labels.names})
    if unknown:
        raise DataError(f"class must be one of {', '.join(labels.names)}, but got {unknown[0]!r}")
    masks = Masks.from_rle([str(runs) for runs in frame["mask"]], size) if "mask" in frame.columns else None
    found = objects(
        frame[list(_BOX)].to_numpy(np.float32),
        np.array([labels.names.index(name) for name in names], np.int64),
        frame["score"].to_numpy(np.float32) if "score" in frame.columns else None,
        masks,
        labels,
    )
    return found, labels
