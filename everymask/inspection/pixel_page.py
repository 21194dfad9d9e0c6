"""The page's sections on classes of pixels and on queries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from everymask.core.arrays import ByteArray
from everymask.errors import printable
from everymask.inspection.drawing import heat
from everymask.inspection.panels import lead, panel, panels, share_table, shots
from everymask.models.steps import PixelSteps, QuerySteps
from everymask.viz.draw import resized

_SIDE = 220
_COLUMNS = 8


def pixel_section(steps: PixelSteps, names: Sequence[str], most: int) -> tuple[str, str]:
    """Logits and probabilities of each class, and where the network is not certain."""
    unsure = steps.entropy
    tiles = [
        panel(
            "Entropy",
            f"Dark: certain; bright: several answers are as probable. {100 * (unsure > 0.5).mean():.1f} % of the "
            "pixels are above one half.",
            heat(unsure, low=0.0, high=1.0),
        )
    ]
    order = np.argsort(-steps.scores.mean(axis=(1, 2)), kind="stable")[:most].tolist()
    pictures: list[tuple[str, ByteArray]] = []
    for row in order:
        class_id = steps.classes[row]
        name = "all things" if class_id < 0 else printable(names[class_id], 40)
        low, high = float(steps.logits[row].min()), float(steps.logits[row].max())
        pictures.append((f"{name}: logits from {low:.1f} to {high:.1f}", heat(steps.logits[row], side=_SIDE)))
        pictures.append((f"{name}: probability", heat(steps.scores[row], low=0.0, high=1.0, side=_SIDE)))
    said = "What the network says of every pixel for each class, as it comes out and as a probability"
    rest = len(steps.classes) - len(order)
    said += f"; the {rest} classes that are least probable are left out." if rest else "."
    return "Classes of pixels", lead(said) + panels(tiles) + shots(pictures)


def query_section(steps: QuerySteps, picture: ByteArray, names: Sequence[str], most: int) -> tuple[str, str]:
    """The masks and classes of the queries that are surest to have found something."""
    sure = 1 - steps.classes[:, 0]
    chosen = np.argsort(-sure, kind="stable")[:most].tolist()
    own = [printable(name, 40) for name in names]
    pictures: list[tuple[str, ByteArray]] = []
    for query in chosen:
        best = int(steps.classes[query, 1:].argmax())
        words = f"query {query + 1}: {own[best]} {steps.classes[query, 1 + best]:.2f}"
        pictures.append((words, _over(steps.masks[query], picture)))
    shares = steps.classes[chosen]
    columns = np.sort(np.argsort(-shares[:, 1:].max(axis=0), kind="stable")[:_COLUMNS])
    table = share_table(
        [f"query {query + 1}" for query in chosen],
        ["none", *(own[column] for column in columns.tolist())],
        shares[:, np.concatenate([[0], columns + 1])],
        "query ↓ · class →",
    )
    said = (
        f"Each of {len(sure)} queries answers with a class, or none, and a mask; here are the {len(chosen)} that are "
        "surest to have found something."
    )
    return "Queries", lead(said) + shots(pictures) + table


def _over(mask: ByteArray, picture: ByteArray) -> ByteArray:
    """Where a mask is probable the picture, elsewhere its shadow; the mask may cover more, which was filled up."""
    height, width = picture.shape[:2]
    tall, wide = 4 * mask.shape[0], 4 * mask.shape[1]
    grown = resized(np.repeat((mask * 255).round().astype(np.uint8)[..., None], 3, axis=2), (tall, wide))
    share = grown[:height, :width, :1].astype(np.float32) / 255
    return (picture * (0.15 + 0.85 * share)).astype(np.uint8)
