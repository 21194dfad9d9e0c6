"""What a model file says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import everymask
from everymask.core.labels import Labels
from everymask.data.feed.preprocess import Preprocess
from everymask.errors import WeightsError
from everymask.models.specs.any_spec import ModelSpec, spec_from_json, spec_to_json

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Card:
    """What weights mean: the network, its classes, what it is fed, how good it is, and under which licence it stands.

    `metrics` are numbers by name ("mask AP"), `licence` the licence of the weights ("" when the owner has not said),
    `source` where they came from.
    """

    spec: ModelSpec
    labels: Labels
    preprocess: Preprocess
    metrics: Mapping[str, float] = field(default_factory=dict)
    licence: str = ""
    source: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, as `from_json` takes them."""
        return {
            "schema": SCHEMA,
            "version": everymask.__version__,
            "spec": spec_to_json(self.spec),
            "labels": self.labels.to_json(),
            "preprocess": self.preprocess.to_json(),
            "metrics": dict(self.metrics),
            "licence": self.licence,
            "source": self.source,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Card:
        """The card that `to_json` wrote; `WeightsError` when it is incomplete or from a newer version."""
        if data.get("schema", 0) > SCHEMA:
            raise WeightsError(
                f"the model was written by everymask {data.get('version', '?')}, which stores more than this one reads",
                hint="upgrade with pip",
            )
        try:
            return cls(
                spec=spec_from_json(data["spec"]),
                labels=Labels.from_json(data["labels"]),
                preprocess=Preprocess.from_json(data["preprocess"]),
                metrics=data.get("metrics", {}),
                licence=data.get("licence", ""),
                source=data.get("source", ""),
            )
        except KeyError as error:
            raise WeightsError(f"the model's description lacks {error}") from error
