"""What is in a data set, as tables in the terminal; long lists are folded."""

from __future__ import annotations

from collections.abc import Mapping

from everymask.commands.terminal import show, table
from everymask.data.doctor.summary import Summary
from everymask.errors import counted, printable

_SHOWN = 20
_MOST = 24
_RAREST = 6


def show_summary(summary: Summary) -> None:
    """Print all that the doctor found, the defects last: they stand right above the prompt."""
    kinds = ", ".join(f"{count} of {kind}" for kind, count in summary.pixels.items()) or "none that can be read"
    if summary.encoding:
        _show_label_maps(summary, kinds)
    else:
        _show_objects(summary, kinds)
    if summary.sizes:
        sizes = [(name, f"{size[0]} x {size[1]}", *size[2:]) for name, size in summary.sizes.items()]
        show(table("Picture size", ("", "height x width", "pictures"), sizes))
    if summary.areas:
        rows = [(name, _short(count), _short(summary.areas[name])) for name, count in summary.per_picture.items()]
        noun = "Segments" if summary.encoding else "Objects"
        show(table(noun, ("", "per picture", "area in pixels"), rows))
    if summary.geometry.get("looked at") and not summary.boxes_only:
        shapes = [(name, f"{count:,}") for name, count in summary.geometry.items()]
        show(table("Shapes of objects", ("", "objects"), shapes))
    if summary.treatments:
        _show_defects(summary)
    if summary.not_looked_at:
        show("not looked at (--decode looks at everything):", *(f"  {note}" for note in summary.not_looked_at))


def _show_objects(summary: Summary, kinds: str) -> None:
    crowds = f", {summary.crowd} of them crowds" if summary.crowd else ""
    columns = list(summary.splits) or ["all"]
    show(
        f"{printable(summary.root)}: {summary.format}{', boxes only' if summary.boxes_only else ''}",
        f"{counted(summary.pictures, 'picture')} ({summary.empty} without objects){_loose(summary)}, "
        f"{counted(summary.objects, 'object')}{crowds}, {counted(len(summary.classes), 'class', 'es')}",
        f"pictures: {kinds}\n",
    )
    pictures = [("(pictures)", *(summary.splits.get(name, summary.pictures) for name in columns))]
    classes = folded(summary.classes, columns, ",", "objects")
    show(table("Objects by class", ("class", *columns), [*pictures, *classes]))


def _show_label_maps(summary: Summary, kinds: str) -> None:
    """What is in a semantic data set: what its maps hold, and how much of the pixels each class has."""
    columns = list(summary.splits) or ["all"]
    segments = f", {counted(summary.objects, 'segment')}" if summary.classes else ""
    show(
        f"{printable(summary.root)}: {summary.format}, {'panoptic' if summary.classes else 'label'} maps{segments}",
        f"{counted(summary.pictures, 'picture')} ({summary.empty} without truth){_loose(summary)}, "
        f"{counted(len(summary.shares), 'class', 'es')}; {summary.no_truth:.2%} of the pixels are without truth",
        summary.encoding,
        f"pictures: {kinds}\n",
    )
    pictures = [("(pictures)", *(str(summary.splits.get(name, summary.pictures)) for name in columns))]
    shares = folded(summary.shares, columns, ".2%", "pixels")
    show(table("Pixels by class", ("class", *columns), [*pictures, *shares]))
    if summary.classes:
        rows = folded(summary.classes, columns, ",", "segments")
        show(table("Segments by class", ("class", *columns), rows))
    if summary.values:
        values = [
            (v.value, f"{v.pixels:,}", f"{v.maps:,}", v.taken_for or "(no truth)") for v in summary.values[:_MOST]
        ]
        title = f"Values in {counted(summary.maps_decoded, 'label map')}"
        show(table(title, ("value", "pixels", "maps", "taken for"), values))
        if len(summary.values) > _MOST:
            show(f"... and {len(summary.values) - _MOST:,} more values\n")


def folded(
    classes: Mapping[str, Mapping[str, float]], columns: list[str], form: str, unit: str
) -> list[tuple[str, ...]]:
    """A row for each class; of more than 24 the most frequent, a row that counts the others, and the rarest."""

    def row(name: str, counts: Mapping[str, float]) -> tuple[str, ...]:
        return (printable(name, 40), *(format(counts.get(split, 0), form) for split in columns))

    if len(classes) <= _MOST:
        return [row(name, counts) for name, counts in classes.items()]
    ordered = sorted(classes.items(), key=lambda item: -sum(item[1].values()))
    there = [item for item in ordered if any(item[1].values())]
    absent = len(ordered) - len(there)
    first, rest = there[: _MOST - _RAREST], there[_MOST - _RAREST :]
    between, rarest = rest[:-_RAREST], rest[-_RAREST:]
    sums = {split: sum(counts.get(split, 0) for _, counts in between) for split in columns}
    return [
        *(row(*item) for item in first),
        *([row(f"({len(between):,} more classes)", sums)] if between else []),
        *(row(*item) for item in rarest),
        *([(f"({counted(absent, 'class', 'es')} without any {unit})", *("" for _ in columns))] if absent else []),
    ]


def _show_defects(summary: Summary) -> None:
    rows = [(f"{t.severity}: {t.code}", f"{t.count:,}", t.strict, t.skip) for t in summary.treatments]
    show(table("What training does (--on-defect)", ("", "found", "strict", "skip"), rows))
    found = f"{counted(summary.num_errors, 'defect')}, {counted(summary.num_warnings, 'warning')}"
    show(found + (f"; the first {_SHOWN}:" if len(summary.issues) > _SHOWN else ":"))
    show(*(f"  {issue.severity}: {issue}" for issue in summary.issues[:_SHOWN]))


def _loose(summary: Summary) -> str:
    return f" and {summary.not_annotated:,} not annotated" if summary.not_annotated else ""


def _short(number: float) -> str:
    return f"{number:,.1f}".removesuffix(".0")
