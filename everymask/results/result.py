"""What a model found in one picture, in the forms that people use."""

from __future__ import annotations

import io
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from everymask.core.arrays import Array, ByteArray, IntArray
from everymask.core.labels import Labels
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet, Segmentation, SemanticMap
from everymask.errors import ConfigError, DataError, printable
from everymask.results.json_form import SCHEMA, segmentation_from_json, segmentation_to_json, shortest

_SHOWN_SIDE = 1024


@dataclass(frozen=True, slots=True)
class Row:
    """One object: its number (from 1, as in `Result.to_ids`), class name, score 0-1, area in pixels, box xyxy."""

    number: int
    name: str
    score: float | None
    area: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class ClassArea:
    """What a label map says of one class: its name, its pixels, and their share (0-1) of the picture."""

    name: str
    pixels: int
    share: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Result:
    """A picture, what was found in it, and how many seconds that took.

    Choose objects by indexing, and keep the rest with `dataclasses.replace`:

    >>> sure = result.instances[result.instances.scores > 0.8]
    >>> replace(result, segmentation=sure).save("sure.png")
    """

    sample: Sample
    segmentation: Segmentation
    labels: Labels
    seconds: float = 0.0

    @property
    def id(self) -> str:
        """The sample's id."""
        return self.sample.id

    @property
    def file(self) -> str:
        """The path of the picture as text; empty where it came as an array."""
        return self.sample.file

    @property
    def instances(self) -> InstanceSet:
        """The objects; `ConfigError` where the model predicts another kind of segmentation."""
        if not isinstance(self.segmentation, InstanceSet):
            raise ConfigError(
                f"expected objects (InstanceSet), but this result is a {type(self.segmentation).__name__}"
            )
        return self.segmentation

    @property
    def semantic(self) -> SemanticMap:
        """The label map; `ConfigError` where the model predicts another kind of segmentation."""
        if not isinstance(self.segmentation, SemanticMap):
            raise ConfigError(
                f"expected a label map (SemanticMap), but this result is a {type(self.segmentation).__name__}"
            )
        return self.segmentation

    def draw(self, *, min_score: float = 0.0, alpha: float = 0.45, names: bool = True) -> ByteArray:
        """The picture with what was found drawn on it, uint8 [H, W, 3].

        Objects as by `everymask.viz.draw.draw_instances`; label maps as by `everymask.viz.semantic.draw_semantic`, with
        `names` as a legend at the right, which makes the picture wider.
        """
        if isinstance(self.segmentation, SemanticMap):
            from everymask.viz.semantic import draw_semantic

            return draw_semantic(self.sample.image, self.segmentation, self.labels, alpha=alpha, legend=names)
        from everymask.viz.draw import draw_instances

        return draw_instances(
            self.sample.image, self.instances, self.labels, min_score=min_score, alpha=alpha, names=names
        )

    def show(self) -> None:
        """Display the drawn picture: in the notebook cell, or else in the system's picture viewer if there is one."""
        if _in_notebook():
            from IPython.display import Image as Picture
            from IPython.display import display

            display(Picture(data=self._repr_png_()))
            return
        from PIL import Image

        Image.fromarray(self.draw()).show(title=self.id)

    def save(self, path: str | Path) -> None:
        """Write the drawn picture as PNG or JPEG, whole or not at all."""
        from everymask.data.pictures.read import write_image

        write_image(path, self.draw())

    def table(self) -> list[Row] | list[ClassArea]:
        """What was found as rows.

        Objects in the order of `instances`; without masks the area is the box's. Of a label map the classes that it
        shows, largest first; pixels without a class are in no row but in the whole of which the shares are.
        """
        return self.areas() if isinstance(self.segmentation, SemanticMap) else self.objects()

    def objects(self) -> list[Row]:
        """The rows of `table`; `ConfigError` where the model predicts another kind of segmentation."""
        found = self.instances
        sides = found.boxes[:, 2:] - found.boxes[:, :2]
        areas = sides.prod(axis=1).round() if found.masks is None else found.masks.areas()
        return [
            Row(
                number=row + 1,
                name=self.labels.names[int(found.class_ids[row])],
                score=None if found.scores is None else shortest(found.scores[row]),
                area=int(areas[row]),
                box=(shortest(box[0]), shortest(box[1]), shortest(box[2]), shortest(box[3])),
            )
            for row, box in enumerate(found.boxes)
        ]

    def areas(self) -> list[ClassArea]:
        """The rows of `table`; `ConfigError` where the model predicts another kind of segmentation."""
        return class_areas(count_classes(self.semantic.ids, len(self.labels)), self.labels)

    def to_coco(self, image_id: int | str | None = None) -> list[dict[str, Any]]:
        """The objects as COCO results: bbox xywh, score (1 for truth), compressed RLE as text, area.

        `category_id` is the class id + 1; `image_id` is the sample's id unless given.
        """
        found = self.instances
        counts = None if found.masks is None else found.masks.to_rle()
        rows: list[dict[str, Any]] = []
        for row in self.objects():
            x1, y1, x2, y2 = found.boxes[row.number - 1]
            entry: dict[str, Any] = {
                "image_id": self.id if image_id is None else image_id,
                "category_id": int(found.class_ids[row.number - 1]) + 1,
                "bbox": [shortest(x1), shortest(y1), shortest(x2 - x1), shortest(y2 - y1)],
                "area": row.area,
                "score": 1.0 if row.score is None else row.score,
            }
            if counts is not None:
                entry["segmentation"] = {
                    "size": list(self.sample.size),
                    "counts": counts[row.number - 1].decode("ascii"),
                }
            rows.append(entry)
        return rows

    def to_json(self, *, scores: bool = False) -> dict[str, Any]:
        """All of it but the picture and its truth, as plain JSON values that `from_json` takes.

        `schema`, `id`, `file`, `size` [H, W], `seconds`, `labels`, and by `kind`:

        - instances: `objects`, each with `class_id`, `class`, `score`, `box` (x1, y1, x2, y2 in pixels) and, where it
          has them, `mask` (COCO's compressed RLE: `size`, `counts`), `id` and `crowd`
        - semantic: `map`, a grey PNG of class ids in base64 (255: none); with `scores`, where the model was asked for
          them (`Predictor.with_scores`), the pixels' probabilities too: float32, packed by zlib, in base64
        - panoptic: `map` of segment ids, and `segments`

        `DataError` for label maps of numbers above 65,535.

        >>> json.dumps(result.to_json())
        """
        found = segmentation_to_json(self.segmentation, self.labels, scores=scores)
        about = {"schema": SCHEMA, "id": self.id, "file": self.file, "size": list(self.sample.size)}
        return {**about, "seconds": self.seconds, "labels": self.labels.to_json(), **found}

    @classmethod
    def from_json(cls, data: dict[str, Any], image: Array) -> Result:
        """The result that `to_json` wrote, with its picture [H, W, C]; `DataError` where it is another's or damaged."""
        sample = Sample(image, id=data.get("id", ""), file=data.get("file", ""))
        if data.get("schema") != SCHEMA or data.get("size") != list(sample.size):
            raise DataError(
                f"expected a result of schema {SCHEMA} for a picture of {list(sample.size)}, but this one is of schema "
                f"{data.get('schema')} for {data.get('size')}",
                hint="give the picture that was predicted, and upgrade everymask for a newer schema",
            )
        found = segmentation_from_json(data, sample.size)
        return cls(sample, found, Labels.from_json(data["labels"]), data.get("seconds", 0.0))

    def to_ids(self) -> IntArray:
        """Which object each pixel belongs to, [H, W] int32: 0 none, else the object's row + 1.

        Where objects overlap the surest is on top (of equals, and without scores, the first). Of a label map these are
        its class ids, 255 for none. `DataError` where the objects have no masks.
        """
        if isinstance(self.segmentation, SemanticMap):
            return self.segmentation.ids
        found = self.instances
        if found.masks is None:
            raise DataError("these objects have boxes but no masks, so there is no map of their pixels")
        ids = np.zeros(self.sample.size, np.int32)
        order = np.arange(len(found)) if found.scores is None else np.argsort(-found.scores, kind="stable")
        for row in order[::-1].tolist():
            x1, y1, x2, y2 = found.masks.windows[row].tolist()
            ids[y1:y2, x1:x2][found.masks.crop(row)] = row + 1
        return ids

    def __repr__(self) -> str:
        name = printable(self.id or "picture", limit=60)
        if isinstance(self.segmentation, SemanticMap):
            rows = self.areas()
            listed = ", ".join(f"{100 * row.share:.0f} % {printable(row.name, limit=40)}" for row in rows[:5])
            return f"<Result {name}: {listed or 'no class'}{', ...' if len(rows) > 5 else ''}, {self.seconds:.2f} s>"
        if not isinstance(self.segmentation, InstanceSet):
            return f"<Result {name}: {type(self.segmentation).__name__}, {self.seconds:.2f} s>"
        counts = Counter(self.labels.names[class_id] for class_id in self.segmentation.class_ids.tolist())
        listed = ", ".join(f"{number} {printable(kind, limit=40)}" for kind, number in counts.most_common(5))
        return f"<Result {name}: {listed or 'no objects'}{', ...' if len(counts) > 5 else ''}, {self.seconds:.2f} s>"

    def _repr_png_(self) -> bytes:
        """What a notebook shows: the drawn picture as PNG, at most 1,024 pixels a side."""
        from PIL import Image

        picture = Image.fromarray(self.draw())
        picture.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE))
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return buffer.getvalue()


def count_classes(ids: IntArray, classes: int) -> IntArray:
    """The pixels of each class in a label map [..., W], and last of what is none: [classes + 1] int64."""
    pixels = np.zeros(classes + 1, np.int64)
    # Row by row: counting needs eight bytes per pixel.
    for row in ids.reshape(-1, ids.shape[-1]):
        pixels += np.bincount(np.minimum(row, classes), minlength=classes + 1)
    return pixels


def class_areas(pixels: IntArray, labels: Labels) -> list[ClassArea]:
    """The classes that have any of `pixels`, which are as `count_classes` gives them; largest first."""
    total, order = pixels.sum(), np.argsort(-pixels[:-1], kind="stable")
    return [ClassArea(labels.names[k], int(pixels[k]), float(pixels[k] / total)) for k in order if pixels[k]]


def _in_notebook() -> bool:
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return getattr(shell, "kernel", None) is not None
