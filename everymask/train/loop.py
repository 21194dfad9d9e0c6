"""The training loop. Read it from top to bottom: the order on the page is the order in time.

Whoever needs another loop copies this file and keeps using its parts.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from everymask.core.files import write_json
from everymask.core.processes.rank import Rank
from everymask.errors import EverymaskError, MachineError, TrainingError, printable
from everymask.models.base import Batch, Network
from everymask.settings.plan import Plan
from everymask.settings.schedule import phase_at
from everymask.train.ema import Ema
from everymask.train.folder.layout import NONFINITE, STATE
from everymask.train.folder.logs import Log
from everymask.train.folder.progress import Progress, Reason
from everymask.train.folder.state import Training, read_state, write_state
from everymask.train.layers import frozen_parameters, select_layers
from everymask.train.loader import Order
from everymask.train.machine.gradients import gradient_threads, wait_in_circles
from everymask.train.machine.interrupt import Interrupt, catch_interrupts
from everymask.train.machine.parallel import one_pass, spread, together
from everymask.train.optim import build_optimizer, clip_gradients, learning_rate, set_rate
from everymask.train.step import TrainStep

SAVE_SECONDS = 300.0
_FIRST_SAVE = 20.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Validation:
    """`score` decides which weights are the best (higher is better); `numbers` go into the log."""

    score: float
    numbers: dict[str, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Why training ended, how far it came, the weights it ended with, and the signal that stopped it (0: none)."""

    reason: Reason
    progress: Progress
    module: nn.Module
    signal: int = 0


def fit(
    module: Network,
    order: Order,
    batches: Callable[[int, int], Iterator[Batch]],
    plan: Plan,
    *,
    folder: Path,
    device: torch.device,
    log: Log,
    validate: Callable[[nn.Module], Validation] | None = None,
    keep: Callable[[nn.Module, Validation], None] | None = None,
) -> Outcome:
    """Train `module` as planned.

    `batches(first, last)` gives the batches of those optimizer steps, `order.passes` for each. `validate` is called
    after epochs, and `keep` with weights whose score is the best so far. The state is saved in `folder / "state"`. Of
    several processes, of which this is `order.rank`, each learns from its share of a batch and validates its share of
    the pictures; the first keeps and saves; a signal, a limit or a fault that one of them meets stops all.
    `TrainingError` when a loss or the gradient is no longer finite: the weights of the step before are then saved.
    """
    total, limit, rank = plan.epochs * order.steps_per_epoch, plan.time_limit, order.rank
    phase, frozen = None, frozen_parameters(module)
    training = _begin(module, plan, device, folder, rank)
    train_step = TrainStep(module, device, bf16=plan.bf16)
    learner: nn.Module = train_step
    progress = training.progress
    log.start(progress, total, order.steps_per_epoch, limit)
    source = batches(progress.step, total)
    began, saved = time.monotonic() - progress.seconds, time.monotonic()
    signal = 0  # that has asked any of the processes for a stop
    with catch_interrupts() as interrupt:
        while True:
            epoch, position = divmod(progress.step, order.steps_per_epoch)

            # After an epoch, and at the end: how good is it?
            due = position == 0 and epoch % plan.validate_every == 0
            due = (due or progress.step == total or progress.seconds >= limit) and progress.step > progress.validated
            if validate and due and not signal:
                if progress.best is None:  # whatever room the disk has, it is for the state first
                    _save(folder, training, plan, rank, needed=False)
                try:
                    _validate(training, validate, keep, log, interrupt, rank)
                    (signal,) = map(int, rank.most(interrupt.number))
                except EverymaskError:
                    _save(folder, training, plan, rank, needed=False)
                    raise

            reason = _reason_to_stop(progress, total, plan, order, signal)
            if reason or time.monotonic() - saved > _interval(plan, progress):
                _save(folder, training, plan, rank, needed=reason is not None)
                saved = time.monotonic()
            if reason:
                return Outcome(reason, progress, training.averaged, signal)

            # Validation leaves the model in prediction mode, and a new phase trains other layers.
            if not module.training or phase != phase_at(plan.phases, epoch):
                changed, phase = phase != phase_at(plan.phases, epoch), phase_at(plan.phases, epoch)
                select_layers(module, phase.selection, frozen)
                if changed:
                    learner = together(train_step, rank)

            # With a time limit the schedule ends when the time does: what counts is the larger share of the two.
            done = max(progress.step / total, progress.seconds / limit)
            rate = learning_rate(plan, progress.step, progress.step / done if done else total)
            set_rate(training.optimizer, rate)

            try:
                step_batches = _next(source, order, rank)
            except EverymaskError:
                # A picture, or a process that prepares pictures: what was learned before is not lost with it.
                _save(folder, training, plan, rank, needed=False)
                (signal,) = map(int, rank.most(interrupt.number))
                if not signal:
                    raise
                return Outcome("interrupted", progress, training.averaged, signal)
            values = _step(training, learner, step_batches, order, plan, folder)
            progress.step += 1
            progress.seconds, number = rank.most(time.monotonic() - began, interrupt.number)
            signal = int(number)
            log.step(progress, values, rate=rate, images=order.batch * order.passes, device=device)


def _begin(module: Network, plan: Plan, device: torch.device, folder: Path, rank: Rank) -> Training:
    """Everything that a step changes, new or as the saved state left it, which must be the same for all processes."""
    # Channels last is the layout in which convolutions are fast, on GPUs and on CPUs.
    module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema = Ema(module, plan.ema) if plan.ema else None
    training = Training(module, build_optimizer(module, plan), ema, Progress())
    if plan.resume:
        read_state(folder / STATE, training, plan.settings)
    if rank.agreed(training.progress.step) != training.progress.step:
        raise MachineError(
            f"this process goes on from another step ({training.progress.step}) than the first one",
            hint=f"all processes must see the same files in {folder}, as on a shared disk",
        )
    return training


def _next(source: Iterator[Batch], order: Order, rank: Rank) -> list[Batch]:
    """The batches of a step; where one process has none for a fault, none goes on."""
    failed = True
    try:
        batches = [next(source) for _ in range(order.passes)]
        failed = False
    finally:
        rank.all_well(failed=failed)
    return batches


def _step(
    training: Training, train_step: nn.Module, batches: list[Batch], order: Order, plan: Plan, folder: Path
) -> dict[str, float]:
    """One optimizer step over all of `batches`; the mean of each loss, their sum `loss`, and `grad_norm`."""
    module, optimizer, step, rank = training.module, training.optimizer, training.progress.step, order.rank
    # The forward pass moves the statistics of batch norms; should this step fail, they go back.
    statistics = [buffer.clone() for buffer in module.buffers()]

    try:
        own = _gradients(module, train_step, batches, order, plan, step)
        table = rank.means([list(row.values()) for row in own])
    except Exception:
        # Too little memory, or a process that is lost: what was learned before is not lost with it.
        _take_back(training, statistics)
        _save(folder, training, plan, rank, needed=False)
        raise
    if not all(math.isfinite(value) for row in table for value in row):
        _take_back(training, statistics)
        _save(folder, training, plan, rank, needed=True)
        raise _not_finite(folder / NONFINITE, step, batches, own, rank)

    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if training.ema:
        training.ema.update(step)
    means = {name: sum(column) / len(own) for name, column in zip(own[0], zip(*table, strict=True), strict=True)}
    return {"loss": sum(means.values()) - means["grad_norm"]} | means


def _gradients(
    module: Network, train_step: nn.Module, batches: list[Batch], order: Order, plan: Plan, step: int
) -> list[dict[str, float]]:
    """Let the parameters have the gradients of a step; of each pass the losses of this process, and `grad_norm`."""
    passes: list[dict[str, Tensor]] = []
    for index, batch in enumerate(batches):
        # What the model samples is a function of seed, step and pass, so that a resumed run draws the same.
        generator = torch.Generator().manual_seed(order.draw(step, index))
        with one_pass(train_step, order.rank, last=index + 1 == len(batches), shared_norms=plan.sync_norm):
            losses = train_step(batch, generator)
            total = torch.stack(list(losses.values())).sum() / len(batches)
            with gradient_threads(half=plan.half_gradients and wait_in_circles(total.device, bf16=plan.bf16)):
                total.backward()
        passes.append({name: loss.detach().float() for name, loss in losses.items()})
    norm = clip_gradients(module.parameters(), plan.clip_norm)

    # The only wait for the device in a step: all numbers come over at once.
    table = torch.stack([torch.stack([*losses.values(), norm]) for losses in passes]).tolist()
    return [dict(zip([*passes[0], "grad_norm"], row, strict=True)) for row in table]


def _take_back(training: Training, statistics: list[Tensor]) -> None:
    """The weights are still those of the step before; so are the statistics again."""
    training.optimizer.zero_grad(set_to_none=True)
    for buffer, before in zip(training.module.buffers(), statistics, strict=True):
        buffer.copy_(before)


def _validate(
    training: Training,
    validate: Callable[[nn.Module], Validation],
    keep: Callable[[nn.Module, Validation], None] | None,
    log: Log,
    interrupt: Interrupt,
    rank: Rank,
) -> None:
    """Judge the weights and keep them if they are the best so far.

    It can take long, so a signal breaks it off; the step then counts as not validated, and a resumed run makes up for
    it.
    """
    progress, result = training.progress, None
    spread(training.averaged, rank)
    with suppress(KeyboardInterrupt), nullcontext() if rank.exchange else interrupt.at_once():
        result = validate(training.averaged) if rank.leads or rank.exchange else None
    result = rank.agreed(result)
    if result is None:
        return
    progress.validated = progress.step
    if progress.best is None or result.score > progress.best:
        kept = True
        try:
            if keep and rank.leads:
                keep(training.averaged, result)
        except MachineError as error:
            kept = False
            _logger.warning("the best weights so far could not be saved and training goes on: %s", error)
        if rank.agreed(kept):
            progress.best, progress.best_step = result.score, progress.step
    log.validation(progress, result.numbers)


def _interval(plan: Plan, progress: Progress) -> float:
    """Seconds until the state is saved again: at the beginning fewer, when a fault would cost all that there is."""
    if math.isfinite(plan.save_every):
        return plan.save_every
    return min(SAVE_SECONDS, max(_FIRST_SAVE, progress.seconds / 2))


def _save(folder: Path, training: Training, plan: Plan, rank: Rank, *, needed: bool) -> None:
    """Save the state; a full disk ends the run only where there is no later chance."""
    if not rank.leads:
        return
    try:
        write_state(folder / STATE, training, plan.settings)
    except MachineError as error:
        if needed:
            raise
        _logger.warning("the state could not be saved and training goes on: %s", error)


def _reason_to_stop(progress: Progress, total: int, plan: Plan, order: Order, signal: int) -> Reason | None:
    if signal:
        return "interrupted"
    if progress.step == total:
        return "finished"
    if progress.seconds >= plan.time_limit:
        return "time limit"
    waited = (progress.validated - progress.best_step) / order.steps_per_epoch
    return "no progress" if progress.best is not None and waited >= plan.patience else None


def _not_finite(file: Path, step: int, batches: list[Batch], own: list[dict[str, float]], rank: Rank) -> TrainingError:
    """The error for a step whose numbers are not finite, with its pictures, which are also written to `file`."""
    passes = [(row, batch.ids, batch.files) for batch, row in zip(batches, own, strict=True)]
    passes = [one for part in rank.collected(passes) for one in part]
    bad = [one for one in passes if not all(math.isfinite(one[0][name]) for name in one[0] if name != "grad_norm")]
    suspects = bad or passes
    terms = suspects[0][0]
    shown = ", ".join(f"{name} {value:g}" for name, value in terms.items())
    names = [name for _, ids, files in suspects for name in (files if any(files) else ids)]
    ids = [name for _, ids, _ in suspects for name in ids]
    text = {name: f"{value:g}" for name, value in terms.items()}
    if rank.leads:
        write_json(file, {"step": step, "ids": ids, "files": names, "terms": text}, indent=1)
    return TrainingError(
        f"step {step}: {'the loss' if bad else 'the gradient'} is not finite ({shown}); pictures of the batch: "
        + ", ".join(map(printable, names)),
        hint="look at these pictures and their annotations (everymask check); if they are sound, train with a smaller "
        f"lr or a clip_norm. The weights of the step before are saved; details are in {file}",
    )
