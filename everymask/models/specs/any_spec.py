"""The spec of any network, whether it finds objects, says of every pixel what it is, or both, and its form in files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeAlias

from everymask.classical.bases import Method
from everymask.classical.named import METHODS, MethodName
from everymask.core.json.values import value_of
from everymask.errors import WeightsError, printable
from everymask.models.specs.change import CHANGE_FAMILY, ChangeModelSpec, ChangeName
from everymask.models.specs.detr import DETR, DetrModelSpec, DetrName
from everymask.models.specs.family import Family
from everymask.models.specs.onestage import ONE_STAGE, OneStageModelSpec, OneStageName
from everymask.models.specs.panoptic import PANOPTIC_FAMILY, PANOPTIC_KINDS, PanopticModelSpec, PanopticName
from everymask.models.specs.prompted import PROMPTED, PromptedModelSpec, PromptedName
from everymask.models.specs.queries import QUERIES, QueryModelSpec, QueryName
from everymask.models.specs.regions import REGION_KINDS, REGIONS, RegionModelSpec, RegionName, RegionProfile
from everymask.models.specs.semantic import SEMANTIC_FAMILY, SEMANTIC_KINDS, SemanticModelSpec, SemanticName

ModelSpec: TypeAlias = (
    RegionModelSpec
    | SemanticModelSpec
    | PanopticModelSpec
    | ChangeModelSpec
    | PromptedModelSpec
    | OneStageModelSpec
    | QueryModelSpec
    | DetrModelSpec
)
Architecture: TypeAlias = (
    RegionName | SemanticName | PanopticName | ChangeName | PromptedName | OneStageName | QueryName | DetrName
)
FAMILIES: tuple[Family, ...] = (
    REGIONS,
    SEMANTIC_FAMILY,
    PANOPTIC_FAMILY,
    CHANGE_FAMILY,
    PROMPTED,
    ONE_STAGE,
    QUERIES,
    DETR,
)
_MOST = 1_000_000
_NEWER = {"pruned": (), "fpn_bottom_up": False}
_NEWER_PROFILE = {"roi_ends": "edge", "anchor_origin": "corner"}
"""Settings that older versions do not know, and what says the same as their absence."""
KINDS: dict[str, type[ModelSpec]] = {name: kind for family in FAMILIES for name, kind in family.kinds.items()}
AnySpec: TypeAlias = ModelSpec | Method
"""How to build a network, or to run a method that needs none."""
ModelName: TypeAlias = Architecture | MethodName
_ALL: dict[str, type[AnySpec]] = {**KINDS, **METHODS}


def spec_to_json(spec: AnySpec) -> dict[str, Any]:
    """The spec as plain JSON values, with its kind under `"kind"`."""
    kind = next(name for name, cls in _ALL.items() if type(spec) is cls)
    values = asdict(spec)
    for name, usual in _NEWER.items():  # what older versions read too
        if values.get(name) == usual:
            del values[name]
    profile = values.get("profile")
    if isinstance(profile, dict):
        values["profile"] = {name: value for name, value in profile.items() if _NEWER_PROFILE.get(name) != value}
    return {"kind": kind} | values


def spec_from_json(data: Any) -> AnySpec:
    """The spec that `spec_to_json` wrote; `WeightsError` names an unknown kind or setting, or a wrong value.

    Whole numbers lie in 0 to 1,000,000 and lists have at most 100 of them: a network is built of these.
    """
    values = dict(data) if isinstance(data, Mapping) else {}
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in _ALL:
        raise WeightsError(f"the model is of kind {printable(kind)!r}, but this version knows {', '.join(_ALL)}")
    cls: type[Any] = _ALL[kind]
    if kind in SEMANTIC_KINDS and "task" in values:  # as files called the head at first
        values["head"] = values.pop("task")
    profile = values.get("profile") if kind in (*REGION_KINDS, *PANOPTIC_KINDS) else None
    profile = profile if isinstance(profile, Mapping) else {}
    unknown = sorted(set(values) - {column.name for column in fields(cls)})
    unknown += sorted(set(profile) - {column.name for column in fields(RegionProfile)})
    if unknown:
        raise WeightsError(
            f"the model has settings that this version does not know: {printable(', '.join(unknown))}",
            hint="it was probably written by a newer everymask: upgrade with pip",
        )
    try:
        spec: AnySpec = value_of(cls, values, "spec", most=_MOST)
        if kind in KINDS:  # of these a network is built
            _check_not_negative(asdict(spec), "spec")
    except ValueError as error:
        raise WeightsError(f"the model's description cannot be used: {error}") from error
    return spec


def _check_not_negative(value: Any, where: str) -> None:
    match value:
        case dict():
            for name, entry in value.items():
                _check_not_negative(entry, f"{where}.{name}")
        case tuple():
            for entry in value:
                _check_not_negative(entry, where)
        case int() | float() if value < 0:
            raise ValueError(f"{where} must not be negative, but is {value}")
