"""`everymask runs`: the runs in a folder, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from everymask.commands.runs.tables import show_runs, to_json
from everymask.commands.terminal import show_json
from everymask.commands.words import Condition
from everymask.train.runs.chosen import chosen, read_filter
from everymask.train.runs.found import read_runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Show the runs in a folder: how good, how far, how long, and the settings in which they differ."""

    dir: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]
    """A folder with run folders in it, however deep."""
    sort: str | None = None
    """The best score first, or by another column or setting: score, time, epoch, step, MB, lr ..."""
    filter: tuple[Condition, ...] = ()
    """Only runs for which all this holds: state=finished 'score>0.5' model=unet 'time<=2h' (quotes around < and >)."""
    json: bool = False
    """Print the answer as one JSON object."""


def run(options: Runs) -> None:
    """Read what the run folders say, and print it."""
    filters = [read_filter(text) for text in options.filter]
    found = read_runs(options.dir)
    rows = chosen(found, filters, options.sort)
    if options.json:
        show_json(to_json(found, rows))
    else:
        show_runs(found, rows)
