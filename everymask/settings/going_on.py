"""With which settings a run goes on."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from everymask.errors import ConfigError
from everymask.settings.config import TrainConfig

FREE = (
    *("out", "resume", "overwrite", "epochs", "time_limit", "save_every", "patience", "device"),
    *("workers", "gradient_threads", "data", "images", "masks"),
)
"""Settings that may change when a run goes on; `epochs` can only be raised, and of the data only where they lie."""

_KEPT = ("epochs", "workers", "gradient_threads", "images", "masks")  # free ones that stay where nothing is given
_OF_NETWORKS = ("encoder", "norm", "head")


def continued(stored: TrainConfig, origin: TrainConfig, given: TrainConfig) -> TrainConfig:
    """The settings with which a run goes on: the `stored` ones, except those in `FREE`, which are the given ones.

    `origin` is what the user wrote when the run began: the same words may be written again, or left out. `epochs` may
    be raised: the learning rate then follows the new end. `ConfigError` lists settings that cannot change.
    """
    absent = TrainConfig(data=origin.data)
    changed = []
    for name in (column.name for column in fields(given) if column.name not in FREE):
        value, before = getattr(given, name), getattr(stored, name)
        if name in _OF_NETWORKS:
            before = getattr(stored.network, name, before)
        if value not in (getattr(absent, name), getattr(origin, name), before):
            changed.append(f"{name} was {before!r}, now {value!r}")
    if changed:
        raise ConfigError(
            f"a run goes on with the settings it began with: {'; '.join(changed)}",
            hint=f"only {', '.join(FREE)} may change; for anything else start a new run from its weights: "
            f"--weights {given.out} --out ANOTHER",
        )
    if given.epochs is not None and given.epochs < (stored.epochs or 0):
        raise ConfigError(
            f"epochs was {stored.epochs}, now {given.epochs}: a run that goes on can become longer, not shorter",
            hint="leave --epochs out to keep its end, or end it earlier with --time-limit",
        )
    free = {name: getattr(given, name) for name in FREE}
    kept = {name: getattr(stored, name) for name in _KEPT if free[name] is None}
    return replace(stored, **free | kept)


def changed_settings(before: TrainConfig, after: TrainConfig) -> dict[str, tuple[Any, Any]]:
    """The settings in which two configurations differ: name -> (before, after)."""
    pairs = ((column.name, getattr(before, column.name), getattr(after, column.name)) for column in fields(before))
    return {name: (old, new) for name, old, new in pairs if old != new}
