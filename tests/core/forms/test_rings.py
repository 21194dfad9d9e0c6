"""Many rings are measured as each would be alone."""

from __future__ import annotations

import numpy as np
import pytest

from everymask.core.forms.rings import ring_areas, ring_lengths, ring_pixels
from everymask.core.masks import Masks
from everymask.core.randomness import rng


@pytest.fixture
def rings() -> list[np.ndarray]:
    """Of 3 to 40 corners, many of which cross themselves or reach out of their pictures."""
    random = rng(0, "rings")
    return [random.uniform(-15, 60, (int(random.integers(3, 41)), 2)) for _ in range(300)]


def test_pixels_are_those_of_the_masks(rings: list[np.ndarray]) -> None:
    sizes = rng(1, "sizes").integers(1, 60, (len(rings), 2))
    expected = [
        int(Masks.from_polygons([[ring]], tuple(size)).areas()[0])
        for ring, size in zip(rings, sizes.tolist(), strict=True)
    ]
    assert sum(count > 0 for count in expected) > 200
    assert ring_pixels(rings, sizes).tolist() == expected


def test_areas_and_lengths_are_those_of_known_shapes() -> None:
    square = np.array([[2.0, 2], [12, 2], [12, 10], [2, 10]])
    line = np.array([[0.0, 0], [3, 4], [0, 0]])
    far = np.array([[1e6, 1e6], [1e6 + 4, 1e6], [1e6, 1e6 + 3]])
    assert ring_areas([square, line, far, square[::-1]]).tolist() == [80, 0, 6, 80]
    assert ring_lengths([square, line, far, square[::-1]]).tolist() == [36, 10, 12, 36]
