"""xarray's data sets: a map of regions, and what each of them is."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from everymask.core.geometry import Size
from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.segmentation import Segmentation
from everymask.errors import DataError, require
from everymask.infer.exchange.given import dense, masks_from, names_of, objects

_SIDES = ["x1", "y1", "x2", "y2"]


def to_xarray(found: Segmentation, labels: Labels, size: Size) -> Any:
    """An `xarray.Dataset` over `y`, `x` and `region`: an object, a class of a label map, or a segment.

    `number` [y, x] int32 is the region that each pixel belongs to, counted from 1 (0: none; of regions that overlap the
    surest), and where some overlap `mask` [region, y, x] has them whole; `class_id`, `class_name` and, where there are
    some, `score` [region], `box` [region, side]. Pixels' scores, and what was there before, are left out. The
    attributes name the kind and the labels.
    """
    regions, xarray = found.regions(), require("xarray")
    variables: dict[str, Any] = {
        "class_id": ("region", regions.class_ids),
        "box": (("region", "side"), regions.boxes),
    }
    if regions.scores is not None:
        variables["score"] = ("region", regions.scores)
    if regions.masks is not None:
        number = regions.to_ids()
        variables["number"] = (("y", "x"), number)
        if regions.masks.areas().sum() != np.count_nonzero(number):
            variables["mask"] = (("region", "y", "x"), dense(regions.masks))
    names = np.array(names_of(regions, labels), dtype=str)
    return xarray.Dataset(
        variables,
        coords={"region": np.arange(1, len(regions) + 1), "side": _SIDES, "class_name": ("region", names)},
        attrs={"kind": found.kind, "class_names": list(labels.names), "ignore": labels.ignore, "size": list(size)},
    )


def from_xarray(data: Any, size: Size) -> tuple[Segmentation, Labels]:
    """What `to_xarray` was given, but for what it leaves out; `DataError` where `data` is not of this form."""
    kinds: dict[str, type[Segmentation]] = {kind.kind: kind for kind in get_args(Segmentation)}
    try:
        stored, names, ignore = data.attrs["kind"], data.attrs["class_names"], int(data.attrs["ignore"])
        labels = Labels((names,) if isinstance(names, str) else tuple(map(str, names)), ignore=ignore)
        numbers = data["region"].values
        masks = None
        if "mask" in data:
            masks = masks_from(data["mask"].values, size)
        elif "number" in data:
            masks = Masks.from_ids(data["number"].values, numbers)
        scores = data["score"].values if "score" in data else None
        regions = objects(data["box"].values, data["class_id"].values, scores, masks, labels)
        return kinds[stored].from_regions(regions, size, ignore), labels
    except KeyError as error:
        raise DataError(f"this is no data set as to_xarray makes it: there is no {error}") from error
