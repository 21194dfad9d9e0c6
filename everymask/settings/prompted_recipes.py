"""Settings that suit a network that answers prompts and its data set, each with its reason."""

from __future__ import annotations

import math
from dataclasses import replace

from everymask.data.feed.augment import Augment
from everymask.data.feed.preprocess import Resize
from everymask.data.fingerprint import Fingerprint
from everymask.errors import ConfigError
from everymask.models.specs.prompted import (
    PROMPTED_KINDS,
    SAM,
    PromptedModelSpec,
    PromptedSmall,
    prompted_preprocess,
)
from everymask.settings.config import TrainConfig
from everymask.settings.facts import Facts, Start, model_of, prepared_for, settled, steps_of, turned
from everymask.settings.plan import Plan, PromptedSettings, plan_of
from everymask.settings.schedule import layer_phases

_ANY = 1 << 30
_LARGEST = 512
_STEPS = 3_000
_BATCH = 4
_FINE_TUNED = 1_500


def resolve_prompted(config: TrainConfig, measured: Fingerprint, facts: Facts) -> Plan:
    """Choose whatever `config` leaves open for a network that answers prompts and a data set that measures so.

    What is set stays. `ConfigError` for a model of another task, for a side that the weights do not have, and as in
    `plan_of`. Sources: AdamW and the losses as SAM (Kirillov et al. 2023); fine-tuning at 1e-4.
    """
    reasons: list[str] = []
    start = facts.start
    whole = start is not None and start.detects
    model = model_of(config, PROMPTED_KINDS, PromptedSmall())
    config = _varied(config, model, measured, whole, reasons)
    spec = _sized(model, config, measured, start, reasons)
    if start is not None:  # whose own resizing is that of any network of its kind
        start = replace(start, preprocess=replace(start.preprocess, resize=Resize(1, spec.side, "shrink")))
    fed = prepared_for(config, measured, start, reasons, longest=_ANY)
    spec = replace(spec, channels=fed.channels)
    usual = prompted_preprocess(spec)
    preprocess = replace(fed, resize=usual.resize, divisor=usual.divisor)
    if config.batch is None and isinstance(spec, PromptedSmall) and not facts.gpu and not whole:
        config = replace(
            config,
            batch=max(1, min(_BATCH, measured.pictures // (facts.processes * config.accumulate))) * facts.processes,
        )
        reasons.append(f"batches of {config.batch} on a CPU: many small steps, which a network from scratch needs")
    steps = steps_of(config, (spec.side, spec.side), measured, facts, reasons)
    epochs = config.epochs or _epochs(steps.per_epoch, whole, reasons)
    share = steps.pictures / 8
    lr = config.lr or (1e-4 * math.sqrt(share) if whole else 5e-3 * math.sqrt(min(1.0, share)))
    if config.lr is None:
        reasons.append(f"lr {lr:.3g} for {steps.pictures} pictures per step")
    settings = settled(
        _in_float32(config, spec, facts, reasons),
        facts,
        steps,
        epochs,
        warmup=250 if whole else 50,
        model=spec,
        optimizer=config.optimizer or "adamw",
        lr=lr,
        head_lr=config.head_lr or 1.0,
        clip_norm=5.0,
        ema=None if whole else 0.99,
        weight_decay=0.05,
    )
    return plan_of(settings, PromptedSettings, measured, preprocess, tuple(reasons))


def _sized(
    model: PromptedModelSpec, config: TrainConfig, measured: Fingerprint, start: Start | None, reasons: list[str]
) -> PromptedModelSpec:
    """The model with the side of the square that it sees: as asked, as the weights have it, or as the pictures are."""
    if config.resize is not None:
        raise ConfigError(
            f"pictures are resized to the square that a {type(model).__name__} sees, and to nothing else",
            hint="leave out resize; size sets the side of the square",
        )
    whole = start is not None and start.detects
    if config.crop is not None:
        side, other = config.crop
        if side != other:
            raise ConfigError(
                f"a {type(model).__name__} sees squares, but size is {side} x {other}", hint="give one number"
            )
        placed = isinstance(model, SAM) and model.encoder != "tiny_vit"
        if whole and placed and side != model.side:
            raise ConfigError(
                f"the weights know where things are in squares of {model.side} pixels, but size is {side}",
                hint="leave out size, or start from mobile-sam or SAM 2.1, which see squares of any side",
            )
        return replace(model, side=side)
    if whole or not isinstance(model, PromptedSmall) or model.side != PromptedSmall().side:
        return model
    side = min(_LARGEST, max(64, 32 * math.ceil(measured.long / 32)))
    reasons.append(f"pictures are resized to {side} pixels: a typical one is {measured.long:.0f} long")
    return replace(model, side=side)


def _varied(
    config: TrainConfig, model: PromptedModelSpec, measured: Fingerprint, whole: bool, reasons: list[str]
) -> TrainConfig:
    """How pictures are varied: as asked; not at all where a large encoder that does not learn would see each anew."""
    fixed = whole and all(phase.selection == "heads" for phase in layer_phases(config.layers))
    if not fixed or isinstance(model, PromptedSmall) or config.augment != Augment():
        return turned(config, measured, reasons)
    reasons.append(
        "pictures are not varied, so that the encoder, which does not learn, sees each once (with any --augment option "
        "they are, and seen anew each time)"
    )
    return replace(config, domain=config.domain or measured.domain, augment=Augment.none())


def _in_float32(config: TrainConfig, spec: PromptedModelSpec, facts: Facts, reasons: list[str]) -> TrainConfig:
    """On a processor small maps cost more in bfloat16: measured, more than twice the time."""
    if config.precision != "auto" or facts.gpu or not facts.bf16 or not isinstance(spec, PromptedSmall):
        return config
    reasons.append("float32, in which small maps are faster on a processor")
    return replace(config, precision="fp32")


def _epochs(steps_per_epoch: int, whole: bool, reasons: list[str]) -> int:
    steps, words = (_FINE_TUNED, "from trained weights") if whole else (_STEPS, "from scratch or an encoder")
    epochs = min(300, max(5, math.ceil(steps / steps_per_epoch)))
    reasons.append(f"{epochs} epochs of {steps_per_epoch} steps: about {steps:,} steps are usual {words}")
    return epochs
