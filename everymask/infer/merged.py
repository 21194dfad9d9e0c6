"""Two models as one panoptic model: what finds objects gives the things, what says what every pixel is the stuff."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from everymask.classical.bases import MethodSpec
from everymask.core.arrays import IntArray
from everymask.core.labels import Labels
from everymask.core.segmentation import SemanticMap
from everymask.data.dataset import Dataset
from everymask.errors import ConfigError, DataError, listed, printable
from everymask.infer.decoding.panoptic import merge_panoptic
from everymask.infer.predictor import Predictor
from everymask.infer.result import Result
from everymask.infer.sources import Source
from everymask.infer.stream import results_of
from everymask.infer.tiling import Tiling
from everymask.metrics.scores import Metric
from everymask.models.specs.panoptic import PanopticFPN
from everymask.tasks.instance import has_masks
from everymask.tasks.table import task_named
from everymask.tasks.task import Judging, Task

_BACKGROUND = "background"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, repr=False)
class Merged:
    """A model that finds objects with masks, and one that gives label maps: together they give panoptic maps.

    The classes of `instance` are the things. Those of `semantic` that `instance` does not know, by their names, are the
    stuff; where it shows another class there is nothing unless an object is there. Names that differ only in case are
    taken for the same. Both become one map by the rules of Panoptic FPN (see `merge_panoptic`): `min_score`, `overlap`
    and `stuff_area` are as in `PanopticFPN`.

    `ConfigError` where the one does not find objects with masks, the other gives no label maps or knows no stuff.

    >>> Merged(load("runs/cars"), load("runs/streets")).predict("photo.jpg").show()
    """

    instance: Predictor
    semantic: Predictor
    min_score: float = 0.5
    overlap: float = 0.5
    stuff_area: int = 4096
    background: bool = True
    """Whether a class of the label maps called background is stuff; else it is no segment."""

    def __post_init__(self) -> None:
        self.instance.task.refuse("merge")
        if "split-objects" not in self.semantic.task.options:
            turned = "merge" in self.semantic.task.options and "split-objects" in self.instance.task.options
            raise ConfigError(
                f"stuff is told by a model that gives label maps, but {self.semantic!r} {self.semantic.task.finds}",
                hint="name the two the other way round" if turned else "take a semantic model, such as a trained U-Net",
            )
        spec = self.instance.card.spec
        if self.instance.splitting is None and not isinstance(spec, MethodSpec) and not has_masks(spec):
            raise ConfigError(
                f"things need masks, but {self.instance!r} finds boxes", hint="take Mask R-CNN, or another"
            )
        known = {name.casefold(): name for name in self.instance.labels.names}
        for name in self.semantic.labels.names:
            if known.get(name.casefold(), name) != name:
                message = "%s and %s are taken for one class"
                _log.warning(message, printable(known[name.casefold()], 40), printable(name, 40))
        if not self._stuff:
            raise ConfigError(
                f"there is no stuff: the label maps' {listed(self.semantic.labels.names)} are things, which the other "
                "model finds",
                hint="take a semantic model that also knows classes such as sky, road or background",
            )

    @property
    def _stuff(self) -> list[int]:
        """The class ids of the label maps that are stuff."""
        known = {name.casefold() for name in self.instance.labels.names}
        if not self.background:
            known.add(_BACKGROUND)
        return [row for row, name in enumerate(self.semantic.labels.names) if name.casefold() not in known]

    @property
    def labels(self) -> Labels:
        """The things, in the order of the one model, and behind them the stuff, in that of the other."""
        things, classes, stuff = self.instance.labels, self.semantic.labels, self._stuff
        names = *things.names, *(classes.names[row] for row in stuff)
        colours = *things.colours, *(classes.colours[row] for row in stuff)
        return Labels(names, colours, frozenset(range(len(things))))

    @property
    def task(self) -> Task[Any]:
        """It finds things and stuff."""
        return task_named("panoptic")

    @property
    def splits(self) -> Path | None:
        """The file that says which pictures the training of the model of objects learned from."""
        return self.instance.splits

    def predict(self, source: Source, *, tiling: Tiling | None = None) -> Result:
        """The panoptic map of a picture; with `tiling` both models look through windows. Errors as in
        `Predictor.predict`.
        """
        return self.merged(self.instance.predict(source, tiling=tiling), tiling)

    def stream(
        self, sources: Iterable[Source], *, batch: int | None = None, tiling: Tiling | None = None
    ) -> Iterator[Result]:
        """Results one by one, as `attempts` gives them; raises the first `DataError`."""
        yield from results_of(self.attempts(sources, batch=batch, tiling=tiling))

    def attempts(
        self, sources: Iterable[Source], *, batch: int | None = None, tiling: Tiling | None = None
    ) -> Generator[Result | DataError, None, None]:
        """For each picture, in their order, its result or why it cannot be predicted; see `Predictor.attempts`.

        The model of objects works ahead in batches, label maps are predicted one by one.
        """
        with closing(self.instance.attempts(sources, batch=batch, tiling=tiling)) as attempts:
            for outcome in attempts:
                try:
                    yield outcome if isinstance(outcome, DataError) else self.merged(outcome, tiling)
                except DataError as error:
                    yield error

    def answers(self, dataset: Dataset, batch: int = 1) -> Iterator[Result]:
        """What it says of each picture of a data set, whose truth the results' samples have."""
        return self.stream((dataset[row] for row in range(len(dataset))), batch=batch)

    def metrics(self, judging: Judging) -> Mapping[str, Metric[Any]]:
        """By what it is judged."""
        return self.task.metrics(self.labels, None, judging)

    def merged(self, found: Result, tiling: Tiling | None = None) -> Result:
        """The objects that were found, with stuff; the seconds are those of both models."""
        started = time.perf_counter()
        classes = self.semantic.predict(found.sample, tiling=tiling).semantic
        count = len(self.instance.labels)
        spec = PanopticFPN(
            things=tuple(range(count)), min_score=self.min_score, overlap=self.overlap, stuff_area=self.stuff_area
        )
        panoptic = merge_panoptic(found.instances, SemanticMap(self._numbers(classes.ids)), spec)
        cut_below = found.cut_below if found.cut_below is not None and found.cut_below >= self.min_score else None
        seconds = found.seconds + time.perf_counter() - started
        return Result(found.sample, panoptic, self.labels, seconds, cut_below)

    def _numbers(self, ids: IntArray) -> IntArray:
        """Which stuff each pixel is, counted from 1, or 0 for a thing or nothing."""
        table = np.zeros(self.semantic.labels.ignore + 1, np.uint16)
        table[self._stuff] = np.arange(1, len(self._stuff) + 1)
        found: IntArray = table[ids]
        return found

    def with_detections(self, most: int) -> Merged:
        """The same with up to `most` objects per picture; `ConfigError` for less than one."""
        return replace(self, instance=self.instance.with_detections(most))

    def with_scores(self) -> Merged:
        """`ConfigError`: what is merged has scores for things alone."""
        self.task.refuse("calibration")
        return self

    def named_after(self, labels: Labels) -> Merged:
        """The same, without background as stuff where `labels` have no such class: then that is no segment."""
        stuff = {self.semantic.labels.names[row] for row in self._stuff}
        if stuff <= {_BACKGROUND} or _BACKGROUND not in stuff or _BACKGROUND in labels.names:
            return self
        _log.warning("background is no segment, as the data set has no such class")
        return replace(self, background=False)

    def __repr__(self) -> str:
        return f"<Merged {self.instance!r} and {self.semantic!r}>"
