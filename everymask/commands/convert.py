"""`everymask convert`: a data set in another format, with other classes, in splits, in tiles; and what that costs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from everymask.commands.options import Data, Format, ReadingFor
from everymask.commands.terminal import progress, show_json
from everymask.errors import ConfigError, printable

if TYPE_CHECKING:
    from everymask.core.segmentation import TaskName
    from everymask.data.dataset import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Convert(ReadingFor):
    """Write a data set, pictures included, in another format, and say what of its objects that format cannot hold.

    What is written is read again and compared with what it was made of, object by object.
    """

    data: Data
    """A folder or an annotation file; the format is recognised."""
    to: Format
    """The format to write."""
    out: Path
    """The folder to write; it must be new or empty."""
    merge: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """Data sets that are joined with DATA: classes by name."""
    classes: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Rename classes (cell:nucleus), join them (a:c,b:c), or leave them out (dirt:); several with commas in between."""
    split: str | None = None
    """Draw new splits: 80/20 for train and val, 80/10/10 for train, val and test, with all classes in each."""
    seed: int = 0
    """What --split depends on, besides the pictures' names."""
    group_by: str | None = None
    """Keep pictures together in a split: folder, or a regular expression such as '^(.+)_' whose first group, looked
    for in the file name, they share."""
    to_semantic: bool = False
    """Paint label maps of the objects, smaller ones over larger ones; the same as --task semantic."""
    tile: str | None = None
    """Cut large pictures into tiles of a side in pixels that overlap by a share of it, such as 1024/0.2."""
    outline: str | None = None
    """Make masks of boxes: of data sets of boxes only, this network that answers prompts (such as mobile-sam) outlines
    what it sees in each box."""
    strict: bool = False
    """Write nothing where anything of the objects would be lost (exit code 3)."""
    json: bool = False
    """Print the answer as one JSON object."""


def run(options: Convert) -> None:
    """Read the data sets and write what is made of them in the other format, whole or not at all."""
    from everymask.commands.conversion.making import make, read_changes
    from everymask.commands.conversion.report import answer_of, show_answer
    from everymask.commands.sources import nothing_left
    from everymask.core.files import whole_folder
    from everymask.data.conversion.losses import given_up
    from everymask.data.conversion.writing import refuse_losses, write_measured
    from everymask.data.formats.table import for_format

    sources = [options.data, *options.merge]
    for source in sources:
        if options.out.resolve().is_relative_to(source.resolve()):
            raise ConfigError(
                f"the output folder {printable(options.out)} lies inside the data set {printable(source)}",
                hint="choose a folder beside it: a data set is never changed",
            )
    if options.to_semantic and options.task:
        raise ConfigError("--to-semantic means --task semantic", hint="give one of them")
    changes = read_changes(options.classes, options.split, options.seed, options.group_by, options.tile)
    with whole_folder(options.out) as folder, _spare_folder(folder) as spare:
        # Cutting decodes every picture too, by rows, and the strict policy stops where one is damaged.
        decode = changes.tiles is None or changes.fractions is not None or options.on_defect == "skip"
        found = _read(sources, options, decode=decode)
        fit = [for_format(dataset, options.to) for dataset in found]
        made = make(fit, changes, spare, options.on_defect)
        if not len(made.dataset):
            raise nothing_left(options.data, made.dataset.issues)
        losses = write_measured(folder, made.dataset, options.to, progress)
        for dataset in fit:
            losses.others += given_up(dataset)
        if options.strict:
            refuse_losses(made.dataset, options.to, [found for found in (made.hidden, losses) if found is not None])
    if options.json:
        show_json(answer_of(made, losses, options.out, options.to))
    else:
        show_answer(made, losses, options.out, options.to, divided=options.split is not None)


def _read(sources: list[Path], options: Convert, *, decode: bool) -> list[Dataset]:
    """The data sets as they are to be written, boxes outlined where that is asked for."""
    from everymask.commands.conversion.outlining import outline_datasets
    from everymask.commands.sources import read_annotated

    task: TaskName | None = "semantic" if options.to_semantic else options.wanted
    if options.outline is None:
        return [read_annotated(source, options, decode=decode, task=task, rule=options.rule) for source in sources]
    found = [read_annotated(source, options, decode=decode) for source in sources]
    return [dataset.for_task(task, rule=options.rule) for dataset in outline_datasets(found, options.outline)]


@contextmanager
def _spare_folder(folder: Path) -> Iterator[Path]:
    """A folder beside one that is being written, for what is needed until it is there."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as spare:
        yield Path(spare)
