"""What `everymask convert` says at the end, for people and for programs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from everymask.commands.conversion.making import Made
from everymask.commands.doctor.tables import folded
from everymask.commands.terminal import show, table
from everymask.data.conversion.classes import pictures_by_class
from everymask.data.conversion.losses import Losses
from everymask.errors import Issue, counted

_SHOWN = 20


def answer_of(made: Made, losses: Losses, out: Path, format: str) -> dict[str, Any]:  # noqa: A002
    """The answer as plain values."""
    dataset = made.dataset
    return {
        "out": str(out),
        "format": format,
        "pictures": len(dataset),
        "splits": dataset.splits(),
        "classes": pictures_by_class(dataset),
        "left_out": made.left_out,
        "tiles": None if made.tiles is None else asdict(made.tiles),
        "hidden": None if made.hidden is None else made.hidden.to_json(),
        "loss": losses.to_json(),
        "issues": [asdict(issue) for issue in dataset.issues],
    }


def show_answer(made: Made, losses: Losses, out: Path, format: str, *, divided: bool) -> None:  # noqa: A002
    """Print it; with `divided` the splits and their classes too."""
    dataset = made.dataset
    _show_issues(dataset.issues)
    if divided:
        shown, counts = pictures_by_class(dataset), dataset.splits()
        columns = list(next(iter(shown.values())))
        first = ("(pictures)" if made.tiles is None else "(tiles)", *(f"{counts[name]:,}" for name in columns))
        classes = folded(shown, columns, ",", "pictures")
        show(table("Pictures by class and split", ("class", *columns), [first, *classes]))
    if made.left_out:
        show(f"{counted(made.left_out, 'object')} left out with their classes")
    if made.tiles is not None:
        show(*_tile_sentences(made))
    for found in (made.hidden, losses):
        if found is not None:
            show(*found.sentences())
    what = "picture" if made.tiles is None else "tile"
    show(f"{counted(len(dataset), what)}: {out} ({format})")


def _tile_sentences(made: Made) -> list[str]:
    tiles = made.tiles
    assert tiles is not None
    said = [f"{counted(tiles.pictures, 'picture')} in {counted(tiles.tiles, 'tile')}, {tiles.empty:,} of them empty"]
    if tiles.whole or tiles.cut:
        said.append(
            f"{counted(tiles.whole + tiles.cut, 'object')}: {tiles.whole:,} whole in some tile, {tiles.cut:,} only in "
            f"parts; {counted(tiles.parts, 'part')} kept, {counted(tiles.slivers, 'sliver')} left out (less than a "
            "tenth of the largest part)"
        )
    return said


def _show_issues(issues: tuple[Issue, ...]) -> None:
    for issue in issues[:_SHOWN]:
        show(f"{'left out' if issue.severity == 'error' else issue.severity}: {issue}")
    if len(issues) > _SHOWN:
        show(f"... and {sum(issue.count for issue in issues[_SHOWN:]):,} more")
