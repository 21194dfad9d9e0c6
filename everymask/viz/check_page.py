"""What is in a data set, as one HTML file that needs nothing else: counts, charts, and each kind of defect shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from everymask.core.arrays import ByteArray
from everymask.core.files import write_text
from everymask.errors import Issue
from everymask.metrics.scores import Headline
from everymask.viz.charts import bar_chart, escaped, folded, histogram, number_text
from everymask.viz.page import FOOTER, first_heading, page
from everymask.viz.parts import definitions, grid, headline_cards, issue_line, picture_uri

_FIRST = "Data set"
_LARGEST = 5_000_000
_PICTURES = 3_500_000
"""Characters that embedded pictures may take together: the page stays below 5 MB."""
_LISTED = 5
_MOST_LISTED = 200
_MOST_VALUES = 24


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture uint8 [H, W, 3] and what stands below it."""

    caption: str
    picture: ByteArray


@dataclass(frozen=True, slots=True)
class DefectKind:
    """All defects of one code: how many there are, what training does with each, those listed, and a few shown."""

    code: str
    severity: str
    count: int
    strict: str
    skip: str
    issues: Sequence[Issue]
    shots: Sequence[Shot] = ()


@dataclass(frozen=True, slots=True)
class Alike:
    """Pictures that look alike, beside each other."""

    title: str
    shots: Sequence[Shot]


@dataclass(frozen=True, slots=True)
class CheckContent:
    """All that the page can show; what is empty is left out.

    `samples` are pictures with their truth drawn over them, `histograms` counts by ranges in their order, `bars` counts
    by name. `encoding` says what label maps hold, and `values` has a row for each of their values: the value, what it
    was taken for, its pixels, the maps that have it.
    """

    title: str
    subtitle: str = ""
    headlines: Sequence[Headline] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    histograms: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    bars: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    encoding: str = ""
    values: Sequence[tuple[str, str, int, int]] = ()
    samples: Sequence[Shot] = ()
    kinds: Sequence[DefectKind] = ()
    alike: Sequence[Alike] = ()
    notes: Sequence[str] = ()


def write_check_page(path: str | Path, content: CheckContent) -> None:
    """Write the page as one HTML file below 5 MB, whole or not at all; everything is shown as text."""
    room = _Room(_PICTURES)
    charts = [histogram(list(ranges.items()), title=name) for name, ranges in content.histograms.items()]
    classes = [bar_chart(list(counts.items()), title=name) for name, counts in content.bars.items()]
    errors = [kind for kind in content.kinds if kind.severity == "error"]
    warnings = [kind for kind in content.kinds if kind.severity != "error"]
    sections = [
        (_FIRST, headline_cards(content.headlines) + definitions(content.facts)),
        ("What was understood", _samples(content.samples, room)),
        ("Defects", "".join(_kind(kind, room) for kind in errors)),
        ("Warnings", "".join(_kind(kind, room) for kind in warnings)),
        ("Pictures that look alike", "".join(_alike(group, room) for group in content.alike)),
        ("Pictures and objects", grid(charts)),
        ("Classes", grid(classes)),
        ("What the label maps hold", _said(content.encoding) + _values(content.values)),
        ("Not looked at", "".join(map(_said, content.notes))),
    ]
    write_text(path, page(content.title, content.subtitle, [(name, body) for name, body in sections if body]))


def is_check_page(path: str | Path) -> bool:
    """Whether a file is a page that `write_check_page` wrote; False where it cannot be read."""
    try:
        with Path(path).open("rb") as stream:
            content = stream.read(_LARGEST + 1)
    except OSError:
        return False
    return len(content) <= _LARGEST and all(mark.encode() in content for mark in (first_heading(_FIRST), FOOTER))


def _said(text: str) -> str:
    return f'<p class="chosen">{escaped(text)}</p>' if text else ""


class _Room:
    """How much may still be embedded."""

    def __init__(self, left: int) -> None:
        self._left = left

    def figure(self, shot: Shot) -> str:
        """The picture with its caption; the caption alone where no room is left."""
        uri = picture_uri(shot.picture)
        caption = f"<figcaption>{escaped(shot.caption)}</figcaption>"
        if len(uri) > self._left:
            return f"<figure>{caption}</figure>"
        self._left -= len(uri)
        return f'<figure><img src="{uri}" alt="{escaped(shot.caption)}" loading="lazy">{caption}</figure>'


def _kind(kind: DefectKind, room: _Room) -> str:
    """One kind of defect: what it is, what becomes of it, pictures, and where the others are."""
    outcomes = f"--on-defect strict: {kind.strict}; skip: {kind.skip}"
    shots = "".join(map(room.figure, kind.shots))
    rows = [issue_line(issue, coded=False) for issue in kind.issues[:_MOST_LISTED]]
    first, rest = "".join(rows[:_LISTED]), "".join(rows[_LISTED:])
    unlisted = kind.count - sum(issue.count for issue in kind.issues[:_MOST_LISTED])
    more = folded(f"{len(rows) - _LISTED} more", f'<ul class="issues">{rest}</ul>') if rest else ""
    others = f"<p>... and {number_text(unlisted)} that are not listed.</p>" if unlisted > 0 else ""
    return (
        f'<article class="panel defect"><h3><span class="{kind.severity}">{escaped(kind.severity)}</span> '
        f"{escaped(kind.code)} · {number_text(kind.count)}</h3><p>{escaped(outcomes)}</p>"
        f'<div class="shots">{shots}</div><ul class="issues">{first}</ul>{more}{others}</article>'
    )


def _samples(samples: Sequence[Shot], room: _Room) -> str:
    shots = "".join(map(room.figure, samples))
    said = "Some pictures with their annotations as training sees them. Do the outlines lie where they should?"
    return f'{_said(said)}<div class="panel shots large">{shots}</div>' if shots else ""


def _alike(group: Alike, room: _Room) -> str:
    shots = "".join(map(room.figure, group.shots))
    return f'<article class="panel defect"><h3>{escaped(group.title)}</h3><div class="shots">{shots}</div></article>'


def _values(values: Sequence[tuple[str, str, int, int]]) -> str:
    """A table of stored values; what is beyond 24 is folded away."""
    if not values:
        return ""
    head = "".join(f'<th scope="col">{word}</th>' for word in ("value", "taken for", "pixels", "maps"))
    rows = [
        f'<tr><th scope="row">{escaped(value)}</th><th>{escaped(name)}</th>'
        f"<td>{number_text(pixels)}</td><td>{number_text(maps)}</td></tr>"
        for value, name, pixels, maps in values
    ]
    table = f'<table class="values"><tr>{head}</tr>{{}}</table>'
    rest = rows[_MOST_VALUES:]
    more = folded(f"{len(rest)} more values", table.format("".join(rest))) if rest else ""
    return table.format("".join(rows[:_MOST_VALUES])) + more
