"""What a model file says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import everymask
from everymask.core.json.values import value_of
from everymask.core.labels import Labels
from everymask.data.feed.preprocess import Preprocess
from everymask.errors import ConfigError, DataError, WeightsError, printable
from everymask.models.specs.any_spec import AnySpec, spec_from_json, spec_to_json

SCHEMA = 1
_MOST_METRICS = 10_000


@dataclass(frozen=True, slots=True)
class Card:
    """What weights mean: the network (or a method without one), its classes, what it is fed, how good it is, and under
    which licence it stands.

    `metrics` are numbers by name ("mask AP"), `licence` the licence of the weights ("" when the owner has not said),
    `source` where they came from.
    """

    spec: AnySpec
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
    def from_json(cls, data: Any) -> Card:
        """The card that `to_json` wrote; `WeightsError` when it is incomplete, not a card, or from a newer version."""
        try:
            refuse_newer(data)
            return cls(
                spec=spec_from_json(data["spec"]),
                labels=Labels.from_json(data["labels"]),
                preprocess=Preprocess.from_json(data["preprocess"]),
                metrics=value_of(Mapping[str, float], data.get("metrics", {}), "metrics", most_values=_MOST_METRICS),
                licence=value_of(str, data.get("licence", ""), "licence"),
                source=value_of(str, data.get("source", ""), "source"),
            )
        except KeyError as error:
            raise WeightsError(f"the model's description lacks {error}") from error
        except (AttributeError, TypeError, ValueError, ConfigError, DataError) as error:
            raise WeightsError(f"the model's description cannot be used: {error}") from error


def refuse_newer(data: Mapping[str, Any]) -> None:
    """`WeightsError` where a newer version has written the description, or the number of its form is none."""
    schema = data.get("schema", 0)
    if not isinstance(schema, int):
        raise WeightsError(f"the model's description is of the form {printable(schema)!r}, which is no number")
    if schema > SCHEMA:
        raise WeightsError(
            f"the model was written by everymask {printable(data.get('version', '?'))}, which stores more than this "
            "one reads",
            hint="upgrade with pip",
        )
