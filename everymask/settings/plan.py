"""What was decided for a training: all that it needs, and nothing left open."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import ClassVar, Protocol, Self, TypeVar

from everymask.data.feed.augment import Augment
from everymask.data.feed.preprocess import Preprocess, Size
from everymask.data.fingerprint import Fingerprint
from everymask.errors import ConfigError
from everymask.models.specs.any_spec import ModelSpec
from everymask.settings.config import Optimizer, Schedule, TrainConfig
from everymask.settings.loss_terms import class_weights
from everymask.settings.schedule import Phase, layer_phases, seconds

T = TypeVar("T")


class TaskSettings(Protocol):
    """The settings that mean something to networks of one task only."""

    networks: ClassVar[str]
    """Whose they are, as "semantic networks"."""
    example: ClassVar[str]
    """The name of one of these."""

    @property
    def pixel_loss(self) -> SemanticSettings | None:
        """Those that name a loss of pixels, if that is what is minimised."""

    @classmethod
    def of(cls, settings: TrainConfig, measured: Fingerprint) -> Self:
        """Those among `settings`, for a data set that measures so; `ConfigError` where one is still open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSettings:
    """What only networks that find objects are told. `TrainConfig` has settings of these names."""

    networks: ClassVar[str] = "networks that find objects"
    example: ClassVar[str] = "mask-rcnn"
    pixel_loss: ClassVar[None] = None
    max_detections: int
    """Objects per picture that evaluation and prediction keep."""

    @classmethod
    def of(cls, settings: TrainConfig, measured: Fingerprint) -> InstanceSettings:
        """Those among `settings`; `ConfigError` where one is still open."""
        return cls(max_detections=decided("max_detections", settings.max_detections))


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticSettings:
    """What only semantic networks are told. `TrainConfig` has settings of these names."""

    networks: ClassVar[str] = "semantic networks"
    example: ClassVar[str] = "unet"
    loss: str
    """A sum that `read_loss` reads; empty where the network has a loss of its own."""
    class_weights: tuple[float, ...]
    """How much each class weighs in losses of pixels; empty: all alike."""
    label_smoothing: float

    @property
    def pixel_loss(self) -> SemanticSettings | None:
        """These, if they name one."""
        return self if self.loss else None

    @classmethod
    def of(cls, settings: TrainConfig, measured: Fingerprint) -> Self:
        """Those among `settings`, for a data set that measures so; `ConfigError` where one is still open, and where one
        is set for a network with a loss of its own.
        """
        if getattr(settings.network, "own_loss", False):
            if settings.loss is not None or settings.class_weights != "none" or settings.label_smoothing:
                raise ConfigError(
                    "loss, class_weights and label_smoothing are settings of networks with logits for every pixel, but "
                    f"a {type(settings.network).__name__} has a loss of its own",
                    hint="leave them out, or choose a model such as --model unet",
                )
            return cls(loss="", class_weights=(), label_smoothing=0.0)
        return cls(
            loss=decided("loss", settings.loss),
            class_weights=class_weights(measured.class_shares) if settings.class_weights == "auto" else (),
            label_smoothing=settings.label_smoothing,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PanopticSettings:
    """What only panoptic networks are told. `TrainConfig` has settings of these names."""

    networks: ClassVar[str] = "panoptic networks"
    example: ClassVar[str] = "panoptic-fpn"
    pixel_loss: ClassVar[None] = None
    things: tuple[str, ...]
    """The classes that are counted one by one, where the data do not say which are."""
    stuff: tuple[str, ...]
    """The classes that are not."""

    @classmethod
    def of(cls, settings: TrainConfig, measured: Fingerprint) -> PanopticSettings:
        """Those among `settings`."""
        return cls(things=settings.things, stuff=settings.stuff)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSettings(SemanticSettings):
    """What only networks that compare two dates are told: what changed is a class of pixels, and learned as such."""

    networks: ClassVar[str] = "networks that compare two dates"
    example: ClassVar[str] = "tinycd"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptedSettings:
    """What only networks are told that answer prompts: nothing."""

    networks: ClassVar[str] = "networks that answer prompts"
    example: ClassVar[str] = "prompted-small"
    pixel_loss: ClassVar[None] = None

    @classmethod
    def of(cls, settings: TrainConfig, measured: Fingerprint) -> PromptedSettings:
        """None."""
        return cls()


GROUPS: tuple[type[InstanceSettings | SemanticSettings | PanopticSettings], ...] = (
    InstanceSettings,
    SemanticSettings,
    PanopticSettings,
)
"""Those that have settings of their own, which others refuse. A task without any needs no row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that a training needs. `settings` are the same without an open one, as `config.json` keeps them.

    What may be absent is so by its value: there is no time limit or patience and gradients are not clipped where these
    are infinite, and weights are not averaged where `ema` is 0. `reasons` say what was chosen and why, a line each.
    """

    settings: TrainConfig
    model: ModelSpec
    task_settings: TaskSettings
    preprocess: Preprocess
    augment: Augment
    crop: Size
    batch: int
    accumulate: int
    workers: int
    epochs: int
    time_limit: float
    """In seconds."""
    save_every: float
    """In seconds; infinite: as the loop does by itself."""
    patience: float
    """In epochs."""
    validate_every: int
    """Epochs."""
    phases: tuple[Phase, ...]
    optimizer: Optimizer
    lr: float
    head_lr: float
    momentum: float
    weight_decay: float
    schedule: Schedule
    milestones: tuple[float, ...]
    warmup_steps: int
    clip_norm: float
    ema: float
    sync_norm: bool
    """Whether several processes share the statistics of batch norms."""
    bf16: bool
    """Whether the network calculates in bfloat16 where that does no harm."""
    half_gradients: bool
    """Whether gradients take half of the threads where these would wait for each other turning in circles."""
    seed: int
    resume: bool
    reasons: tuple[str, ...] = ()


def plan_of(
    settings: TrainConfig,
    own: type[TaskSettings],
    measured: Fingerprint,
    preprocess: Preprocess,
    reasons: tuple[str, ...] = (),
) -> Plan:
    """The plan of `settings` that a recipe has completed, now or when the run began.

    `own` are the settings of the model's task, `measured` is of the training pictures, `preprocess` how they are fed.
    `ConfigError` names a setting that is still open, or that belongs to networks of another task.
    """
    model = settings.network
    if model is None:
        raise _open("model")
    if settings.precision == "auto":
        raise _open("precision")
    _refuse_others(settings, model, own)
    return Plan(
        settings=settings,
        model=model,
        task_settings=own.of(settings, measured),
        preprocess=preprocess,
        augment=settings.augment,
        crop=decided("size", settings.crop),
        batch=decided("batch", settings.batch),
        accumulate=settings.accumulate,
        workers=decided("workers", settings.workers),
        epochs=decided("epochs", settings.epochs),
        time_limit=math.inf if settings.time_limit is None else seconds(settings.time_limit),
        save_every=math.inf if settings.save_every is None else seconds(settings.save_every),
        patience=settings.patience or math.inf,
        validate_every=decided("validate_every", settings.validate_every),
        phases=layer_phases(settings.layers),
        optimizer=decided("optimizer", settings.optimizer),
        lr=decided("lr", settings.lr),
        head_lr=decided("head_lr", settings.head_lr),
        momentum=settings.momentum,
        weight_decay=decided("weight_decay", settings.weight_decay),
        schedule=settings.schedule,
        milestones=settings.milestones,
        warmup_steps=decided("warmup_steps", settings.warmup_steps),
        clip_norm=settings.clip_norm or math.inf,
        ema=settings.ema or 0.0,
        sync_norm=settings.sync_norm,
        bf16=settings.precision == "bf16",
        half_gradients=settings.gradient_threads == "half",
        seed=settings.seed,
        resume=settings.resume,
        reasons=reasons,
    )


def _refuse_others(settings: TrainConfig, model: ModelSpec, own: type[TaskSettings]) -> None:
    """`ConfigError` for a setting that was made and belongs to networks of another task than this one."""
    absent = TrainConfig(data=settings.data)
    for group in GROUPS:
        for name in (column.name for column in fields(group) if not issubclass(own, group)):
            if getattr(settings, name) != getattr(absent, name):
                raise ConfigError(
                    f"{name} is a setting of {group.networks}, but {type(model).__name__} is one of the {own.networks}",
                    hint=f"leave out {name}, or choose a model such as --model {group.example}",
                )


def decided(name: str, value: T | None) -> T:
    """A setting that must not be open any more; else a `ConfigError` that names it."""
    if value is None:
        raise _open(name)
    return value


def _open(name: str) -> ConfigError:
    return ConfigError(f"the setting {name!r} is still open", hint=f"set {name}, or let a recipe choose it")
