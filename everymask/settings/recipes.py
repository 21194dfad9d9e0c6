"""Settings that suit a network that finds objects and its data set, each with its reason; and the demo's recipe."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from everymask.data.feed.augment import Augment
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.fingerprint import Fingerprint
from everymask.data.uprightness import Domain
from everymask.errors import ConfigError
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.regions import (
    REGION_KINDS,
    FasterRCNN,
    FastRCNN,
    MaskRCNN,
    RegionModelSpec,
    mask_rcnn_small,
)
from everymask.settings.config import Optimizer, TrainConfig
from everymask.settings.facts import Facts, Start, model_of, prepared_for, settled, steps_of, turned, usual_epochs
from everymask.settings.plan import InstanceSettings, Plan, plan_of

_LONGEST = 1333
DETECTOR_STEPS = 12_000, 6_000, 3_000
"""Steps that are usual from scratch, from an encoder, and from a detector."""
_LEVELS = 5
_LONGER = 1.5
_CLIP = 5.0
_EMA = 0.998
_OBJECTS_ACROSS, _LEAST_CROP = 8, 128


def resolve(config: TrainConfig, measured: Fingerprint, facts: Facts) -> Plan:
    """Choose whatever `config` leaves open for a network that finds objects in a data set that measures so.

    What is set stays. `measured` is of the training pictures. `ConfigError` for a model of another task, and as in
    `plan_of`. Sources: learning rate and its scaling with the batch from Detectron2's Mask R-CNN (0.02 for 16 pictures;
    Goyal et al. 2017), AdamW's from ViTDet. From scratch, with norms everywhere, AdamW is fast and the average of the
    weights steady: measured on nuclei (docs/results.md).
    """
    model = model_of(config, REGION_KINDS, MaskRCNN())
    found = with_regions(config, model, measured, facts)
    settings = replace(found.settings, max_detections=found.spec.max_detections)
    return plan_of(settings, InstanceSettings, measured, found.preprocess, found.reasons)


@dataclass(frozen=True, slots=True)
class Suited:
    """Settings that suit a network, the network, how its pictures are fed, and why."""

    settings: TrainConfig
    spec: RegionModelSpec
    preprocess: Preprocess
    reasons: tuple[str, ...]


def with_regions(config: TrainConfig, model: RegionModelSpec, measured: Fingerprint, facts: Facts) -> Suited:
    """What suits a network that finds objects one by one, whatever else it does; see `resolve`."""
    reasons: list[str] = []
    config = turned(_varied(config, model, reasons), measured, reasons)
    start = facts.start
    preprocess = prepared_for(config, measured, start, reasons, longest=_LONGEST)
    spec = _spec(model, config, measured, preprocess, start, reasons)
    fresh = start is None and spec.fpn_norm
    optimizer = config.optimizer or ("adamw" if fresh else "sgd")
    size = config.crop or crop_for(measured, preprocess.resize, facts.gpu, reasons)
    steps = steps_of(config, size, measured, facts, reasons)
    epochs = config.epochs or usual_epochs(steps.per_epoch, start, reasons, DETECTOR_STEPS, "a detector")
    lr = config.lr or _rate(optimizer, steps.pictures, fresh, reasons)
    steady = fresh and optimizer == "adamw"
    settings = settled(
        config,
        facts,
        steps,
        epochs,
        model=spec,
        optimizer=optimizer,
        lr=lr,
        head_lr=config.head_lr or 1.0,
        clip_norm=_CLIP if steady else None,
        ema=_EMA if steady else None,
        weight_decay=1e-4 if optimizer == "sgd" else 0.05,
    )
    return Suited(settings, spec, preprocess, tuple(reasons))


def _varied(config: TrainConfig, spec: RegionModelSpec, reasons: list[str]) -> TrainConfig:
    """With pictures that are only mirrored where boxes are searched in each, unless it is set how they are varied."""
    if not isinstance(spec, FastRCNN) or config.augment != Augment():
        return config
    reasons.append("pictures are only mirrored: so boxes are searched once in each, and not at every visit")
    augment = replace(Augment.none(), flip=Augment().flip)
    return replace(config, augment=augment, domain=config.domain or "upright")


def model_for_weights(asked: ModelSpec, stored: ModelSpec) -> ModelSpec:
    """The model that was asked for, as the weights of a `stored` one need it.

    A kind without further settings takes over all that it shares with the stored model; one with settings of its own
    keeps them and takes over the behaviour profile. The kind stays: Mask R-CNN can begin as Faster R-CNN. From one that
    is no such relation, a network takes over only what its encoder is; `ConfigError` where it cannot have that. One
    that `keeps_size` stays as it is.
    """
    if getattr(asked, "keeps_size", False):
        return asked
    shared = {column.name for column in fields(asked)} & {column.name for column in fields(stored)}
    if not isinstance(asked, type(stored)) and not isinstance(stored, type(asked)):
        shared &= {"encoder", "channels", "norm"}
    if asked != type(asked)():
        shared &= {"profile"}
    try:
        spec: ModelSpec = replace(asked, **{name: getattr(stored, name) for name in shared})
    except ConfigError as error:
        kinds = type(stored).__name__, type(asked).__name__
        raise ConfigError(
            "the weights are those of {}, and {} cannot begin with them: {}".format(*kinds, error.message),
            hint=f"choose weights of {kinds[1]}, or leave out --model to go on with {kinds[0]}",
        ) from error
    return spec


def _spec(
    model: RegionModelSpec,
    config: TrainConfig,
    measured: Fingerprint,
    preprocess: Preprocess,
    start: Start | None,
    reasons: list[str],
) -> RegionModelSpec:
    """The model with the data's channels and detection limit, and anchors as large as the objects."""
    spec = replace(model, channels=preprocess.channels)
    spec = spec.with_detections(most_detections(config, spec.max_detections, measured, reasons))
    untouched = spec.anchor_sizes == FasterRCNN().anchor_sizes
    if untouched and measured.object_sizes and not (start is not None and start.detects):
        spec = replace(spec, anchor_sizes=anchor_sizes(_resized(measured.object_sizes, measured, preprocess.resize)))
        low, high = measured.object_sizes[0], measured.object_sizes[-1]
        reasons.append(
            f"anchors of {', '.join(map(str, spec.anchor_sizes))} pixels: objects are {low:.0f} to {high:.0f} across"
        )
        shapes = _shapes(measured.object_shapes, config.domain)
        if spec.anchor_ratios == FasterRCNN().anchor_ratios and shapes:
            spec = replace(spec, anchor_ratios=shapes)
            reasons.append(
                f"anchors {', '.join(f'{shape:g}' for shape in shapes)} times as high as wide: objects are "
                f"mostly {measured.object_shapes[1]:g} to {measured.object_shapes[-2]:g} times"
            )
    return spec


def most_detections(config: TrainConfig, usual: int, measured: Fingerprint, reasons: list[str]) -> int:
    """How many objects a picture may have: as `config` says, else so many as `usual`, more where pictures hold more."""
    most = config.max_detections or usual
    if config.max_detections is None and 1.3 * measured.max_objects > most:
        most = 50 * math.ceil(1.3 * measured.max_objects / 50)
        reasons.append(f"up to {most} detections: a picture holds up to {measured.max_objects} objects")
    return most


def anchor_sizes(objects: tuple[float, ...]) -> tuple[int, ...]:
    """Five doubling anchor sizes, the second near the middle of the objects' sizes (rising quantiles, in pixels).

    So most objects belong to the two finest levels, on which anchors lie dense enough to overlap them well.
    """
    middle = math.sqrt(max(1.0, objects[0]) * max(1.0, objects[-1]))
    smallest = min(32, max(8, 8 * round(middle / 2 / 8)))
    return tuple(smallest * 2**level for level in range(_LEVELS))


def _shapes(objects: tuple[float, ...], domain: Domain | None) -> tuple[float, ...]:
    """Heights by widths of anchors for objects that the usual ones (half, once and twice) overlap too little; or none.

    `objects` are rising quantiles. An anchor of the right area, one and a half times too long, overlaps an object with
    an IoU of 0.69: further from the usual ones a quarter of the objects may not be, at either end. The anchors then are
    their quartiles. Turned pictures turn the objects too.
    """
    if not objects:
        return ()
    low, middle, high = objects[1:-1]
    if domain == "free":
        high = max(high, 1 / max(low, 0.1))
        low, middle = 1 / high, 1.0
    if low >= 0.5 / _LONGER and high <= 2 * _LONGER:
        return ()
    return tuple(dict.fromkeys(float(f"{min(10.0, max(0.1, shape)):.2g}") for shape in (low, middle, high)))


def _resized(sizes: tuple[float, ...], measured: Fingerprint, resize: Resize) -> tuple[float, ...]:
    before = (round(measured.short), round(measured.long))
    factor = resize.size_of(before)[1] / before[1]
    return tuple(size * factor for size in sizes)


def crop_for(measured: Fingerprint, resize: Resize, gpu: bool, reasons: list[str]) -> tuple[int, int]:
    """Squares of the area of a typical picture, within what the device can work through.

    Without a GPU no wider than eight large objects side by side: of smaller crops more fit into the time.
    """
    side, (height, width) = whole_crop(measured, resize, gpu), _typical(measured, resize)
    why = f"a typical picture is {height} x {width}"
    large = _resized(measured.object_sizes, measured, resize)[-1:]
    enough = max(_LEAST_CROP, whole(_OBJECTS_ACROSS * large[0], 32)) if large else side
    if enough < side and not gpu:
        side, why = enough, f"large objects are {large[0]:.0f} across; {why}"
    reasons.append(f"training crops of {side} x {side}: {why}")
    return side, side


def whole_crop(measured: Fingerprint, resize: Resize, gpu: bool) -> int:
    """The side of a square of a typical picture's area, within what the device can work through."""
    height, width = _typical(measured, resize)
    return min(1024 if gpu else 512, max(64, whole(math.sqrt(height * width), 32)))


def _typical(measured: Fingerprint, resize: Resize) -> tuple[int, int]:
    return resize.size_of((round(measured.short), round(measured.long)))


def whole(side: float, part: int) -> int:
    """The side, or the next larger one that has whole parts."""
    return part * math.ceil(side / part)


def _rate(optimizer: Optimizer, pictures: int, fresh: bool, reasons: list[str]) -> float:
    adamw = 2e-3 * math.sqrt(pictures / 8) if fresh else 1e-4 * math.sqrt(pictures / 16)
    rate = 0.02 * pictures / 16 if optimizer == "sgd" else adamw
    reasons.append(f"lr {rate:.3g} for {pictures} pictures per step")
    return rate


def demo_recipe(data: str, out: str, *, seed: int = 0) -> TrainConfig:
    """A small Mask R-CNN that learns the synthetic shapes of 128 x 128 pixels in minutes on two CPU cores.

    The smallest encoder and small batches, for more steps at the same cost, and more pictures rather than more rounds.
    Shapes hide at most a third of each other, so boxes that overlap by more are of the same one.
    """
    return TrainConfig(
        data=data,
        out=out,
        model=mask_rcnn_small(
            encoder="mobilenetv3_small_100", box_samples=32, nms=0.3, max_detections=20, rpn_post_nms=(200, 100)
        ),
        epochs=5,
        batch=4,
        size=128,
        domain="upright",
        augment=replace(Augment.none(), flip=0.5),
        optimizer="adamw",
        lr=2e-3,
        warmup_steps=100,
        clip_norm=5.0,
        ema=0.99,
        validate_every=5,
        seed=seed,
        overwrite=True,
    )
