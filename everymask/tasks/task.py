"""What a task is: the one value from which everybody else learns what differs between tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

from everymask.core.arrays import Array, ByteArray
from everymask.core.joining.grid import Grid
from everymask.core.labels import Labels
from everymask.core.sample import Sample
from everymask.core.segmentation import Kind, Segmentation, TaskName, expected
from everymask.data.dataset import Dataset
from everymask.data.feed.augment import Augment
from everymask.data.feed.pipelines import Prepared
from everymask.data.feed.preprocess import Preprocess
from everymask.errors import ConfigError
from everymask.metrics.scores import Metric
from everymask.metrics.semantic_scores import Void
from everymask.models.specs.any_spec import AnySpec, ModelSpec
from everymask.models.specs.prompted import prompted_labels
from everymask.results.output import OutputFolder
from everymask.results.pairing import FoundPictures
from everymask.settings.facts import Recipe
from everymask.settings.plan import TaskSettings

Kind_co = TypeVar("Kind_co", bound=Segmentation, covariant=True)
Pipeline: TypeAlias = Callable[[int, int], Prepared]

OPTIONS = {
    "duplicate-iou": "duplicates are objects that are found twice",
    "tile": "tiles are joined where a picture is asked what it shows, unprompted",
    "tta-flip and tta-scales": "test-time augmentation averages what a model says of every pixel",
    "calibration": "scores of pixels need a model that gives label maps",
    "maps": "maps says how label maps are written",
    "split-objects": "objects are split where every pixel has a class",
    "outline": "what a detector has found is outlined",
    "merge": "stuff is added to objects",
    "boundary": "boundary PQ is of panoptic maps, and boundary IoU is always given",
}
"""Options that do not mean something for every task, and why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Up to how many objects of a picture count, and whether they have masks."""

    max_detections: int
    masks: bool


@dataclass(frozen=True, slots=True)
class Judging:
    """How predictions are compared with truth; each task takes what belongs to it.

    `void` says whether what a label map shows where there is no truth is ignored or wrong, `calibration` asks whether
    the model is as sure of the pixels' classes as it is right, and `boundary` for boundary PQ beside PQ. `limits` are
    those of predictions that were made elsewhere; else the network's own hold.
    """

    void: Void = "ignored"
    calibration: bool = False
    limits: Limits | None = None
    boundary: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """How what was found is drawn: objects from `min_score` on, with the classes' `names`.

    `alpha` (0-1) is how much colour covers the picture (None: as much as suits the task), `side` how long the longer
    side of the drawn picture is (None: as long as the picture's).
    """

    min_score: float = 0.0
    alpha: float | None = None
    names: bool = True
    side: int | None = None
    before: Array | None = None
    """The picture of the earlier date, where there is one: what changed is drawn beside it."""

    def options(self) -> dict[str, Any]:
        """What is set of `alpha` and `side`."""
        return {name: value for name, value in (("alpha", self.alpha), ("side", self.side)) if value is not None}


@dataclass(frozen=True, slots=True)
class Writing:
    """Where and how predictions are written: see `OutputFolder`; `maps` is the file kind of label maps.

    `about` says how they are predicted, so that one that was killed can go on, with `resume`.
    """

    out: Path
    overwrite: bool = False
    inputs: Sequence[str | Path] = ()
    overlay: Literal["png", "jpg", "none"] = "png"
    maps: Literal["png", "tif"] = "png"
    about: Mapping[str, object] | None = None
    resume: bool = False

    def options(self) -> dict[str, Any]:
        """What every `OutputFolder` is told besides its place and the classes."""
        return {name: getattr(self, name) for name in ("overwrite", "inputs", "overlay", "about", "resume")}


class Feed(Protocol):
    """Makes the training pictures of a data set: a function of epoch and index."""

    def __call__(
        self, dataset: Any, preprocess: Preprocess, augment: Augment, seed: int, size: tuple[int, int] | None
    ) -> Pipeline:
        """The pictures of `dataset`, cut to `size` (H, W); without it they keep their own."""


class Joining(Protocol[Kind_co]):
    """Puts together what windows found, which come row by row."""

    def add(self, found: Any, row: int, column: int) -> None:
        """What a window found, in its frame."""

    def add_whole(self, found: Any, size: tuple[int, int]) -> None:
        """What the whole picture shows when it is shrunk to `size` (h, w), in the frame of that."""

    def finished(self) -> Kind_co:
        """What the whole picture shows."""


@dataclass(frozen=True, slots=True, eq=False)
class Task(Generic[Kind]):
    """All that differs between one kind of segmentation and another.

    - `name` is what users call it, `truth` the type of truth and prediction, and `finds` completes "the model ..."
    - `network` is built where none is named, by whether there is a GPU, and why
    - `candidates` are the networks to choose from where time is limited, by whether there is a GPU, the best first
    - `settings` are those of a training that mean something for this task only; `recipe` chooses what is left open
    - `feed` makes training pictures with the variation that suits the truth
    - `metrics` are those of an evaluation by name, the first of which gives the headline; the network is None where
      `Judging` has the limits
    - `read_found` reads predictions from a folder with a file for each picture of a data set
    - `options` are the options of prediction and evaluation that mean something for this task, of those in `OPTIONS`
    - `tagged` says whether names stand inside the drawn picture (else they are a legend beside it)
    - `draw` and `folder` show and write what was found, `keep_sure` leaves out what is less sure than a score, and
      `sentence` says in a few words what one picture shows
    - `interactive` says whether a network answers prompts, and finds nothing unasked
    - `join` puts together what windows of a `Grid` found, for a network; None where every
      pixel has an answer of its own, so that windows are blended
    - `content` is what a picture without any truth does not show, `unit` what classes are counted in,
      `counts` how many of each class a data set has, and `shown` the ids of the classes that occur in it, or None where
      all must be read to know
    """

    name: TaskName
    truth: type[Kind]
    finds: str
    content: str
    unit: str
    network: Callable[[bool], tuple[ModelSpec, str]]
    candidates: Callable[[bool], tuple[ModelSpec, ...]]
    settings: type[TaskSettings]
    recipe: Recipe
    feed: Feed
    metrics: Callable[[Labels, AnySpec | None, Judging], dict[str, Metric[Kind]]]
    options: frozenset[str]
    tagged: bool
    draw: Callable[[Array, Kind, Labels, Drawing], ByteArray]
    folder: Callable[[Labels, Writing], OutputFolder[Kind]]
    read_found: Callable[[Path, Dataset], FoundPictures]
    keep_sure: Callable[[Kind, float], Kind]
    sentence: Callable[[Kind, Labels], str]
    counts: Callable[[Dataset], dict[str, int]]
    shown: Callable[[Dataset], set[int] | None]
    interactive: bool = False
    join: Callable[[Grid, Labels, AnySpec], Joining[Kind]] | None = None

    def known(self, labels: Labels) -> Labels:
        """The classes that a network learns of those of a data set: what prompts point at is just an object."""
        return prompted_labels() if self.interactive else labels

    def truth_of(self, sample: Sample) -> Kind:
        """The sample's truth; `DataError` where it has another kind, or none."""
        return expected(self.truth, sample.truth, sample.file or sample.id)

    def refuse(self, option: str) -> None:
        """`ConfigError` where an option of `OPTIONS` means nothing for this task."""
        if option not in self.options:
            raise ConfigError(f"{OPTIONS[option]}, but this model {self.finds}", hint=f"leave out {option}")
