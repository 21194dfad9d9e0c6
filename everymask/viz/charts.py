"""Charts as inline SVG and HTML: no script, no library, nothing loaded from elsewhere.

Colours are variables of the page (`--s0` ... `--s7`, `--ink`, `--rule`), so one drawing serves light and dark.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from everymask.core.arrays import Array
from everymask.errors import printable

_WIDTH, _HEIGHT = 480, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 14, 32, 46
_DASHES = ("", "7 3", "2 3")
_SHADES = 8


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: `x` and `y` of equal length; it is interrupted where `y` is not finite."""

    name: str
    x: Sequence[float] | Array
    y: Sequence[float] | Array


def escaped(text: object) -> str:
    """Text as HTML shows it: on one line, control characters made visible, markup harmless."""
    return html.escape(printable(text, limit=500))


def line_chart(
    lines: Sequence[Line], *, title: str, x_label: str, y_label: str, y_range: tuple[float, float] | None = None
) -> str:
    """A figure with axes, round ticks and a legend below; each curve is thinned to 240 points by averaging.

    `y_range` fixes the vertical axis; without it the axis reaches from 0 (or the lowest value below) to the highest.
    A single curve called like the axis needs no legend.
    """
    curves = [(line.name, *thin(line.x, line.y)) for line in lines]
    xs = np.concatenate([x for _, x, _ in curves]) if curves else np.zeros(0)
    ys = np.concatenate([y[np.isfinite(y)] for _, _, y in curves]) if curves else np.zeros(0)
    x_ticks = ticks(float(xs.min(initial=math.inf)), float(xs.max(initial=-math.inf)), outside=False)
    low, high = y_range or (min(0.0, float(ys.min(initial=0))), float(ys.max(initial=0)))
    y_ticks = ticks(low, high, outside=True)
    across = _Axis(float(xs.min(initial=math.inf)), float(xs.max(initial=-math.inf)), _LEFT, _WIDTH - _RIGHT)
    upward = _Axis(y_ticks[0], y_ticks[-1], _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escaped(title)}">',
        *(_y_tick(tick, y_ticks, upward.place(tick)) for tick in y_ticks),
        *(_x_tick(tick, x_ticks, across.place(tick)) for tick in x_ticks),
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:g}" y="{_HEIGHT - 6}" text-anchor="middle">{escaped(x_label)}</text>',
        f'<text x="4" y="15">{escaped(y_label)}</text>',
    ]
    for number, (name, x, y) in enumerate(curves):
        parts.append(_curve(name, number, across.place(x), upward.place(y)))
    parts.append("</svg>")
    legend = "".join(
        f'<li><svg class="key" viewBox="0 0 22 10" aria-hidden="true"><path d="M0 5H22" {_stroke(number)}/></svg>'
        f"{escaped(name)}</li>"
        for number, (name, _, _) in enumerate(curves)
        if len(curves) > 1 or name != y_label
    )
    key = f'<ul class="legend">{legend}</ul>' if legend else ""
    return f"<figure><figcaption>{escaped(title)}</figcaption>{''.join(parts)}{key}</figure>"


def bar_chart(bars: Sequence[tuple[str, float]], *, title: str, limit: int = 24) -> str:
    """Horizontal bars with names and values, longest first; what is beyond `limit` is folded away."""
    rows = _bars(sorted(bars, key=lambda bar: -bar[1]))
    more = folded(f"{len(rows) - limit} more", f'<ul class="bars">{"".join(rows[limit:])}</ul>') if rows[limit:] else ""
    return (
        f'<figure><figcaption>{escaped(title)}</figcaption><ul class="bars">{"".join(rows[:limit])}</ul>{more}</figure>'
    )


def histogram(ranges: Sequence[tuple[str, float]], *, title: str) -> str:
    """Horizontal bars in the order of the ranges."""
    return f'<figure><figcaption>{escaped(title)}</figcaption><ul class="bars">{"".join(_bars(ranges))}</ul></figure>'


def _bars(bars: Sequence[tuple[str, float]]) -> list[str]:
    top = max((value for _, value in bars), default=0.0)

    def row(name: str, value: float) -> str:
        share = 100 * max(value, 0) / top if top > 0 else 0
        return (
            f'<li><span class="name">{escaped(name)}</span><span class="track"><span class="bar" '
            f'style="width:{share:.1f}%"></span></span><span class="value">{number_text(value)}</span></li>'
        )

    return [row(*bar) for bar in bars]


def heat_table(counts: Array, names: Sequence[str], *, row_title: str, column_title: str) -> str:
    """A square table of `counts` [K, K], each cell tinted by its share of its row."""
    totals = np.maximum(np.asarray(counts, float).sum(axis=1, keepdims=True), 1e-12)
    shares = np.asarray(counts, float) / totals
    head = "".join(f'<th scope="col"><span>{escaped(name)}</span></th>' for name in names)
    rows = []
    for row, name in enumerate(names):
        cells = "".join(
            f'<td class="{_tint(row == column)}{" strong" if shares[row, column] > 0.55 else ""}" '
            f'style="--share:{100 * shares[row, column]:.0f}%">{number_text(float(counts[row, column]))}</td>'
            for column in range(len(names))
        )
        rows.append(f'<tr><th scope="row">{escaped(name)}</th>{cells}</tr>')
    corner = f'<th class="corner">{escaped(row_title)} ↓ · {escaped(column_title)} →</th>'
    return f'<div class="wide"><table class="heat"><tr>{corner}{head}</tr>{"".join(rows)}</table></div>'


def folded(summary: str, content: str) -> str:
    """`content` (markup) that shows when its summary is opened."""
    return f"<details><summary>{escaped(summary)}</summary>{content}</details>"


def number_text(value: float) -> str:
    """A number as a person writes it: whole numbers with thin spaces, others with three significant digits."""
    if not math.isfinite(value):
        return "–"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", "\u202f")
    if 1e-3 <= abs(value) < 1e5:
        digits = max(0, 2 - math.floor(math.log10(abs(value))))
        return f"{value:.{digits}f}"
    return f"{value:.2e}"


def ticks(low: float, high: float, *, outside: bool, count: int = 5) -> list[float]:
    """About `count` round numbers between `low` and `high`; with `outside` the first and last enclose both.

    Where `low` is `high` there is room for it alone, unless `outside`.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        low, high = 0.0, 1.0
    if high == low and not outside:
        return [low]
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = (math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9))
    if not outside:
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def thin(x: Sequence[float] | Array, y: Sequence[float] | Array, points: int = 240) -> tuple[Array, Array]:
    """A curve of at most `points` points: neighbours are averaged, values that are not finite left out of the mean."""
    across, upward = np.asarray(x, float), np.asarray(y, float)
    if len(across) <= points:
        return across, upward
    edges = np.linspace(0, len(across), points + 1).astype(int)
    known = np.isfinite(upward)
    sums = np.add.reduceat(np.where(known, upward, 0), edges[:-1])
    counts = np.add.reduceat(known.astype(float), edges[:-1])
    means = np.divide(sums, counts, out=np.full(points, np.nan), where=counts > 0)
    return np.add.reduceat(across, edges[:-1]) / np.diff(edges), means


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    start: float
    end: float

    def place(self, value: Array | float) -> Array:
        if not self.high > self.low:
            return np.full(np.shape(value), (self.start + self.end) / 2)
        return self.start + (np.asarray(value) - self.low) / (self.high - self.low) * (self.end - self.start)


def _curve(name: str, number: int, x: Array, y: Array) -> str:
    known = np.isfinite(y)
    steps, pen_down = [], False
    for across, upward, drawn in zip(x, y, known, strict=True):
        if drawn:
            steps.append(f"{'L' if pen_down else 'M'}{across:.1f} {upward:.1f}")
        pen_down = bool(drawn)
    dots = ""
    if known.sum() <= 40:
        dots = "".join(
            f'<circle cx="{across:.1f}" cy="{upward:.1f}" r="2.6" style="fill:var(--s{number % _SHADES})"/>'
            for across, upward in zip(x[known], y[known], strict=True)
        )
    return f'<g><title>{escaped(name)}</title><path d="{"".join(steps)}" {_stroke(number)}/>{dots}</g>'


def _stroke(number: int) -> str:
    dash = _DASHES[number // _SHADES % len(_DASHES)]
    style = f"stroke:var(--s{number % _SHADES})" + (f";stroke-dasharray:{dash}" if dash else "")
    return f'class="curve" style="{style}"'


def _tint(right: bool) -> str:
    return "right" if right else "wrong"


def _y_tick(value: float, among: Sequence[float], y: Array) -> str:
    return (
        f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
        f'<text x="{_LEFT - 7}" y="{y:.1f}" dy=".35em" text-anchor="end">{_tick_text(value, among)}</text>'
    )


def _x_tick(value: float, among: Sequence[float], x: Array) -> str:
    bottom = _HEIGHT - _BOTTOM
    return (
        f'<path class="tick" d="M{x:.1f} {bottom}v4"/>'
        f'<text x="{x:.1f}" y="{bottom + 19}" text-anchor="middle">{_tick_text(value, among)}</text>'
    )


def _tick_text(value: float, among: Sequence[float]) -> str:
    """All ticks of an axis in one style: thousands as k, otherwise as many decimals as the step needs."""
    largest = max(abs(tick) for tick in among)
    if largest >= 10_000:
        return f"{value / 1000:g}k"
    if 0 < largest < 0.01:
        return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-") if value else "0"
    step = abs(among[1] - among[0]) if len(among) > 1 else abs(value) or 1.0
    return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"
