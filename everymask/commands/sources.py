"""Which pictures and data sets the words on the command line mean."""

from __future__ import annotations

import glob
import logging
from collections.abc import Iterable
from pathlib import Path

from everymask.commands.options import Reading
from everymask.commands.terminal import progress
from everymask.core.segmentation import TaskName
from everymask.data.dataset import Dataset
from everymask.data.formats.finding.foreign import address_refused
from everymask.data.formats.found_masks import find_masks
from everymask.data.formats.table import read_dataset
from everymask.data.issues import Policy
from everymask.data.pictures.foreign import passed_over
from everymask.data.pictures.read import SUFFIXES, pictures_among
from everymask.errors import ConfigError, DataError, counted, printable

_log = logging.getLogger(__name__)


def read_annotated(
    data: Path, options: Reading, *, decode: bool, task: TaskName | None = None, policy: Policy | None = None
) -> Dataset:
    """The data set at `data` for a task, read as `options` say, or by another `policy`; decoding shows its progress."""
    with progress("decoding") as move:
        return read_dataset(
            data,
            format=options.format,
            task=task,
            images=options.images,
            policy=policy or options.on_defect,
            crowds=options.crowds,
            decode=decode,
            progress=move,
        )


def find_pictures(sources: Iterable[str]) -> list[Path]:
    """The picture files that `sources` name, each once: files, folders with all that is below them, and patterns.

    Files and folders that begin with a dot are left out, and so are the masks of a folder that is a data set, with a
    logged warning that says how to have them too. `DataError` for what does not exist and for a folder without
    pictures; `ConfigError` for a pattern that matches nothing, and where no picture is left.
    """
    found = [picture for source in sources for picture in _pictures(source)]
    if not found:
        raise ConfigError("no picture was named", hint="give pictures, folders of pictures, or patterns: photos/*.jpg")
    return list({picture.resolve(): picture for picture in reversed(found)}.values())[::-1]


def _pictures(source: str) -> list[Path]:
    path = Path(source)
    if path.is_dir():
        return _below(path)
    if path.exists():
        return [path]
    if glob.has_magic(source):
        matches = sorted(map(Path, glob.glob(source, recursive=True)))  # noqa: PTH207 (Path.glob needs a folder)
        if not matches:
            raise ConfigError(f"the pattern {printable(source)!r} matched nothing")
        return pictures_among(match for match in matches if match.is_file())
    address_refused(source)
    raise DataError(f"{printable(source)} does not exist", hint="give a picture, a folder of pictures, or a pattern")


def _below(folder: Path) -> list[Path]:
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    pictures = pictures_among(files)
    count, listed = passed_over(file.name for file in files)
    if not pictures:
        raise DataError(
            f"there is no picture in the folder {printable(folder)}" + (f"; {listed}" if count else ""),
            hint=f"pictures end in {', '.join(sorted(SUFFIXES))}",
        )
    if count:
        _log.warning("%s: %s passed over: %s", printable(folder), counted(count, "file"), listed)
    masks = find_masks(folder, pictures)
    if masks:
        left_out, named = counted(len(masks), "mask"), printable(min(masks).relative_to(folder))
        cure = "to predict them too, give their folder or a pattern"
        _log.warning("%s is a data set: %s left out, such as %s; %s", printable(folder), left_out, named, cure)
    return [picture for picture in pictures if picture not in masks]
