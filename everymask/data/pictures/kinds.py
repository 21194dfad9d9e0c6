"""Which kind of picture a file is, by its first bytes and not by its name."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import IO

from everymask.errors import DataError, printable

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\x93NUMPY", "NPY"),
)
_HEIC = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_SHOWN_FORMATS = "PNG, JPEG, BMP, TIFF, WebP, GIF, PPM, JPEG 2000 or NumPy (.npy)"


def open_regular(file: Path) -> IO[bytes]:
    """The file, opened to be read; `DataError` for what is no file, or an empty one."""
    try:
        status = file.stat()
    except ValueError as error:
        raise DataError(f"{printable(file)}: a file name cannot hold a NUL character") from error
    if not stat.S_ISREG(status.st_mode):
        found = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise DataError(f"{printable(file)}: expected a picture file, but found {found}")
    if status.st_size == 0:
        raise DataError(f"{printable(file)}: the file is empty", hint="fetch or export the file again")
    return file.open("rb")


def kind_of(stream: IO[bytes], file: Path) -> str:
    """The format, such as PNG; `DataError` says what the file is instead where it is no picture that can be read."""
    head = stream.read(512)
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:1] == b"P" and head[1:2] in (b"1", b"2", b"3", b"4", b"5", b"6", b"f") and head[2:3].isspace():
        return "PPM"
    text = head.lstrip().lower()
    hint = f"allowed are {_SHOWN_FORMATS}"
    if text.startswith(b"version https://git-lfs"):
        found, hint = "a Git LFS pointer", "fetch the real files with: git lfs pull"
    elif text.startswith((b"<!doctype html", b"<html")):
        found, hint = "a web page", "the download was refused or redirected: fetch the file again"
    elif text.startswith((b"%!ps", b"\xc5\xd0\xd3\xc6", b"%pdf", b"8bps", b"<svg", b"<?xml", b"\xd7\xcd\xc6\x9a")):
        found = "a document or drawing (PostScript, PDF, PSD, SVG, WMF)"
    elif head[4:8] == b"ftyp" and head[8:12] in _HEIC:
        found, hint = "AVIF or HEIC", "convert it to PNG or JPEG"
    elif head[4:8] == b"ftyp" or head[:4] == b"\x1aE\xdf\xa3" or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        found, hint = "a video", "write its frames as pictures: ffmpeg -i FILE frames/%06d.png"
    elif head[128:132] == b"DICM" or head[344:348] in (b"n+1\0", b"ni1\0") or file.name.lower().endswith(".nii.gz"):
        found, hint = "a volume (DICOM or NIfTI)", "export its slices as PNG or TIFF files"
    elif head[:4] == b"PK\x03\x04" or head[:2] == b"\x1f\x8b":
        found, hint = "an archive", "unpack it, and name the folder"
    else:
        found = "something else"
    raise DataError(f"{printable(file)}: expected a picture, but found {found}", hint=hint)
