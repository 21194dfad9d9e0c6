"""What recipes know besides what was asked, and what they choose alike for every task."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

from everymask.data.feed.preprocess import Preprocess, Resize, Size
from everymask.data.fingerprint import Fingerprint
from everymask.errors import ConfigError
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.named import with_options
from everymask.settings.config import TrainConfig
from everymask.settings.plan import Plan

_TURNED = 0.5, 0.75
_MANY_EPOCHS, _FEW_STEPS = 300, 3_000
_LEFT_OPEN = ("weight_decay", "clip_norm", "ema")

Model = TypeVar("Model", bound=ModelSpec)


@dataclass(frozen=True, slots=True)
class Start:
    """Where weights come from: how they want to be fed, and whether they are a whole network's (`detects`) or only an
    encoder's.

    An encoder's first layer is adapted where pictures have other channels, a whole network's only if it `adapts`.
    """

    preprocess: Preprocess
    detects: bool
    adapts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Of the data set how many classes it has, and which of them are `things`; of the machine whether a `gpu` trains,
    whether it calculates in bfloat16 (`bf16`) and how many `threads` it has to itself; how many `processes` share each
    batch; and the weights to `start` from (None: from scratch).
    """

    num_classes: int
    things: tuple[int, ...] = ()
    gpu: bool = False
    bf16: bool = False
    threads: int = 1
    start: Start | None = None
    processes: int = 1


Recipe: TypeAlias = Callable[[TrainConfig, Fingerprint, Facts], Plan]
"""Chooses what the settings leave open, for training pictures that measure so. What is set stays."""


def model_of(config: TrainConfig, kinds: Mapping[str, type[Model]], usual: Model) -> Model:
    """The model of `config`, or the `usual` one; `ConfigError` where it is none of the `kinds` that a recipe is for."""
    model = config.network or with_options(usual, config.encoder, config.norm, config.head)
    for kind in kinds.values():
        if isinstance(model, kind):
            return model
    raise ConfigError(f"this recipe is for {', '.join(kinds)}, but the model is {type(model).__name__}")


def with_machine(config: TrainConfig, facts: Facts) -> TrainConfig:
    """Precision, number of workers and of threads as the machine has them."""
    precision = config.precision
    if precision == "auto":
        precision = "bf16" if facts.bf16 else "fp32"
    # On a CPU the network takes every core there is; more processes would only share them.
    workers = min(8, facts.threads) if facts.gpu else 0
    return replace(
        config,
        precision=precision,
        workers=workers if config.workers is None else config.workers,
        gradient_threads=config.gradient_threads or "all",
    )


def prepared_for(
    config: TrainConfig, measured: Fingerprint, start: Start | None, reasons: list[str], *, longest: int
) -> Preprocess:
    """How pictures are fed: as `config` or the weights say, or normalised as measured and at most `longest` wide."""
    resize = Resize(short=1, long=longest, rule="shrink")
    if config.resize is not None:
        resize = Resize(*config.resize)
    elif start is not None and start.detects:
        resize = start.preprocess.resize
        sides = "" if resize.rule == "shrink" else f"short side {resize.short}, "
        reasons.append(f"pictures are resized as for the weights: {sides}at most {resize.long}")
    elif measured.long > longest:
        reasons.append(f"pictures are shrunk to {longest} pixels where they are longer")
    adapts = start is not None and (start.adapts or not start.detects)
    if start is not None and adapts and measured.channels not in (1, start.preprocess.channels):
        reasons.append(f"the encoder's first layer is adapted to {measured.channels} channels, normalised as measured")
    elif start is not None:
        # Grey is repeated, and three channels may turn out to be equal.
        if {measured.channels, start.preprocess.channels} not in ({measured.channels}, {1, 3}):
            raise ConfigError(
                f"the weights are for pictures with {start.preprocess.channels} channels, but these have "
                f"{measured.channels}",
                hint='start from "imagenet", whose first layer is adapted, or from scratch',
            )
        scale = start.preprocess.scale if measured.dtype == "uint8" else start.preprocess.scale / 255 * measured.scale
        return replace(start.preprocess, resize=resize, scale=scale)
    return Preprocess(measured.channels, measured.scale, measured.mean, measured.std, resize)


def turned(config: TrainConfig, measured: Fingerprint, reasons: list[str]) -> TrainConfig:
    """With turns and mirroring top-bottom where pictures have no up, as is set or measured. What is set of the two
    stays.
    """
    domain, augment = config.domain or measured.domain, config.augment
    if domain == "free" and not (augment.vertical or augment.rotate):
        told = "" if config.domain else ", by what the measured ones show (else --domain upright)"
        reasons.append(f"pictures are turned and mirrored top-bottom too, as they have no up{told}")
        augment = replace(augment, vertical=_TURNED[0], rotate=_TURNED[1])
    return replace(config, domain=domain, augment=augment)


def batch_for(size: Size, most: int, facts: Facts, reasons: list[str], *, least: int = 2) -> int:
    """As many pictures as make 4 megapixels on a GPU, half a megapixel on a CPU; `least` to 16; at most `most`.

    Several GPUs get as many each. Several processes on CPUs share a batch, of equal parts.
    """
    gpu, processes = facts.gpu, facts.processes
    pixels = 16 * 512**2 if gpu else 8 * 256**2
    each = min(16, max(least, pixels // (size[0] * size[1])))
    each = each if gpu else -(-each // processes)
    batch = max(1, min(each, most // processes)) * processes
    where = ("GPU" if gpu else "CPU") if processes == 1 else f"{processes} {'GPUs' if gpu else 'processes'}"
    reasons.append(f"batches of {batch} for crops of {size[0]} x {size[1]} on {'' if processes > 1 else 'a '}{where}")
    return batch


@dataclass(frozen=True, slots=True)
class Steps:
    """Training crops of a `size`, so many at once (`batch`), so many (`pictures`) for each of the optimizer's steps, of
    which an epoch has `per_epoch`.
    """

    size: Size
    batch: int
    pictures: int
    per_epoch: int


def steps_of(
    config: TrainConfig, size: Size, measured: Fingerprint, facts: Facts, reasons: list[str], *, least: int = 2
) -> Steps:
    """The steps with crops of that size; `least` as in `batch_for`."""
    batch = config.batch or batch_for(size, measured.pictures // config.accumulate, facts, reasons, least=least)
    pictures = batch * config.accumulate
    return Steps(size, batch, pictures, max(1, measured.pictures // pictures))


def usual_epochs(
    per_epoch: int, start: Start | None, reasons: list[str], usual: tuple[int, int, int], trained: str
) -> int:
    """Rounds of so many steps each that make the `usual` number of steps: from scratch, from an encoder, and from what
    is called `trained`, a whole network.

    Few pictures are not seen thousands of times: after 300 rounds as many steps are enough as a network takes to learn
    anything.
    """
    steps, words = (usual[0], "scratch") if start is None else (usual[1], "an encoder")
    if start is not None and start.detects:
        steps, words = usual[2], trained
    most = max(_MANY_EPOCHS, math.ceil(_FEW_STEPS / per_epoch))
    epochs = min(most, max(10, math.ceil(steps / per_epoch)))
    reasons.append(f"{epochs} epochs of {per_epoch} steps: about {steps:,} steps are usual from {words}")
    return epochs


def settled(
    config: TrainConfig, facts: Facts, steps: Steps, epochs: int, *, warmup: int = 500, **chosen: Any
) -> TrainConfig:
    """The settings with all that recipes settle alike, and with what this one has `chosen`.

    `warmup` is the most steps of that. Of the weight decay, norm of gradients and average of weights that it chose only
    those count that `config` leaves open.
    """
    left = {name: value for name, value in chosen.items() if name not in _LEFT_OPEN or getattr(config, name) is None}
    shortest = min(warmup, epochs * steps.per_epoch // 10)
    return replace(
        with_machine(config, facts),
        size=steps.size,
        batch=steps.batch,
        epochs=epochs,
        warmup_steps=shortest if config.warmup_steps is None else config.warmup_steps,
        validate_every=config.validate_every or max(1, epochs // 20),
        **left,
    )
