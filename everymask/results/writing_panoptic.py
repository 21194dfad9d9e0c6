"""The folder that `predict` writes for panoptic maps: pictures as they come, the tables whole at the end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from everymask.core.arrays import Array
from everymask.core.geometry import Size
from everymask.core.sample import Sample
from everymask.core.segmentation import PanopticMap
from everymask.data.formats.coco.panoptic_writing import categories_of, segment_entries, write_segments
from everymask.data.pictures.read import write_image
from everymask.errors import counted
from everymask.results.coco_table import CocoTable, images_table, utf8
from everymask.results.output import OutputFolder, csv_line
from everymask.results.thinned import drawn_step
from everymask.viz.semantic import draw_panoptic


class PanopticFolder(OutputFolder[PanopticMap]):
    """Writes results that are panoptic maps into a folder, one at a time; only the names given so far stay in memory.

    - `overlays/<name>.png` (or `.jpg`, as `overlay` says; or none): stuff tinted by class, things filled and outlined
    - `panoptic/<name>.png`: the segments as COCO stores them, R + 256 G + 65536 B is the number, 0 none
    - `predictions.json`: COCO panoptic with images, categories, and for each picture its `segments_info`
    - `predictions.csv`: file, segment, class, kind (thing or stuff), score, area, share, x1, y1, x2, y2, cut

    Names, interruptions and errors are as in `everymask.results.writing_instances.InstanceFolder`.

    >>> with PanopticFolder("masks", model.card.labels, inputs=["photos"]) as folder:
    ...     for result in model.stream(sorted(Path("photos").glob("*.jpg"))):
    ...         folder.add(result.sample, result.panoptic)
    """

    columns: tuple[str, ...] = (
        "file",
        "segment",
        "class",
        "kind",
        "score",
        "area",
        "share",
        "x1",
        "y1",
        "x2",
        "y2",
        "cut",
    )

    def _opened(self, stack: ExitStack) -> Sequence[BinaryIO]:
        table = stack.enter_context(self._table("predictions.json"))
        images = stack.enter_context(images_table(self._journal))
        self._coco = CocoTable(table, images, categories_of(self.labels))
        return table, images

    def add(self, sample: Sample, found: PanopticMap, *, cut: bool = False) -> str:
        """Write what was found in one picture; returns its name. `cut` says that there may be more things."""
        return self._add(sample.file, sample.id, sample.image, found, 1, cut=cut)

    def add_large(self, file: str | Path, image: Array, found: PanopticMap, size: Size, *, cut: bool = False) -> str:
        """The same of a picture that is drawn smaller than it is; see `OutputFolder.add_large`."""
        return self._add(str(file), "", image, found, drawn_step(size), cut=cut)

    def _add(self, file: str, id: str, image: Array, found: PanopticMap, step: int, *, cut: bool) -> str:  # noqa: A002
        shown = self._names.shown(file, id)
        name = self._names.free(file, shown)
        (height, width), number, first = found.size, self.count + 1, self.count == 0
        with self._adding(file, name):
            write_segments(self.out / "panoptic" / f"{name}.png", found, id or file)
            if self.overlay != "none":
                drawn = draw_panoptic(image, replace(found, ids=found.ids[::step, ::step]), self.labels)
                write_image(self.out / "overlays" / f"{name}.{self.overlay}", drawn)
            entries = segment_entries(found)
            annotation = {"image_id": number, "file_name": f"{name}.png", "segments_info": entries}
            self._coco.annotate([annotation], first=first)
            entry = {"id": number, "file_name": utf8(shown), "height": height, "width": width}
            self._coco.picture(entry | ({"cut": True} if cut else {}), first=first)
            self._csv.write(b"".join(self._line(each, shown, height * width, cut=cut) for each in entries))
            self.found.update(self.labels.names[each["category_id"] - 1] for each in entries)
            self.cut += cut
        return name

    def answer(self) -> dict[str, Any]:
        """How many segments there are, and in how many pictures there may be more things."""
        return {"segments": self.found.total(), "cut": self.cut}

    def sentence(self) -> str:
        """How many segments there are, in words."""
        return counted(self.found.total(), "segment")

    def _finish(self) -> None:
        self._coco.finish()

    def _line(self, entry: dict[str, Any], shown: str, pixels: int, *, cut: bool) -> bytes:
        class_id, (x, y, width, height) = entry["category_id"] - 1, entry["bbox"]
        kind = "thing" if class_id in self.labels.things else "stuff"
        score = f"{entry['score']:.4f}" if "score" in entry else ""
        about = shown, entry["id"], self.labels.names[class_id], kind, score, entry["area"]
        share = f"{entry['area'] / pixels:.6f}"
        return csv_line((*about, share, x, y, x + width, y + height, "yes" if cut else "no"))
