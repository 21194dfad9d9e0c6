"""Settings that suit a panoptic network and its data set, each with its reason."""

from __future__ import annotations

from dataclasses import replace

from everymask.data.fingerprint import Fingerprint
from everymask.errors import ConfigError
from everymask.models.specs.panoptic import PANOPTIC_KINDS, PanopticFPN
from everymask.settings.config import TrainConfig
from everymask.settings.facts import Facts, model_of
from everymask.settings.plan import PanopticSettings, Plan, plan_of
from everymask.settings.recipes import with_regions


def resolve_panoptic(config: TrainConfig, measured: Fingerprint, facts: Facts) -> Plan:
    """Choose whatever `config` leaves open for a panoptic network and a data set that measures so.

    What is set stays. Its things are found as by Mask R-CNN, and so all is chosen as for that one; which classes are
    things the data set says. `ConfigError` for a model of another task, for a data set without things, and as in
    `plan_of`.
    """
    model = model_of(config, PANOPTIC_KINDS, PanopticFPN())
    if not facts.things:
        raise ConfigError(
            "the data set has no things, which a panoptic network counts one by one",
            hint="say which classes are things (--things person,car), or choose a semantic network: --model unet",
        )
    found = with_regions(config, replace(model, things=facts.things), measured, facts)
    stuff = facts.num_classes - len(facts.things)
    reasons = (f"{len(facts.things)} classes are things, {stuff} stuff", *found.reasons)
    return plan_of(found.settings, PanopticSettings, measured, found.preprocess, reasons)
