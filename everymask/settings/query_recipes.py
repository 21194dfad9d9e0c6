"""Settings that suit a network of queries, RF-DETR too, and its data set, each with its reason."""

from __future__ import annotations

import math
from dataclasses import replace

from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.fingerprint import Fingerprint
from everymask.errors import ConfigError
from everymask.models.specs.detr import DETR_KINDS, RFDETR, DetrModelSpec, rf_detr_seg_tiny
from everymask.models.specs.queries import EoMT, QueryModelSpec
from everymask.settings.config import TrainConfig
from everymask.settings.facts import Facts, Start, model_of, prepared_for, settled, steps_of, turned, usual_epochs
from everymask.settings.plan import InstanceSettings, Plan, TaskSettings, plan_of
from everymask.settings.recipes import DETECTOR_STEPS, crop_for, whole, whole_crop

_LONGEST = 1333
_STEPS = 12_000, 8_000, 3_000
_ENCODER_RATE, _DETR_ENCODER_RATE = 0.1, 0.25
_EMA = 0.998
_SPARE = 1.3
_DECAY, _DETR_DECAY = 0.05, 1e-4


def resolve_queries(
    config: TrainConfig, model: QueryModelSpec, measured: Fingerprint, facts: Facts, own: type[TaskSettings]
) -> Plan:
    """Choose whatever `config` leaves open for a network of queries and a data set that measures so.

    What is set stays. `own` are the settings of the model's task. `ConfigError` for panoptic data without things, and
    as in `plan_of`. Sources: AdamW with 1e-4 for 16 pictures, a tenth of it for a trained encoder, decay 0.05 and
    gradients cut at 0.01 from Mask2Former (Cheng et al. 2022); from scratch all of it learns at one rate.
    """
    reasons: list[str] = []
    config = turned(config, measured, reasons)
    start, optimizer = facts.start, config.optimizer or "adamw"
    preprocess = prepared_for(config, measured, start, reasons, longest=_LONGEST)
    spec = _spec(replace(model, channels=preprocess.channels), config, measured, facts, reasons)
    size = config.crop or crop_for(measured, preprocess.resize, facts.gpu, reasons)
    steps = steps_of(config, size, measured, facts, reasons)
    epochs = config.epochs or usual_epochs(steps.per_epoch, start, reasons, _STEPS, "a trained network")
    if isinstance(spec, EoMT) and not spec.annealing:
        spec = replace(spec, annealing=epochs * steps.per_epoch * config.accumulate)
        reasons.append("queries learn to do without masks over the whole training")
    rate, head = _rates(config, steps.pictures, start, _ENCODER_RATE, reasons)
    settings = settled(
        config,
        facts,
        steps,
        epochs,
        model=spec,
        optimizer=optimizer,
        lr=rate,
        head_lr=head,
        clip_norm=1.0 if start is None else 0.01,
        ema=_EMA if start is None else None,
        weight_decay=_DECAY,
        max_detections=spec.max_detections if spec.purpose.limited else config.max_detections,
    )
    return plan_of(settings, own, measured, preprocess, tuple(reasons))


def _spec(
    model: QueryModelSpec, config: TrainConfig, measured: Fingerprint, facts: Facts, reasons: list[str]
) -> QueryModelSpec:
    """The model with the data's things, and with queries enough for what a picture shows."""
    purpose, stuff = model.purpose, 0
    if purpose.counted:
        if not facts.things:
            raise ConfigError(
                "the data set has no things, which a panoptic network counts one by one",
                hint="say which classes are things (--things person,car), or choose --task semantic",
            )
        model, stuff = replace(model, things=facts.things), facts.num_classes - len(facts.things)
        reasons.append(f"{len(facts.things)} classes are things, {stuff} stuff")
    shown = facts.num_classes if purpose.dense else measured.max_objects + stuff
    if _SPARE * shown > model.queries:
        model = replace(model, queries=whole(_SPARE * shown, 10))
        reasons.append(f"{model.queries} queries: a picture holds up to {shown} of what they find")
    if purpose.limited:
        model = replace(model, max_detections=config.max_detections or max(model.max_detections, model.queries))
    return model


def resolve_detr(config: TrainConfig, measured: Fingerprint, facts: Facts) -> Plan:
    """Choose whatever `config` leaves open for an RF-DETR and a data set that measures so.

    What is set stays. Pictures become squares, as in all trainings of this family. From trained weights AdamW begins at
    1e-4 for 16 pictures, and at a quarter of that in the encoder, about the mean of what the authors' rates fall to
    from block to block; decay (1e-4), gradients cut at 0.1 and the average of weights (0.993) are theirs. From scratch
    all of it learns at one rate. `ConfigError` for a model of another task, and as in `plan_of`.
    """
    model = model_of(config, DETR_KINDS, rf_detr_seg_tiny())
    reasons: list[str] = []
    config = turned(config, measured, reasons)
    start = facts.start
    learned = start is not None and start.detects
    preprocess = _squares(config, model, measured, facts, reasons)
    spec = _detr_spec(replace(model, channels=preprocess.channels), config, measured, start, preprocess, reasons)
    height, width = (whole(side, spec.divisor) for side in config.crop or (preprocess.resize.long,) * 2)
    size = height, width
    steps = steps_of(config, size, measured, facts, reasons)
    epochs = config.epochs or usual_epochs(steps.per_epoch, start, reasons, DETECTOR_STEPS, "a detector")
    rate, head = _rates(config, steps.pictures, start, _DETR_ENCODER_RATE, reasons)
    settings = settled(
        config,
        facts,
        steps,
        epochs,
        model=spec,
        optimizer=config.optimizer or "adamw",
        lr=rate,
        head_lr=head,
        clip_norm=0.1 if learned else 1.0,
        ema=0.993 if learned else 0.998,
        weight_decay=_DETR_DECAY,
        max_detections=spec.max_detections,
    )
    return plan_of(settings, InstanceSettings, measured, preprocess, tuple(reasons))


def _squares(config: TrainConfig, model: RFDETR, measured: Fingerprint, facts: Facts, reasons: list[str]) -> Preprocess:
    """How pictures are fed: as squares of the side that is asked for, or of the weights', or else of a typical
    picture's area; unless `config` says how they are resized.
    """
    preprocess = prepared_for(config, measured, facts.start, reasons, longest=_LONGEST)
    if config.resize is not None:
        return replace(preprocess, divisor=model.divisor)
    if config.crop is not None:
        side = max(config.crop)
    elif facts.start is not None and facts.start.detects:
        side = facts.start.preprocess.resize.long
    else:
        side = whole_crop(measured, preprocess.resize, facts.gpu)
    side = whole(side, model.divisor)
    reasons.append(f"pictures become squares of {side} pixels")
    return replace(preprocess, resize=Resize(side, side, "sam2"), divisor=model.divisor)


def _detr_spec(
    model: DetrModelSpec,
    config: TrainConfig,
    measured: Fingerprint,
    start: Start | None,
    preprocess: Preprocess,
    reasons: list[str],
) -> DetrModelSpec:
    """The model with positions for its pictures and queries enough for what one shows; that of weights keeps both."""
    if start is None or not start.detects:
        model = replace(model, side=whole(preprocess.resize.long, model.patch))
        if _SPARE * measured.max_objects > model.queries:
            queries = whole(_SPARE * measured.max_objects, 10)
            model = replace(model, queries=queries, max_detections=max(model.max_detections, queries))
            reasons.append(f"{queries} queries: a picture holds up to {measured.max_objects} objects")
    return replace(model, max_detections=config.max_detections or model.max_detections)


def _rates(
    config: TrainConfig, pictures: int, start: Start | None, encoder_rate: float, reasons: list[str]
) -> tuple[float, float]:
    """The learning rate of the encoder, `encoder_rate` of that for the rest where it is trained, and how many times
    that for the rest.
    """
    if config.lr is not None:
        return config.lr, config.head_lr or 1.0
    times = config.head_lr or (1.0 if start is None else 1 / encoder_rate)
    heads = (5e-4 if start is None else 1e-4) * math.sqrt(pictures / 16)
    more = "" if times == 1 else f", {times:g} times that outside the encoder"
    reasons.append(f"lr {heads / times:.3g} for {pictures} pictures per step{more}")
    return heads / times, times
