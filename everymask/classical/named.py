"""The methods by their names, what their classes are called, and their settings as words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from types import UnionType
from typing import Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from everymask.classical.bases import Method
from everymask.classical.specs import (
    SLIC,
    ActiveContour,
    Adaptive,
    CannyContours,
    ChanVese,
    Felzenszwalb,
    GaussianMixture,
    GrabCut,
    Hysteresis,
    KMeans,
    Li,
    MarkerWatershed,
    MeanShift,
    MultiOtsu,
    Otsu,
    PixelForest,
    RandomWalker,
    RegionGrowing,
    Sauvola,
    SplitMerge,
    Triangle,
    Watershed,
)
from everymask.core.json.values import value_of
from everymask.core.labels import Labels, distinct_colours
from everymask.errors import ConfigError, printable

MethodName: TypeAlias = Literal[
    "otsu", "multi-otsu", "li", "triangle", "adaptive", "sauvola", "hysteresis",
    "region-growing", "random-walker", "grabcut", "chan-vese", "active-contour",
    "k-means", "gaussian-mixture", "mean-shift", "pixel-forest",
    "watershed", "marker-watershed", "canny", "split-merge", "felzenszwalb", "slic",
]  # fmt: skip
_METHODS: tuple[type[Method], ...] = (
    Otsu, MultiOtsu, Li, Triangle, Adaptive, Sauvola, Hysteresis,
    RegionGrowing, RandomWalker, GrabCut, ChanVese, ActiveContour,
    KMeans, GaussianMixture, MeanShift, PixelForest,
    Watershed, MarkerWatershed, CannyContours, SplitMerge, Felzenszwalb, SLIC,
)  # fmt: skip
METHODS: dict[str, type[Method]] = dict(zip(get_args(MethodName), _METHODS, strict=True))
"""Each by the name that the command line and model files have for it."""
EXTRA = frozenset(
    {
        MultiOtsu, Li, Sauvola, Hysteresis, RandomWalker, ChanVese, ActiveContour, GaussianMixture, PixelForest,
        Watershed, Felzenszwalb, SLIC,
    }
)  # fmt: skip
"""Those that need the extra `classical`."""

Spec = TypeVar("Spec")


def method_name(spec: Method) -> str:
    """The name of a method."""
    return next(name for name, kind in METHODS.items() if kind is type(spec))


def labels_of_method(spec: Method) -> Labels:
    """The classes of a method that has not learned from data with names; background is black."""
    names = spec.class_names
    dark = ((0, 0, 0),) if names[0] == "background" else ()
    return Labels(names, (*dark, *distinct_colours(len(names) - len(dark))))


def read_settings(texts: Iterable[str]) -> dict[str, str]:
    """Values by name of texts such as `blur=1.5`; `ConfigError` for one that is no such pair, or twice there."""
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not sign or not name or not value.strip():
            raise ConfigError(f"a setting must be a name and a value, but got {printable(text)!r}", hint="blur=1.5")
        if found.setdefault(name, value.strip()) != value.strip():
            raise ConfigError(f"the setting {name} is given twice: {found[name]} and {value.strip()}")
    return found


def with_settings(spec: Spec, given: Mapping[str, str], called: str) -> Spec:
    """The spec of what is `called` so with these settings, written as on the command line.

    Several numbers have commas between them. `ConfigError` says which settings and values there are.
    """
    kinds = get_type_hints(type(spec))
    known = {column.name: getattr(spec, column.name) for column in fields(spec)}  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for name, text in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            listed = ", ".join(f"{key}={_shown(value)}" for key, value in known.items())
            hint = f"did you mean {near[0]}? " if near else ""
            raise ConfigError(f"{called} has no setting {printable(name)!r}", hint=f"{hint}there are {listed}")
        try:
            changes[name] = value_of(kinds[name], _value(kinds[name], text), name)
        except ValueError as error:
            raise ConfigError(f"{called}: {error}") from None
    return replace(spec, **changes)  # type: ignore[type-var]


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _value(kind: Any, text: str) -> Any:
    """What a text says, as JSON would say it; the text itself where it says nothing of that kind."""
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return [_value(inner, part) for part in text.split(",") if part.strip()]
    if get_origin(kind) in (Union, UnionType):
        return next((_value(part, text) for part in get_args(kind) if not isinstance(_value(part, text), str)), text)
    if kind is bool:
        return {"true": True, "false": False, "yes": True, "no": False}.get(text.lower(), text)
    if kind in (int, float):
        for number in (int, float):
            try:
                return number(text)
            except ValueError:
                continue
    return text
