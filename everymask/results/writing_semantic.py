"""The folder that `predict` writes for label maps: pictures as they come, the table whole at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from everymask.core.arrays import Array, ByteArray, IntArray
from everymask.core.files import write_text
from everymask.core.labels import Labels
from everymask.core.rows import class_areas, count_classes
from everymask.core.sample import Sample
from everymask.core.segmentation import SemanticMap
from everymask.data.formats.labelmaps.tables import table_text
from everymask.data.pictures.geotags import read_geotags
from everymask.data.pictures.map_strips import writing_label_map
from everymask.data.pictures.read import write_image
from everymask.errors import DataError, printable
from everymask.results.output import OutputFolder, csv_line
from everymask.results.thinned import Thinned, drawn_step
from everymask.viz.semantic import draw_semantic

FOLDERS = {"ids": "maps", "was": "maps_before"}
"""Where the planes of a label map are written."""


class SemanticFolder(OutputFolder[SemanticMap]):
    """Writes results that are label maps into a folder, one at a time; only the names given so far stay in memory.

    - `overlays/<name>.png` (or `.jpg`, as `overlay` says; or none): the picture tinted by class, with a legend
    - `maps/<name>.png`: the class ids, as a PNG whose palette has the classes' colours; `labels.ignore` is none.
      Or `.tif`, as `maps` says, which also holds ids above 255 and keeps the geographic tags of a GeoTIFF
    - `classes.csv`: which number in the maps is which class, unless a name would be read back as something else
    - `predictions.csv`: file, class, pixels, share of the picture: a line for each class that a picture shows

    Names, interruptions and errors are as in `everymask.results.writing_instances.InstanceFolder`.

    >>> with SemanticFolder("maps", model.card.labels, inputs=["photos"]) as folder:
    ...     for result in model.stream(sorted(Path("photos").glob("*.jpg"))):
    ...         folder.add(result.sample, result.semantic)
    """

    columns: tuple[str, ...] = ("file", "class", "pixels", "share")
    dates: ClassVar[int] = 1
    """How many pictures of a place lie in the channels of those that come as strips."""

    def __init__(
        self,
        out: str | Path,
        labels: Labels,
        *,
        overwrite: bool = False,
        inputs: Sequence[str | Path] = (),
        overlay: Literal["png", "jpg", "none"] = "png",
        maps: Literal["png", "tif"] = "png",
        about: Mapping[str, object] | None = None,
        resume: bool = False,
    ) -> None:
        super().__init__(out, labels, overwrite=overwrite, inputs=inputs, overlay=overlay, about=about, resume=resume)
        self.maps = maps

    def add(self, sample: Sample, found: SemanticMap, *, cut: bool = False) -> str:
        """Write the label map of one picture; returns its name."""
        dates = len(sample.dates)
        return self._add(sample.file, sample.id, found.size, [(sample.stacked, found)], step=1, dates=dates)

    def add_strips(self, file: str | Path, size: tuple[int, int], strips: Iterable[tuple[Array, SemanticMap]]) -> str:
        """Write the label map of the picture in `file`, of `size` (H, W), as its strips come; returns its name.

        `strips` are as `predict_strips` gives them. What is drawn is the picture itself, or every n-th row and column
        of it, so that no side exceeds 4,096 pixels.
        """
        return self._add(str(file), "", size, strips, step=drawn_step(size), dates=self.dates)

    def _add(
        self,
        file: str,
        id: str,  # noqa: A002
        size: tuple[int, int],
        strips: Iterable[tuple[Array, SemanticMap]],
        step: int,
        dates: int,
    ) -> str:
        strips = iter(strips)
        strips = chain([next(strips)], strips)  # a picture that cannot be read takes no name
        shown = self._names.shown(file, id)
        name = self._names.free(file, shown)
        pixels = np.zeros(len(self.labels) + 1, np.int64)
        drawn = Thinned(size, step)
        with self._adding(file, name):
            geotags = read_geotags(file) if file and self.maps == "tif" else ()
            with ExitStack() as stack:
                writes: dict[str, Callable[[IntArray], None]] = {}
                for image, semantic in strips:
                    for plane, ids in semantic.planes.items():
                        if plane not in writes:
                            path = self.out / f"{FOLDERS[plane]}/{name}.{self.maps}"
                            writes[plane] = stack.enter_context(writing_label_map(path, size, self.labels, geotags))
                        writes[plane](ids)
                    pixels += count_classes(semantic.ids, len(self.labels))
                    self._seen(semantic)
                    if self.overlay != "none":
                        drawn.add(image, np.stack(list(semantic.planes.values()), axis=-1))
            self._end(name, shown, size)
            if self.overlay != "none":
                image, ids = drawn.planes
                picture = self._drawing(np.split(image, dates, axis=2), ids)
                write_image(self.out / f"overlays/{name}.{self.overlay}", picture)
            areas = class_areas(pixels, self.labels)
            self._csv.write(b"".join(csv_line((shown, row.name, row.pixels, f"{row.share:.6f}")) for row in areas))
            self.found.update({row.name: row.pixels for row in areas})
        if self.count == 1:
            with suppress(DataError):
                write_text(self.out / "classes.csv", table_text(self.labels))
        return name

    def _drawing(self, dates: Sequence[Array], planes: IntArray) -> ByteArray:
        """What is drawn of a picture, of one date or more, and its class ids [H, W, 1]."""
        return draw_semantic(dates[-1], SemanticMap(planes[..., 0]), self.labels)

    def _seen(self, strip: SemanticMap) -> None:
        """The next rows of the picture that is being written."""

    def _end(self, name: str, shown: str, size: tuple[int, int]) -> None:
        """All rows of a picture have been seen; it is called `name`, and `shown` in tables."""

    def answer(self) -> dict[str, Any]:
        """How many pixels each class has."""
        return {"pixels": dict(self.found)}

    def sentence(self) -> str:
        """The largest classes and their shares of the pixels that have one."""
        pixels = self.found
        shown = [f"{100 * count / pixels.total():.0f} % {printable(name, 40)}" for name, count in pixels.most_common(5)]
        return (", ".join(shown) or "no class") + (", ..." if len(pixels) > len(shown) else "")
