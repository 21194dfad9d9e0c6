"""The settings of a training. Torch-free: the command line shows them without waiting."""

from __future__ import annotations

import difflib
import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeVar, get_args

from everymask.core.segmentation import TaskName
from everymask.data.feed.augment import Augment
from everymask.data.issues import Policy
from everymask.errors import ConfigError
from everymask.models.specs.any_spec import ModelSpec, spec_from_json, spec_to_json
from everymask.settings.loss_terms import read_loss
from everymask.settings.schedule import layer_phases, seconds

T = TypeVar("T")
Optimizer = Literal["sgd", "adamw"]
Schedule = Literal["multistep", "cosine", "poly", "linear", "constant"]
Precision = Literal["auto", "fp32", "bf16"]
ClassWeights = Literal["none", "auto"]
FREE = ("out", "resume", "overwrite", "epochs", "time_limit", "patience", "device", "workers")
"""Settings that may change when a run goes on; `epochs` can only be raised."""
_CHOICES = {
    "task": TaskName,
    "optimizer": Optimizer,
    "schedule": Schedule,
    "class_weights": ClassWeights,
    "precision": Precision,
    "on_defect": Policy,
}
_OPEN_CHOICES = ("task", "optimizer")
# name: (whole number?, least, most). None stands for "not set" and passes.
_RANGES: dict[str, tuple[bool, float, float]] = {
    "epochs": (True, 1, 1_000_000),
    "batch": (True, 1, 100_000),
    "accumulate": (True, 1, 100_000),
    "seed": (True, 0, 2**63 - 1),
    "lr": (False, 0, 1e3),
    "head_lr": (False, 0, 1e3),
    "weight_decay": (False, 0, 1e3),
    "momentum": (False, 0, 1),
    "label_smoothing": (False, 0, 1),
    "warmup_steps": (True, 0, 1e9),
    "clip_norm": (False, 0, 1e9),
    "ema": (False, 0, 1),
    "patience": (True, 1, 1_000_000),
    "workers": (True, 0, 1024),
    "validate_every": (True, 1, 1_000_000),
    "max_detections": (True, 1, 1_000_000),
    "val_fraction": (False, 0, 1),
    "test_fraction": (False, 0, 1),
}
_NOT_ZERO = ("lr", "head_lr", "clip_norm", "ema")
_MOST_SIDE = 65_500
_BELOW_MOST = ("momentum", "ema", "label_smoothing", "val_fraction", "test_fraction")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Everything that decides a training; None means: chosen from the data, and the log says why.

    `ConfigError` names a setting that cannot be used.
    """

    data: str
    """A folder or an annotation file; the format is recognised."""
    format: str | None = None
    """The format, where it is not to be recognised."""
    images: str | None = None
    """The folder of the pictures of a COCO file, where it is not beside it."""
    out: str = "runs/train"
    """The run folder; must be new or empty."""
    task: TaskName | None = None
    """Objects one by one (instance), or a class for every pixel (semantic), for which objects are painted; None: as the
    model says, or the data."""
    model: ModelSpec | None = None
    """The network; None: Mask R-CNN for objects, U-Net for label maps. Its class count comes from the data."""
    weights: str | None = None
    """Where to start from: a checkpoint, a run folder, a name of `everymask models`, or "imagenet" (encoder only)."""
    layers: str = "all"
    """Which layers learn: heads, 3+, 4+, 5+, all, a regular expression, or phases such as "heads:5,4+:10,all"."""

    epochs: int | None = None
    """Rounds through the training pictures."""
    time_limit: str | None = None
    """Stop training after this long (90s, 30m, 2h). The learning rate then follows the clock where that is ahead."""
    patience: int | None = None
    """Stop when so many epochs brought no better score."""
    batch: int | None = None
    """Pictures per forward pass."""
    accumulate: int = 1
    """Forward passes per optimizer step."""
    size: int | tuple[int, int] | None = None
    """(H, W) of training crops; one number for squares."""
    resize: tuple[int, int] | None = None
    """Short side to which pictures are resized, and the limit of the long side; None: only large ones shrink."""
    augment: Augment = field(default_factory=Augment)
    """How training pictures are varied."""

    loss: str | None = None
    """What a semantic network minimises: ce, bce, dice, tversky, focal, lovasz, boundary, ohem, or a sum such as
    ce+0.5*dice."""
    class_weights: ClassWeights = "none"
    """Whether rare classes weigh more (auto) in losses of pixels: ce, bce, focal, ohem; semantic networks only."""
    label_smoothing: float = 0.0
    """Share of the truth that ce and bce give to all classes alike; semantic networks only."""

    optimizer: Optimizer | None = None
    lr: float | None = None
    """The learning rate after warm-up."""
    head_lr: float | None = None
    """Times the learning rate for all that is not the encoder; for a trained SegFormer 10, where lr is not set."""
    momentum: float = 0.9
    """SGD's momentum; AdamW's first beta."""
    weight_decay: float | None = None
    """Acts on weights, not on norms and biases."""
    schedule: Schedule = "cosine"
    milestones: tuple[float, ...] = (0.7, 0.9)
    """Where multistep divides the learning rate by ten, as fractions of the run."""
    warmup_steps: int | None = None
    """Steps of linear rise at the start."""
    clip_norm: float | None = None
    """The longest gradient that is let through."""
    ema: float | None = None
    """Decay of the running average of the weights, which is then what is validated and kept; for example 0.999."""

    val_fraction: float = 0.2
    """Share of the pictures that validate, where the data brings no split; 0: none, and the last weights are kept."""
    test_fraction: float = 0.0
    """Share of the pictures that are set aside, where the data brings no split."""
    validate_every: int | None = None
    """Epochs between validations."""
    max_detections: int | None = None
    """Detections per picture that evaluation and prediction keep; not for semantic networks."""

    seed: int = 0
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps ..."""
    precision: Precision = "auto"
    """auto is bf16 where the hardware calculates it (GPUs since Ampere, CPUs with AVX512-BF16), else fp32."""
    workers: int | None = None
    """Processes that prepare pictures; batches do not depend on it."""
    on_defect: Policy = "strict"
    """Refuse a data set with defects, or leave out what is defective, count it and list it."""
    resume: bool = False
    """Continue the run in `out`, exactly where its last saved state ends. More epochs make it longer."""
    overwrite: bool = False
    """Replace the run in `out`."""

    def __post_init__(self) -> None:
        for name in ("data", "out"):
            object.__setattr__(self, name, _text(name, getattr(self, name)))
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in get_args(choices) and not (value is None and name in _OPEN_CHOICES):
                raise ConfigError(f"{name} must be one of {', '.join(get_args(choices))}, but got {value!r}")
        for name, (whole, least, most) in _RANGES.items():
            _check_number(name, getattr(self, name), whole, least, most)
        _check_size(self.size)
        if self.resize is not None and not 1 <= self.resize[0] <= self.resize[1] <= _MOST_SIDE:
            raise ConfigError(f"resize must be a short and a long side, 1 <= short <= long, but got {self.resize}")
        if any(not 0 < milestone < 1 for milestone in self.milestones) or list(self.milestones) != sorted(
            self.milestones
        ):
            raise ConfigError(f"milestones must be rising fractions between 0 and 1, but got {self.milestones}")
        if self.val_fraction + self.test_fraction >= 1:
            raise ConfigError("val_fraction and test_fraction leave no pictures to train on; their sum must be below 1")
        if self.resume and self.overwrite:
            raise ConfigError("resume and overwrite exclude each other: continue the run in `out`, or replace it")
        if self.time_limit is not None:
            seconds(self.time_limit)
        if self.loss is not None:
            read_loss(self.loss)
        last = layer_phases(self.layers)[-2:-1]
        if last and self.epochs is not None and (last[0].end or 0) >= self.epochs:
            raise ConfigError(
                f"layers: the last phase of {self.layers!r} would begin after epoch {last[0].end}, "
                f"but there are {self.epochs} epochs",
                hint="raise epochs or shorten the phases",
            )

    @property
    def crop(self) -> tuple[int, int] | None:
        """`size` as (H, W)."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def network(self) -> ModelSpec:
        """`model`, which must have been decided."""
        if self.model is None:
            raise ConfigError("the model is still open", hint="let training choose it, or name one")
        return self.model

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, as `config_from_json` takes them."""
        plain = {column.name: getattr(self, column.name) for column in fields(self)}
        model = None if self.model is None else spec_to_json(self.model)
        return plain | {"model": model, "augment": asdict(self.augment)}


def chosen(value: T | None) -> T:
    """A setting that is no longer None."""
    if value is None:
        raise ConfigError("a setting that training needs is still open", hint="let recipes.resolve choose it")
    return value


def config_from_json(data: dict[str, Any]) -> TrainConfig:
    """The settings that `to_json` wrote; `ConfigError` names an unknown one and what it was probably meant to be."""
    values = dict(data)
    _check_names(values, TrainConfig)
    if "data" not in values:
        raise ConfigError("the setting 'data' is missing: a folder or an annotation file")
    if values.get("model") is not None:
        values["model"] = spec_from_json(values["model"])
    if "augment" in values:
        _check_names(values["augment"], Augment, "augment.")
        values["augment"] = Augment(**{name: _tuple(value) for name, value in values["augment"].items()})
    return TrainConfig(**{name: _tuple(value) for name, value in values.items()})


def continued(stored: TrainConfig, origin: TrainConfig, given: TrainConfig) -> TrainConfig:
    """The settings with which a run goes on: the `stored` ones, except those in `FREE`, which are the given ones.

    `origin` is what the user wrote when the run began: the same words may be written again, or left out. `epochs` may
    be raised: the learning rate then follows the new end. `ConfigError` lists settings that cannot change.
    """
    absent = TrainConfig(data=origin.data)
    changed = []
    for name in (column.name for column in fields(given) if column.name not in FREE):
        value = getattr(given, name)
        if value not in (getattr(absent, name), getattr(origin, name), getattr(stored, name)):
            changed.append(f"{name} was {getattr(stored, name)!r}, now {value!r}")
    if changed:
        raise ConfigError(
            f"a run goes on with the settings it began with: {'; '.join(changed)}",
            hint=f"only {', '.join(FREE)} may change; for anything else start a new run from its weights: "
            f"--weights {given.out} --out ANOTHER",
        )
    if given.epochs is not None and given.epochs < chosen(stored.epochs):
        raise ConfigError(
            f"epochs was {stored.epochs}, now {given.epochs}: a run that goes on can become longer, not shorter",
            hint="leave --epochs out to keep its end, or end it earlier with --time-limit",
        )
    free = {name: getattr(given, name) for name in FREE}
    kept = {name: getattr(stored, name) for name in ("epochs", "workers") if free[name] is None}
    return replace(stored, **free | kept)


def changed_settings(before: TrainConfig, after: TrainConfig) -> dict[str, tuple[Any, Any]]:
    """The settings in which two configurations differ: name -> (before, after)."""
    pairs = ((column.name, getattr(before, column.name), getattr(after, column.name)) for column in fields(before))
    return {name: (old, new) for name, old, new in pairs if old != new}


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value


def _check_names(values: object, cls: type[Any], prefix: str = "") -> None:
    if not isinstance(values, dict):
        raise ConfigError(f"{prefix.rstrip('.') or 'the settings'} must be a JSON object, but got {values!r}")
    known = [column.name for column in fields(cls)]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0)
            raise ConfigError(
                f"there is no setting {prefix + str(name)!r}",
                hint=f"did you mean {prefix + near[0]!r}?" if near else "",
            )


def _text(name: str, value: object) -> str:
    text = str(value)
    if not text or not text.isprintable():
        raise ConfigError(f"{name} must be a path, but got {text!r}")
    return text


def _check_number(name: str, value: object, whole: bool, least: float, most: float) -> None:
    if value is None:
        return
    kind = "a whole number" if whole else "a number"
    bounds = (
        f"{'above' if name in _NOT_ZERO else 'from'} {least:g} {'to below' if name in _BELOW_MOST else 'to'} {most:g}"
    )
    message = f"{name} must be {kind} {bounds}, but got {value!r}"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not math.isfinite(value):
        raise ConfigError(message)
    if not least <= value <= most or (value == least and name in _NOT_ZERO) or (value == most and name in _BELOW_MOST):
        raise ConfigError(message)


def _check_size(size: object) -> None:
    sides = (size, size) if isinstance(size, int) else size
    if sides is None:
        return
    if not (
        isinstance(sides, tuple)
        and len(sides) == 2
        and all(isinstance(side, int) and not isinstance(side, bool) and 32 <= side <= _MOST_SIDE for side in sides)
    ):
        raise ConfigError(
            f"size must be one side, or height and width, from 32 to {_MOST_SIDE} pixels, but got {size!r}"
        )
