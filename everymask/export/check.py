"""The gate: an exported file is run by its own runtime, and what it says is compared with what the network says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from everymask.core.arrays import Array, FloatArray, IntArray
from everymask.data.dataset import Dataset
from everymask.errors import WeightsError
from everymask.evaluate import evaluate
from everymask.infer.predictor import Predictor
from everymask.metrics.comparison import Comparison, compare_scores
from everymask.metrics.scores import Scores
from everymask.models.base import Network
from everymask.runtimes.backend import Engine
from everymask.runtimes.bundle import GraphPrecision

TOLERANCE: dict[GraphPrecision, float] = {"fp32": 1e-3, "fp16": 0.03, "bf16": 0.1, "int8": np.inf}
"""How far outputs may lie apart, as a share of the largest; of int8 only the metric tells."""
_ODD = 0.01
"""Share of detections that one side may have and the other not: scores differ in the last bit, and thresholds cut."""

Answer = Mapping[str, Array]
Given = tuple[FloatArray, IntArray]


@dataclass(frozen=True, slots=True)
class Apart:
    """How far answers lie apart: `difference` is the largest of any output, as a share of the output's largest value;
    infinite where one is not a number.

    Of `detections` in both sides together, `unmatched` have no counterpart of their class within a pixel.
    """

    difference: float
    output: str
    unmatched: int = 0
    detections: int = 0

    def within(self, precision: GraphPrecision) -> bool:
        """Whether that is as near as the precision allows; where it rounds, other objects may pass the thresholds."""
        near = bool(np.isfinite(self.difference)) and self.difference <= TOLERANCE[precision]
        return near and (precision != "fp32" or self.unmatched <= _ODD * self.detections)


@dataclass(frozen=True, slots=True)
class Check:
    """What the gate found: `pictures` were run by `runtime`, and `compared` are the scores, where there is truth."""

    runtime: str
    pictures: int
    apart: Apart
    compared: Comparison | None = None
    max_loss: float = 0.0

    @property
    def loss(self) -> float | None:
        """How much of the metric was lost; below 0 the exported one is better."""
        return None if self.compared is None else -self.compared.difference

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        metric = None if self.compared is None else self.compared.to_json()
        return {
            "runtime": self.runtime,
            "pictures": self.pictures,
            "outputs": asdict(self.apart),
            "metric": metric,
            "max_loss": self.max_loss,
        }


def reference(network: Network) -> Callable[[FloatArray, IntArray], Answer]:
    """What the network itself says, in float32."""

    def answer(images: FloatArray, windows: IntArray) -> Answer:
        with torch.inference_mode():
            outputs: Any = network(torch.from_numpy(images), torch.from_numpy(windows))
        return {name: tensor.cpu().numpy() for name, tensor in outputs.tensors().items()}

    return answer


def compare_outputs(network: Network, engine: Engine, inputs: Iterable[Given]) -> tuple[Apart, int]:
    """How far a graph and its network lie apart at most, and for how many pictures that was looked at."""
    own, worst, count = reference(network), Apart(0.0, ""), 0
    unmatched = detections = 0
    for images, windows in inputs:
        found = apart(own(images, windows), engine(images, windows))
        unmatched, detections, count = unmatched + found.unmatched, detections + found.detections, count + 1
        worst = max(worst, found, key=lambda one: one.difference)
    return Apart(worst.difference, worst.output, unmatched, detections), count


def apart(first: Answer, second: Answer) -> Apart:
    """How far two answers for the same picture lie apart; detections are matched by class and place."""
    if "boxes" not in first:
        return _largest(first, second)
    one, other = _matched(first, second)
    total = len(first["boxes"]) + len(second["boxes"])
    paired = {name: (first[name][one], second[name][other]) for name in first if name not in ("cut", "logits")}
    paired |= {"logits": (first["logits"], second["logits"])} if "logits" in first else {}
    found = _largest(*({name: pair[side] for name, pair in paired.items()} for side in (0, 1)))
    return Apart(found.difference, found.output, total - 2 * len(one), total)


def _matched(first: Answer, second: Answer) -> tuple[IntArray, IntArray]:
    """Rows of both that belong together: of one class, with corners within a pixel, the nearest ones, each once."""
    distance = np.abs(first["boxes"][:, None] - second["boxes"]).max(axis=2, initial=0)
    distance = np.where(first["class_ids"][:, None] == second["class_ids"], distance, np.inf)
    rows: list[int] = []
    others: list[int] = []
    for row in range(len(distance)):
        place = int(np.argmin(distance[row])) if distance.shape[1] else 0
        if distance.shape[1] and distance[row, place] <= 1:
            rows.append(row)
            others.append(place)
            distance[:, place] = np.inf
    return np.array(rows, np.int64), np.array(others, np.int64)


def _largest(first: Answer, second: Answer) -> Apart:
    worst = Apart(0.0, "")
    for name, own in first.items():
        other = second[name]
        if own.shape != other.shape:
            raise WeightsError(f"the exported file gives {name} {list(other.shape)}, but the network {list(own.shape)}")
        scale = max(float(np.abs(own).max(initial=0)), 1e-6)
        found = float(np.abs(own.astype(np.float64) - other).max(initial=0)) / scale
        if not found <= worst.difference:
            worst = Apart(np.inf if np.isnan(found) else found, name)
    return worst


def compare_metric(
    network: Predictor, exported: Predictor, pictures: Dataset, say: Callable[[str], None] = lambda _: None
) -> Comparison:
    """The headline (mask AP, mIoU ...) of both on the same pictures; `DataError` for fewer than two. `say` is told how
    many pictures are done.
    """

    def scores(predictor: Predictor, whose: str) -> Scores:
        def told(done: int, total: int) -> None:
            say(f"checking {whose}: {done} of {total} pictures")

        return evaluate(predictor, pictures, progress=told).scores

    return compare_scores(scores(network, "the model"), scores(exported, "what was made of it"))
