"""A trained model, ready to predict: pictures in, results out."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

from everymask.classical.bases import MethodSpec
from everymask.classical.splitting import Splitting, things_of
from everymask.core.arrays import FloatArray, IntArray
from everymask.core.labels import Labels
from everymask.data.dataset import Dataset
from everymask.errors import ConfigError, DataError, counted, printable, require
from everymask.infer.backend import Backend
from everymask.infer.decoding.duplicates import DUPLICATE_IOU, check_duplicate_iou
from everymask.infer.decoding.outputs import Outputs, Wanted
from everymask.infer.prompted.clicking import answer_truth
from everymask.infer.prompted.everything import Everything, find_everything
from everymask.infer.prompted.frames import VideoSource, open_frames
from everymask.infer.prompted.looks import Looks
from everymask.infer.prompted.session import Session, look_at
from everymask.infer.prompted.video import VideoSession
from everymask.infer.result import Result
from everymask.infer.sources import Source, TwoDates, as_sample
from everymask.infer.stream import predict_many, predict_one, results_of
from everymask.infer.tiling import Tiling
from everymask.infer.variants import TestTimeAugmentation, predict_variants
from everymask.metrics.scores import Metric
from everymask.models.card import Card
from everymask.tasks.table import task_named, task_of
from everymask.tasks.task import Judging, Limits, Task


@dataclass(frozen=True, slots=True, repr=False)
class Predictor:
    """A network that a backend runs, with its card. Threads may share it.

    `splits` is the file that says which pictures its training learned from, where it comes from a run folder.
    `augmentation`, `splitting`, `scored` and `duplicate_iou` are as `with_augmentation`, `with_objects`, `with_scores`
    and `without_duplicates` set them. `looks` keeps what the network has seen of pictures for which prompts are asked.
    """

    backend: Backend
    card: Card
    splits: Path | None = None
    augmentation: TestTimeAugmentation | None = None
    splitting: Splitting | None = None
    scored: bool = False
    duplicate_iou: float = 1.0
    looks: Looks = field(default_factory=Looks, compare=False)

    @property
    def task(self) -> Task[Any]:
        """What it predicts: objects, or a class for every pixel."""
        return task_of(self.card.spec) if self.splitting is None else task_named("instance")

    @property
    def labels(self) -> Labels:
        """The classes; of label maps that are split into objects all but the background."""
        return self.card.labels if self.splitting is None else things_of(self.card.labels)

    def answers(self, dataset: Dataset, batch: int = 1) -> Iterator[Result]:
        """What the model says of each picture of a data set, whose truth the results' samples have.

        One that answers prompts is asked for the objects of the truth, as `answer_truth` says.
        """
        if self.task.interactive:
            return (answer_truth(self.session(dataset[row]), dataset.labels) for row in range(len(dataset)))
        return self.stream((dataset[row] for row in range(len(dataset))), batch=batch)

    def metrics(self, judging: Judging) -> Mapping[str, Metric[Any]]:
        """By what the model is judged."""
        if self.splitting is not None and judging.limits is None:
            judging = replace(judging, limits=Limits(self.splitting.max_detections, masks=True))
        return self.task.metrics(self.labels, self.card.spec, judging)

    @overload
    def predict(
        self,
        source: list[Source] | tuple[Source, ...],
        *,
        before: list[Source] | tuple[Source, ...] | None = None,
        tiling: Tiling | None = None,
        batch: int | None = None,
    ) -> list[Result]: ...
    @overload
    def predict(
        self, source: Source, *, before: Source | None = None, tiling: Tiling | None = None, batch: int | None = None
    ) -> Result: ...
    def predict(
        self,
        source: Source | list[Source] | tuple[Source, ...],
        *,
        before: Source | list[Source] | tuple[Source, ...] | None = None,
        tiling: Tiling | None = None,
        batch: int | None = None,
    ) -> Result | list[Result]:
        """The result for a picture, or a list of results for a list of pictures.

        A picture is a path, the bytes of a file, a file opened in binary mode (read from where it stands to its end), a
        PIL image, an array [H, W] or [H, W, C] (RGB; uint8, uint16 or float32), or a `Sample`. With `tiling` a semantic
        model predicts it by windows at its own resolution (see `predict_strips`). A list is predicted as by `stream`.

        A model that compares two dates is given the later one, and `before` the earlier: a list of as many for a list.

        `DataError` when a picture cannot be read or has other channels or dates than the model takes.

        >>> load("runs/change").predict("2024.png", before="2019.png").show()
        """
        if before is not None:
            source = _dated(source, before)
        if isinstance(source, list | tuple):
            return list(self.stream(source, batch=batch, tiling=tiling))
        return predict_one(self, source, tiling)

    def stream(
        self, sources: Iterable[Source], *, batch: int | None = None, tiling: Tiling | None = None
    ) -> Iterator[Result]:
        """Results one by one, in the order of the pictures, as `attempts` gives them; raises the first `DataError`."""
        yield from results_of(self.attempts(sources, batch=batch, tiling=tiling))

    def attempts(
        self, sources: Iterable[Source], *, batch: int | None = None, tiling: Tiling | None = None
    ) -> Generator[Result | DataError, None, None]:
        """For each picture, in their order, its result or why it cannot be predicted.

        The network is given up to `batch` pictures at once (None: as many small ones as keep the device busy), and only
        such as have the same size with their padding: so a picture's answer does not depend on the others but for
        rounding. Pictures that follow are read, and those before decoded, while it calculates; a few batches are in
        memory. `sources` is asked for the next ones ahead of time. Pictures without a file are named by their place:
        picture-1, picture-2 ... With `tiling` they are predicted one by one.

        `ConfigError` for a `batch` below 1, or beside tiles.
        """
        if batch is not None and batch < 1:
            raise ConfigError(f"batch must be at least 1, but got {batch}")
        if batch is not None and tiling is not None:
            raise ConfigError(
                "tiles are predicted one by one, so there is no batch of pictures", hint="leave out batch"
            )
        return predict_many(self, sources, batch, tiling)

    def session(self, source: Source, *, embedding: str | Path | None = None) -> Session:
        """One look at a picture, of which many prompts are then answered.

        Of the last pictures it is kept what the network has seen, as far as 256 MB go; `embedding` is a file that
        `Session.save` wrote. `ConfigError` where the model takes no prompts; `DataError` where the picture cannot be
        read, or the file is damaged or of another picture.
        """
        return Session(self, look_at(self, as_sample(source), self.looks, embedding))

    def video(self, source: VideoSource) -> VideoSession:
        """A video in which objects that are pointed at are followed from frame to frame (SAM 2).

        It is a video file, a folder of frames in the order of the numbers in their names, a list of pictures, or an
        array [T, H, W, C]. `ConfigError` where the model remembers nothing; `DataError` where the video cannot be read.
        """
        return VideoSession(self, open_frames(source))

    def everything(self, source: Source, wanted: Everything | None = None) -> Result:
        """All objects that points spread over a picture point at, surest first; errors as in `session`.

        >>> load("mobile-sam").everything("photo.jpg", Everything(points=16)).show()
        """
        return find_everything(self, as_sample(source), self.looks, wanted or Everything())

    def with_detections(self, most: int) -> Predictor:
        """The same predictor with up to `most` objects per picture, and as many proposals as that needs.

        `ConfigError` for less than one, and where the model finds no objects.
        """
        if most < 1:
            raise ConfigError(f"the number of detections must be at least 1, but got {most}")
        if self.splitting is not None:
            return replace(self, splitting=replace(self.splitting, max_detections=most))
        backend = self.backend.with_detections(most)
        return replace(self, backend=backend, card=replace(self.card, spec=backend.spec))

    def without_duplicates(self, iou: float | None = None) -> Predictor:
        """The same predictor, which of objects that overlap by more than `iou` (None: 0.8), whatever their classes,
        gives only the surest (see `everymask.infer.decoding.duplicates`).

        So `everymask predict` does, and `evaluate` only with such a predictor: COCO's numbers are of all detections.
        Without `iou` a model that gives label maps stays as it is. `ConfigError` for an IoU that is not between 0 and
        1, and for one where the model finds no objects.
        """
        if iou is None:
            return replace(self, duplicate_iou=DUPLICATE_IOU) if "duplicate-iou" in self.task.options else self
        check_duplicate_iou(iou)
        self.task.refuse("duplicate-iou")
        return replace(self, duplicate_iou=iou)

    def with_objects(self, splitting: Splitting | None = None) -> Predictor:
        """The same predictor, whose label maps become objects, one for each place far from the border of its class.

        Each class but the background is cut by a watershed of the distance to its border (see
        `everymask.classical.splitting.Splitting`, without one its defaults); an object is as sure as its pixels are on
        average. `ConfigError` where the model finds objects already, or knows nothing but background; `MissingExtra`
        without scikit-image.

        >>> nuclei = load("runs/unet").with_objects()
        """
        self.task.refuse("split-objects")
        require("skimage.segmentation", "classical")
        if not len(things_of(self.card.labels)):
            raise ConfigError("the model knows no class but background, so there are no objects")
        return replace(self, splitting=splitting or Splitting())

    @property
    def is_unlimited(self) -> bool:
        """Whether how many objects it gives is nothing that it was trained for."""
        return self.splitting is not None or isinstance(self.card.spec, MethodSpec)

    def named_after(self, labels: Labels) -> Predictor:
        """The same predictor; where it is a method that knows no names, and it and `labels` have one class besides the
        background, that class is called as in `labels`. What answers prompts is asked for the objects of all of these.
        """
        if self.task.interactive:
            return replace(self, card=replace(self.card, labels=labels))
        spec, own = self.card.spec, self.card.labels
        if not isinstance(spec, MethodSpec) or own.names != spec.class_names:
            return self
        mine, theirs = things_of(own).names, things_of(labels).names
        if len(mine) != 1 or len(theirs) != 1:
            return self
        names = tuple(theirs[0] if name == mine[0] else name for name in own.names)
        return replace(self, card=replace(self.card, labels=replace(own, names=names)))

    def with_augmentation(self, augmentation: TestTimeAugmentation) -> Predictor:
        """The same predictor, which averages what the network says of mirrored and scaled variants of a picture.

        `ConfigError` where the model finds objects.

        >>> better = load("runs/a").with_augmentation(TestTimeAugmentation("horizontal", (0.75, 1, 1.25)))
        """
        self.task.refuse("tta-flip and tta-scales")
        return replace(self, augmentation=augmentation)

    def with_scores(self) -> Predictor:
        """The same predictor, whose label maps also say how probable the class of each pixel is: `SemanticMap.scores`.

        `ConfigError` where the model finds objects, which always have scores.
        """
        self.task.refuse("calibration")
        return replace(self, scored=True)

    def outputs(self, images: FloatArray, windows: IntArray, wanted: Wanted | None = None) -> Outputs:
        """What the network says of prepared pictures, before it is decoded; the arguments are `Backend.run`'s."""
        if self.augmentation is not None:
            return predict_variants(self.backend, images, windows, self.augmentation, self.card.preprocess.divisor)
        return self.backend.run(images, windows, wanted)

    def __repr__(self) -> str:
        spec, names = self.card.spec, [printable(name, limit=40) for name in self.labels.names]
        listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        network = type(spec).__name__ if isinstance(spec, MethodSpec) else f"{type(spec).__name__} {spec.encoder}"
        split = "" if self.splitting is None else ", split into objects"
        return f"<Predictor {network}{split}, {counted(len(names), 'class', 'es')}: {listed}; {self.backend.device}>"


def _dated(
    source: Source | list[Source] | tuple[Source, ...], before: Source | list[Source] | tuple[Source, ...]
) -> Source | list[Source]:
    """The pictures, each with what was there before; `ConfigError` where these are not as many."""
    several = isinstance(source, list | tuple), isinstance(before, list | tuple)
    if several == (False, False):
        return TwoDates(before, source)  # type: ignore[arg-type]
    if several != (True, True) or len(source) != len(before):  # type: ignore[arg-type]
        raise ConfigError("each picture needs one of the earlier date", hint="give two lists of the same length")
    return [TwoDates(*dates) for dates in zip(before, source, strict=True)]  # type: ignore[arg-type]
