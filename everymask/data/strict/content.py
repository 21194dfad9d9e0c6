"""What annotation files hold, as bytes, and the numbers in them."""

from __future__ import annotations

import errno
from pathlib import Path

from everymask.data.issues import IssueLog
from everymask.errors import MachineError, printable

_MACHINE = (errno.EMFILE, errno.ENFILE)  # no fault of this file: the next one would meet it too
_DIGITS = 16


def read_content(file: Path, issues: IssueLog, *, most: int, code: str, hint: str = "") -> bytes | None:
    """All bytes of a file, or None when `issues` was told why there are none.

    That is where the file has more than `most` bytes (an error with that `code` and `hint`), and where a permission or
    the disk is in the way of it: others may be sound. `MachineError` where no file can be read.
    """
    try:
        size = file.stat().st_size
        if size > most:
            issues.error(code, f"expected at most {most:,} bytes", file=file, value=size, hint=hint)
            return None
        return file.read_bytes()
    except OSError as error:
        if error.errno in _MACHINE:
            raise MachineError(f"cannot read {printable(file)}: {error.strerror or error}") from error
        message = f"the file cannot be read: {error.strerror or error}"
        issues.error("file-unreadable", message, file=file, hint="look at its permissions, or copy it again")
        return None


def whole_number(text: str) -> int | None:
    """The number that a text of ordinary digits is; None for any other, and for more digits than a file has use for."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else None
