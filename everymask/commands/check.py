"""`everymask check`: what is in a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from everymask.commands.options import Data, ReadingFor
from everymask.commands.terminal import progress, quoted, show, show_json
from everymask.core.files import is_there
from everymask.core.memory import many_objects
from everymask.errors import ConfigError, DataError, counted, printable

if TYPE_CHECKING:
    from everymask.data.dataset import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(ReadingFor):
    """Say what is in a data set: counts, sizes, classes, splits, and every defect with what training makes of it."""

    data: Data
    """A folder or an annotation file; the format is recognised."""
    decode: bool = False
    """Decode every picture, to find damage and pictures that look alike; without it only up to 5,000 pictures are."""
    report: Path | None = None
    """Write a page with charts and pictures of the defects, such as check.html."""
    repaired: Path | None = None
    """Write what --on-defect skip leaves, with its repairs, as a new COCO file, such as repaired.json."""
    json: bool = False
    """Print the answer as one JSON object."""


@many_objects()
def run(options: Check) -> None:
    """Print the summary of the data set; then fail if there are defects that the options do not allow."""
    from everymask.commands.doctor.page import write_page
    from everymask.commands.doctor.tables import show_summary
    from everymask.commands.sources import is_large, nothing_left, read_annotated
    from everymask.data.doctor.examine import check
    from everymask.data.doctor.near import Thumbnails

    _check_targets(options)
    decode = options.decode or not is_large(options.data, options.images)
    # All defects are to be seen beside the counts, so reading goes on after them; strictness comes at the end.
    seen = Thumbnails()
    dataset = read_annotated(
        options.data, options, decode=decode, task=options.wanted, rule=options.rule, policy="skip", look=seen.look
    )
    with progress("looking") as move:
        summary = check(dataset, decode=decode, thumbnails=seen, progress=move)
    if options.json:
        show_json(summary.to_json())
    else:
        show_summary(summary)
    written = []
    if options.report is not None:
        again = " (in place of the one that was there)" if is_there(options.report) else ""
        write_page(options.report, summary, dataset)
        written.append(f"page: {quoted(options.report)}{again}")
    if options.repaired is not None and summary.pictures:
        written += [f"repaired: {quoted(file)}" for file in _write_repaired(options.repaired, dataset)]
    if written and not options.json:
        show("", *written)
    if summary.num_errors and options.on_defect == "strict":
        raise DataError(
            f"{printable(options.data)}: {counted(summary.num_errors, 'defect')} found; the numbers are without what "
            "is defective",
            hint="mend them, or leave the defective objects out with --on-defect skip",
        )
    if not summary.pictures:
        raise nothing_left(options.data)


def _check_targets(options: Check) -> None:
    """`ConfigError` where a file to write has an ending of another kind, or would replace what check has not made."""
    from everymask.viz.check_page import is_check_page

    if options.report is not None and options.report.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"the report is a page, but {printable(options.report)} does not end in .html")
    if options.report is not None and is_there(options.report) and not is_check_page(options.report):
        hint = "choose a new name: only a page that everymask check wrote is replaced"
        raise ConfigError(f"{printable(options.report)} exists already, and is another page", hint=hint)
    if options.repaired is None:
        return
    if options.repaired.suffix.lower() != ".json":
        raise ConfigError(f"repaired annotations are JSON, but {printable(options.repaired)} does not end in .json")
    if options.repaired.exists():
        hint = "choose a new name: a file of annotations is never written over"
        raise ConfigError(f"{printable(options.repaired)} exists already", hint=hint)


def _write_repaired(path: Path, dataset: Dataset) -> list[Path]:
    """The objects that can be used, as COCO files beside each other, one a split; `ConfigError` for label maps."""
    from everymask.data.formats.coco.instances import write_coco

    if dataset.kind != "objects":
        raise ConfigError(
            "repaired annotations are a file of objects, and these are label maps",
            hint="everymask convert DATA --on-defect skip --to image-masks --out folder writes what can be used",
        )
    annotated = dataset.annotated()
    splits = list(annotated.splits())
    files = [path.with_stem(f"{path.stem}_{split}") for split in splits] if len(splits) > 1 else [path]
    for file, split in zip(files, splits if len(splits) > 1 else [None], strict=True):
        write_coco(file, annotated if split is None else annotated.split(split))
    return files
