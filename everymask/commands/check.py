"""`everymask check`: what is in a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from everymask.commands.options import Data, ReadingFor
from everymask.commands.terminal import show, show_json, table
from everymask.errors import DataError, counted, printable

if TYPE_CHECKING:
    from everymask.data.doctor import Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(ReadingFor):
    """Say what is in a data set: counts, sizes, classes, splits, first defects. Every picture is decoded."""

    data: Data
    """A folder or an annotation file; the format is recognised."""
    json: bool = False
    """Print the answer as one JSON object."""


def run(options: Check) -> None:
    """Print the summary of the data set; then fail if there are defects that the options do not allow."""
    from everymask.commands.sources import nothing_left, read_annotated
    from everymask.data.doctor import check

    # All defects are to be seen beside the counts, so reading goes on after them; strictness comes at the end.
    dataset = read_annotated(options.data, options, decode=True, task=options.task, policy="skip")
    summary = check(dataset)
    if options.json:
        show_json(summary.to_json())
    else:
        _show(summary)
    if summary.num_errors and options.on_defect == "strict":
        raise DataError(
            f"{printable(options.data)}: {counted(summary.num_errors, 'defect')} found; the numbers are without what "
            "is defective",
            hint="mend them, or leave the defective objects out with --on-defect skip",
        )
    if not summary.pictures:
        raise nothing_left(options.data)


def _show(summary: Summary) -> None:
    root, crowds = printable(summary.root), f", {summary.crowd} of them crowds" if summary.crowd else ""
    kinds = ", ".join(f"{count} of {kind}" for kind, count in summary.pixels.items()) or "none that can be read"
    columns = list(summary.splits) or ["all"]
    if summary.encoding:
        _show_label_maps(summary, kinds)
    else:
        show(
            f"{root}: {summary.format}{', boxes only' if summary.boxes_only else ''}",
            f"{counted(summary.pictures, 'picture')} ({summary.empty} without objects){_loose(summary)}, "
            f"{counted(summary.objects, 'object')}{crowds}, {counted(len(summary.classes), 'class', 'es')}",
            f"pictures: {kinds}\n",
        )
    pictures = [("(pictures)", *(summary.splits.get(name, summary.pictures) for name in columns))]
    classes = [
        (printable(name, 40), *(row.get(split, 0) for split in columns)) for name, row in summary.classes.items()
    ]
    if not summary.encoding:
        show(table("Objects by class", ("class", *columns), [*pictures, *classes]))
    if summary.sizes:
        sizes = [(name, f"{size[0]} x {size[1]}", *size[2:]) for name, size in summary.sizes.items()]
        show(table("Picture size", ("", "height x width", "pictures"), sizes))
    if summary.areas:
        rows = [(name, _short(count), _short(summary.areas[name])) for name, count in summary.per_picture.items()]
        show(table("Objects", ("", "per picture", "area in pixels"), rows))
    if summary.issues:
        found = f"{counted(summary.num_errors, 'defect')}, {counted(summary.num_warnings, 'warning')}"
        show(found + (f"; the first {len(summary.issues)}:" if summary.num_errors + summary.num_warnings > 20 else ":"))
        show(*(f"  {issue.severity}: {issue}" for issue in summary.issues))


def _show_label_maps(summary: Summary, kinds: str) -> None:
    """What is in a semantic data set: what its maps hold, and how much of the pixels each class has."""
    columns = list(summary.splits) or ["all"]
    show(
        f"{printable(summary.root)}: {summary.format}, label maps",
        f"{counted(summary.pictures, 'picture')} ({summary.empty} without truth){_loose(summary)}, "
        f"{counted(len(summary.shares), 'class', 'es')}; {summary.no_truth:.2%} of the pixels are without truth",
        summary.encoding,
        f"pictures: {kinds}\n",
    )
    pictures = [("(pictures)", *(str(summary.splits.get(name, summary.pictures)) for name in columns))]
    shares = [
        (printable(name, 40), *(f"{row.get(split, 0):.2%}" for split in columns))
        for name, row in summary.shares.items()
    ]
    show(table("Pixels by class", ("class", *columns), [*pictures, *shares]))


def _loose(summary: Summary) -> str:
    return f" and {summary.not_annotated:,} not annotated" if summary.not_annotated else ""


def _short(number: float) -> str:
    return f"{number:,.1f}".removesuffix(".0")
