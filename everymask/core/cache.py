"""Where files are kept that can be had again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`everymask` in the user's cache folder; `RuntimeError` where the user has no home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "everymask"
