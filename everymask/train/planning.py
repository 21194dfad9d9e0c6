"""What a training decides by measuring: the network and the rounds that fit into the time, on this machine and data."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from everymask.backends.devices import choose_device
from everymask.backends.pytorch import build_predictor
from everymask.core.processes.rank import ALONE, Rank
from everymask.data.dataset import Dataset
from everymask.errors import counted
from everymask.evaluate import evaluate
from everymask.models.base import Batch
from everymask.models.card import Card
from everymask.models.specs.any_spec import ModelSpec
from everymask.models.specs.named import with_options
from everymask.settings.config import TrainConfig
from everymask.settings.plan import Plan
from everymask.settings.schedule import seconds
from everymask.train.beginning import Beginning, Ground, check_alike, read_ground
from everymask.train.folder.logs import Log, Screen, memory, say, spent
from everymask.train.loop import fit
from everymask.train.machine.failures import machine_failures
from everymask.train.machine.gradients import wait_in_circles
from everymask.train.start import usual_source

_LONGEST_PROBE = 16.0  # seconds for all that is measured
_LEAST_LIMIT = 60.0  # below, measuring would cost too much of the time
_USUAL = 1800.0  # seconds without a GPU, where neither epochs nor a limit are set
_WARM_UP, _FEWEST = 2, 3  # steps that are not timed, and that are
# Steps from which on the better network is worth its time: in 5 minutes 20 pictures of nuclei teach ResNet-18 more by
# 750 steps of 3 of them than MobileNetV3 by 520 of 6 (docs/results.md).
_ENOUGH = 600
_LEAST_BATCH = 3
_VALIDATING = 0.15  # the largest part of the time for validations
_MOST_VALIDATIONS = 20
_JUDGED = 4  # validation pictures that are timed
_CLEARLY = 0.9  # of the time with all threads: as much as half of them may take to be chosen


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured of a training: seconds of an optimizer step and of a validation, and the most memory in MB."""

    step: float
    validation: float
    memory: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a training decides, how fast it was, and what is expected of all of it: steps, seconds until the last of
    them, and the most memory in MB.
    """

    plan: Plan
    notes: tuple[str, ...]
    speed: Speed
    steps: int
    seconds: float
    memory: float


def begin(
    given: TrainConfig, dataset: Dataset | None, folder: Path, device: torch.device, screen: Console, rank: Rank
) -> Beginning:
    """Read the data and the weights and decide everything; what cannot work is refused here.

    Where the rounds or the network are open and there is a `time_limit`, or no GPU, the speed of this machine is
    measured first. Without a limit half an hour is planned for; it is the rounds that then end the training, not the
    clock.
    """
    with rank.first_on_machine():
        ground = read_ground(given, dataset, folder, device, screen, rank, learns=True)
    check_alike(ground)
    told = partial(say, screen)
    return _decide(given, ground, partial(usual_source, say=told), told)[0]


def forecast(config: TrainConfig, *, dataset: Dataset | None = None, console: Console | None = None) -> Forecast:
    """What `train` would decide, with a short measurement and without training; weights come from the cache alone.

    Errors as in `train`.
    """
    device, screen = choose_device(config.device), console or Screen(stderr=True)
    with machine_failures():
        ground = read_ground(config, dataset, Path(config.out), device, screen, ALONE, learns=False)
        begun, speed = _decide(config, ground, partial(usual_source, say=None), partial(say, screen))
        speed = speed or probe(begun, device, _LONGEST_PROBE / 2)
    plan, steps = begun.plan, begun.plan.epochs * begun.order.steps_per_epoch
    validations = plan.epochs // plan.validate_every + (plan.epochs % plan.validate_every > 0)
    expected = steps * speed.step + max(0, validations - 1) * speed.validation
    if expected > plan.time_limit:
        steps = round(steps * plan.time_limit / expected)
    return Forecast(plan, begun.notes, speed, steps, min(expected, plan.time_limit), speed.memory)


def _decide(
    given: TrainConfig, ground: Ground, find: Any, tell: Callable[[str], None]
) -> tuple[Beginning, Speed | None]:
    """Everything, and how fast it is where that was measured."""
    config, source, speed = ground.config, ground.source, None
    notes: tuple[str, ...] = ()
    budget, rank = _budget(given, ground), ground.rank
    timed = _LEAST_LIMIT <= budget < math.inf and not given.resume and (ground.network_open or given.epochs is None)
    if timed:
        tell("measuring for some seconds how fast this machine learns from these pictures ...")
    if timed and given.gradient_threads is None:
        config, notes = rank.told(partial(_with_threads, config, replace(ground, rank=rank.apart()), budget, tell))
    if timed and ground.network_open:
        config, said = rank.told(partial(_fastest_enough, config, replace(ground, rank=rank.apart()), budget, tell))
        notes = (*notes, *said)
    if source is None and not given.resume:
        assert config.network is not None
        with rank.first_on_machine():
            source, lost = find(config.weights, config.network, ground.measured.channels)
        notes = (*notes, *lost)
        config = replace(config, model=source.spec or config.model) if source else config
    begun = ground.decided(config, source, notes)
    if timed and given.epochs is None:
        config, fitted, speed = rank.told(partial(_fitted, config, begun, ground.device, budget, tell))
        begun = ground.decided(config, source, (*notes, fitted))
    return begun, speed


def _budget(given: TrainConfig, ground: Ground) -> float:
    """Seconds that a training may take: the limit, or what is usual where it has no other end and no GPU."""
    if given.time_limit is not None:
        return seconds(given.time_limit)
    return _USUAL if given.epochs is None and not _is_gpu(ground) else math.inf


def _with_threads(
    config: TrainConfig, ground: Ground, limit: float, tell: Callable[[str], None]
) -> tuple[TrainConfig, tuple[str, ...]]:
    """The settings with half of the threads for gradients where that is clearly faster, as others use the cores."""
    network = config.network if not ground.network_open else ground.task.candidates(_is_gpu(ground))[-1]
    share = min(_LONGEST_PROBE / 4, limit / 40)
    whole = ground.decided(replace(config, model=network), None)
    if not wait_in_circles(ground.device, bf16=whole.plan.bf16):
        return config, ()
    halved = replace(config, gradient_threads="half")
    fewer = ground.decided(replace(halved, model=network), None)
    tell("... gradients with all threads, and with half of them")
    slow, fast = (probe(trial, ground.device, share, validate=False).step for trial in (whole, fewer))
    if fast > _CLEARLY * slow:
        return config, ()
    why = (
        f"gradients take half of the threads, as other programs use the cores too: a step takes {fast:.2g} s, with all "
        f"of them {slow:.2g} s"
    )
    return halved, (why,)


def _fastest_enough(
    config: TrainConfig, ground: Ground, limit: float, tell: Callable[[str], None]
) -> tuple[TrainConfig, tuple[str, ...]]:
    """The settings with the best network that makes enough steps in the time, or else with the fastest one.

    Without a GPU half the pictures make a step in about half the time, and more steps teach more than larger ones.
    """
    head = getattr(config.network, "head", None)
    networks = [with_options(network, None, None, head) for network in ground.task.candidates(_is_gpu(ground))]
    share = min(_LONGEST_PROBE / 2, limit / 20) / len(networks)
    found: list[tuple[ModelSpec, int, float]] = []
    # The lightest first: the most memory that a process had never falls.
    for network in reversed(networks):
        tell(f"... {type(network).__name__} with {network.encoder}")
        trial = ground.decided(replace(config, model=network), None)
        least = 2 * max(_LEAST_BATCH, ground.rank.count)
        batch, steps = trial.plan.batch, limit / probe(trial, ground.device, share, validate=False).step
        while config.batch is None and not _is_gpu(ground) and steps < _ENOUGH and batch >= least:
            batch, steps = batch // 2, 2 * steps
        found.insert(0, (network, batch, steps))
    enough = [one for one in found if one[2] >= _ENOUGH]
    network, batch, _ = enough[0] if enough else max(found, key=lambda one: one[2])
    told = ", ".join(f"about {steps:,.0f} steps of {size} with {one.encoder}" for one, size, steps in found)
    why = f"as enough steps ({_ENOUGH}) fit into" if enough else f"the fastest, as {_ENOUGH} steps do not fit into"
    note = f"{type(network).__name__} with {network.encoder} and batches of {batch}, {why} {spent(limit)}: {told}"
    return replace(config, model=network, batch=batch), (note,)


def _fitted(
    config: TrainConfig, begun: Beginning, device: torch.device, limit: float, tell: Callable[[str], None]
) -> tuple[TrainConfig, str, Speed]:
    """The settings with as many epochs as fit into the time, and validations that take little of it; why, and how fast
    it is.

    With a limit there may be a few more: the learning rate then follows the clock, so that it falls to its end in time.
    """
    tell("... the training as it was decided, and its validation")
    speed = probe(begun, device, min(_LONGEST_PROBE / 2, limit / 20))
    each = max(speed.validation, 1e-9)
    validations = int(min(_MOST_VALIDATIONS, max(1, _VALIDATING * limit // each)))
    # The last one may come when the time is over.
    steps = max(1.0, (limit - (validations - 1) * speed.validation) / speed.step)
    rounds = steps / begun.order.steps_per_epoch
    fitting = round(rounds) if config.time_limit is None else math.ceil(1.1 * rounds)
    epochs = max(1, min(begun.plan.epochs, fitting))
    # As many as a training of this length is validated without a limit, or fewer.
    every = config.validate_every or max(1, epochs // 20, math.ceil(epochs / validations))
    said = (
        f"{counted(epochs, 'epoch')}: a step takes {speed.step:.2g} s, so that about {steps:,.0f} steps fit into "
        f"{spent(limit)}"
    )
    if config.time_limit is None:
        said += ", the usual time without a GPU (more learn more: --epochs, or --time-limit 2h)"
    return replace(config, epochs=epochs, validate_every=every), said, speed


class _Enough(Exception):
    """The probe has seen enough steps."""


def probe(begun: Beginning, device: torch.device, budget: float, *, validate: bool = True) -> Speed:
    """How fast a training runs: its own loop for some steps, and if wanted the validation of some pictures.

    It takes `budget` seconds or a little more, and what `begun.module` learns in it is of no use.
    """
    times: list[float] = []
    passes, order = begun.order.passes, replace(begun.order, rank=begun.order.rank.apart())

    def watched(first: int, last: int) -> Iterator[Batch]:
        began, source = time.monotonic(), begun.batches(device, first, last)
        if begun.module.kept is not None:
            source = repeat(next(source))  # most steps of a training are of pictures that were seen
        while True:
            times.append(time.monotonic())
            steps = (len(times) - 1) / passes
            if steps >= _WARM_UP + _FEWEST and times[-1] - began > 0.75 * budget:
                raise _Enough
            yield next(source)

    # More rounds than there is time for: the loop must not end by itself.
    endless = replace(begun.plan, epochs=1_000_000, time_limit=math.inf, patience=math.inf, resume=False)
    with tempfile.TemporaryDirectory() as name, suppress(_Enough):
        quiet = Console(quiet=True)
        with Log(Path(name), quiet, tensorboard=False) as log:
            ended = fit(begun.module, order, watched, endless, folder=Path(name), device=device, log=log)
        if ended.reason == "interrupted":
            raise KeyboardInterrupt
    first = _WARM_UP * passes
    step = (times[-1] - times[first]) / (len(times) - 1 - first) * passes
    validation = _validation(begun, device) if begun.val and validate else 0.0
    return Speed(step, validation, memory(device))


def _validation(begun: Beginning, device: torch.device) -> float:
    """Seconds to validate, from some of the pictures."""
    assert begun.val is not None
    card = Card(begun.plan.model, begun.labels, begun.plan.preprocess)
    predictor = build_predictor(begun.module, card, str(device), precision="auto" if begun.plan.bf16 else "exact")
    some = replace(begun.val, records=begun.val.records[:_JUDGED])
    evaluate(predictor, replace(some, records=some.records[:1]))
    began = time.monotonic()
    evaluate(predictor, some, batch=8 if device.type == "cuda" else 1)
    return (time.monotonic() - began) / len(some) * len(begun.val)


def _is_gpu(ground: Ground) -> bool:
    return ground.device.type == "cuda"
