"""From a configuration to a run folder with a trained model, its scores and a report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from everymask.backends.pytorch import build_predictor
from everymask.core.processes.rank import Rank
from everymask.data.dataset import Dataset
from everymask.evaluate import Report, evaluate
from everymask.infer.predictor import Predictor
from everymask.models.base import Network
from everymask.models.blocks.lora import merged
from everymask.models.card import Card
from everymask.models.checkpoint import load_model, save_model
from everymask.settings.config import TrainConfig
from everymask.train.beginning import Beginning
from everymask.train.folder.ended import clear_ended, failure_kept
from everymask.train.folder.given import taken_up, write_decided, write_given, write_held
from everymask.train.folder.layout import BEST, clear_folder, open_folder
from everymask.train.folder.logs import Log, Screen, memory
from everymask.train.folder.progress import Run
from everymask.train.folder.summary import write_summary
from everymask.train.loop import Outcome, Validation, fit
from everymask.train.machine.failures import machine_failures
from everymask.train.machine.group import joined, local_device
from everymask.train.machine.interrupt import stop_if_asked
from everymask.train.planning import begin


def train(config: TrainConfig, *, dataset: Dataset | None = None, console: Console | None = None) -> Run:
    """`everymask.train`, where torch is imported already."""
    with joined(config.device) as rank:
        return train_as(rank, config, dataset=dataset, console=console)


def train_as(rank: Rank, config: TrainConfig, *, dataset: Dataset | None = None, console: Console | None = None) -> Run:
    """`train` as one of several processes, of which only the first writes and shows."""
    device, config = local_device(config.device), rank.told(partial(taken_up, config))
    with (
        machine_failures(),
        open_folder(
            config.out, resume=config.resume, overwrite=config.overwrite, data=config.data, rank=rank
        ) as folder,
    ):
        screen = (console or Screen(stderr=True)) if rank.leads else Console(quiet=True)
        begun = begin(config, dataset, folder, device, screen, rank)
        plan, train_set, given = begun.plan, begun.train, begun.given
        assert given is not None  # what is learned from is known
        if rank.leads and not config.resume:
            clear_folder(folder)
            write_given(folder, config, plan, given, train_set, begun.measured)
        elif rank.leads:
            write_held(folder, given)
            clear_ended(folder)
            if begun.decided_anew:
                write_decided(folder, plan)
        card = Card(plan.model, begun.labels, plan.preprocess, source=f"trained on {plan.settings.data}")
        judge = _Judge(folder, card, device, rank, exact=not plan.bf16)
        with failure_kept(folder, rank), Log(folder, screen, rank=rank) as log:
            for note in begun.notes:
                log.note(note)
            outcome = fit(
                begun.module,
                begun.order,
                partial(begun.batches, device),
                plan,
                folder=folder,
                device=device,
                log=log,
                validate=partial(judge.validate, begun.watched(begun.val)) if begun.val else None,
                keep=judge.keep,
            )
        if rank.leads:
            with failure_kept(folder, rank):
                _finish(folder, begun, outcome, judge)
        progress = outcome.progress
        return Run(
            folder,
            outcome.reason,
            judge.best,
            plan.settings,
            progress.step,
            progress.seconds,
            outcome.signal,
            rank.leads,
        )


def _finish(folder: Path, begun: Beginning, outcome: Outcome, judge: _Judge) -> None:
    """Whatever ended the run, there are weights to predict with, and a report."""
    # Where nothing was validated, weights that lie there are those with which an earlier part of the run ended.
    if outcome.progress.best is None or not (folder / BEST).exists():
        save_model(folder / BEST, merged(outcome.module), judge.card)
    predictor = None
    if outcome.reason != "interrupted" and begun.val:
        predictor = judge.predictor(*load_model(folder / BEST))
        judge.best = judge.best or evaluate(predictor, begun.watched(begun.val))
    write_summary(
        folder,
        begun.plan.settings,
        begun.train,
        begun.val,
        judge.best,
        predictor,
        outcome.reason,
        outcome.progress,
        memory(judge.device),
    )


@dataclass(slots=True)
class _Judge:
    """Validates weights, and keeps the best ones with their scores."""

    folder: Path
    card: Card
    device: torch.device
    rank: Rank
    exact: bool
    last: Report | None = None
    best: Report | None = None

    def predictor(self, module: Network, card: Card) -> Predictor:
        """Predicts in float32 where training does."""
        return build_predictor(module, card, str(self.device), precision="exact" if self.exact else "auto")

    def validate(self, pictures: Dataset, module: nn.Module) -> Validation:
        predictor = self.predictor(merged(module), self.card)  # type: ignore[arg-type]
        self.last = evaluate(
            predictor,
            pictures,
            batch=8 if self.device.type == "cuda" else 1,
            progress=stop_if_asked if self.rank.exchange else None,
            rank=self.rank,
        )
        return Validation(self.last.headline, self.last.numbers())

    def keep(self, module: nn.Module, result: Validation) -> None:
        self.best = self.last
        save_model(self.folder / BEST, merged(module), replace(self.card, metrics=result.numbers))
