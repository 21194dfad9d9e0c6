"""Which pictures and data sets the words on the command line mean."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from everymask.commands.options import Reading
from everymask.commands.terminal import progress
from everymask.core.files import is_there, real_path
from everymask.core.segmentation import TaskName
from everymask.data.dataset import Dataset
from everymask.data.formats.found_masks import find_masks
from everymask.data.formats.table import read_dataset
from everymask.data.issues import Policy
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
    return list({real_path(picture): picture for picture in reversed(found)}.values())[::-1]


def _pictures(source: str) -> list[Path]:
    path = Path(source)
    if is_there(path):
        return _below(path) if path.is_dir() else [path]
    if glob.has_magic(source):
        matches = sorted(map(Path, glob.glob(source, recursive=True)))  # noqa: PTH207 (Path.glob needs a folder)
        if not matches:
            raise ConfigError(f"the pattern {printable(source)!r} matched nothing")
        return pictures_among(match for match in matches if match.is_file())
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{printable(source)} does not exist", hint="give a picture, a folder of pictures, or a pattern"
        ) from None
    except (OSError, ValueError):
        pass  # whatever is in the way of it is told when its turn comes
    return [path]


def _below(folder: Path) -> list[Path]:
    pictures = pictures_among(_files_below(folder))
    if not pictures:
        raise DataError(
            f"there is no picture in the folder {printable(folder)}",
            hint=f"pictures end in {', '.join(sorted(SUFFIXES))}",
        )
    masks = find_masks(folder, pictures)
    if masks:
        left_out, named = counted(len(masks), "mask"), printable(min(masks).relative_to(folder))
        cure = "to predict them too, give their folder or a pattern"
        _log.warning("%s is a data set: %s left out, such as %s; %s", printable(folder), left_out, named, cure)
    return [picture for picture in pictures if picture not in masks]


def _files_below(folder: Path) -> list[Path]:
    """The files below a folder, without what begins with a dot; a folder that cannot be read is logged as a warning."""

    def tell(error: OSError) -> None:
        _log.warning("%s cannot be read and is left out: %s", printable(error.filename), error.strerror)

    found = []
    for base, folders, files in os.walk(folder, onerror=tell):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(base, name) for name in files if not name.startswith(".")]
    return sorted(path for path in found if path.is_symlink() or path.is_file())
