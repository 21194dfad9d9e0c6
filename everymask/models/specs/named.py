"""The networks by their names, on the command line and in `TrainConfig`."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from everymask.classical.named import METHODS
from everymask.errors import ConfigError, unknown
from everymask.models.specs.any_spec import FAMILIES, ModelSpec
from everymask.models.specs.family import Family
from everymask.models.specs.regions import Norm
from everymask.models.specs.semantic import Fusion, Head, UNet


def network(
    model: str | None = None,
    encoder: str | None = None,
    norm: Norm | None = None,
    head: Head | None = None,
    fusion: Fusion | None = None,
) -> ModelSpec | None:
    """The network of that name with these options; None where no name says which, nor a head or a fusion, which only
    U-Net and the other semantic networks have. `ConfigError` for a name that is none, and for options that a network
    does not have.

    Args:
        model: The architecture.
        encoder: The network that sees, as `everymask models` lists them; semantic networks also take timm's names.
        norm: Normalisation: of the batch, frozen (for fine-tuning with few pictures per batch), or in groups.
        head: What classes are to a pixel of a semantic network: it has one of them, it is foreground or not (binary, of
            two classes), or each may hold or not; between two dates also what became of what (from-to).
        fusion: How a semantic network compares two dates; what has changed or not is binary, unless the head says more.
    """
    fusion = "difference" if head == "from-to" and fusion is None else fusion
    options = _options(encoder=encoder, norm=norm, head=head, fusion=fusion)
    usual = {} if fusion is None else {"head": "binary"}
    if model is None:
        return None if head in (None, "multiclass") and fusion is None else UNet(**usual | options)
    for family in FAMILIES:
        if model in family.named:
            spec: ModelSpec = family.named[model](**usual | _known(options, family, model))
            return spec
    raise unknown("model", model, (*(name for family in FAMILIES for name in family.named), *METHODS))


def with_options(
    spec: ModelSpec, encoder: str | None, norm: Norm | None, head: Head | None, fusion: Fusion | None = None
) -> ModelSpec:
    """The same network with those options that are given; errors as in `network`."""
    family = next(family for family in FAMILIES if type(spec) in family.kinds.values())
    options = _known(_options(encoder=encoder, norm=norm, head=head, fusion=fusion), family, type(spec).__name__)
    return replace(spec, **options)  # type: ignore[arg-type,unused-ignore]


def _options(**given: str | None) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _known(options: dict[str, Any], family: Family, model: str) -> dict[str, Any]:
    """Those of the options that networks of a family have; `ConfigError` for others, unless they change nothing."""
    has = _columns(family)
    for name in options.keys() - has:
        if (name, options[name]) != ("head", "multiclass"):
            owners = " and ".join(other.family_name for other in FAMILIES if name in _columns(other))
            raise ConfigError(f"{name} is a setting of {owners}, but {model} finds {family.finds}", hint="leave it out")
    return {name: value for name, value in options.items() if name in has}


def _columns(family: Family) -> set[str]:
    """What the networks of a family can be told."""
    return {column.name for kind in family.kinds.values() for column in fields(kind)}
