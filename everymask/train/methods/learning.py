"""Learning from annotated pictures without a network: settings by trying them, trees by growing them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from everymask.backends.methods import MethodBackend
from everymask.classical.bases import Foreground, Method
from everymask.classical.forest import Forest, features_of, grow
from everymask.classical.named import METHODS, method_name
from everymask.classical.specs import Adaptive, Hysteresis, PixelForest, Sauvola, Threshold
from everymask.core.arrays import Array, FloatArray, IntArray
from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import SemanticMap, expected
from everymask.data.dataset import Dataset
from everymask.data.feed.pipelines import prepare
from everymask.data.feed.preprocess import Preprocess
from everymask.errors import ConfigError, DataError, counted
from everymask.infer.predictor import Predictor
from everymask.metrics.semantic import SemanticMetric
from everymask.models.card import Card

PICTURES = 32
"""So many training pictures, drawn by the seed, tell settings apart."""
_EVERY: dict[str, tuple[Any, ...]] = {
    "polarity": ("auto", "bright", "dark"),
    "fill_holes": (True, False),
    "min_area": (0, 20, 100),
}
_TRIED: dict[type[Foreground], dict[str, tuple[Any, ...]]] = {
    Threshold: {
        "blur": (0.0, 1.0, 2.0, 4.0),
        "factor": (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5),
        "block": (0, 51, 101, 201),
    },
    Adaptive: {"blur": (0.0, 1.0, 2.0, 4.0), "block": (31, 101, 301), "offset": (-0.1, -0.05, -0.02, 0.0, 0.02, 0.05)},
    Sauvola: {"blur": (0.0, 1.0, 2.0), "window": (15, 25, 51, 101), "k": (0.05, 0.1, 0.2, 0.35, 0.5)},
    Hysteresis: {"blur": (0.0, 1.0, 2.0, 4.0), "low": (0.5, 0.6, 0.7, 0.8, 0.9, 1.0), "high": (1.0, 1.1, 1.25, 1.5)},
}

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Learned:
    """A method that has learned, and a line for each thing that is worth knowing of how."""

    spec: Method
    forest: Forest | None = None
    notes: tuple[str, ...] = ()


def tried(spec: Method) -> Mapping[str, tuple[Any, ...]]:
    """The settings that are chosen from the training pictures, in the order in which they are, with the values tried.

    What is not as usual was set by whoever asked for it, and stays. `ConfigError` for a method that learns nothing.
    """
    own = next((values for kind, values in _TRIED.items() if isinstance(spec, kind)), None)
    if own is None:
        able = [name for name, kind in METHODS.items() if kind.learns or issubclass(kind, tuple(_TRIED))]
        raise ConfigError(
            f"{method_name(spec)} has nothing to learn: predict and evaluate take it by its name",
            hint=f"those that learn without a network are {', '.join(able)}",
        )
    usual = type(spec)()
    ordered = {"polarity": _EVERY["polarity"], **own, "fill_holes": (True, False), "min_area": _EVERY["min_area"]}
    return {name: values for name, values in ordered.items() if getattr(spec, name) == getattr(usual, name)}


def num_trials(spec: Method) -> int:
    """How many settings are tried on each picture."""
    return 1 + sum(len(values) - 1 for values in tried(spec).values())


def chosen(dataset: Dataset, count: int, seed: int) -> Dataset:
    """Up to so many pictures, drawn by the seed, in their order."""
    drawn = rng(seed, "pictures of a method").permutation(len(dataset))[:count]
    return dataset.subset(np.sort(drawn).tolist())


def tune(spec: Method, dataset: Dataset, preprocess: Preprocess, *, seed: int, progress: Progress) -> Learned:
    """The method with the settings of the highest mIoU on training pictures, setting after setting.

    Each is tried with the best values of those before it; of equal ones the first stays.
    """
    some = list(chosen(dataset, PICTURES, seed))
    done, total = 0, num_trials(spec)

    def score(candidate: Method) -> float:
        nonlocal done
        metric, card = SemanticMetric(dataset.labels), Card(candidate, dataset.labels, preprocess)
        predictor = Predictor(MethodBackend(candidate), card)
        for sample in some:
            found = predictor.predict(replace(sample, truth=None)).segmentation
            metric.update(expected(SemanticMap, found, sample.id), _truth(sample), sample)
        done += 1
        progress(done, total)
        return metric.compute().headline

    best, first = spec, score(spec)
    highest = first
    for name, values in tried(spec).items():
        for value in values:
            candidate = _with(best, name, value)
            if candidate is None or candidate == best:
                continue
            reached = score(candidate)
            if reached > highest:
                best, highest = candidate, reached
    changed = [
        f"{f.name} {getattr(best, f.name)}" for f in fields(best) if getattr(best, f.name) != getattr(spec, f.name)
    ]
    said = f"with {', '.join(changed)}" if changed else "with the usual settings"
    note = f"mIoU {highest:.3f} on {counted(len(some), 'training picture')} {said}; {first:.3f} before any was tried"
    return Learned(best, notes=(note,))


def _with(spec: Method, name: str, value: Any) -> Method | None:
    """The spec with another value; None where that does not go with the others."""
    try:
        return replace(spec, **{name: value})
    except ConfigError:
        return None


def grown(spec: PixelForest, dataset: Dataset, preprocess: Preprocess, *, seed: int, progress: Progress) -> Learned:
    """The forest of pixels of training pictures, drawn by the seed."""
    spec = replace(spec, classes=len(dataset.labels))
    some = chosen(dataset, spec.pictures, seed)
    values, classes = [], []
    for number, sample in enumerate(some, start=1):
        seen, shown = pixels_of(spec, sample, preprocess, rng(seed, "pixels of", sample.id))
        values.append(seen)
        classes.append(shown)
        progress(number, len(some) + 1)
    known = np.concatenate(classes)
    if not known.size:
        raise DataError("the training pictures show no class", hint="put annotated pictures among them")
    forest = grow(spec, np.concatenate(values), known, seed=seed)
    counts = np.bincount(known, minlength=spec.classes)
    absent = [name for name, count in zip(dataset.labels.names, counts, strict=True) if not count]
    rest = f" of {len(dataset)} (--set pictures={len(dataset)} takes all)" if len(some) < len(dataset) else ""
    notes = [
        f"{counted(spec.trees, 'tree')} of {counted(len(known), 'pixel')} from {counted(len(some), 'picture')}{rest}"
    ]
    notes += [f"no pixel that was drawn shows {', '.join(absent)}: the forest never finds it"] if absent else []
    return Learned(spec, forest, tuple(notes))


def pixels_of(
    spec: PixelForest, sample: Sample, preprocess: Preprocess, draw: np.random.Generator
) -> tuple[FloatArray, IntArray]:
    """Features [P, F] and classes [P] of pixels with truth, drawn from one picture."""
    prepared = prepare(sample, preprocess)
    truth = expected(SemanticMap, prepared.truth, sample.id)
    ids: Array = truth.ids.reshape(-1)
    known = np.flatnonzero(ids != truth.ignore)
    places = known if len(known) <= spec.samples_per_picture else draw.choice(known, spec.samples_per_picture, False)
    found = features_of(spec, prepared.image)
    return found.reshape(len(ids), -1)[places], ids[places].astype(np.int64)


def _truth(sample: Sample) -> SemanticMap:
    return expected(SemanticMap, sample.truth, sample.id)
