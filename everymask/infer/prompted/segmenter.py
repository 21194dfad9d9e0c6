"""Two networks as one model: a detector finds boxes, and one that answers prompts outlines what is in them."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from everymask.core.labels import Labels
from everymask.core.segmentation import InstanceSet
from everymask.data.dataset import Dataset
from everymask.errors import ConfigError, DataError
from everymask.infer.predictor import Predictor
from everymask.infer.prompted.outlines import outline_boxes, within
from everymask.infer.result import Result
from everymask.infer.sources import Source
from everymask.metrics.scores import Metric
from everymask.tasks.task import Judging, Limits, Task


@dataclass(frozen=True, slots=True, repr=False)
class Segmenter:
    """A detector whose objects `prompted` outlines; what the detector calls masks gives way. Threads may share it.

    Each object keeps its class and its box (cut to the picture), and is as sure as the detector is, times the IoU that
    its outline probably has. Objects of which the detector is less sure than `least` are left out before they are
    outlined, and boxes without area too. `ConfigError` where the one does not find objects or the other takes no
    prompts.

    >>> Segmenter(load("runs/boxes"), load("mobile-sam")).predict("photo.jpg").show()
    """

    detector: Predictor
    prompted: Predictor
    least: float = 0.0

    def __post_init__(self) -> None:
        self.detector.task.refuse("outline")
        if not self.prompted.task.interactive:
            raise ConfigError(
                f"what is found is outlined by a network that answers prompts, but {self.prompted!r} "
                f"{self.prompted.task.finds}",
                hint="take one such as mobile-sam",
            )

    @property
    def task(self) -> Task[Any]:
        """It finds objects."""
        return self.detector.task

    @property
    def labels(self) -> Labels:
        """The detector's classes."""
        return self.detector.labels

    @property
    def splits(self) -> Path | None:
        """The file that says which pictures the detector's training learned from."""
        return self.detector.splits

    def predict(self, source: Source) -> Result:
        """The objects of a picture; errors as in `Predictor.predict`."""
        return self.outlined(self.detector.predict(source))

    def stream(self, sources: Iterable[Source], *, batch: int | None = None) -> Iterator[Result]:
        """Results one by one, as `attempts` gives them; raises the first `DataError`."""
        with closing(self.attempts(sources, batch=batch)) as attempts:
            for outcome in attempts:
                if isinstance(outcome, DataError):
                    raise outcome
                yield outcome

    def attempts(
        self, sources: Iterable[Source], *, batch: int | None = None
    ) -> Generator[Result | DataError, None, None]:
        """For each picture, in their order, its result or why it cannot be predicted; see `Predictor.attempts`.

        The detector works ahead in batches, pictures are outlined one by one, 64 boxes at a time.
        """
        with closing(self.detector.attempts(sources, batch=batch)) as attempts:
            for outcome in attempts:
                try:
                    yield outcome if isinstance(outcome, DataError) else self.outlined(outcome)
                except DataError as error:
                    yield error

    def answers(self, dataset: Dataset, batch: int = 1) -> Iterator[Result]:
        """What it says of each picture of a data set, whose truth the results' samples have."""
        return self.stream((dataset[row] for row in range(len(dataset))), batch=batch)

    def metrics(self, judging: Judging) -> Mapping[str, Metric[Any]]:
        """By what it is judged: as the detector, but with masks."""
        usual = next(iter(self.detector.metrics(judging).values()))
        limits = judging.limits or Limits(getattr(usual, "max_detections"), masks=True)  # noqa: B009
        return self.task.metrics(self.labels, None, replace(judging, limits=replace(limits, masks=True)))

    def outlined(self, found: Result) -> Result:
        """What the detector found, with outlines; the seconds are those of both."""
        started, size = time.perf_counter(), found.sample.size
        sure = self.task.keep_sure(found.instances, self.least)
        boxes, shown = within(sure.boxes, size)
        kept = np.flatnonzero(shown)
        chosen, boxes = sure[kept], boxes[kept]
        outlines = InstanceSet.empty(size, scored=True)
        if len(chosen):
            outlines = outline_boxes(self.prompted.session(found.sample), boxes)
        assert chosen.scores is not None and outlines.scores is not None
        instances = replace(chosen, boxes=boxes, scores=chosen.scores * outlines.scores, masks=outlines.masks)
        return replace(found, segmentation=instances, seconds=found.seconds + time.perf_counter() - started)

    def with_detections(self, most: int) -> Segmenter:
        """The same with up to `most` objects per picture; `ConfigError` for less than one."""
        return replace(self, detector=self.detector.with_detections(most))

    def with_scores(self) -> Segmenter:
        """`ConfigError`: objects always have scores."""
        return replace(self, detector=self.detector.with_scores())

    def named_after(self, labels: Labels) -> Segmenter:
        """The same; a detector that knows no names takes those of `labels`, as `Predictor.named_after` says."""
        return replace(self, detector=self.detector.named_after(labels))

    def __repr__(self) -> str:
        return f"<Segmenter {self.detector!r}, outlined by {self.prompted!r}>"
