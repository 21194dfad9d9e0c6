"""Settings that suit a network of queries and its data set, each with its reason."""

from __future__ import annotations

import math
from dataclasses import replace

from everymask.data.fingerprint import Fingerprint
from everymask.errors import ConfigError
from everymask.models.specs.queries import EoMT, QueryModelSpec
from everymask.settings.config import TrainConfig
from everymask.settings.facts import Facts, Start, batch_for, prepared_for, turned, with_machine
from everymask.settings.plan import Plan, TaskSettings, plan_of
from everymask.settings.recipes import crops_of

_LONGEST = 1333
_ENCODER_RATE = 0.1
_EMA = 0.998
_SPARE = 1.3
_DECAY = 0.05


def resolve_queries(
    config: TrainConfig, model: QueryModelSpec, measured: Fingerprint, facts: Facts, own: type[TaskSettings]
) -> Plan:
    """Choose whatever `config` leaves open for a network of queries and a data set that measures so.

    What is set stays. `own` are the settings of the model's task. `ConfigError` for panoptic data without things, and
    as in `plan_of`. Sources: AdamW with 1e-4 for 16 pictures, a tenth of it for a trained encoder, decay 0.05 and
    gradients cut at 0.01 from Mask2Former (Cheng et al. 2022); from scratch all of it learns at one rate.
    """
    reasons: list[str] = []
    start, optimizer = facts.start, config.optimizer or "adamw"
    preprocess = prepared_for(config, measured, start, reasons, longest=_LONGEST)
    spec = _spec(replace(model, channels=preprocess.channels), config, measured, facts, reasons)
    size = config.crop or crops_of(measured, preprocess.resize, facts.gpu, reasons)
    batch = config.batch or batch_for(size, measured.pictures // config.accumulate, facts, reasons)
    pictures = batch * config.accumulate
    steps_per_epoch = max(1, measured.pictures // pictures)
    epochs = config.epochs or _epochs(steps_per_epoch, start, reasons)
    if isinstance(spec, EoMT) and not spec.annealing:
        spec = replace(spec, annealing=epochs * steps_per_epoch * config.accumulate)
        reasons.append("queries learn to do without masks over the whole training")
    rate, head = _rates(config, pictures, start, reasons)
    settings = replace(
        with_machine(config, facts),
        model=spec,
        optimizer=optimizer,
        size=size,
        batch=batch,
        epochs=epochs,
        augment=turned(config.augment, config.domain, reasons),
        lr=rate,
        head_lr=head,
        clip_norm=_clip(start) if config.clip_norm is None else config.clip_norm,
        ema=_EMA if config.ema is None and start is None else config.ema,
        weight_decay=_DECAY if config.weight_decay is None else config.weight_decay,
        warmup_steps=min(500, epochs * steps_per_epoch // 10) if config.warmup_steps is None else config.warmup_steps,
        validate_every=config.validate_every or max(1, epochs // 20),
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
        model = replace(model, queries=10 * math.ceil(_SPARE * shown / 10))
        reasons.append(f"{model.queries} queries: a picture holds up to {shown} of what they find")
    if purpose.limited:
        model = replace(model, max_detections=config.max_detections or max(model.max_detections, model.queries))
    return model


def _epochs(steps_per_epoch: int, start: Start | None, reasons: list[str]) -> int:
    steps, words = (12_000, "from scratch") if start is None else (8_000, "from an encoder")
    if start is not None and start.detects:
        steps, words = 3_000, "from a trained network"
    epochs = min(300, max(10, math.ceil(steps / steps_per_epoch)))
    reasons.append(f"{epochs} epochs of {steps_per_epoch} steps: about {steps:,} steps are usual {words}")
    return epochs


def _clip(start: Start | None) -> float:
    return 1.0 if start is None else 0.01


def _rates(config: TrainConfig, pictures: int, start: Start | None, reasons: list[str]) -> tuple[float, float]:
    """The learning rate of the encoder, and how many times that for the rest."""
    if config.lr is not None:
        return config.lr, config.head_lr or 1.0
    times = config.head_lr or (1.0 if start is None else 1 / _ENCODER_RATE)
    heads = (5e-4 if start is None else 1e-4) * math.sqrt(pictures / 16)
    more = "" if times == 1 else f", {times:g} times that outside the encoder"
    reasons.append(f"lr {heads / times:.3g} for {pictures} pictures per step{more}")
    return heads / times, times
