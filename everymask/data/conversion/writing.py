"""A data set written in another format, read again, and compared."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from everymask.data.conversion.fitting import fitted
from everymask.data.conversion.losses import Losses, compare
from everymask.data.dataset import Dataset
from everymask.data.formats.table import find_formats, format_named, write_dataset
from everymask.errors import DataError, counted, printable

_log = logging.getLogger(__name__)
Watch = Callable[[str], AbstractContextManager[Callable[[float, int], None]]]
"""Shows how far a piece of work is: `with watch("comparing") as move: move(done, total)`."""


def write_measured(folder: Path, dataset: Dataset, format: str, watch: Watch) -> Losses:  # noqa: A002
    """Write a data set, all of whose pictures are annotated, into `folder`, and say what is lost by it.

    What the format's writer would refuse (`Format.refuses`) is taken away before, and counts as lost. Then the folder
    is read, and what is there compared with `dataset`. A warning is logged where it is recognised as another format.
    Errors are those of `write_dataset`.
    """
    chosen = format_named(format)
    with watch("fitting") as move:
        fit = fitted(dataset, chosen.refuses, progress=move)
    with watch("writing"), _without_warnings():
        write_dataset(folder, fit, format)
    recognised = [known.name for known in find_formats(folder)]
    if recognised[:1] != [chosen.name]:
        found = f"recognised as {recognised[0]}" if recognised else "not recognised"
        _log.warning("what is written is %s: read it with --format %s", found, chosen.name)
    with watch("comparing") as move:
        return compare(dataset, chosen.read(folder, policy="skip"), progress=move)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Writers' own warnings of what they leave out give way to the comparison, which finds that and more."""
    log = logging.getLogger("everymask.data.formats")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def refuse_losses(dataset: Dataset, format: str, found: Sequence[Losses]) -> None:  # noqa: A002
    """`DataError` that lists what is lost, where anything is."""
    if all(losses.is_whole for losses in found):
        return
    lost = sum(losses.reasons.total() + losses.others.total() for losses in found)
    raise DataError(
        f"{printable(dataset.root)}: {counted(lost, 'loss', 'es')} as {format}, and nothing is written",
        hint="leave out --strict to write it all the same, or choose another format",
        issues=[issue for losses in found for issue in losses.issues()],
        total=lost,
    )
