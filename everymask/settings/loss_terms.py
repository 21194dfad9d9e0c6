"""The losses of semantic networks by name, weighted sums of them as they are written, and weights of classes."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

from everymask.errors import ConfigError

LossName: TypeAlias = Literal["ce", "bce", "dice", "tversky", "focal", "lovasz", "boundary", "ohem"]
LOSS_NAMES: tuple[str, ...] = get_args(LossName)


@dataclass(frozen=True, slots=True)
class LossTerm:
    """A loss and its weight in a sum."""

    name: LossName
    weight: float = 1.0


def read_loss(text: str) -> tuple[LossTerm, ...]:
    """The terms of a sum such as "ce", "ce+dice" or "ce+0.5*lovasz"; `ConfigError` says which cannot be read."""
    terms = []
    for part in text.split("+"):
        factor, star, name = part.strip().rpartition("*")
        weight = _weight(factor.strip()) if star else 1.0
        name = name.strip().lower()
        if name not in LOSS_NAMES or weight is None:
            near = difflib.get_close_matches(name, LOSS_NAMES, n=1)
            raise ConfigError(
                f"loss: cannot read {part.strip()!r} of {text!r}",
                hint=f"did you mean {near[0]!r}?"
                if near and near[0] != name
                else f"write a sum of {', '.join(LOSS_NAMES)}, each with a factor above 0 if need be: ce+0.5*dice",
            )
        terms.append(LossTerm(cast(LossName, name), weight))
    names = [term.name for term in terms]
    if len(set(names)) < len(names):
        raise ConfigError(f"loss: {text!r} names a loss more than once", hint="give it a factor instead: 2*ce")
    return tuple(terms)


def class_weights(shares: Sequence[float]) -> tuple[float, ...]:
    """A weight for each class, which rises with its rarity; `shares` [K] are the parts of all pixels that they have.

    1 / ln(1.02 + share): a class that hardly occurs weighs at most 36 times as much as one that is everywhere (Paszke
    et al. 2016, ENet).
    """
    return tuple(1 / math.log(1.02 + share) for share in shares)


def _weight(text: str) -> float | None:
    if not re.fullmatch(r"\d*\.?\d+|\d+\.", text):
        return None
    weight = float(text)
    return weight if weight > 0 and math.isfinite(weight) else None
