"""From pictures and their label files to a semantic data set, checked as far as the label files were decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from everymask.core.arrays import IntArray
from everymask.core.labels import Labels
from everymask.data.coding import LabelCoding, colour_codes, counts_by_class, read_colours
from everymask.data.dataset import Dataset
from everymask.data.formats.folders import note_equal_channels, report_size, unique_ids
from everymask.data.formats.labelmaps.contents import Content, count_contents
from everymask.data.formats.pairs import Pair, shared_maps
from everymask.data.formats.unannotated import Loose, loose_records
from everymask.data.issues import IssueLog
from everymask.data.pictures.headers import read_headers
from everymask.data.pictures.read import Header, read_label_map
from everymask.data.records import LabelMapFile, Record
from everymask.errors import DataError, printable

_LISTED = 20
GREY = 0x010101
"""The step from one grey to the next in a colour 0xRRGGBB."""


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """A pair whose files can be read."""

    pair: Pair
    header: Header
    content: Content


def read_contents(
    pairs: Sequence[Pair],
    issues: IssueLog,
    look: Callable[[Sequence[Path]], list[Content | DataError]] = count_contents,
) -> list[LabelledPicture]:
    """The pairs whose files can be read and are of one size; `issues` is told about the others.

    `look` says what label files hold, one of the functions of `contents`.
    Also noted are three equal channels, alpha that varies, and a label file that belongs to two pictures.
    """
    shared = shared_maps(pairs, issues)
    headers = read_headers([pair.picture for pair in pairs], issues)
    contents = look([pair.map for pair in pairs])
    found = []
    for pair, header, content in zip(pairs, headers, contents, strict=True):
        if isinstance(content, DataError):
            message = content.message.removeprefix(f"{printable(pair.map)}: ")
            issues.error("mask", message, file=pair.map, hint=content.hint)
        elif header is not None and content.size != header.size:
            report_size(pair.map, content.size, header.size, issues)
        elif header is not None and pair.map not in shared:
            found.append(LabelledPicture(pair, header, content))
        if isinstance(content, Content) and content.alpha_varies:
            message = "{count} masks have an alpha channel that varies; it is dropped, and the colours count"
            hint = "if the mask is in the alpha channel, save it as grey PNG"
            issues.warn_shared("mask-alpha", message, file=pair.map, hint=hint)
    return found


def total_pixels(pictures: Sequence[LabelledPicture]) -> Counter[int]:
    """How many pixels of all label files hold each stored value; files that were not decoded yet are decoded."""
    total: Counter[int] = Counter()
    for picture in pictures:
        total.update(picture.content.pixels or {})
    for content in count_contents([picture.pair.map for picture in pictures if picture.content.pixels is None]):
        total.update({} if isinstance(content, DataError) else content.pixels or {})
    return total


def semantic_dataset(
    root: Path,
    form: str,
    pictures: Sequence[LabelledPicture],
    labels: Labels,
    coding: LabelCoding,
    issues: IssueLog,
    *,
    hint: str = "",
    ending: str = "",
    loose: Sequence[Loose] = (),
) -> Dataset:
    """The data set of the pictures whose label files hold nothing that `coding` does not know.

    Pictures are named after their files, without `ending`. Those of `loose` are not annotated.

    Noted as errors are other values, with the number of pixels and the first one, and `hint`; as warnings pictures
    without any truth, and classes that no picture shows: all as far as the files were decoded. Closes `issues`.
    """
    records: list[Record] = []
    rows: list[tuple[int, ...]] = []
    files = [picture.pair.picture for picture in pictures]
    ids = unique_ids([file.with_name(f"{file.stem.removesuffix(ending)}{file.suffix}") for file in files], root)
    for picture, name in zip(pictures, ids, strict=True):
        if picture.content.lossy and coding.kind != "brightness":
            message = "expected a label map in a lossless format (PNG, TIFF, BMP or GIF), not a JPEG or the like"
            cure = "lossy formats change the numbers and colours: export the masks again as PNG"
            issues.error("mask", message, file=picture.pair.map, hint=cure)
            continue
        pair, found = picture.pair, _stored_pixels(picture.content, coding)
        unknown = [] if found is None else [value for value in found if not coding.knows(value)]
        if found is None or unknown:
            _report_values(picture, unknown, coding, issues, hint)
            continue
        if picture.content.equal and coding.kind == "numbers":
            note_equal_channels(pair.map, issues)
        pixels = counts_by_class(found, coding, len(labels)) if found else ()
        if pixels and not any(pixels):
            message = "{count} label maps are without truth all over; nothing can be learned from these pictures"
            issues.warn_shared("all-ignore", message, file=pair.map)
        rows.append(pixels)
        records.append(Record(name, pair.picture, picture.header.size, LabelMapFile(pair.map, pixels), pair.split))
    if not records and not issues.total("error"):
        issues.error("no-pictures", "expected pictures with label maps", file=root)
    counted = bool(rows) and all(rows)
    totals = np.sum(rows, axis=0) if counted else ()
    absent = [name for name, count in zip(labels.names, totals, strict=False) if not count]
    if absent:
        shown = ", ".join(absent[:_LISTED]) + (", ..." if len(absent) > _LISTED else "")
        issues.warn(
            "class-absent", f"no label map shows {len(absent)} of {len(labels)} classes", file=root, value=shown
        )
    records += loose_records(loose, ids, root, issues)
    found_issues = issues.finish(f"label maps in {printable(root)}")
    return Dataset(labels, tuple(records), form, root, found_issues, coding=coding)


def refused(root: Path, issues: IssueLog) -> DataError:
    """The error for a folder of which nothing can be used, with all that was noted."""
    listed = [issue for issue in issues.noted() if issue.severity == "error"]
    return DataError(
        f"label maps in {printable(root)}: nothing can be used", issues=listed, total=issues.total("error")
    )


def _stored_pixels(content: Content, coding: LabelCoding) -> dict[int, int] | None:
    """The pixels by the kind of value that `coding` takes, or None where the file holds the other kind.

    Empty where the file was not decoded.
    """
    pixels = content.pixels or {}
    if content.coloured:
        return pixels if coding.kind == "colours" else None
    if coding.kind == "colours":
        return {value * GREY: count for value, count in pixels.items()} if content.equal else None
    return pixels


def _report_values(
    picture: LabelledPicture, unknown: list[int], coding: LabelCoding, issues: IssueLog, hint: str
) -> None:
    file, content = picture.pair.map, picture.content
    if not unknown:
        found = "colours" if content.coloured else "numbers"
        message = f"the label map holds {found}, while {coding.kind} are expected"
        shown = ", ".join(map(str, list(content.pixels or ())[:8]))
        issues.error("mask-kind", message, file=file, value=shown, hint=hint)
        return
    values: IntArray = colour_codes(read_colours(file)) if coding.kind == "colours" else read_label_map(file)
    first = unknown[0]
    y, x = np.argwhere(values == first)[0].tolist()
    strange = int(np.isin(values, unknown).sum())
    message = f"{int((values == first).sum()):,} pixels hold a {_noun(coding)} that stands for no class"
    if len(unknown) > 1:
        share = strange / values.size
        message += f"; {len(unknown):,} such {coding.kind} fill {share:.2%} of the map"
    if coding.kind == "colours" and len(unknown) > 8:
        hint = hint or "edges were smoothed, or the map was resized: export it without antialiasing"
    known = [coding.shown(value) for value, _ in coding.table]
    listed = ", ".join(known[:_LISTED]) + (", ..." if len(known) > _LISTED else "")
    hint = hint or f"expected {listed} ({coding.source}); list further classes in classes.csv"
    where = f"x {x}, y {y}"
    issues.error(f"unknown-{_noun(coding)}", message, file=file, where=where, value=coding.shown(first), hint=hint)


def _noun(coding: LabelCoding) -> str:
    return "colour" if coding.kind == "colours" else "number"
