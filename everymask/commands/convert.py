"""`everymask convert`: a data set in another format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from everymask.commands.options import Data, Format, ReadingFor
from everymask.commands.terminal import show
from everymask.errors import ConfigError, counted, printable

_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Convert(ReadingFor):
    """Write a data set, pictures included, in another format."""

    data: Data
    """A folder or an annotation file; the format is recognised."""
    to: Format
    """The format to write."""
    out: Path
    """The folder to write; it must be new or empty."""


def run(options: Convert) -> None:
    """Read the data set and write it in the other format, whole or not at all."""
    from everymask.commands.sources import nothing_left, read_annotated
    from everymask.core.files import whole_folder
    from everymask.data.formats.table import write_dataset

    if options.out.resolve().is_relative_to(options.data.resolve()):
        raise ConfigError(
            f"the output folder {printable(options.out)} lies inside the data set {printable(options.data)}",
            hint="choose a folder beside it: a data set is never changed",
        )
    with whole_folder(options.out) as folder:
        dataset = read_annotated(options.data, options, decode=True, task=options.task)
        if not len(dataset):
            raise nothing_left(options.data, dataset.issues)
        write_dataset(folder, dataset, options.to)
    for issue in dataset.issues[:_SHOWN]:
        show(f"{issue.severity}: {issue}")
    if len(dataset.issues) > _SHOWN:
        show(f"... and {sum(issue.count for issue in dataset.issues[_SHOWN:]):,} more")
    show(f"{counted(len(dataset.annotated()), 'picture')}: {options.out} ({options.to})")
