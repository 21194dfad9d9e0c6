"""Randomness as a pure function of what it is for.

No generator is shared or global: a batch is the same for any number of workers, and a run can be continued exactly.
"""

from __future__ import annotations

import hashlib

import numpy as np


def rng(*key: int | str) -> np.random.Generator:
    """The generator that belongs to `key`, for example `rng(seed, epoch, index, "flip")`."""
    digest = hashlib.blake2b("\x1f".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))
