"""Where what was made of a file is kept, to be found again for the same file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from everymask.core.cache import cache_folder
from everymask.data.identity.files import mark_of
from everymask.errors import MachineError, printable


def copies_of(file: Path, kind: str, *, what: str, cure: str) -> tuple[Path, str]:
    """The folder for copies of that `kind` in the user's cache folder, made if need be, and what `file` is known by
    there: 64 hexadecimal digits of its path, size and times.

    `MachineError` where there is no place for `what` is to be done; `cure` says what else to do.
    """
    try:
        mark = mark_of(file)
        place = cache_folder() / kind
        place.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        raise MachineError(
            f"{printable(file)}: there is no place to {what}: {error}",
            hint=f"{cure}, or set XDG_CACHE_HOME to a folder that can be written",
        ) from error
    known = "|".join(map(str, (file.resolve(), *mark)))
    return place, hashlib.sha256(os.fsencode(known)).hexdigest()
