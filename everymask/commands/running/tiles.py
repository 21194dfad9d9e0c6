"""Pictures predicted by tiles: read and written by strips, or, where things are joined, drawn as they are read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from everymask.core.arrays import Array
from everymask.core.memory import room_for
from everymask.core.segmentation import Segmentation
from everymask.errors import DataError, printable

if TYPE_CHECKING:
    from everymask.data.pictures.strips import Strips
    from everymask.infer.predictor import Predictor
    from everymask.infer.sources import TwoDates
    from everymask.infer.tiling import Tiling
    from everymask.results.output import OutputFolder

_LARGE = 100_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ByTiles:
    """How pictures are predicted by tiles, and where that is written; things below `min_score` are left out."""

    folder: OutputFolder[Any]
    model: Predictor
    tiling: Tiling
    min_score: float

    def outcomes(
        self, pictures: Sequence[Path | TwoDates], move: Callable[[float, int], None]
    ) -> Iterator[DataError | None]:
        """Why each picture could not be predicted, or None."""
        from everymask.infer.stream import SMALLER_TILES

        for place, picture in enumerate(pictures):
            dates = dates_of(picture)

            def within(share: float, place: int = place) -> None:
                move(place + share, len(pictures))

            try:
                with room_for(dates[-1], SMALLER_TILES):
                    self._add(dates, within)
            except DataError as error:
                yield error
            else:
                yield None

    def _add(self, dates: Sequence[Path], move: Callable[[float], None]) -> None:
        """Predict a picture, of one date or two, while its files are read."""
        from everymask.data.pictures.strips import open_dates
        from everymask.infer.tiling import predict_strips

        picture = dates[-1]
        with open_dates(dates) as strips:
            height, width = strips.size
            if strips.in_memory and height * width > _LARGE:
                message = "%s: this kind of file cannot be read by strips, so all of it is in memory"
                _log.info(message, printable(picture))
            if self.model.task.join is not None:
                self._join(picture, strips, move)
                return

            def predicted() -> Iterator[tuple[Array, Segmentation]]:
                done = 0
                for image, found in predict_strips(self.model, strips, self.tiling, name=str(picture)):
                    yield image, found
                    done += len(image)
                    move(done / height)

            self.folder.add_strips(picture, strips.size, predicted())

    def _join(self, picture: Path, strips: Strips, move: Callable[[float], None]) -> None:
        from everymask.infer.joined import predict_joined
        from everymask.results.thinned import Thinned, drawn_step

        drawn, done = Thinned(strips.size, drawn_step(strips.size)), 0

        def seen(rows: Array) -> None:
            nonlocal done
            drawn.add(rows)
            done += len(rows)
            move(done / strips.size[0])

        found, cut_below = predict_joined(self.model, strips, self.tiling, name=str(picture), seen=seen)
        sure = self.model.task.keep_sure(found, self.min_score)
        cut = cut_below is not None and cut_below >= self.min_score
        self.folder.add_large(picture, drawn.planes[0], sure, strips.size, cut=cut)


def dates_of(picture: Path | TwoDates) -> tuple[Path, ...]:
    """The files of a picture in the order of time."""
    return (picture,) if isinstance(picture, Path) else (Path(str(picture.before)), Path(str(picture.after)))
