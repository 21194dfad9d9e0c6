"""What queries should find: the masks of a truth and their classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from everymask.core.arrays import IntArray
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet, PanopticMap, SemanticMap, expected
from everymask.errors import DataError
from everymask.models.base import Batch
from everymask.models.specs.queries import QuerySpec


@dataclass(frozen=True, slots=True)
class Targets:
    """Of one picture: `class_ids` [N] int64 and `masks` [N, H, W] float32 of 0 and 1, in the network's frame."""

    class_ids: Tensor
    masks: Tensor


def query_targets(batch: Batch, spec: QuerySpec, size: tuple[int, int]) -> list[Targets]:
    """What the pictures of a batch show in a frame of `size` (H, W), on their device.

    Panoptic: each thing, and the stuff of each class. Objects: each. Label maps: each class. Crowds of things are left
    out, and so is what has no pixel here; pixels without truth belong to no mask.
    """
    files = batch.files or ("",) * len(batch.truths)
    found = []
    for truth, file in zip(batch.truths, files, strict=True):
        purpose = spec.purpose
        if purpose.limited:
            class_ids, masks = _of_objects(expected(InstanceSet, truth, file), size)
        elif purpose.dense:
            class_ids, masks = _of_classes(expected(SemanticMap, truth, file), size)
        else:
            class_ids, masks = _of_segments(expected(PanopticMap, truth, file), spec.things, size)
        rows = masks.flatten(1).any(dim=1)
        device = batch.images.device
        found.append(Targets(class_ids[rows].to(device), masks[rows].to(device).float()))
    return found


def _of_objects(truth: InstanceSet, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    if truth.masks is None:
        raise DataError("queries learn masks, but these objects have boxes only")
    rows = np.flatnonzero(np.ones(len(truth), np.bool_) if truth.crowd is None else ~truth.crowd)
    return torch.from_numpy(truth.class_ids[rows].astype(np.int64)), planes_of(truth.masks, rows.tolist(), size)


def planes_of(masks: Masks, rows: Sequence[int], size: tuple[int, int]) -> Tensor:
    """[N, H, W] bool: these of the masks in a frame of `size`."""
    planes = np.zeros((len(rows), *size), np.bool_)
    for place, row in enumerate(rows):
        x1, y1, x2, y2 = masks.windows[row].tolist()
        planes[place, y1:y2, x1:x2] = masks.crop(row)
    return torch.from_numpy(planes)


def _of_classes(truth: SemanticMap, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    ids = np.unique(truth.ids)
    ids = ids[ids != truth.ignore].astype(np.int64)
    return torch.from_numpy(ids), _planes(truth.ids, ids, truth.ignore, size)


def _of_segments(truth: PanopticMap, things: tuple[int, ...], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Rows by the table: a row for each thing that is no crowd, and one for each class of stuff."""
    class_ids: list[int] = []
    rows: list[int] = []
    stuff: dict[int, int] = {}
    for one in truth.segments:
        if one.class_id in things:
            rows.append(-1 if one.crowd else len(class_ids))
            class_ids += [] if one.crowd else [one.class_id]
        else:
            rows.append(stuff.setdefault(one.class_id, len(class_ids)))
            class_ids += [one.class_id] if rows[-1] == len(class_ids) else []
    none = len(class_ids)
    places = truth.looked_up([none if row < 0 else row for row in rows], none)
    return torch.tensor(class_ids, dtype=torch.int64), _planes(places, np.arange(none), none, size)


def _planes(ids: IntArray, wanted: IntArray, none: int, size: tuple[int, int]) -> Tensor:
    """[N, H, W] bool: where each of the `wanted` ids is, in a frame of `size`, `none` beyond the map."""
    frame = torch.full(size, none, dtype=torch.int64)
    frame[: ids.shape[0], : ids.shape[1]] = torch.from_numpy(ids.astype(np.int64))
    return frame == torch.from_numpy(np.asarray(wanted, np.int64))[:, None, None]
