"""Small letters on pictures, from a font that every Pillow brings along."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from PIL import ImageFont

from everymask.core.arrays import ByteArray
from everymask.core.labels import Colour
from everymask.errors import printable

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Pillow's own font knows ASCII only; these are looked for on the machine when a name needs more.
_WIDER_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-zenhei.ttc",
    "Arial Unicode.ttf",
    "arial.ttf",
    "msyh.ttc",
)
_UNASSIGNED = "\U000e0fff"


def write_tag(text: str, colour: Colour, height: int, max_width: int) -> ByteArray:
    """A label as a small picture [h, w, 3]: `text` on `colour`, black or white, whichever reads better.

    Letters are about `height` pixels from one line to the next. Text wider than `max_width` pixels is shortened
    with an ellipsis; where not even that fits, the picture is 0 wide.
    """
    shown, font = readable(text, height)
    pad = max(2, height // 4)
    room = max_width - 2 * pad
    if font.getlength(shown) > room:
        while shown and font.getlength(shown + "...") > room:
            shown = shown[:-1]
        if not shown:
            return np.zeros((0, 0, 3), np.uint8)
        shown += "..."
    width = int(np.ceil(font.getlength(shown))) + 2 * pad
    ink = _ink(shown, font, width, height + pad, pad)[..., None].astype(np.uint16)
    back = np.array(colour, np.uint16)
    front = np.array(contrast_colour(colour), np.uint16)
    return ((ink * front + (255 - ink) * back) // 255).astype(np.uint8)


def contrast_colour(colour: Colour) -> Colour:
    """Black or white, whichever differs more from `colour` (WCAG 2 relative luminance)."""
    linear = [(c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (255, 255, 255) if luminance < 0.25 else (16, 16, 20)


def readable(text: str, height: int) -> tuple[str, Font]:
    """The text as it can be written, and its font: letters that no font has become their ASCII relative or "?"."""
    shown = printable(text)
    if shown.isascii():
        return shown, _default(height)
    for name in _WIDER_FONTS:
        font = _installed(name, height)
        if font is not None and _covers(font, shown):
            return shown, font
    plain = "".join(c for c in unicodedata.normalize("NFKD", shown) if not unicodedata.combining(c))
    return plain.encode("ascii", "replace").decode(), _default(height)


def _ink(text: str, font: Font, width: int, height: int, left: int) -> ByteArray:
    from PIL import Image, ImageDraw

    page = Image.new("L", (width, height))
    # Centred by the letters "Ag", not by the text: tags of one picture share a base line.
    top, bottom = font.getbbox("Ag")[1], font.getbbox("Ag")[3]
    ImageDraw.Draw(page).text((left, (height - bottom - top) // 2), text, fill=255, font=font)
    return np.asarray(page)


@lru_cache(maxsize=32)
def _default(height: int) -> Font:
    return ImageFont.load_default(round(height * 0.85))


@lru_cache(maxsize=64)
def _installed(name: str, height: int) -> Font | None:
    try:
        return ImageFont.truetype(name, round(height * 0.8))
    except OSError:
        return None


@lru_cache(maxsize=512)
def _covers(font: Font, text: str) -> bool:
    missing = bytes(font.getmask(_UNASSIGNED))
    return all(bytes(font.getmask(letter)) != missing for letter in set(text) if not letter.isspace())
