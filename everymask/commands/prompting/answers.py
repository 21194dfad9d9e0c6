"""The answers of a network to the prompts for many pictures, one after the other."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from everymask.commands.prompting.files import Asked, Kind, by_path, read_prompts
from everymask.core.segmentation import InstanceSet
from everymask.errors import ConfigError, DataError, counted, printable

if TYPE_CHECKING:
    from everymask.infer.predictor import Predictor
    from everymask.infer.result import Result

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prompting:
    """What a network is asked: for `everything`, with so many points a side, or by a file of points or of boxes.

    With `track`, objects are followed through a video, where `masks` show them in some frames.
    """

    everything: bool
    points_per_side: int | None
    points: Path | None
    boxes: Path | None
    masks: Path | None = None
    track: bool = False

    def __bool__(self) -> bool:
        return self.everything or any(file is not None for file in (self.points, self.boxes, self.masks))

    def check(self) -> None:
        """`ConfigError` for more than one of them, for a grid of points without everything, and for a video of which
        nothing is asked.
        """
        files = (self.points, self.boxes, self.masks)
        if sum((self.everything, *(file is not None for file in files))) > 1:
            raise ConfigError("everything, points, boxes and masks exclude each other", hint="ask for one of them")
        if self.masks is not None and not self.track:
            raise ConfigError("masks show objects that are followed through a video", hint="add --track")
        if self.track and (self.everything or not self):
            raise ConfigError(
                "what is followed through a video must be pointed at, in any of its frames",
                hint="add --points, --boxes or --masks",
            )
        if self.points_per_side is not None and not self.everything:
            raise ConfigError("points-per-side says how dense the points of everything lie", hint="add --everything")

    def answers(self, model: Predictor, pictures: Sequence[Path]) -> Iterator[Result | DataError]:
        """For each picture, in their order, what was found; pictures for which a file asks nothing show nothing."""
        if self.everything:
            return _everything(model, pictures, self.points_per_side)
        kind: Kind = "points" if self.boxes is None else "boxes"
        file = self.points or self.boxes
        assert file is not None
        asked = by_path(read_prompts(file, kind), pictures, file)
        silent = [picture for picture in pictures if picture not in asked]
        if silent:
            said = counted(len(silent), "picture")
            _log.warning("%s asks nothing of %s, such as %s", printable(file), said, printable(silent[0]))
        return _by_file(model, pictures, asked)


def _everything(model: Predictor, pictures: Sequence[Path], points: int | None) -> Iterator[Result | DataError]:
    from everymask.infer.prompted.everything import Everything

    wanted = Everything() if points is None else Everything(points=points)
    for picture in pictures:
        try:
            yield model.everything(picture, wanted)
        except DataError as error:
            yield error


def _by_file(
    model: Predictor, pictures: Sequence[Path], asked: dict[Path, list[Asked]]
) -> Iterator[Result | DataError]:
    for picture in pictures:
        try:
            yield _answered(model, picture, asked.get(picture, []))
        except DataError as error:
            yield error
        except ConfigError as error:  # a prompt that this picture cannot have
            yield DataError(f"{printable(picture)}: {error.message}", hint=error.hint)


def _answered(model: Predictor, picture: Path, asked: list[Asked]) -> Result:
    """All objects of a picture as one result."""
    from everymask.infer.prompted.outlines import joined, outline_boxes
    from everymask.infer.result import Result
    from everymask.infer.sources import as_sample

    started, sample = time.perf_counter(), as_sample(picture)
    found = [InstanceSet.empty(sample.size, scored=True)]
    session = model.session(sample) if asked else None
    boxes = [each.box for each in asked if each.box is not None]
    if boxes:
        assert session is not None
        found.append(outline_boxes(session, np.array(boxes)))
    for each in asked:
        if each.points:
            assert session is not None
            session.reset()
            found.append(session.predict(points=np.array(each.points), labels=np.array(each.labels)).instances)
    return Result(sample, joined(found), model.labels, time.perf_counter() - started)
