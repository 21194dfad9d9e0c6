"""The folder that `predict` writes for label maps: pictures as they come, the table whole at the end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from everymask.core.labels import Labels
from everymask.data.images import write_image
from everymask.data.palette_png import write_palette_png
from everymask.errors import MachineError, printable
from everymask.infer.output import OutputNames, check_place, csv_line, whole_stream
from everymask.infer.result import Result

_COLUMNS = ("file", "class", "pixels", "share")


class LabelMapFolder:
    """Writes results that are label maps into a folder, one at a time; only the names given so far stay in memory.

    - `overlays/<name>.png` (or `.jpg`, as `overlay` says; or none): the picture tinted by class, with a legend
    - `maps/<name>.png`: the class ids, as a PNG whose palette has the classes' colours; 255 is none of them
    - `predictions.csv`: file, class, pixels, share of the picture: a line for each class that a picture shows

    Names, interruptions and errors are as in `everymask.infer.writing.PredictionFolder`.

    >>> with LabelMapFolder("maps", model.card.labels, inputs=["photos"]) as folder:
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
        self._names = OutputNames(inputs)
        check_place(self.out, [Path(path) for path in inputs], overwrite=overwrite)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._csv = stack.enter_context(whole_stream(self.out / "predictions.csv"))
            self._csv.write(csv_line(_COLUMNS))
            self._end = self._csv.tell()
            self._stack = stack.pop_all()
        return self

    def add(self, result: Result) -> str:
        """Write one result; returns its name. `ConfigError` where it is no label map."""
        shown = self._names.shown(result)
        rows = [csv_line((shown, area.name, area.pixels, f"{area.share:.6f}")) for area in result.areas()]
        name = self._names.free(result, shown)
        try:
            self._rewind()
            write_palette_png(self.out / f"maps/{name}.png", result.semantic.ids, self.labels)
            if self.overlay != "none":
                write_image(self.out / f"overlays/{name}.{self.overlay}", result.draw())
            self._csv.write(b"".join(rows))
        except OSError as error:
            raise MachineError(f"cannot write into {printable(self.out)}: {error.strerror or error}") from error
        self.count += 1
        self._end = self._csv.tell()
        return name

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The stream is closed as after a success whatever has happened, so that the table of what is done appears.
        with self._stack:
            self._rewind()

    def _rewind(self) -> None:
        """Cut off what an interrupted `add` has left in the table."""
        self._csv.seek(self._end)
        self._csv.truncate()
