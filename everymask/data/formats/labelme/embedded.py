"""The picture that a labelme file may hold in `imageData`, as the base64 text of a picture file."""

from __future__ import annotations

import base64
import binascii
import hashlib
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from everymask.core.arrays import Array
from everymask.core.cache import cache_folder
from everymask.core.files import write_bytes
from everymask.data.issues import IssueLog
from everymask.data.pictures.read import read_header, read_image
from everymask.errors import DataError, MachineError

_PLACE = "/imageData"
_ENDINGS = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "BMP": ".bmp", "WEBP": ".webp", "GIF": ".gif"}
_LONGEST = 100


def unpack_picture(embedded: Any, file: Path, issues: IssueLog) -> Path | None:
    """The embedded picture as a file of the JSON file's name in the user's cache folder.

    None where `issues` was told why it cannot be used.
    """
    hint = f"write the embedded picture to a file first: labelme_export_json {file.name}"
    try:
        data = _decoded(embedded)
        ending = _ENDINGS.get(read_header(data).format, "")
    except (DataError, binascii.Error, ValueError) as error:
        message = f"imagePath names no file here, and the embedded picture cannot be read ({error})"
        issues.error("picture-missing", message, file=file, where=_PLACE, hint=hint)
        return None
    try:
        folder = cache_folder() / "embedded" / hashlib.sha256(data).hexdigest()[:32]
        picture = folder / f"{file.stem[:_LONGEST]}{ending}"
        if not picture.is_file():
            write_bytes(picture, data)
    except (MachineError, OSError, RuntimeError) as error:
        message = f"the picture exists only inside the JSON file, and there is no place to unpack it ({error})"
        issues.error("picture-missing", message, file=file, where=_PLACE, hint=hint)
        return None
    message = "{count} pictures exist only inside the JSON files (imageData); they are unpacked into the cache folder"
    issues.warn_shared("embedded-used", message, file=file)
    return picture


def compare_embedded(embedded: Any, file: Path, picture: Path, content: bool, issues: IssueLog) -> None:
    """Note where the embedded picture is another one than the file: in size, or, if `content`, in what it shows.

    labelme compresses the picture anew to embed it, so that neither bytes nor pixels need to be equal.
    """
    if embedded is None:
        return
    hint = f"correct imagePath, or open and save the annotation in labelme with {picture.name}"
    try:
        data = _decoded(embedded)
        with tempfile.TemporaryDirectory() as folder:
            inside = Path(folder) / "embedded"
            inside.write_bytes(data)
            sizes = read_header(inside).size, read_header(picture).size
            if sizes[0] != sizes[1]:
                (height, width), (file_height, file_width) = sizes
                message = f"the embedded picture is {width} x {height} pixels, the file {file_width} x {file_height}"
                issues.error("embedded-picture", message, file=file, where=_PLACE, value=picture.name, hint=hint)
            elif content and _differ(read_image(inside), read_image(picture)):
                message = "the embedded picture shows something else than the file"
                issues.error("embedded-picture", message, file=file, where=_PLACE, value=picture.name, hint=hint)
    except (DataError, binascii.Error, ValueError):
        if picture.is_file():
            issues.warn(
                "embedded-unreadable", "the embedded picture cannot be read; the file is used", file=file, where=_PLACE
            )


def _differ(first: Array, second: Array) -> bool:
    """Whether two pictures of one size look different when they are made small: by more than 8 % of the range."""
    small = []
    for image in (first, second):
        grey = image.mean(axis=2, dtype=np.float32) / (1.0 if image.dtype.kind == "f" else np.iinfo(image.dtype).max)
        small.append(cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA))
    return bool(np.abs(small[0] - small[1]).mean() > 0.08)


def _decoded(embedded: Any) -> bytes:
    return base64.b64decode(embedded, validate=True) if isinstance(embedded, str) else b""
