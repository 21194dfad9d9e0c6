"""Where on Earth a picture lies: the tags of a GeoTIFF (OGC 19-008r4), which a map of the same pixels can carry too."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from everymask.errors import printable

_log = logging.getLogger(__name__)
# ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory, GeoDoubleParams, GeoAsciiParams.
CODES = (33550, 33922, 34264, 34735, 34736, 34737)
_ORIENTATION = 274
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True, slots=True)
class GeoTag:
    """A tag as TIFF stores it: its `code`, the number of its data type, and text or numbers."""

    code: int
    dtype: int
    value: str | tuple[int | float, ...]

    @property
    def nbytes(self) -> int:
        """At most so many bytes."""
        return 32 + 8 * len(self.value)


def read_geotags(path: str | Path) -> tuple[GeoTag, ...]:
    """The tags of the first page of a GeoTIFF; none of another file.

    What cannot be read is left out with a logged warning, and so are the tags of a picture that its orientation flag
    turns, since they tell of the stored rows.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            if stream.read(4) not in _MAGIC:
                return ()
        return _tags(file)
    except Exception as error:  # tifffile raises what it meets, and the picture itself could be read
        _log.warning("%s: its geographic tags cannot be read and are left out: %s", printable(file), error)
        return ()


def _tags(file: Path) -> tuple[GeoTag, ...]:
    from tifffile import TiffFile

    with TiffFile(file) as tiff:
        stored = tiff.pages.first.tags
        tags = [stored[code] for code in CODES if code in stored]
        found = tuple(GeoTag(tag.code, int(tag.dtype), _value(tag.value)) for tag in tags)
        turned = stored.valueof(_ORIENTATION, 1) != 1
    if found and turned:
        _log.warning("%s: the picture is turned, so that its geographic tags are left out", printable(file))
        return ()
    return found


def _value(value: object) -> str | tuple[int | float, ...]:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str):
        return value
    return tuple(value) if isinstance(value, tuple) else (value,)  # type: ignore[return-value]
