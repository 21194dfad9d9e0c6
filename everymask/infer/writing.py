"""The folder that `predict` writes: pictures as they come, the tables whole at the end."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Self

import numpy as np

from everymask.core.labels import Labels
from everymask.data.images import write_image
from everymask.errors import DataError, MachineError, printable
from everymask.infer.output import OutputNames, check_place, csv_line, whole_stream
from everymask.infer.result import Result

_COLUMNS = ("file", "object", "class", "score", "area", "x1", "y1", "x2", "y2")
_IMAGES_KEPT_IN_MEMORY = 1 << 20


class PredictionFolder:
    """Writes results into a folder, one at a time; only the names given so far stay in memory.

    - `overlays/<name>.png` (or `.jpg`, as `overlay` says; or none): the picture with its objects drawn on it
    - `ids/<name>.png`: 16-bit, the object's number in the tables at each pixel, 0 elsewhere (for objects with masks)
    - `predictions.json`: COCO with images, categories, and annotations that have scores
    - `predictions.csv`: file, object, class, score, area, x1, y1, x2, y2 (RFC 4180; no cell can act as a formula)

    `name` is the picture's path below the input folder without its ending; odd characters become `_`, and two
    pictures never share a name, nor names that differ only in case or Unicode form: the second gets its ending or a
    number added. The tables appear whole when the folder is closed, also after an interruption or an error: then they
    hold the pictures that were finished.

    `ConfigError` if `out` is not empty (unless `overwrite`; files of other names stay) or lies inside an input folder,
    or an input inside it; `inputs` are the files and folders that are predicted. Nothing is written before `with`.

    >>> with PredictionFolder("masks", model.labels, inputs=["photos"]) as folder:
    ...     for result in model.stream(sorted(Path("photos").glob("*.jpg"))):
    ...         folder.add(result)
    """

    def __init__(
        self,
        out: str | Path,
        labels: Labels,
        *,
        overwrite: bool = False,
        inputs: Sequence[str | Path] = (),
        overlay: Literal["png", "jpg", "none"] = "png",
    ) -> None:
        self.out = Path(out)
        self.labels = labels
        self.overlay = overlay
        self.count = 0
        self._objects = 0
        self._names = OutputNames(inputs)
        check_place(self.out, [Path(path) for path in inputs], overwrite=overwrite)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._json = stack.enter_context(whole_stream(self.out / "predictions.json"))
            self._csv = stack.enter_context(whole_stream(self.out / "predictions.csv"))
            self._images = stack.enter_context(tempfile.SpooledTemporaryFile(_IMAGES_KEPT_IN_MEMORY))
            categories = [{"id": k + 1, "name": _utf8(name)} for k, name in enumerate(self.labels.names)]
            self._json.write(b'{"categories":' + _json(categories) + b',"annotations":[')
            self._csv.write(csv_line(_COLUMNS))
            self._commit()
            self._stack = stack.pop_all()
        return self

    def add(self, result: Result) -> str:
        """Write one result; returns its name. `DataError` for more than 65,535 objects, which 16 bits cannot number."""
        shown = self._names.shown(result)
        name = self._names.free(result, shown)
        image = {"id": self.count + 1, "file_name": _utf8(shown)}
        image["height"], image["width"] = result.sample.size
        try:
            self._rewind()
            if result.instances.masks is not None:
                image["ids"] = f"ids/{name}.png"
                self._write_ids(self.out / f"ids/{name}.png", result)
            if self.overlay != "none":
                image["overlay"] = f"overlays/{name}.{self.overlay}"
                write_image(self.out / f"overlays/{name}.{self.overlay}", result.draw())
            self._write_rows(result, shown, image_id=self.count + 1)
            self._images.write((b"," if self.count else b"") + _json(image))
        except OSError as error:
            raise MachineError(f"cannot write into {printable(self.out)}: {error.strerror or error}") from error
        self.count += 1
        self._objects += len(result.instances)
        self._commit()
        return name

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The streams are closed as after a success whatever has happened, so that the tables of what is done appear.
        with self._stack:
            self._rewind()
            self._json.write(b'],"images":[')
            self._images.seek(0)
            shutil.copyfileobj(self._images, self._json)
            self._json.write(b"]}\n")

    def _rewind(self) -> None:
        """Cut off what an interrupted `add` has left in the tables."""
        for stream, end in self._ends:
            stream.seek(end)
            stream.truncate()

    def _commit(self) -> None:
        """Remember how far the tables are complete."""
        streams: tuple[BinaryIO, ...] = (self._json, self._csv, self._images)  # type: ignore[assignment]
        self._ends = tuple((stream, stream.tell()) for stream in streams)

    def _write_ids(self, path: Path, result: Result) -> None:
        if len(result.instances) > np.iinfo(np.uint16).max:
            raise DataError(
                f"{printable(result.id)}: {len(result.instances):,} objects, but a 16-bit picture can number 65,535",
                hint="raise the score threshold or lower the number of detections",
            )
        write_image(path, result.to_ids().astype(np.uint16))

    def _write_rows(self, result: Result, shown: str, *, image_id: int) -> None:
        lines, entries = [], []
        for row, entry in zip(result.objects(), result.to_coco(image_id), strict=True):
            entries.append(_json({"id": self._objects + row.number, **entry, "iscrowd": 0}))
            score = "" if row.score is None else f"{row.score:.4f}"
            box = (f"{value:.2f}" for value in row.box)
            lines.append(csv_line((shown, row.number, row.name, score, row.area, *box)))
        if entries:
            self._json.write((b"," if self._objects else b"") + b",".join(entries))
        self._csv.write(b"".join(lines))


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


def _utf8(text: str) -> str:
    """The text with what UTF-8 cannot hold (bytes of a file name in another encoding) written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
