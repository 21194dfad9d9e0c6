"""The report of a run: one HTML file that needs nothing else, readable on a phone, in light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from everymask.core.arrays import ByteArray, FloatArray
from everymask.core.files import write_text
from everymask.core.labels import Colour
from everymask.errors import Issue
from everymask.metrics.scores import ClassTable, Confusion, Headline, PrecisionRecall
from everymask.viz.charts import Line, bar_chart, escaped, folded, heat_table, line_chart, number_text
from everymask.viz.page import page
from everymask.viz.parts import definitions, grid, headline_cards, issue_line, picture_uri

T = TypeVar("T")

_PANELS = 6
_MAX_HEAT = 16
_MAX_ROWS = 24
_MAX_ISSUES = 50
_MAX_CURVES = 7


@dataclass(frozen=True, slots=True)
class StepRow:
    """One line of the training log; `losses` by name, the sum under "loss"."""

    step: int
    losses: Mapping[str, float]
    epoch: float | None = None
    lr: float | None = None
    images_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class ValidationRow:
    """What an evaluation during training gave: scores 0-1 by name, for example "mask AP50"."""

    epoch: float
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture twice, uint8 [H, W, 3]: with its truth and with its prediction drawn on it at `PICTURE_SIDE`.

    Of two dates both `dates` of it, the earlier first, come one over the other: how much is seen of each is set by
    dragging a corner, without a script.
    """

    title: str
    caption: str
    truth: ByteArray
    prediction: ByteArray
    dates: tuple[ByteArray, ByteArray] | None = None


@dataclass(frozen=True, slots=True)
class ReportContent:
    """All that a report can show; what is empty is left out."""

    title: str
    when: str = ""
    headlines: tuple[Headline, ...] = ()
    steps: Sequence[StepRow] = ()
    validations: Sequence[ValidationRow] = ()
    precision_recall: tuple[PrecisionRecall, ...] = ()
    confusion: Confusion | None = None
    classes: ClassTable | None = None
    typical: tuple[Panel, ...] = ()
    worst: tuple[Panel, ...] = ()
    dataset: Mapping[str, object] = field(default_factory=dict)
    issues: Sequence[Issue | str] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


def write_report(path: str | Path, content: ReportContent) -> None:
    """Write the report as one HTML file, whole or not at all.

    Pictures are scaled down to 480 pixels and embedded, at most 12 panels; curves, tables and lists are bounded, so
    that the file stays within a few megabytes whatever the run. `dataset` and `settings` may be nested; a mapping from
    names to numbers inside `dataset` becomes a bar chart. Everything is shown as text: no name can become markup.

    >>> write_report("runs/a/report.html", ReportContent("nuclei", headlines=(Headline("mask AP50", 0.83),)))
    """
    sections = [
        ("Result", headline_cards(content.headlines)),
        (
            "Typical pictures",
            _panels(
                content.typical, "Taken at equal distances from all when they are ordered from the best to the worst."
            ),
        ),
        ("Worst pictures", _panels(content.worst, "Those with the lowest scores.")),
        ("Training", _training(content.steps, content.validations)),
        ("Precision and recall", _precision_recall(content.precision_recall)),
        ("Classes", "" if content.classes is None else _classes(content.classes)),
        ("Confusion between classes", "" if content.confusion is None else _confusion(content.confusion)),
        ("Data set", _dataset(content.dataset)),
        (f"Warnings ({len(content.issues)})", _issues(content.issues)),
        ("Settings", definitions(content.settings)),
        ("Versions", definitions(content.versions)),
    ]
    write_text(path, page(content.title, content.when, [(name, body) for name, body in sections if body]))


def typical_and_worst(ranked: Sequence[T]) -> tuple[list[T], list[T]]:
    """Of pictures from the worst to the best those that a report shows: 6 at equal distances, the best first, and the 6
    worst.

    None is shown twice, so that of less than 12 there are fewer.
    """
    count = min(_PANELS, len(ranked) // 2)
    others = ranked[count:]
    return [others[(2 * k + 1) * len(others) // (2 * count)] for k in reversed(range(count))], list(ranked[:count])


def _training(steps: Sequence[StepRow], validations: Sequence[ValidationRow]) -> str:
    x = [row.step for row in steps]
    names = list(dict.fromkeys(name for row in steps for name in row.losses))
    charts = []
    if names:
        losses = [Line(name, x, [row.losses.get(name, np.nan) for row in steps]) for name in names]
        charts.append(line_chart(losses, title="Loss", x_label="step", y_label="loss"))
    scores = list(dict.fromkeys(name for row in validations for name in row.scores))
    if scores:
        epochs = [row.epoch for row in validations]
        curves = [Line(name, epochs, [row.scores.get(name, np.nan) for row in validations]) for name in scores]
        charts.append(line_chart(curves, title="Validation", x_label="epoch", y_label="score", y_range=(0, 1)))
    columns: tuple[tuple[Literal["lr", "images_per_s"], str, str], ...] = (
        ("lr", "Learning rate", "learning rate"),
        ("images_per_s", "Speed", "pictures per second"),
    )
    for column, title, label in columns:
        values = [np.nan if (value := getattr(row, column)) is None else value for row in steps]
        if np.isfinite(values).any():
            charts.append(line_chart([Line(label, x, values)], title=title, x_label="step", y_label=label))
    return grid(charts)


def _precision_recall(curves: Sequence[PrecisionRecall]) -> str:
    if not curves:
        return ""
    if all(len(curve.names) == 1 for curve in curves):
        lines = [Line(f"IoU {curve.iou:.2f}", curve.recall, _known(curve.precision)[0]) for curve in curves]
        return grid([_precision_chart(lines, curves[0].names[0])])
    charts = []
    for curve in curves:
        precision = _known(curve.precision)
        present = np.isfinite(precision).any(axis=1)
        shown = np.flatnonzero(present)
        if not len(shown):
            continue
        lines = [Line(f"mean of {len(shown)} classes", curve.recall, precision[present].mean(axis=0))]
        if len(shown) <= _MAX_CURVES:
            lines += [Line(curve.names[row], curve.recall, precision[row]) for row in shown]
        charts.append(_precision_chart(lines, f"IoU at least {curve.iou:.2f}"))
    return grid(charts)


def _precision_chart(lines: Sequence[Line], title: str) -> str:
    return line_chart(lines, title=title, x_label="recall", y_label="precision", y_range=(0, 1))


def _known(precision: FloatArray) -> FloatArray:
    return np.where(np.asarray(precision) >= 0, precision, np.nan)


def _classes(classes: ClassTable) -> str:
    if not classes.rows:
        return ""
    body = [
        f'<tr><th scope="row">{_swatch(row.colour)}{escaped(row.name)}</th><td>{number_text(row.count)}</td>'
        f"{''.join(map(_score_cell, row.scores))}</tr>"
        for row in classes.rows
    ]
    head = "".join(f'<th scope="col">{escaped(word)}</th>' for word in ("class", classes.unit, *classes.scores))
    table = f'<table class="classes"><tr>{head}</tr>{{}}</table>'
    rest = body[_MAX_ROWS:]
    more = folded(f"{len(rest)} more classes", table.format("".join(rest))) if rest else ""
    return table.format("".join(body[:_MAX_ROWS])) + more


def _swatch(colour: Colour | None) -> str:
    return "" if colour is None else f'<i class="swatch" style="background:rgb{colour}"></i>'


def _score_cell(value: float) -> str:
    if not np.isfinite(value):
        return "<td>–</td>"
    share = 100 * min(max(value, 0), 1)
    return f'<td class="score">{value:.3f}<i><b style="width:{share:.0f}%"></b></i></td>'


def _confusion(confusion: Confusion) -> str:
    counts, names = np.asarray(confusion.counts), confusion.names
    if len(names) <= _MAX_HEAT:
        return heat_table(counts, names, row_title="truth", column_title=f"found, {confusion.unit}")
    wrong = np.where(np.eye(len(names), dtype=bool), 0, counts)
    pairs = [divmod(int(cell), len(names)) for cell in np.argsort(-wrong, axis=None, kind="stable")[:_MAX_ROWS]]
    bars = [(f"{names[a]} → {names[b]}", float(wrong[a, b])) for a, b in pairs if wrong[a, b] > 0]
    return grid([bar_chart(bars, title=f"Most frequent mistakes (truth → found), {confusion.unit}")]) if bars else ""


def _panels(panels: Sequence[Panel], chosen: str) -> str:
    def one(panel: Panel) -> str:
        pictures = "".join(
            f'<figure><img src="{picture_uri(picture)}" alt="{escaped(panel.title)}: {word}" loading="lazy">'
            f"<figcaption>{word}</figcaption></figure>"
            for word, picture in (("truth", panel.truth), ("prediction", panel.prediction))
        )
        shape = (
            "pair below"
            if panel.dates
            else "pair landscape"
            if panel.truth.shape[1] > 1.2 * panel.truth.shape[0]
            else "pair"
        )
        return (
            f'<article class="panel"><h3>{escaped(panel.title)}</h3><p>{escaped(panel.caption)}</p>'
            f'<div class="{shape}">{pictures}</div>{_dates(panel)}</article>'
        )

    shown = "".join(map(one, panels[:_PANELS]))
    return f'<p class="chosen">{escaped(chosen)}</p><div class="panels">{shown}</div>' if panels else ""


def _dates(panel: Panel) -> str:
    if panel.dates is None:
        return ""
    earlier, later = (
        f'<img src="{picture_uri(picture)}" alt="{escaped(panel.title)}: {word}" loading="lazy">'
        for word, picture in zip(("earlier", "later"), panel.dates, strict=True)
    )
    said = "earlier at the left, later at the right; drag the corner at the foot of the line"
    slide = f'<div class="slide">{later}<div>{earlier}</div></div>'
    return f'<figure class="dates">{slide}<figcaption>{said}</figcaption></figure>'


def _dataset(statistics: Mapping[str, object]) -> str:
    charts, plain = [], {}
    for name, value in statistics.items():
        if isinstance(value, Mapping) and value and all(_is_number(v) for v in value.values()):
            charts.append(bar_chart([(str(key), float(number)) for key, number in value.items()], title=str(name)))
        else:
            plain[name] = value
    return definitions(plain) + grid(charts)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _issues(issues: Sequence[Issue | str]) -> str:
    def line(issue: Issue | str) -> str:
        return f"<li>{escaped(issue)}</li>" if isinstance(issue, str) else issue_line(issue, coded=True)

    if not issues:
        return ""
    more = f"<p>... and {len(issues) - _MAX_ISSUES} more.</p>" if len(issues) > _MAX_ISSUES else ""
    listed = f'<ul class="issues">{"".join(map(line, issues[:_MAX_ISSUES]))}</ul>{more}'
    return listed if len(issues) <= 8 else folded(f"show {min(len(issues), _MAX_ISSUES)} of {len(issues)}", listed)
