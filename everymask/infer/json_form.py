"""A result as plain JSON values, and back."""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from everymask.core.arrays import Array, FloatArray, IntArray
from everymask.core.labels import Labels
from everymask.core.masks import Masks
from everymask.core.rows import shortest
from everymask.core.segmentation import InstanceSet, PanopticMap, Segment, Segmentation, SemanticMap
from everymask.data.pictures.read import read_label_map
from everymask.errors import DataError

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Form:
    """How segmentations `of` one type are written, and read for a picture of a size (H, W)."""

    of: type[Segmentation]
    write: Callable[[Any, Labels, bool], dict[str, Any]]
    read: Callable[[dict[str, Any], tuple[int, int], Labels], Segmentation]


def segmentation_to_json(found: Segmentation, labels: Labels, *, scores: bool) -> dict[str, Any]:
    """What was found, with its kind under `"kind"`; `scores` adds those of a label map's pixels."""
    kind, form = next((kind, form) for kind, form in FORMS.items() if form.of is type(found))
    return {"kind": kind, **form.write(found, labels, scores)}


def segmentation_from_json(data: dict[str, Any], size: tuple[int, int], labels: Labels) -> Segmentation:
    """What `segmentation_to_json` was given, for a picture of `size`, in the classes of `labels`.

    `DataError` where that cannot be.
    """
    try:
        kind = data["kind"]
        if kind not in FORMS:
            raise DataError(f"a result must be of kind {' or '.join(FORMS)}, but got {kind!r}")
        found: Segmentation = FORMS[kind].read(data, size, labels)
        return found
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise DataError(f"the JSON of a result is incomplete or damaged: {error!r}") from error


def _write_instances(found: InstanceSet, labels: Labels, scores: bool) -> dict[str, Any]:
    counts = None if found.masks is None else found.masks.to_rle()
    rows = []
    for row, class_id in enumerate(found.class_ids.tolist()):
        entry: dict[str, Any] = {"class_id": class_id, "class": labels.names[class_id]}
        if found.scores is not None:
            entry["score"] = shortest(found.scores[row])
        entry["box"] = [shortest(value) for value in found.boxes[row]]
        if counts is not None and found.masks is not None:
            entry["mask"] = {"size": list(found.masks.size), "counts": counts[row].decode("ascii")}
        if found.ids is not None:
            entry["id"] = int(found.ids[row])
        if found.crowd is not None:
            entry["crowd"] = bool(found.crowd[row])
        rows.append(entry)
    return {"objects": rows}


def _read_instances(data: dict[str, Any], size: tuple[int, int], labels: Labels) -> InstanceSet:
    rows = data["objects"]

    def column(name: str, dtype: type) -> Array | None:
        return np.array([row[name] for row in rows], dtype) if any(name in row for row in rows) else None

    masks = None
    if not rows or any("mask" in row for row in rows):
        for row in rows:
            if tuple(row["mask"]["size"]) != size:
                raise DataError(f"a mask is of a picture of {row['mask']['size']}, but this one has {list(size)}")
        masks = Masks.from_rle([row["mask"]["counts"] for row in rows], size)
    return InstanceSet(
        boxes=np.array([row["box"] for row in rows], np.float32).reshape(-1, 4),
        class_ids=np.array([row["class_id"] for row in rows], np.int64),
        scores=np.zeros(0, np.float32) if not rows else column("score", np.float32),
        masks=masks,
        ids=column("id", np.int64),
        crowd=column("crowd", np.bool_),
    )


def _write_semantic(found: SemanticMap, labels: Labels, scores: bool) -> dict[str, Any]:
    kept = {"scores": _floats(found.scores)} if scores and found.scores is not None else {}
    return {"map": _png(found.ids), **kept}


def _read_semantic(data: dict[str, Any], size: tuple[int, int], labels: Labels) -> SemanticMap:
    scores = _values(data["scores"], size) if "scores" in data else None
    return SemanticMap(_map(data["map"], size), scores, labels.ignore)


def _write_panoptic(found: PanopticMap, labels: Labels, scores: bool) -> dict[str, Any]:
    rows = [
        {"id": row.id, "class_id": row.class_id, "class": labels.names[row.class_id]}
        | ({} if row.score is None else {"score": row.score})
        | ({"crowd": True} if row.crowd else {})
        for row in found.segments
    ]
    return {"map": _png(found.ids), "segments": rows}


def _read_panoptic(data: dict[str, Any], size: tuple[int, int], labels: Labels) -> PanopticMap:
    segments = [
        Segment(row["id"], row["class_id"], row.get("score"), row.get("crowd", False)) for row in data["segments"]
    ]
    return PanopticMap(_map(data["map"], size), tuple(segments))


def _png(ids: IntArray) -> dict[str, str]:
    """A label map as a grey PNG of 8 or, for numbers above 255, 16 bits, in base64."""
    from PIL import Image

    low, high = int(ids.min()), int(ids.max())
    if ids.ndim != 2 or low < 0 or high > np.iinfo(np.uint16).max:
        raise DataError(
            f"a label map [H, W] of 0 to 65535 fits into JSON, but this one is {ids.shape}, {low} to {high}"
        )
    buffer = io.BytesIO()
    Image.fromarray(ids.astype(np.uint8 if high < 256 else np.uint16)).save(buffer, "PNG")
    return {"dtype": str(ids.dtype), "png": base64.b64encode(buffer.getvalue()).decode("ascii")}


def _map(data: dict[str, str], size: tuple[int, int]) -> IntArray:
    ids = read_label_map(base64.b64decode(data["png"], validate=True))
    if ids.shape != size:
        raise DataError(f"the label map is of a picture of {list(ids.shape)}, but this one has {list(size)}")
    return ids.astype(np.dtype(data["dtype"]))


def _floats(values: FloatArray) -> dict[str, str]:
    """Values [H, W] as little-endian float32, packed by zlib, in base64."""
    packed = zlib.compress(np.ascontiguousarray(values, "<f4").tobytes(), 1)
    return {"dtype": "<f4", "zlib": base64.b64encode(packed).decode("ascii")}


def _values(data: dict[str, str], size: tuple[int, int]) -> FloatArray:
    stored = np.frombuffer(zlib.decompress(base64.b64decode(data["zlib"], validate=True)), "<f4")
    return stored.reshape(size).astype(np.float32)


FORMS = {
    "instances": Form(InstanceSet, _write_instances, _read_instances),
    "semantic": Form(SemanticMap, _write_semantic, _read_semantic),
    "panoptic": Form(PanopticMap, _write_panoptic, _read_panoptic),
}
"""By what a file calls them."""
