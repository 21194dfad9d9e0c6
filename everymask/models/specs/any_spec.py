"""The spec of any network, whether it finds objects or says of every pixel what it is, and its form in files."""

from __future__ import annotations

from dataclasses import MISSING, asdict, fields
from typing import Any, TypeAlias

from everymask.errors import WeightsError
from everymask.models.specs.regions import REGION_KINDS, RegionModelSpec, RegionProfile
from everymask.models.specs.semantic import SEMANTIC_KINDS, SemanticModelSpec

ModelSpec: TypeAlias = RegionModelSpec | SemanticModelSpec
KINDS: dict[str, type[ModelSpec]] = {**REGION_KINDS, **SEMANTIC_KINDS}


def spec_to_json(spec: ModelSpec) -> dict[str, Any]:
    """The spec as plain JSON values, with its kind under `"kind"`."""
    kind = next(name for name, cls in KINDS.items() if type(spec) is cls)
    return {"kind": kind} | asdict(spec)


def spec_from_json(data: dict[str, Any]) -> ModelSpec:
    """The spec that `spec_to_json` wrote; `WeightsError` names an unknown kind or setting."""
    values = dict(data)
    kind = values.pop("kind", None)
    if kind not in KINDS:
        raise WeightsError(f"the model is of kind {kind!r}, but this version knows {', '.join(KINDS)}")
    cls: type[Any] = KINDS[kind]
    if kind in SEMANTIC_KINDS and "task" in values:  # as files called the head at first
        values["head"] = values.pop("task")
    profile = values.pop("profile", {}) if kind in REGION_KINDS else {}
    unknown = sorted(set(values) - {column.name for column in fields(cls)})
    unknown += sorted(set(profile) - {column.name for column in fields(RegionProfile)})
    if unknown:
        raise WeightsError(
            f"the model has settings that this version does not know: {', '.join(unknown)}",
            hint="it was probably written by a newer everymask: upgrade with pip",
        )
    values = _tuples(cls, values)
    if kind in REGION_KINDS:
        values["profile"] = RegionProfile(**_tuples(RegionProfile, profile))
    spec: ModelSpec = cls(**values)
    return spec


def _tuples(cls: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no tuples: lists become tuples again where the field's default is one."""
    defaults = {column.name: column.default for column in fields(cls) if column.default is not MISSING}
    return {name: tuple(value) if isinstance(defaults.get(name), tuple) else value for name, value in values.items()}
