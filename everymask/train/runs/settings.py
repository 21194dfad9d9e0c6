"""The settings of runs side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from typing import Any

from everymask.classical.named import method_name
from everymask.errors import ConfigError, counted
from everymask.models.specs.any_spec import FAMILIES, ModelSpec
from everymask.models.specs.named import network
from everymask.settings.config import TrainConfig

PLACES = ("data", "format", "images", "masks", "out", "resume", "overwrite", "save_every", "workers")
"""Settings that say where things lie and how a run is kept, and not what comes out."""
_OPTIONS = ("encoder", "norm", "head")
_OWN = "model."


def plain_settings(config: TrainConfig) -> dict[str, Any]:
    """What decides the result, by the names of the options: numbers, texts, None; several numbers are one text.

    What only some networks have stands under `model.`, and how pictures are varied under `augment.`.
    """
    left_out = (*PLACES, "model", "augment", *(_OPTIONS if config.model else ()))
    found = {name: _plain(value) for name, value in config.to_json().items() if name not in left_out}
    if config.crop is not None and config.crop[0] == config.crop[1]:
        found["size"] = config.crop[0]
    return _of_network(config) | found | dict(_nested("augment.", asdict(config.augment)))


def _of_network(config: TrainConfig) -> dict[str, Any]:
    if config.method is not None:
        return {"model": method_name(config.method), **dict(_nested(_OWN, asdict(config.method)))}
    spec = config.network
    if spec is None:
        return {"model": None}
    inner = dict(_nested(_OWN, asdict(spec)))
    if pruned := getattr(spec, "pruned", ()):
        inner[f"{_OWN}pruned"] = counted(len(pruned), "layer")
    options = {name: inner.pop(_OWN + name) for name in _OPTIONS if _OWN + name in inner}
    return {"model": network_name(spec)} | options | inner


def network_name(spec: ModelSpec) -> str:
    """The name of the command line whose network is most like this one; the data decide on channels and the like."""
    named: dict[str, int] = {}
    for name in (name for family in FAMILIES for name in family.named):
        with suppress(ConfigError):
            other = network(name, spec.encoder, getattr(spec, "norm", None), getattr(spec, "head", None))
            if type(other) is type(spec):
                named[name] = sum(getattr(spec, f.name) != getattr(other, f.name) for f in fields(spec))
    return min(named, key=lambda name: named[name], default=type(spec).__name__)


def differing(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """The settings in which runs differ, in their order; of those that only some runs have, among these."""
    found: dict[str, list[Any]] = {}
    for settings in runs:
        for name, value in settings.items():
            found.setdefault(name, []).append(value)
    return [name for name, values in found.items() if any(value != values[0] for value in values)]


def _nested(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _nested(f"{prefix}{name}.", value)
        else:
            yield prefix + name, _plain(value)


def _plain(value: Any) -> Any:
    """Several values as they are typed: `64 96`."""
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else value
