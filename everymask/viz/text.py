"""Small letters on pictures, from a font that every Pillow brings along."""

from __future__ import annotations

import os
import sys
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import ImageFont

from everymask.core.arrays import ByteArray
from everymask.core.labels import Colour
from everymask.errors import printable

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Pillow's own font knows ASCII only; these are looked for on the machine first when a name needs more, then all others.
_WIDER_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-zenhei.ttc",
    "Arial Unicode.ttf",
    "arial.ttf",
    "msyh.ttc",
    "malgun.ttf",
    "Nirmala.ttf",
)
_FONT_FILES = (".ttf", ".ttc", ".otf")
# No character and never one: fonts draw their empty box for it. (Of U+E0FFF layout engines draw nothing.)
_UNASSIGNED = "\u0378"


def write_tag(text: str, colour: Colour, height: int, max_width: int) -> ByteArray:
    """A label as a small picture [h, w, 3]: `text` on `colour`, black or white, whichever reads better.

    Letters are about `height` pixels from one line to the next. Text wider than `max_width` pixels is shortened
    with an ellipsis; where not even that fits, the picture is 0 wide.
    """
    ink = _written(text, height, max_width)[..., None].astype(np.uint16)
    back = np.array(colour, np.uint16)
    front = np.array(contrast_colour(colour), np.uint16)
    return ((ink * front + (255 - ink) * back) // 255).astype(np.uint8)


def tag_size(text: str, height: int, max_width: int) -> tuple[int, int]:
    """The height and width of the picture that `write_tag` makes."""
    _, _, width = _fitted(text, height, max_width)
    return (height + _pad(height), width) if width else (0, 0)


def contrast_colour(colour: Colour) -> Colour:
    """Black or white, whichever differs more from `colour` (WCAG 2 relative luminance)."""
    linear = [(c / 255 / 12.92) if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (255, 255, 255) if luminance < 0.25 else (16, 16, 20)


@lru_cache(maxsize=512)
def readable(text: str, height: int) -> tuple[str, Font]:
    """The text as it can be written, and its font: of those on the machine the first that has all letters, or most.

    Letters that it does not have become their ASCII relative or "?".
    """
    shown = printable(text)
    if shown.isascii():
        return shown, _default(height)
    best: Font = _default(height)
    known = "".join(filter(str.isascii, shown))
    for name in _font_names():
        font = _installed(name, height)
        has = "" if font is None else "".join(letter for letter in shown if _has(font, letter))
        if font is not None and len(has) > len(known):
            best, known = font, has
        if known == shown:
            break
    return "".join(letter if letter in known else _plain(letter) for letter in shown), best


def _plain(letter: str) -> str:
    bare = "".join(c for c in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(c))
    return bare if bare and bare.isascii() else "?"


def _pad(height: int) -> int:
    return max(2, height // 4)


@lru_cache(maxsize=4096)
def _fitted(text: str, height: int, max_width: int) -> tuple[str, Font, int]:
    """The text as it fits, its font, and how wide it is with what is left free beside it; 0 where nothing fits."""
    shown, font = readable(text, height)
    beside = 2 * _pad(height)
    length = font.getlength(shown)
    if length > max_width - beside:
        while shown and font.getlength(shown + "...") > max_width - beside:
            shown = shown[:-1]
        if not shown:
            return "", font, 0
        shown += "..."
        length = font.getlength(shown)
    return shown, font, int(np.ceil(length)) + beside


@lru_cache(maxsize=1024)
def _written(text: str, height: int, max_width: int) -> ByteArray:
    """How much ink lies where, [h, w] 0-255."""
    from PIL import Image, ImageDraw

    shown, font, _ = _fitted(text, height, max_width)
    size = tag_size(text, height, max_width)
    page = Image.new("L", size[::-1])
    if shown:
        # Centred by the letters "Ag", not by the text: tags of one picture share a base line.
        top, bottom = font.getbbox("Ag")[1], font.getbbox("Ag")[3]
        ImageDraw.Draw(page).text((_pad(height), (size[0] - bottom - top) // 2), shown, fill=255, font=font)
    return np.asarray(page)


@lru_cache(maxsize=32)
def _default(height: int) -> Font:
    return ImageFont.load_default(round(height * 0.85))


@lru_cache(maxsize=64)
def _installed(name: str, height: int) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(name, round(height * 0.8))
    except OSError:
        return None


@lru_cache(maxsize=4096)
def _has(font: ImageFont.FreeTypeFont, letter: str) -> bool:
    """Whether the font can draw a letter, or need not."""
    if letter.isspace() or unicodedata.category(letter) == "Cf":
        return True
    bare = _unshaped(font)
    return bytes(bare.getmask(letter)) != bytes(bare.getmask(_UNASSIGNED))


@lru_cache(maxsize=64)
def _unshaped(font: ImageFont.FreeTypeFont) -> ImageFont.FreeTypeFont:
    """The same font without layout, which would put a dotted circle under a single vowel sign."""
    return font.font_variant(layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=1)
def _font_names() -> tuple[str, ...]:
    """The fonts of the machine by the names under which Pillow opens them, the usual ones first."""
    files = (file for folder in _font_folders() if folder.is_dir() for file in sorted(folder.rglob("*")))
    others = (str(file) for file in files if file.suffix.lower() in _FONT_FILES)
    return tuple(dict.fromkeys((*_WIDER_FONTS, *others)))


def _font_folders() -> list[Path]:
    """Where systems keep fonts, as Pillow's `ImageFont.truetype` looks for them."""
    home = Path.home()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA", str(home / "AppData" / "Local"))
        return [
            Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts",
            Path(local) / "Microsoft" / "Windows" / "Fonts",
        ]
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library" / "Fonts"]
    shared = os.environ.get("XDG_DATA_DIRS", "/usr/local/share:/usr/share").split(":")
    own = os.environ.get("XDG_DATA_HOME", str(home / ".local" / "share"))
    return [Path(folder) / "fonts" for folder in (own, *shared) if folder]
