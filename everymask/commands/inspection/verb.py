"""`everymask inspect`: what becomes of one picture in a network, step by step, as a page."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from everymask.commands.options import Reading, Trained, check_order
from everymask.commands.terminal import show
from everymask.errors import ConfigError, EverymaskError, printable

if TYPE_CHECKING:
    from everymask.data.dataset import Dataset

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspect(Reading):
    """Show step by step what a network makes of a picture, as one page that needs nothing else.

    Of a detector anchors, proposals, what box regression did, classes and masks; of other networks the maps of their
    parts, logits and entropy of each class, or masks and classes of the queries.
    """

    model: Trained
    """A run folder, a .safetensors file, a checkpoint of another program, or a name of `everymask models`."""
    picture: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="PICTURE")]
    """The picture; of two dates the later one."""
    before: Path | None = None
    """The picture of the earlier date, where the network compares two."""
    data: Path | None = None
    """The annotated data set that the picture belongs to: then the page shows which anchors match its truth, and what
    masks should be. Otherwise that of the run, where the picture lies in it."""
    out: Path = Path("inspect.html")
    """The page; one that is there is replaced."""
    most: int = 20
    """How many proposals, objects, classes or queries are shown."""


def run(options: Inspect) -> None:
    """Look into the network and write the page."""
    from everymask.core.threads import require_torch

    check_order("inspect", options.model, [str(options.picture)])
    if options.most < 1:
        raise ConfigError(f"most must be at least 1, but got {options.most}")
    if options.out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(
            f"the page is an HTML file, but --out is {printable(options.out)}", hint="for example --out inspect.html"
        )
    require_torch()
    from everymask.inspection.inspecting import inspect
    from everymask.inspection.page import write_inspection

    seen = inspect(options.model, options.picture, before=options.before, data=_data(options))
    write_inspection(options.out, seen, most=options.most)
    show(f"{options.out}: {seen.about}; open it in a browser")


def _data(options: Inspect) -> Dataset | None:
    """The data that are named, or those of the run where the picture lies in them."""
    from everymask.commands.sources import read_annotated
    from everymask.inspection.inspecting import row_of
    from everymask.train.pictures import read_run_pictures

    if options.data is not None:
        return read_annotated(options.data, options, decode=False)
    try:
        own = read_run_pictures(Path(options.model), None)
    except (EverymaskError, OSError, ValueError) as error:
        reason = error.message if isinstance(error, EverymaskError) else error
        _log.info("the run's pictures cannot be read (%s), so no truth is shown: --data", printable(reason))
        return None
    return own if own is not None and row_of(str(options.picture), own) is not None else None
