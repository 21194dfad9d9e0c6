"""One picture taken through a network, every step kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from everymask.api import load_network
from everymask.backends.pytorch import TorchBackend
from everymask.core.arrays import FloatArray
from everymask.core.files import real_path
from everymask.core.labels import Labels
from everymask.core.sample import Sample
from everymask.core.segmentation import Segmentation
from everymask.data.dataset import Dataset
from everymask.data.feed.batches import stack, windows_of
from everymask.data.feed.pipelines import Prepared, prepare
from everymask.data.feed.preprocess import Preprocess
from everymask.data.panoptic import rule_of
from everymask.errors import ConfigError, DataError, counted, printable
from everymask.infer.predictor import Predictor
from everymask.infer.result import Result
from everymask.infer.sources import Source, TwoDates, as_sample
from everymask.models.base import Network
from everymask.models.card import Card
from everymask.models.steps import Steps
from everymask.runtimes.bundle import is_bundle
from everymask.tasks.table import task_of


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a picture: its truth, and the classes of the data set that says so."""

    truth: Segmentation
    labels: Labels


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """A picture and what became of it.

    `fed` [C, H, W] float32 is what the network was given, padding included; boxes and maps of `steps` are in that
    frame, and `prepared.placement` leads back. `result` is the answer for the picture itself. `about` says what the
    network is.
    """

    sample: Sample
    known: Known | None
    prepared: Prepared
    preprocess: Preprocess
    fed: FloatArray
    steps: Steps
    result: Result
    about: str


def inspect(
    model: str | Path, picture: Source, *, before: Source | None = None, data: Dataset | None = None
) -> Inspection:
    """Take a picture through a network in float32 on the CPU and keep every step.

    `model` is as for `everymask.load`, `picture` as for `Predictor.predict`, with `before` the earlier of two dates.
    Where `data` are the annotated data that the picture belongs to, its truth tells which anchors match and what masks
    should be. `ConfigError` for what has no steps: methods without a network, bundles, and networks that answer
    prompts; `DataError` for a picture that cannot be read or is not among the data; else as `everymask.load`.

    >>> seen = inspect("runs/a", "photo.png")
    >>> seen.steps.regions.proposals.shape
    >>> write_inspection("inspect.html", seen)
    """
    if is_bundle(model):
        raise ConfigError(
            f"{printable(model)} is an exported graph, whose steps cannot be seen",
            hint="inspect the run that it was made of",
        )
    sample = as_sample(picture if before is None else TwoDates(before, picture))
    network, card = load_network(model)
    return inspect_network(network, card, sample, None if data is None else known_of(sample, data, card))


def inspect_network(network: Network, card: Card, sample: Sample, known: Known | None = None) -> Inspection:
    """As `inspect`, of a network in evaluation mode on the CPU."""
    spec, task = card.spec, task_of(card.spec)
    if task.interactive:
        raise ConfigError(
            f"a {type(spec).__name__} answers prompts, and without one there are no steps to see",
            hint="inspect a detector, a semantic network or one of queries",
        )
    prepared = prepare(replace(sample, truth=None if known is None else known.truth), card.preprocess)
    fed = stack([prepared], card.preprocess.divisor)
    with torch.inference_mode():
        steps = network.look_into(torch.from_numpy(fed), torch.from_numpy(windows_of([prepared])), prepared.truth)
    predictor = Predictor(TorchBackend(network, torch.device("cpu")), card)
    result = predictor.predict(replace(sample, truth=None))
    about = f"{type(spec).__name__} {getattr(spec, 'encoder', '')}, which {task.finds}"
    return Inspection(sample, known, prepared, card.preprocess, fed[0], steps, result, about)


def known_of(sample: Sample, data: Dataset, card: Card) -> Known:
    """What the data say of a picture, in the form that the model's task has.

    `DataError` where it is not one of their pictures, or not annotated.
    """
    data = data.for_task(task_of(card.spec).name, rule=rule_of(card.labels))
    row = row_of(sample.file, data)
    if row is None:
        raise DataError(
            f"{printable(sample.file or sample.id)} is not among the {counted(len(data), 'picture')} of "
            f"{printable(data.root)}",
            hint="name the data set that it belongs to, or leave out --data",
        )
    truth = data[row].truth
    if truth is None:
        raise DataError(f"{printable(sample.file)} is not annotated", hint="leave out --data")
    return Known(truth, data.labels)


def row_of(file: str, data: Dataset) -> int | None:
    """Which picture of the data a file is; None where it is none."""
    if not file:
        return None
    wanted = real_path(file)
    return next((row for row, record in enumerate(data.records) if real_path(record.image) == wanted), None)
