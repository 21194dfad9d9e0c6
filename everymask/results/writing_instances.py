"""The folder that `predict` writes: pictures as they come, the tables whole at the end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from everymask.core.arrays import Array, ByteArray, IntArray
from everymask.core.geometry import Size
from everymask.core.rows import ObjectRow, shortest
from everymask.core.sample import Sample
from everymask.core.segmentation import InstanceSet
from everymask.data.pictures.read import write_image
from everymask.errors import DataError, counted, printable
from everymask.results.coco_table import CocoTable, images_table, utf8
from everymask.results.output import OutputFolder, csv_lines
from everymask.viz.draw import draw_instances


class InstanceFolder(OutputFolder[InstanceSet]):
    """Writes results into a folder, one at a time; only the names given so far stay in memory.

    - `overlays/<name>.png` (or `.jpg`, as `overlay` says; or none): the picture with its objects drawn on it
    - `ids/<name>.png`: 16-bit, the object's number in the tables at each pixel, 0 elsewhere (for objects with masks)
    - `predictions.json`: COCO with images, categories, and annotations that have scores
    - `predictions.csv`: file, object, class, score, area, x1, y1, x2, y2, cut (RFC 4180; no cell can act as a formula)

    Where the model's limits were reached, so that a picture may show more objects, `cut` is yes, in the JSON true.

    `name` is the picture's path below the input folder without its ending; odd characters become `_`, and two
    pictures never share a name, nor names that differ only in case or Unicode form: the second gets its ending or a
    number added. The tables appear whole when the folder is closed, also after an interruption or an error: then they
    hold the pictures that were finished. Without any there are no tables.

    `ConfigError` if `out` is not empty (unless `overwrite`; files of other names stay) or lies inside an input folder,
    or an input inside it; `inputs` are the files and folders that are predicted. Nothing is written before `with`.

    >>> with InstanceFolder("masks", model.labels, inputs=["photos"]) as folder:
    ...     for result in model.stream(sorted(Path("photos").glob("*.jpg"))):
    ...         folder.add(result.sample, result.instances)
    """

    columns: tuple[str, ...] = ("file", "object", "class", "score", "area", "x1", "y1", "x2", "y2", "cut")

    def _opened(self, stack: ExitStack) -> Sequence[BinaryIO]:
        table = stack.enter_context(self._table("predictions.json"))
        images = stack.enter_context(images_table(self._journal))
        categories = [{"id": k + 1, "name": utf8(name)} for k, name in enumerate(self.labels.names)]
        self._coco = CocoTable(table, images, categories)
        return table, images

    def add(self, sample: Sample, found: InstanceSet, *, cut: bool = False) -> str:
        """Write what was found in one picture; returns its name. `cut` says that there may be more.

        `DataError` for more than 65,535 objects, which 16 bits cannot number.
        """
        return self._add(sample.file, sample.id, sample.image, found, sample.size, cut=cut)

    def add_large(self, file: str | Path, image: Array, found: InstanceSet, size: Size, *, cut: bool = False) -> str:
        """The same of a picture that is drawn smaller than it is; see `OutputFolder.add_large`."""
        return self._add(str(file), "", image, found, size, cut=cut)

    def _add(self, file: str, id: str, image: Array, found: InstanceSet, size: Size, *, cut: bool) -> str:  # noqa: A002
        shown = self._names.shown(file, id)
        name = self._names.free(file, shown)
        entry = {"id": self.count + 1, "file_name": utf8(shown), "height": size[0], "width": size[1]}
        entry |= {"cut": True} if cut else {}
        with self._adding(file, name):
            if found.masks is not None:
                entry["ids"] = f"ids/{name}.png"
                self._write_ids(self.out / f"ids/{name}.png", id or file, found)
            if self.overlay != "none":
                entry["overlay"] = f"overlays/{name}.{self.overlay}"
                drawn = self._drawn(image, _shrunk(found, size, image.shape[:2]))
                write_image(self.out / f"overlays/{name}.{self.overlay}", drawn)
            self._write_rows(found, shown, size, image_id=self.count + 1, cut=cut)
            self._coco.picture(entry, first=not self.count)
            self.found.update(self.labels.names[k] for k in found.class_ids.tolist())
            self.cut += cut
        return name

    def answer(self) -> dict[str, Any]:
        """How many objects there are, and in how many pictures there may be more."""
        return {"objects": self.found.total(), "cut": self.cut}

    def sentence(self) -> str:
        """How many objects there are, in words."""
        return counted(self.found.total(), "object")

    def _numbers(self, found: InstanceSet) -> IntArray:
        """What objects are called in the map and the tables, [N]: by their rows from 1."""
        return np.arange(1, len(found) + 1)

    def _more(self, number: int) -> tuple[dict[str, Any], tuple[object, ...]]:
        """What the JSON and the CSV say of the object of that number besides."""
        return {}, ()

    def _drawn(self, image: Array, found: InstanceSet) -> ByteArray:
        """The picture with its objects."""
        return draw_instances(image, found, self.labels)

    def _finish(self) -> None:
        self._coco.finish()

    def _write_ids(self, path: Path, id: str, found: InstanceSet) -> None:  # noqa: A002
        if len(found) > np.iinfo(np.uint16).max:
            raise DataError(
                f"{printable(id)}: {len(found):,} objects, but a 16-bit picture can number 65,535",
                hint="raise the score threshold or lower the number of detections",
            )
        names = np.concatenate([[0], self._numbers(found)]).astype(np.uint16)
        write_image(path, names[found.to_ids()])

    def _write_rows(self, found: InstanceSet, shown: str, size: tuple[int, int], *, image_id: int, cut: bool) -> None:
        lines, entries, objects = [], [], self.found.total()
        rows = found.rows(self.labels)
        told = coco_results(found, rows, image_id, size)
        for row, entry, number in zip(rows, told, self._numbers(found).tolist(), strict=True):
            more, cells = self._more(number)
            entries.append({"id": objects + row.number, **entry, "iscrowd": 0, **more})
            score = "" if row.score is None else f"{row.score:.4f}"
            box = (f"{value:.2f}" for value in row.box)
            lines.append((shown, number, row.name, score, row.area, *box, "yes" if cut else "no", *cells))
        self._coco.annotate(entries, first=not objects)
        self._csv.write(csv_lines(lines))


def _shrunk(found: InstanceSet, size: Size, shown: tuple[int, ...]) -> InstanceSet:
    """The objects of a picture of `size` (H, W) that is drawn as large as `shown` (H, W)."""
    if shown == size:
        return found
    factors = np.array([shown[1] / size[1], shown[0] / size[0]] * 2, np.float32)
    masks = None if found.masks is None else found.masks.resize((shown[0], shown[1]))
    return replace(found, boxes=found.boxes * factors, masks=masks)


def coco_results(
    found: InstanceSet, rows: Sequence[ObjectRow], image_id: int | str, size: tuple[int, int]
) -> list[dict[str, Any]]:
    """Objects, with their `rows`, as COCO results: bbox xywh, score (1 for truth), compressed RLE as text, area.

    `category_id` is the class id + 1; `size` is (H, W) of the picture.
    """
    counts = None if found.masks is None else found.masks.to_rle()
    entries: list[dict[str, Any]] = []
    for row in rows:
        x1, y1, x2, y2 = found.boxes[row.number - 1]
        entry: dict[str, Any] = {
            "image_id": image_id,
            "category_id": int(found.class_ids[row.number - 1]) + 1,
            "bbox": [shortest(x1), shortest(y1), shortest(x2 - x1), shortest(y2 - y1)],
            "area": row.area,
            "score": 1.0 if row.score is None else row.score,
        }
        if counts is not None:
            entry["segmentation"] = {"size": list(size), "counts": counts[row.number - 1].decode("ascii")}
        entries.append(entry)
    return entries
