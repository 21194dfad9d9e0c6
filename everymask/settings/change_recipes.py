"""Settings that suit a network that compares two dates, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping

from everymask.data.fingerprint import Fingerprint
from everymask.models.specs.change import CHANGE_KINDS, ChangeModelSpec
from everymask.models.specs.semantic import SEMANTIC_KINDS, SemanticModelSpec, UNet
from everymask.settings.config import TrainConfig
from everymask.settings.facts import Facts
from everymask.settings.plan import ChangeSettings, Plan
from everymask.settings.semantic_recipes import resolve_pixels

KINDS: Mapping[str, type[SemanticModelSpec | ChangeModelSpec]] = {**SEMANTIC_KINDS, **CHANGE_KINDS}


def usual_change_network(encoder: str = "resnet34") -> UNet:
    """A U-Net that sees by how far the maps of two dates differ."""
    return UNet(encoder=encoder, fusion="difference", head="binary")


def resolve_change(config: TrainConfig, measured: Fingerprint, facts: Facts) -> Plan:
    """Choose whatever `config` leaves open, as `resolve_semantic` does, for a network that compares two dates.

    Change is rare: the sum of cross-entropy and Dice keeps it from being forgotten. Errors as there.
    """
    return resolve_pixels(config, measured, facts, KINDS, usual_change_network(), ChangeSettings, dates=2)
