"""Settings that suit a semantic network and its data set, each with its reason."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from everymask.data.feed.augment import Augment
from everymask.data.feed.preprocess import Resize
from everymask.data.fingerprint import Fingerprint
from everymask.models.specs.change import ChangeModelSpec
from everymask.models.specs.semantic import MIT_ENCODERS, SEMANTIC_KINDS, SemanticModelSpec, UNet
from everymask.settings.config import Optimizer, TrainConfig
from everymask.settings.facts import Facts, Start, model_of, prepared_for, settled, steps_of, turned, usual_epochs
from everymask.settings.plan import Plan, SemanticSettings, TaskSettings, plan_of

LONGEST = 2048
"""Longer pictures are shrunk to that."""
_STEPS = 8_000, 4_000, 2_000
_SCALE = (0.5, 2.0)
_HEAD_LR = 10.0

AnyPixels = TypeVar("AnyPixels", bound=SemanticModelSpec | ChangeModelSpec)


def resolve_semantic(config: TrainConfig, measured: Fingerprint, facts: Facts) -> Plan:
    """Choose whatever `config` leaves open for a semantic network and a data set that measures so.

    What is set stays. `measured` is of the training pictures. `ConfigError` for a model of another task, and as in
    `plan_of`. Sources: resizing factors and crops as in DeepLab and its successors (Chen et al. 2017); the sum of
    cross-entropy and Dice for two classes from nnU-Net (Isensee et al. 2021); AdamW's decay and the rates of
    transformers from SegFormer (Xie et al. 2021): 6e-5 for a trained encoder and ten times that for its decoder; from
    scratch all of it learns at their geometric middle.
    """
    return resolve_pixels(config, measured, facts, SEMANTIC_KINDS, UNet(), SemanticSettings)


def resolve_pixels(
    config: TrainConfig,
    measured: Fingerprint,
    facts: Facts,
    kinds: Mapping[str, type[AnyPixels]],
    usual: AnyPixels,
    own: type[TaskSettings],
    *,
    dates: int = 1,
) -> Plan:
    """The plan of a network of one of the `kinds` that has an answer for every pixel of pictures of so many `dates`.

    `usual` is the network where none is named, `own` are the settings of its task.
    """
    model = model_of(config, kinds, usual)
    reasons: list[str] = []
    config = turned(replace(config, augment=_augment(config.augment, reasons)), measured, reasons)
    start, optimizer = facts.start, config.optimizer or "adamw"
    preprocess = replace(prepared_for(config, measured, start, reasons, longest=LONGEST), dates=dates)
    size = config.crop or _size(measured, preprocess.resize, facts.gpu, reasons)
    steps = steps_of(config, size, measured, facts, reasons, least=4)
    epochs = config.epochs or usual_epochs(steps.per_epoch, start, reasons, _STEPS, "a trained network")
    spec = replace(model, channels=preprocess.channels)
    loss = config.loss or _loss(spec, facts.num_classes, reasons)
    rate, head = config.lr, config.head_lr or 1.0
    if rate is None:
        rate, head = _rates(optimizer, config.head_lr, spec, steps.pictures, start, reasons)
    settings = settled(
        config,
        facts,
        steps,
        epochs,
        model=spec,
        optimizer=optimizer,
        loss=loss,
        lr=rate,
        head_lr=head,
        weight_decay=1e-4 if optimizer == "sgd" else 0.01,
    )
    return plan_of(settings, own, measured, preprocess, tuple(reasons))


def _size(measured: Fingerprint, resize: Resize, gpu: bool, reasons: list[str]) -> tuple[int, int]:
    """Crops as large as a typical picture, in whole strides of 32, within what the device can work through."""
    height, width = resize.size_of((round(measured.short), round(measured.long)))
    limit = 1024 if gpu else 512
    sides = [min(limit, max(64, 32 * (side // 32))) for side in (height, width)]
    if measured.tall > 0.5:
        sides.reverse()
        height, width = width, height
    reasons.append(f"training crops of {sides[0]} x {sides[1]}: a typical picture is {height} x {width}")
    return sides[0], sides[1]


def _augment(augment: Augment, reasons: list[str]) -> Augment:
    if augment.scale != Augment().scale:
        return augment
    reasons.append(f"pictures are resized by {_SCALE[0]:g} to {_SCALE[1]:g}")
    return replace(augment, scale=_SCALE)


def _loss(spec: SemanticModelSpec | ChangeModelSpec, num_classes: int, reasons: list[str]) -> str:
    """Cross-entropy; where one class is the background of the other, Dice keeps small objects from being forgotten."""
    rare = spec.head == "from-to" or (num_classes <= 2 and spec.head != "multilabel")
    text = "ce+dice" if rare else "ce"
    what = "what changed, and cross-entropy for what was and is there" if spec.head == "from-to" else ""
    reasons.append(f"loss {text} for {what or f'{num_classes} classes'}")
    return text


def _rates(
    optimizer: Optimizer,
    asked: float | None,
    spec: SemanticModelSpec | ChangeModelSpec,
    pictures: int,
    start: Start | None,
    reasons: list[str],
) -> tuple[float, float]:
    """The learning rate, and how many times that (`asked`, where it is set) for all that is not the encoder."""
    transformer, head = spec.encoder in MIT_ENCODERS, asked or 1.0
    if optimizer == "sgd":
        rate = 0.01 * pictures / 16
    elif start is None:
        rate = (2e-4 if transformer else 1e-3) * math.sqrt(pictures / 16)
    else:
        rate = (6e-5 if transformer else 3e-4) * math.sqrt(pictures / 16)
        head = asked or (_HEAD_LR if transformer else 1.0)
    more = "" if head == 1 else f", {head:g} times that outside the encoder"
    reasons.append(f"lr {rate:.3g} for {pictures} pictures per step{more}")
    return rate, head
