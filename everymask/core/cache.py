"""Where files are kept that can be had again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`everymask` in the user's cache folder; `RuntimeError` where the user has no home.

    As the XDG Base Directory Specification wants it, a relative path in `XDG_CACHE_HOME` is ignored.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path.home() / ".cache") / "everymask"
