"""What the specs of methods have in common, by what they find: classes of pixels, or objects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NoReturn, Self, TypeAlias

from everymask.errors import ConfigError

Polarity: TypeAlias = Literal["auto", "bright", "dark"]
Kept: TypeAlias = Literal["all", "foreground"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodSpec:
    """What all methods have in common: pictures whose long side exceeds `side` are shrunk to it first (0: none is)."""

    side: int = 0
    learns: ClassVar[bool] = False
    """Whether it has to learn from annotated pictures before it can predict."""

    def __post_init__(self) -> None:
        check_least("side", self.side, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelMethod(MethodSpec):
    """A method that gives every pixel a class.

    `blur` is the sigma of the Gaussian that goes over the picture first (0: none).
    """

    blur: float = 1.0

    def __post_init__(self) -> None:
        MethodSpec.__post_init__(self)
        check_least("blur", self.blur, 0)

    @property
    def num_classes(self) -> int:
        """How many classes it tells apart."""
        return 2

    @property
    def class_names(self) -> tuple[str, ...]:
        """What its classes are called where it has not learned from data with names."""
        count = self.num_classes
        return ("background", "foreground") if count == 2 else tuple(f"level {k}" for k in range(1, count + 1))

    def with_detections(self, most: int) -> NoReturn:
        """`ConfigError`: there are no objects to limit."""
        raise ConfigError(
            f"{type(self).__name__} finds no objects, so their number has no limit",
            hint="with --split-objects its foreground becomes objects",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreground(PixelMethod):
    """A method that divides background and foreground.

    `polarity` says which side of the division is foreground: the brighter one, the darker one, or the one that has at
    most half of the pixels. Then holes in the foreground are filled, and parts of fewer than `min_area` pixels dropped.
    """

    polarity: Polarity = "auto"
    fill_holes: bool = True
    min_area: int = 20

    def __post_init__(self) -> None:
        PixelMethod.__post_init__(self)
        check_least("min_area", self.min_area, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMethod(MethodSpec):
    """A method that finds objects, at most `max_detections` of at least `min_area` pixels each."""

    min_area: int = 20
    max_detections: int = 1000

    def __post_init__(self) -> None:
        MethodSpec.__post_init__(self)
        check_least("min_area", self.min_area, 0)
        check_least("max_detections", self.max_detections, 1)

    @property
    def class_names(self) -> tuple[str, ...]:
        """What its one class is called."""
        return ("object",)

    def with_detections(self, most: int) -> Self:
        """The same for up to `most` objects in a picture."""
        return replace(self, max_detections=most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition(ObjectMethod):
    """A method that divides the whole picture into regions, the largest first.

    `keep` says whether all of them are objects, or only those whose mean brightness lies on the foreground's side
    of Otsu's threshold over all regions.
    """

    keep: Kept = "all"


Method: TypeAlias = PixelMethod | ObjectMethod


def check_least(name: str, value: float, least: float) -> None:
    """`ConfigError` for a setting below its least value."""
    if not value >= least:
        raise ConfigError(f"{name} must be at least {least:g}, but got {value}")


def check_window(name: str, value: int) -> None:
    """`ConfigError` for the side of a window that has no middle pixel."""
    if value < 3 or value % 2 == 0:
        raise ConfigError(f"{name} must be an odd number of at least 3, but got {value}")
