"""The settings of a training. Torch-free: the command line shows them without waiting."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from everymask.classical.bases import Method, MethodSpec
from everymask.classical.named import METHODS
from everymask.core.segmentation import TaskName
from everymask.data.feed.augment import Augment
from everymask.data.formats.crowds import Crowds
from everymask.data.issues import Policy
from everymask.data.panoptic import PanopticRule
from everymask.data.uprightness import Domain
from everymask.errors import ConfigError, unknown
from everymask.models.specs.any_spec import KINDS, AnySpec, ModelName, ModelSpec, spec_from_json, spec_to_json
from everymask.models.specs.named import network, with_options
from everymask.models.specs.regions import ENCODERS, Norm
from everymask.models.specs.semantic import Fusion, Head
from everymask.settings.checks import (
    Range,
    check_choice,
    check_milestones,
    check_names,
    check_range,
    check_resize,
    check_size,
    checked_path,
)
from everymask.settings.loss_terms import read_loss
from everymask.settings.schedule import layer_phases, seconds

Optimizer = Literal["sgd", "adamw"]
Schedule = Literal["multistep", "cosine", "poly", "linear", "constant"]
Precision = Literal["auto", "fp32", "bf16"]
ClassWeights = Literal["none", "auto"]
GradientThreads = Literal["all", "half"]
_CHOICES = {
    "task": TaskName,
    "norm": Norm,
    "head": Head,
    "fusion": Fusion,
    "optimizer": Optimizer,
    "schedule": Schedule,
    "class_weights": ClassWeights,
    "domain": Domain,
    "precision": Precision,
    "gradient_threads": GradientThreads,
    "on_defect": Policy,
    "crowds": Crowds,
}
_OPEN_CHOICES = ("task", "norm", "head", "fusion", "domain", "optimizer", "gradient_threads")
_RANGES = {
    "epochs": Range(1, 1_000_000, whole=True),
    "batch": Range(1, 100_000, whole=True),
    "accumulate": Range(1, 100_000, whole=True),
    "seed": Range(0, 2**63 - 1, whole=True),
    "lr": Range(0, 1e3, above=True),
    "head_lr": Range(0, 1e3, above=True),
    "weight_decay": Range(0, 1e3),
    "momentum": Range(0, 1, below=True),
    "label_smoothing": Range(0, 1, below=True),
    "warmup_steps": Range(0, 1e9, whole=True),
    "clip_norm": Range(0, 1e9),
    "ema": Range(0, 1, below=True),
    "patience": Range(1, 1_000_000, whole=True),
    "workers": Range(0, 1024, whole=True),
    "mask_threshold": Range(1, 255, whole=True),
    "validate_every": Range(1, 1_000_000, whole=True),
    "max_detections": Range(1, 1_000_000, whole=True),
    "val_fraction": Range(0, 1, below=True),
    "test_fraction": Range(0, 1, below=True),
}


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
    """Objects one by one (instance), a class for every pixel (semantic), for which objects are painted, both at once
    (panoptic), or what changed between two dates (change); None: as the model says, or the data."""
    things: tuple[str, ...] = ()
    """Panoptic networks: the classes that are counted one by one, where the data do not say which are."""
    stuff: tuple[str, ...] = ()
    """Panoptic networks: the classes that are not counted, such as sky; with things alone all others are."""
    model: AnySpec | ModelName | None = None
    """The network (or a method without one), or its name; None: Mask R-CNN for objects, Panoptic FPN for panoptic maps
    (without a GPU the small ones), U-Net for label maps and changes. Its classes come from the data."""
    encoder: str | None = None
    """The network that sees, as `everymask models` lists them; semantic networks also take timm's names."""
    norm: Norm | None = None
    """Normalisation: of the batch, frozen (for fine-tuning with few pictures per batch), or in groups."""
    head: Head | None = None
    """What classes are to a pixel of a semantic network: it has one of them (multiclass), it is foreground or not
    (binary, of two classes), or each may hold or not (multilabel); between two dates also what became of what
    (from-to)."""
    fusion: Fusion | None = None
    """How a semantic network compares two dates: as one picture (early), or by one encoder that sees both, whose maps
    are joined side by side (concat) or by their difference."""
    weights: str = "auto"
    """Where to start from: a checkpoint, a run folder, a name of `everymask models`, imagenet (encoder only), or none.
    auto: trained weights of the network, else of its encoder, from the cache or fetched (which is said), else from
    scratch; required: those, or an error."""
    layers: str = "all"
    """Which layers learn: heads, 3+, 4+, 5+, all, lora (heads, and low-rank updates of the encoder's attention; lora16:
    of rank 16), a regular expression, or phases such as "heads:5,4+:10,all"."""

    epochs: int | None = None
    """Rounds through the training pictures; left open, without a GPU as many as half an hour has room for."""
    time_limit: str | None = None
    """Stop training after this long (90s, 30m, 2h). The learning rate then follows the clock where that is ahead; from
    a minute on, network, batch and epochs that are left open are chosen by what the machine manages in this time."""
    save_every: str | None = None
    """Save the state of the run after this long (90s, 5m); otherwise after 5 minutes, at the beginning sooner."""
    patience: int | None = None
    """Stop when so many epochs brought no better score."""
    batch: int | None = None
    """Pictures per forward pass, of all processes together where several train."""
    accumulate: int = 1
    """Forward passes per optimizer step."""
    sync_norm: bool = False
    """Of several processes: batch norms take their statistics from all of a batch, and not from each one's share."""
    size: int | tuple[int, int] | None = None
    """(H, W) of training crops; one number for squares."""
    resize: tuple[int, int] | None = None
    """Short side to which pictures are resized, and the limit of the long side; None: only large ones shrink."""
    augment: Augment = field(default_factory=Augment)
    """How training pictures are varied."""
    domain: Domain | None = None
    """Whether pictures have an up: streets and people do; cells under a microscope and fields seen from above do not
    (free), and are also turned and mirrored top-bottom. Left open, the training pictures and their truth tell."""

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
    """The longest gradient that is let through; 0: any."""
    ema: float | None = None
    """Decay of the running average of the weights, which is then what is validated and kept; such as 0.999; 0: none."""

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
    gradient_threads: GradientThreads | None = None
    """Threads that calculate gradients in bfloat16 on a processor with matrix units (AMX): half of them is a little
    slower, and several times as fast where other programs use the cores too. None: what is faster where the speed is
    measured, else all."""
    on_defect: Policy = "strict"
    """Refuse a data set with defects, or leave out what is defective, count it and list it."""
    masks: str | None = None
    """The folder of the label maps, or its name, where several lie beside the pictures."""
    mask_threshold: int | None = None
    """From which brightness on (1-255) masks show foreground that are JPEGs or have smoothed edges; else midway."""
    crowds: Crowds = "as-marked"
    """Leave aside what is marked as a crowd (iscrowd, difficult), or take it as an object, as for masks that CVAT's
    brush drew."""
    resume: bool = False
    """Continue the run in `out`, exactly where its last saved state ends. More epochs make it longer."""
    overwrite: bool = False
    """Replace the run in `out`."""

    def __post_init__(self) -> None:
        # Runs of earlier versions have stored that nothing was named.
        object.__setattr__(self, "weights", self.weights or "none")
        for name in ("data", "out", "images", "masks", "weights"):
            value = getattr(self, name)
            object.__setattr__(self, name, value if value is None else checked_path(name, value))
        for name, choices in _CHOICES.items():
            check_choice(name, getattr(self, name), get_args(choices), may_be_open=name in _OPEN_CHOICES)
        for name, allowed in _RANGES.items():
            check_range(name, getattr(self, name), allowed)
        self._name_network()
        check_size(self.size)
        check_resize(self.resize)
        check_milestones(self.milestones)
        if self.val_fraction + self.test_fraction >= 1:
            raise ConfigError("val_fraction and test_fraction leave no pictures to train on; their sum must be below 1")
        if self.resume and self.overwrite:
            raise ConfigError("resume and overwrite exclude each other: continue the run in `out`, or replace it")
        for duration in (self.time_limit, self.save_every):
            if duration is not None:
                seconds(duration)
        if self.loss is not None:
            read_loss(self.loss)
        last = layer_phases(self.layers)[-2:-1]
        if last and self.epochs is not None and (last[0].end or 0) >= self.epochs:
            raise ConfigError(
                f"layers: the last phase of {self.layers!r} would begin after epoch {last[0].end}, "
                f"but there are {self.epochs} epochs",
                hint="raise epochs or shorten the phases",
            )

    def _name_network(self) -> None:
        """Make `model` a spec that has encoder, norm ...; only where the data decide on it do these stay."""
        if isinstance(self.model, MethodSpec) or self.model in METHODS:
            self._name_method()
            return
        if not isinstance(self.model, (str, type(None), *KINDS.values())):
            raise ConfigError(
                f"model must be a network or its name, but got {self.model!r}",
                hint='for example model="mask-rcnn" or model=MaskRCNN(encoder="resnet18")',
            )
        options = self.encoder, self.norm, self.head, self.fusion
        spec = network(self.model, *options) if self.model is None or isinstance(self.model, str) else self.model
        if spec is None and self.task is None and self.encoder not in (None, *ENCODERS):
            refused = unknown("encoder", self.encoder, ENCODERS)
            others = "name the model for encoders that only some have: --model unet"
            raise ConfigError(refused.message, hint=", or ".join(filter(None, (refused.hint, others))))
        if spec is not None:
            object.__setattr__(self, "model", with_options(spec, *options) if spec is self.model else spec)
            for name in ("encoder", "norm", "head", "fusion"):
                object.__setattr__(self, name, None)

    def _name_method(self) -> None:
        """Make `model` the spec of a method, which has no options of a network."""
        method = METHODS[self.model]() if isinstance(self.model, str) else self.model
        for name in ("encoder", "norm", "head"):
            if getattr(self, name) is not None:
                raise ConfigError(
                    f"{name} is a setting of networks, but {type(method).__name__} has none", hint="leave it out"
                )
        object.__setattr__(self, "model", method)

    @property
    def rule(self) -> PanopticRule | None:
        """Which classes are things and which are stuff, where that is said."""
        return PanopticRule(self.things, self.stuff) if self.things or self.stuff else None

    @property
    def network(self) -> ModelSpec | None:
        """The network of `model`, a name only until it is looked up; `ConfigError` for a method without one."""
        assert not isinstance(self.model, str)
        if isinstance(self.model, MethodSpec):
            raise ConfigError(f"{type(self.model).__name__} is a method without a network")
        return self.model

    @property
    def method(self) -> Method | None:
        """The method of `model` that needs no network; None for a network."""
        return self.model if isinstance(self.model, MethodSpec) else None

    @property
    def crop(self) -> tuple[int, int] | None:
        """`size` as (H, W)."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, as `config_from_json` takes them."""
        plain = {column.name: getattr(self, column.name) for column in fields(self)}
        model = None if self.model is None or isinstance(self.model, str) else spec_to_json(self.model)
        return plain | {"model": model, "augment": asdict(self.augment)}


def config_from_json(data: dict[str, Any]) -> TrainConfig:
    """The settings that `to_json` wrote; `ConfigError` names an unknown one and what it was probably meant to be."""
    values = dict(data)
    check_names(values, TrainConfig)
    if "data" not in values:
        raise ConfigError("the setting 'data' is missing: a folder or an annotation file")
    if isinstance(values.get("model"), dict):
        values["model"] = spec_from_json(values["model"])
    if "augment" in values:
        check_names(values["augment"], Augment, "augment.")
        values["augment"] = Augment(**{name: _tuple(value) for name, value in values["augment"].items()})
    return TrainConfig(**{name: _tuple(value) for name, value in values.items()})


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value
