"""Samples of which a metric needs no more than the size and the id."""

from __future__ import annotations

import numpy as np

from everymask.core.sample import Sample


def named(name: str, size: tuple[int, int]) -> Sample:
    """A picture of `size` (H, W) that takes no memory."""
    return Sample(np.broadcast_to(np.uint8(0), (*size, 1)), id=name)
