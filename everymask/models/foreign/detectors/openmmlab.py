"""What OpenMMLab's checkpoints say of pictures and classes, in their settings or by the names of their files."""

from __future__ import annotations

import re
from typing import TypeAlias

_NUMBERS = r"=\s*\[\s*([\d.]+)\s*,\s*([\d.]+)\s*,\s*([\d.]+)\s*\]"
_TRIPLE: TypeAlias = tuple[float, ...]


def normalisation_of(settings: str) -> tuple[tuple[_TRIPLE, _TRIPLE], bool] | None:
    """Mean and spread of red, green and blue in 0-1, and whether the network takes blue first; None where the settings
    do not say it.
    """
    means, stds = (re.search(rf"\b{name}{_NUMBERS}", settings) for name in ("mean", "std"))
    order = re.search(r"\b(?:to_rgb|bgr_to_rgb)\s*=\s*(True|False)", settings)
    if not (means and stds and order):
        return None
    mean, std = (tuple(float(value) / 255 for value in found.groups()) for found in (means, stds))
    if not all(0 <= value <= 1 for value in mean) or min(std) <= 0:
        return None
    blue_first = order[1] == "False"
    return ((mean[::-1], std[::-1]) if blue_first else (mean, std)), blue_first


def style_of(settings: str, file: str) -> str | None:
    """Where a ResNet's stages stride, "caffe" or "pytorch"; None where neither settings nor the file's name say it."""
    found = re.search(r"style\s*=\s*['\"](caffe|pytorch)['\"]", settings)
    return found[1] if found else "caffe" if "caffe" in file else None
