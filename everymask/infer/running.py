"""What predicting a picture asks of a predictor, so that its parts need not know the whole."""

from __future__ import annotations

from typing import Any, Protocol

from everymask.classical.splitting import Splitting
from everymask.core.arrays import FloatArray, IntArray
from everymask.core.labels import Labels
from everymask.infer.backend import Backend
from everymask.infer.decoding.outputs import Outputs, Wanted
from everymask.models.card import Card
from everymask.tasks.task import Task


class Running(Protocol):
    """A network with its card, and how it is run; see `everymask.infer.predictor.Predictor`."""

    @property
    def backend(self) -> Backend:
        """What calculates."""

    @property
    def card(self) -> Card:
        """What the model says of itself."""

    @property
    def task(self) -> Task[Any]:
        """What it predicts."""

    @property
    def labels(self) -> Labels:
        """The classes of what it predicts."""

    @property
    def splitting(self) -> Splitting | None:
        """How label maps become objects; None: they do not."""

    @property
    def scored(self) -> bool:
        """Whether label maps also say how probable their classes are."""

    @property
    def duplicate_iou(self) -> float:
        """From which overlap on only the surest of several objects is given; 1: all are."""

    def outputs(self, images: FloatArray, windows: IntArray, wanted: Wanted | None = None) -> Outputs:
        """What the network says of prepared pictures."""
