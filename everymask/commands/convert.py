"""`everymask convert`: a data set in another format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from everymask.commands.options import Data, Format, Reading
from everymask.commands.terminal import counted, show
from everymask.errors import ConfigError, printable

if TYPE_CHECKING:
    from everymask.data.dataset import Dataset

_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Convert(Reading):
    """Write a data set, pictures included, in another format."""

    data: Data
    """A folder or an annotation file; the format is recognised."""
    to: Format
    """The format to write."""
    out: Path
    """The folder to write; it must be new or empty."""


def run(options: Convert) -> None:
    """Read the data set and write it in the other format, whole or not at all."""
    from everymask.core.files import whole_folder
    from everymask.data.formats import read_dataset

    if options.out.resolve().is_relative_to(options.data.resolve()):
        raise ConfigError(
            f"the output folder {printable(options.out)} lies inside the data set {printable(options.data)}",
            hint="choose a folder beside it: a data set is never changed",
        )
    with whole_folder(options.out) as folder:
        dataset = read_dataset(options.data, format=options.format, images=options.images, policy=options.on_defect)
        _write(options.to, folder, dataset)
    for issue in dataset.issues[:_SHOWN]:
        show(f"{issue.severity}: {issue}")
    if len(dataset.issues) > _SHOWN:
        show(f"... and {sum(issue.count for issue in dataset.issues[_SHOWN:]):,} more")
    show(f"{counted(len(dataset), 'picture')}: {options.out} ({options.to})")


def _write(form: Format, folder: Path, dataset: Dataset) -> None:
    from everymask.data.coco import write_coco
    from everymask.data.instance_pngs import write_instance_pngs
    from everymask.data.labelme import write_labelme
    from everymask.data.mask_files import write_mask_files
    from everymask.data.voc import write_voc
    from everymask.data.yolo import write_yolo

    match form:
        case "coco":
            write_coco(folder, dataset)
        case "yolo":
            write_yolo(folder, dataset)
        case "labelme":
            write_labelme(folder, dataset)
        case "voc":
            write_voc(folder, dataset)
        case "mask-files":
            write_mask_files(folder, dataset)
        case "instance-pngs":
            write_instance_pngs(folder, dataset)
        case _:
            assert_never(form)
