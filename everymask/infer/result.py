"""What a model found in one picture, in the forms that people use."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from everymask.core.arrays import Array, ByteArray, IntArray
from everymask.core.labels import Labels
from everymask.core.rows import ClassArea, ObjectRow
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet, PanopticMap, Rows, Segmentation, SemanticMap
from everymask.errors import ConfigError, DataError, printable
from everymask.infer.exchange import coco_entries, detections, frames, id_maps, labelled_arrays, targets
from everymask.infer.json_form import SCHEMA, segmentation_from_json, segmentation_to_json
from everymask.infer.sources import Source, as_sample
from everymask.results.writing_instances import coco_results
from everymask.tasks.table import task_of
from everymask.tasks.task import Drawing

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

Kind = TypeVar("Kind", InstanceSet, SemanticMap, PanopticMap)
_SHOWN_SIDE = 1024


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Result:
    """A picture, what was found in it, and how many seconds that took.

    Objects as sure as `cut_below` or less may be missing, because the picture holds more than the model's limits of
    detections and proposals let through (`Predictor.with_detections` raises them); None where that is not so.

    Choose objects by indexing, and keep the rest with `dataclasses.replace`:

    >>> sure = result.instances[result.instances.scores > 0.8]
    >>> replace(result, segmentation=sure).save("sure.png")
    """

    sample: Sample
    segmentation: Segmentation
    labels: Labels
    seconds: float = 0.0
    cut_below: float | None = None

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
        return self._expected(InstanceSet, "objects")

    @property
    def semantic(self) -> SemanticMap:
        """The label map; `ConfigError` where the model predicts another kind of segmentation."""
        return self._expected(SemanticMap, "a label map")

    @property
    def panoptic(self) -> PanopticMap:
        """The panoptic map; `ConfigError` where the model predicts another kind of segmentation."""
        return self._expected(PanopticMap, "a panoptic map")

    def _expected(self, kind: type[Kind], noun: str) -> Kind:
        if not isinstance(self.segmentation, kind):
            raise ConfigError(
                f"expected {noun} ({kind.__name__}), but this result is a {type(self.segmentation).__name__}"
            )
        return self.segmentation

    def draw(self, *, min_score: float = 0.0, alpha: float | None = None, names: bool = True) -> ByteArray:
        """The picture with what was found drawn on it, uint8 [H, W, 3].

        `alpha` (0-1) is how much colour covers the picture; without it as much as suits objects or label maps.
        Objects as by `everymask.viz.draw.draw_instances`; label maps as by `everymask.viz.semantic.draw_semantic`, with
        `names` as a legend at the right, which makes the picture wider; panoptic maps as by `draw_panoptic` there; of
        two dates both, and how far they differ, as by `everymask.viz.change.draw_change`.
        """
        task = task_of(self.segmentation)
        drawing = Drawing(min_score=min_score, alpha=alpha, names=names, before=self.sample.before)
        return task.draw(self.sample.image, self.segmentation, self.labels, drawing)

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

    def table(self) -> Rows:
        """What was found as rows.

        Objects in the order of `instances`; without masks the area is the box's. Of a label map the classes that it
        shows, largest first; pixels without a class are in no row but in the whole of which the shares are. Likewise of
        a panoptic map, whose segments are in `panoptic.segments`.
        """
        return self.segmentation.rows(self.labels)

    def objects(self) -> list[ObjectRow]:
        """The rows of `table`; `ConfigError` where the model predicts another kind of segmentation."""
        return self.instances.rows(self.labels)

    def areas(self) -> list[ClassArea]:
        """The rows of `table`; `ConfigError` where the model predicts another kind of segmentation."""
        return self.semantic.rows(self.labels)

    def to_coco(self, image_id: int | str | None = None) -> list[dict[str, Any]]:
        """The objects as COCO results: bbox xywh, score (1 for truth), compressed RLE as text, area.

        `category_id` is the class id + 1; `image_id` is the sample's id unless given. `ConfigError` where the model
        predicts another kind of segmentation.
        """
        return coco_results(self.instances, self.objects(), self.id if image_id is None else image_id, self.sample.size)

    @classmethod
    def from_coco(cls, entries: Sequence[Mapping[str, Any]], image: Source, labels: Labels) -> Result:
        """The result that COCO entries of one picture describe, in the numbering of `to_coco`; `DataError` names an
        entry that is no object.
        """
        sample = as_sample(image)
        return cls(sample, coco_entries.from_coco(entries, sample.size, labels), labels)

    def to_supervision(self) -> Any:
        """A `supervision.Detections`: each object, class of a label map or segment as one; masks are dense, bool
        [N, H, W]. `MissingExtra` without supervision.
        """
        return detections.to_supervision(self.segmentation.regions(), self.labels)

    @classmethod
    def from_supervision(cls, found: Any, image: Source, labels: Labels | None = None) -> Result:
        """The objects of a `supervision.Detections` with their picture; without `labels` the classes are those that
        its class names say.
        """
        sample = as_sample(image)
        return cls(sample, *detections.from_supervision(found, sample.size, labels))

    def to_torchvision(self) -> dict[str, Any]:
        """A target as torchvision's detectors take it: `boxes` float32 [N, 4] xyxy, `labels` int64 [N] (class id + 1),
        `masks` uint8 [N, H, W], `scores` [N], `area` [N], `iscrowd` [N]; each object, class of a label map or segment
        as one.
        """
        return targets.to_torchvision(self.segmentation.regions())

    @classmethod
    def from_torchvision(cls, target: dict[str, Any], image: Source, labels: Labels) -> Result:
        """The objects of a target, or of an answer of torchvision's detectors, with their picture; its label 1 is the
        first of `labels`.
        """
        sample = as_sample(image)
        return cls(sample, targets.from_torchvision(target, sample.size, labels), labels)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each object, class of a label map or segment: `class`, `score`, `area`,
        `x1`, `y1`, `x2`, `y2`, and `mask` (COCO's compressed RLE). `MissingExtra` without pandas.
        """
        return frames.to_pandas(self.segmentation.regions(), self.labels)

    @classmethod
    def from_pandas(cls, frame: Any, image: Source, labels: Labels | None = None) -> Result:
        """The objects that the rows of such a frame describe, with their picture; without `labels` its classes by the
        alphabet.
        """
        sample = as_sample(image)
        return cls(sample, *frames.from_pandas(frame, sample.size, labels))

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with the map of regions and what each is, as
        `everymask.infer.exchange.labelled_arrays.to_xarray` says. `MissingExtra` without xarray.
        """
        return labelled_arrays.to_xarray(self.segmentation, self.labels, self.sample.size)

    @classmethod
    def from_xarray(cls, data: Any, image: Source) -> Result:
        """The result that `to_xarray` wrote, with its picture."""
        sample = as_sample(image)
        return cls(sample, *labelled_arrays.from_xarray(data, sample.size))

    def to_pil(self) -> PilImage:
        """The map of `to_ids` as a picture of mode L, or I;16 where a number is above 255. For what `draw` gives there
        is `PIL.Image.fromarray`.
        """
        return id_maps.to_pil(self.to_ids())

    @classmethod
    def from_pil(cls, ids: PilImage, image: Source, labels: Labels) -> Result:
        """A label map from a picture of class ids (modes L, P, I;16), with its picture; `labels.ignore` is no class."""
        sample = as_sample(image)
        return cls(sample, id_maps.from_pil(ids, sample.size, labels), labels)

    def to_json(self, *, scores: bool = False) -> dict[str, Any]:
        """All of it but the picture and its truth, as plain JSON values that `from_json` takes.

        `schema`, `id`, `file`, `size` [H, W], `seconds`, `cut_below`, `labels`, and by `kind`:

        - instances: `objects`, each with `class_id`, `class`, `score`, `box` (x1, y1, x2, y2 in pixels) and, where it
          has them, `mask` (COCO's compressed RLE: `size`, `counts`), `id` and `crowd`
        - semantic: `map`, a grey PNG of class ids in base64 (`ignore` of the labels: none); with `scores`, where the
          model was asked for them (`Predictor.with_scores`), the pixels' probabilities too: float32, packed by zlib,
          in base64
        - panoptic: `map` of segment ids, and `segments`

        `DataError` for label maps of numbers above 65,535.

        >>> json.dumps(result.to_json())
        """
        found = segmentation_to_json(self.segmentation, self.labels, scores=scores)
        about = {"schema": SCHEMA, "id": self.id, "file": self.file, "size": list(self.sample.size)}
        seen = {"seconds": self.seconds, "cut_below": self.cut_below, "labels": self.labels.to_json()}
        return {**about, **seen, **found}

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
        labels = Labels.from_json(data["labels"])
        found = segmentation_from_json(data, sample.size, labels)
        return cls(sample, found, labels, data.get("seconds", 0.0), data.get("cut_below"))

    def to_ids(self) -> IntArray:
        """Which object each pixel belongs to, [H, W] int32: 0 none, else the object's row + 1.

        Where objects overlap the surest is on top (of equals, and without scores, the first). Of a label map these are
        its class ids, `labels.ignore` for none. `DataError` where the objects have no masks.
        """
        return self.segmentation.to_ids()

    def __repr__(self) -> str:
        name = printable(self.id or "picture", limit=60)
        said = task_of(self.segmentation).sentence(self.segmentation, self.labels)
        more = "" if self.cut_below is None else f"; more up to score {self.cut_below:.2f} may be missing"
        return f"<Result {name}: {said}{more}, {self.seconds:.2f} s>"

    def _repr_png_(self) -> bytes:
        """What a notebook shows: the drawn picture as PNG, at most 1,024 pixels a side."""
        from PIL import Image

        picture = Image.fromarray(self.draw())
        picture.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE))
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return buffer.getvalue()


def _in_notebook() -> bool:
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return getattr(shell, "kernel", None) is not None
