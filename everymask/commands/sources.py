"""Which pictures and data sets the words on the command line mean."""

from __future__ import annotations

import glob
import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from everymask.commands.options import Reading
from everymask.commands.terminal import progress
from everymask.core.files import is_there, real_path
from everymask.core.segmentation import TaskName
from everymask.data.damage import Look
from everymask.data.damage import decode as decode_whole
from everymask.data.dataset import Dataset
from everymask.data.formats.change.layouts import find_dated, find_folders
from everymask.data.formats.finding.archives import is_archive
from everymask.data.formats.finding.foreign import address_refused
from everymask.data.formats.found_masks import find_masks
from everymask.data.formats.table import read_dataset
from everymask.data.issues import IssueLog, Policy
from everymask.data.panoptic import PanopticRule
from everymask.data.pictures.foreign import passed_over
from everymask.data.pictures.read import SUFFIXES, pictures_among
from everymask.errors import ConfigError, DataError, Issue, counted, printable

_LARGE = 5_000
_ENDINGS = tuple(SUFFIXES)
_log = logging.getLogger(__name__)


def read_annotated(
    data: Path,
    options: Reading,
    *,
    decode: bool,
    task: TaskName | None = None,
    rule: PanopticRule | None = None,
    policy: Policy | None = None,
    look: Look = decode_whole,
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
            masks=options.masks,
            mask_threshold=options.mask_threshold,
            rule=rule,
            decode=decode,
            look=look,
            progress=move,
        )


def is_large(data: Path, images: Path | None) -> bool:
    """Whether there are more than 5,000 pictures in the data set's folder, or in `images`: decoding takes minutes."""
    folder = images or (data if data.is_dir() else None if is_archive(data) else data.parent)
    count = 0
    for _, _, files in os.walk(folder) if folder is not None else ():
        count += sum(name.lower().endswith(_ENDINGS) for name in files)
        if count > _LARGE:
            return True
    return False


def nothing_left(data: Path, issues: Sequence[Issue] = ()) -> DataError:
    """The error for a data set all of whose pictures are left out for their defects."""
    return DataError(
        f"{printable(data)}: no picture is left, all of them are left out",
        hint="mend the defects that everymask check lists",
        issues=issues,
    )


def find_pictures(sources: Iterable[str], passed_over: Counter[str] | None = None) -> list[Path]:
    """The picture files that `sources` name, each once: files, folders with all that is below them, and patterns.

    Files and folders that begin with a dot are left out, and so are the masks of a folder that is a data set, with a
    logged warning that says how to have them too; `passed_over` counts all that is left out, by what it is.
    `DataError` for what does not exist and for a folder without pictures; `ConfigError` for a pattern that matches
    nothing, and where no picture is left.
    """
    left_out: Counter[str] = Counter() if passed_over is None else passed_over
    found = [picture for source in sources for picture in _pictures(source, left_out)]
    if not found:
        raise ConfigError("no picture was named", hint="give pictures, folders of pictures, or patterns: photos/*.jpg")
    once: dict[Path, Path] = {}
    for picture in found:
        once.setdefault(real_path(picture), picture)
    return list(once.values())


def find_dates(sources: Sequence[str], passed_over: Counter[str] | None = None) -> list[tuple[Path, Path]]:
    """The pictures of two dates that `sources` name, the earlier and the later of each place.

    Two sources are the earlier and the later date: two pictures, or two folders (or patterns) whose pictures have the
    same names. One is a folder with those of two dates in it, as A/ and B/. `ConfigError` for other numbers,
    `DataError` where a picture has no partner.
    """
    if len(sources) == 1 and (folders := find_folders(Path(sources[0]))):
        noted = IssueLog()
        found = find_dated(Path(sources[0]), folders, noted)
        noted.finish(printable(sources[0]))
        return [(one.before, one.after) for one in found]
    if len(sources) != 2:
        raise ConfigError(
            f"this model compares two dates, but got {counted(len(sources), 'source')} of pictures",
            hint="give the earlier date and the later, such as: everymask predict RUN before/ after/ --out masks",
        )
    earlier, later = (find_pictures([source], passed_over) for source in sources)
    if len(earlier) == len(later) == 1:
        return [(earlier[0], later[0])]
    dates = [_by_name(source, found) for source, found in zip(sources, (earlier, later), strict=True)]
    alone = sorted(dates[0].keys() ^ dates[1].keys())
    if alone:
        there = [dates[name not in dates[0]][name] for name in alone]
        issues = [Issue("date-missing", "the picture has no partner of its name", file=str(file)) for file in there]
        raise DataError(
            f"{counted(len(alone), 'picture')} of {printable(sources[0])} and {printable(sources[1])} have no partner",
            hint="call the pictures of one place the same at both dates, and take those of one date alone away",
            issues=issues,
        )
    return [(dates[0][name], dates[1][name]) for name in dates[1]]


def _by_name(source: str, pictures: Iterable[Path]) -> dict[str, Path]:
    """The pictures by their path below a folder, without ending."""
    root = Path(source)
    known = [
        (picture.relative_to(root) if picture.is_relative_to(root) else Path(picture.name)) for picture in pictures
    ]
    return {name.with_suffix("").as_posix(): file for name, file in zip(known, pictures, strict=True)}


def _pictures(source: str, left_out: Counter[str]) -> list[Path]:
    path = Path(source)
    if is_there(path):
        return _below(path, left_out) if path.is_dir() else [path]
    if glob.has_magic(source):
        matches = sorted(map(Path, glob.glob(source, recursive=True)))  # noqa: PTH207 (Path.glob needs a folder)
        if not matches:
            raise ConfigError(f"the pattern {printable(source)!r} matched nothing")
        return _among([match for match in matches if match.is_file()], left_out)
    address_refused(source)
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{printable(source)} does not exist", hint="give a picture, a folder of pictures, or a pattern"
        ) from None
    except (OSError, ValueError):
        pass  # whatever is in the way of it is told when its turn comes
    return [path]


def _among(files: list[Path], left_out: Counter[str]) -> list[Path]:
    pictures = pictures_among(files)
    left_out["not pictures by their endings"] += len(files) - len(pictures)
    return pictures


def _below(folder: Path, left_out: Counter[str]) -> list[Path]:
    seen = _files_below(folder, left_out)
    pictures = _among(seen, left_out)
    count, listed = passed_over(file.name for file in seen)
    if not pictures:
        raise DataError(
            f"there is no picture in the folder {printable(folder)}" + (f"; {listed}" if count else ""),
            hint=f"pictures end in {', '.join(sorted(SUFFIXES))}",
        )
    if count:
        _log.warning("%s: %s passed over: %s", printable(folder), counted(count, "file"), listed)
    masks = find_masks(folder, pictures)
    left_out["masks"] += len(masks)
    if masks:
        said, named = counted(len(masks), "mask"), printable(min(masks).relative_to(folder))
        cure = "to predict them too, give their folder or a pattern"
        _log.warning("%s is a data set: %s left out, such as %s; %s", printable(folder), said, named, cure)
    return [picture for picture in pictures if picture not in masks]


def _files_below(folder: Path, left_out: Counter[str]) -> list[Path]:
    """The files below a folder, without what begins with a dot; a folder that cannot be read is logged as a warning."""

    def tell(error: OSError) -> None:
        _log.warning("%s cannot be read and is left out: %s", printable(error.filename), error.strerror)

    found, hidden = [], 0
    for base, _, files in os.walk(folder, onerror=tell):
        inside = Path(base).relative_to(folder).parts
        for name in files:
            path = Path(base, name)
            if not (path.is_symlink() or path.is_file()):
                continue
            if any(part.startswith(".") for part in (*inside, name)):
                hidden += 1
            else:
                found.append(path)
    left_out["hidden"] += hidden
    return sorted(found)
