"""Settings that suit a one-stage detector and its data set, each with its reason."""

from __future__ import annotations

import math
from dataclasses import replace

from everymask.data.fingerprint import Fingerprint
from everymask.models.specs.onestage import DIVISOR, ONE_STAGE_KINDS, YOLOX
from everymask.settings.config import TrainConfig
from everymask.settings.facts import Facts, model_of, prepared_for, settled, steps_of, turned, usual_epochs
from everymask.settings.plan import InstanceSettings, Plan, plan_of
from everymask.settings.recipes import DETECTOR_STEPS, crop_for, most_detections

_LONGEST = 1333
_CLIP = 10.0
_EMA = 0.998
_DECAY = 0.05


def resolve_one_stage(config: TrainConfig, measured: Fingerprint, facts: Facts) -> Plan:
    """Choose whatever `config` leaves open for a one-stage detector and a data set that measures so.

    What is set stays. They have norms everywhere, so that AdamW learns fast from nothing, as in RTMDet, whose decay
    (0.05) is taken, and the average of the weights is what is kept, as in all trainings of this family. `ConfigError`
    for a model of another task, and as in `plan_of`.
    """
    model = model_of(config, ONE_STAGE_KINDS, YOLOX())
    reasons: list[str] = []
    config = turned(config, measured, reasons)
    start = facts.start
    # What the published weights predict in, a whole square, would only be padding for training's own squares.
    preprocess = replace(prepared_for(config, measured, start, reasons, longest=_LONGEST), divisor=DIVISOR)
    profile = model.profile if start is not None and start.detects else type(model.profile)()
    most = most_detections(config, model.max_detections, measured, reasons)
    spec = replace(model, channels=preprocess.channels, profile=profile, max_detections=most)
    size = config.crop or crop_for(measured, preprocess.resize, facts.gpu, reasons)
    steps = steps_of(config, size, measured, facts, reasons)
    epochs = config.epochs or usual_epochs(steps.per_epoch, start, reasons, DETECTOR_STEPS, "a detector")
    lr = config.lr or _rate(config, steps.pictures, learned=start is not None and start.detects, reasons=reasons)
    settings = settled(
        config,
        facts,
        steps,
        epochs,
        model=spec,
        optimizer=config.optimizer or "adamw",
        lr=lr,
        head_lr=config.head_lr or 1.0,
        clip_norm=_CLIP,
        ema=_EMA,
        weight_decay=5e-4 if config.optimizer == "sgd" else _DECAY,
        max_detections=most,
    )
    return plan_of(settings, InstanceSettings, measured, preprocess, tuple(reasons))


def _rate(config: TrainConfig, pictures: int, *, learned: bool, reasons: list[str]) -> float:
    """Of SGD YOLOX's own, 0.01 for 64 pictures; of AdamW 0.002 for 8 from scratch, a fifth where it goes on from a
    detector.
    """
    if config.optimizer == "sgd":
        rate = 0.01 * pictures / 64
    else:
        rate = (4e-4 if learned else 2e-3) * math.sqrt(pictures / 8)
    reasons.append(f"lr {rate:.3g} for {pictures} pictures per step")
    return rate
