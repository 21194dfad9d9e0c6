"""Parts of pages: embedded pictures, lists of facts, figures beside each other."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from everymask.core.arrays import ByteArray
from everymask.errors import Issue
from everymask.metrics.scores import Headline
from everymask.viz.charts import escaped, number_text

PICTURE_SIDE = 480
"""The longer side of a picture in a page; what is drawn at this size keeps its lines and letters."""


def picture_uri(picture: ByteArray) -> str:
    """A picture uint8 [H, W, 3] inside of the page, as JPEG, scaled down to `PICTURE_SIDE`."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture))
    image.thumbnail((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    # Full chroma: halved colour resolution would smear the one-pixel outlines.
    # Not optimised: Pillow gives up on noise then.
    image.save(buffer, "JPEG", quality=82, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def definitions(values: Mapping[str, object]) -> str:
    """Names and values in columns; nested mappings with their names joined."""
    rows = "".join(f"<div><dt>{escaped(name)}</dt><dd>{value_text(value)}</dd></div>" for name, value in _flat(values))
    return f'<dl class="facts">{rows}</dl>' if rows else ""


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def value_text(value: object) -> str:
    """A value as a page shows it, escaped."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return escaped(f"{value:.6g}")
    if isinstance(value, int):
        return number_text(value)
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(value_text(item) for item in value) or "–"
    return "–" if value is None or value in ({}, "") else escaped(value)


def grid(figures: Sequence[str]) -> str:
    """Figures beside each other, as many as there is room for."""
    return f'<div class="grid">{"".join(figures)}</div>' if figures else ""


def issue_line(issue: Issue, *, coded: bool) -> str:
    """A defect with its place and its cure as a list item, with its code where `coded`."""
    place = ":".join(part for part in (issue.file, issue.where) if part)
    found = f" (found {escaped(issue.value)})" if issue.value else ""
    code = f" <code>{escaped(issue.code)}</code>" if coded else ""
    cure = f"<br><small>{escaped(issue.hint)}</small>" if issue.hint else ""
    return f"<li><b>{escaped(place)}</b> {escaped(issue.message)}{found}{code}{cure}</li>"


def headline_cards(numbers: Sequence[Headline]) -> str:
    """The most important numbers, large, with a note each."""
    cards = "".join(
        f'<div class="card"><dt>{escaped(number.name)}</dt><dd>{value_text(number.value)}</dd>'
        f"<dd class='note'>{escaped(number.note)}</dd></div>"
        for number in numbers
    )
    return f'<dl class="cards">{cards}</dl>' if cards else ""
