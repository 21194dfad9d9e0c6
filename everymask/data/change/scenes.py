"""Which pictures are crops of one scene: neighbours in a scene share its light, its roofs and its shift.

Data sets of change are published as crops that are named after their scene and their corner there, as LEVIR-CD's
`train_36_0512_0256.png`: the crop at row 512 and column 256 of `train_36`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from everymask.data.dataset import Dataset

_CORNER = re.compile(r"(.+?)[-_](\d+)[-_](\d+)$")
_DIGITS, _STEP = 3, 32


def scene_of(stem: str) -> str:
    """The scene that a picture of this name is a crop of; the name itself where it says nothing of the kind.

    The last two numbers are a corner where each has three digits or more, or is a multiple of 32.

    >>> scene_of("train_36_0512_0256"), scene_of("city_0_96"), scene_of("road_2019_07")
    ('train_36', 'city', 'road_2019_07')
    """
    found = _CORNER.fullmatch(stem)
    if found is None:
        return stem
    corner = found[2], found[3]
    return found[1] if all(len(part) >= _DIGITS or int(part) % _STEP == 0 for part in corner) else stem


def crops_of_scenes(dataset: Dataset) -> dict[str, list[int]]:
    """The rows of pictures of two dates that are crops of one scene, by its name, where there are two or more."""
    found: dict[str, list[int]] = {}
    for row, record in enumerate(dataset.records):
        if record.before is not None:
            found.setdefault(scene_of(record.image.stem), []).append(row)
    return {scene: rows for scene, rows in found.items() if len(rows) > 1}
