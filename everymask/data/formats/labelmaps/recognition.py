"""Which classes label maps hold: by a table of classes where there is one, else by what is stored in the maps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from everymask.core.labels import Labels, labels_of
from everymask.data.coding import LabelCoding, two_levels
from everymask.data.formats.labelmaps.files import GREY, LabelledPicture, total_pixels
from everymask.data.formats.labelmaps.tables import ClassTable
from everymask.data.issues import IssueLog

_VOID_NUMBERS = (255, 65_535)
_MOST_GUESSED = 254
_SMALL = 128
_SMOOTH = 8
_ENDS = 0.8
_LISTED = 30
_MANY = 50
"""A value that more than one pixel in so many has is a level."""

Recognised = tuple[Labels, LabelCoding, str]


def recognise(
    root: Path,
    pictures: Sequence[LabelledPicture],
    table: ClassTable | None,
    issues: IssueLog,
    threshold: int | None = None,
) -> Recognised | None:
    """The classes, what stands for each in the label files, and a hint for values that stand for none.

    A table of classes decides where there is one. Else:

    - Two numbers, one of them 0, are background and foreground, in whatever numbers they are stored.
    - Otherwise every number that occurs is a class, named after it. 255 (in 16 bits 65535) has no truth, if the other
      numbers are below 128.
    - Two grey levels that a lossy format or smoothed edges have blurred are background and foreground, divided midway
      or at `threshold`.
    - Colours need a table: what is found is listed as an error, with the file to write. Where that is not strict, every
      colour is a class.

    None where `issues` was told why nothing can be recognised.
    """
    exact = [picture for picture in pictures if not picture.content.lossy]
    lossy = len(exact) < len(pictures) and len(total_pixels(exact)) <= 2
    if lossy or threshold is not None:
        return _by_brightness(root, pictures, table, issues, threshold)
    pictures = exact
    coloured = [picture for picture in pictures if picture.content.coloured]
    if coloured:
        return _by_colours(root, pictures, table, issues)
    found = dict(sorted(total_pixels(pictures).items()))
    if table is not None:
        if table.coloured and all(picture.content.equal for picture in pictures):
            colours = table.colours()
            if all(colours.knows(value * GREY) for value in found):
                return table.labels(), colours, ""
        if _is_smoothed(found) and not table.numbered and len(table.classes()) <= 2:
            return _by_brightness(root, pictures, table, issues, threshold)
        return _by_table(table, found, issues)
    if _is_smoothed(found):
        return _by_brightness(root, pictures, table, issues, threshold)
    return _by_numbers(root, found, issues)


def _by_brightness(
    root: Path,
    pictures: Sequence[LabelledPicture],
    table: ClassTable | None,
    issues: IssueLog,
    threshold: int | None,
) -> Recognised | None:
    """Background and foreground by a limit, which is said with the pixels that lie between the levels."""
    found = dict(sorted(total_pixels(pictures).items()))
    fitting = max(found, default=0) < 256 and not any(picture.content.coloured for picture in pictures)
    coding = two_levels(found, threshold) if fitting else None
    if coding is None or (table is not None and len(table.classes()) > 2):
        message = "the label maps lost their exact numbers, and do not have two grey levels that a limit could divide"
        hint = "lossy formats and smoothed edges change the numbers: export the masks again as PNG without antialiasing"
        issues.error("mask-levels", message, file=root, value=_histogram(found), hint=hint)
        return None
    extremes = {value for value, count in found.items() if count * _MANY > sum(found.values())}
    between = 1 - sum(found[value] for value in extremes) / sum(found.values())
    message = f"masks are read by their brightness ({coding.source}); {between:.2%} of the pixels have other values"
    hint = "--mask-threshold sets another limit; exact masks are PNGs without antialiasing"
    issues.warn("mask-levels", message, file=root, hint=hint)
    labels = Labels(("background", "foreground"), ((0, 0, 0), (255, 255, 255)))
    return (labels if table is None else _binary_labels(table)), coding, ""


def _by_table(table: ClassTable, found: Mapping[int, int], issues: IssueLog) -> Recognised | None:
    rows = table.classes()
    values, top = set(found), max(found, default=0)
    source = f"{table.file.name}, and 255 for the second class"
    if not table.numbered and values == {0, 255} and len(rows) <= 2:
        return _binary_labels(table), LabelCoding("numbers", ((0, 0), (255, 1)), source), ""
    if not table.numbered and len(rows) == 1:
        return _binary_labels(table), LabelCoding("numbers", ((0, 0), (1, 1), (255, None)), table.file.name), ""
    hint = ""
    if values == {0, 255} and {0, 255} - {row.number for row in table.rows}:
        message = f"the label maps hold only 0 and 255, but {table.file.name} lists {len(rows)} classes"
        hint = "if 255 is a class, give its number: 255 in the column number of classes.csv, that is, map 255 to 1"
        issues.error("binary-map", message, file=table.file, value=_histogram(found), hint=hint)
        return None
    if not table.numbered and top == table.rows[-1].number + 1:
        hint = (
            f"the numbers go from {min(found)} to {top}, and {table.file.name} counts its rows from "
            f"{table.rows[0].number}: if 0 is background, make it the first row; the pixels by number are "
            f"{_histogram(found)}"
        )
    return table.labels(), table.numbers(), hint


def _binary_labels(table: ClassTable) -> Labels:
    labels = table.labels()
    if len(labels) == 2:
        return labels
    return Labels(("background", *labels.names), ((0, 0, 0), *labels.colours))


def _by_numbers(root: Path, found: Mapping[int, int], issues: IssueLog) -> Recognised | None:
    values = sorted(found)
    if len(values) < 2:
        message = f"all label maps hold {f'only {values[0]}' if values else 'nothing'}: there is nothing to learn"
        hint = "check the folder of the label maps; a mask in the alpha channel is not read"
        issues.error("one-number", message, file=root, hint=hint)
        return None
    if len(values) == 2 and values[0] == 0:
        coding = LabelCoding("numbers", ((0, 0), (values[1], 1)), "two numbers found")
        return Labels(("background", "foreground"), ((0, 0, 0), (255, 255, 255))), coding, ""
    ignored = [value for value in _VOID_NUMBERS if value in found and values[-1] == value and values[-2] < _SMALL]
    classes = [value for value in values if value not in ignored]
    if len(classes) > _MOST_GUESSED:
        message = f"the label maps hold {len(classes):,} numbers; up to {_MOST_GUESSED} can be classes"
        hint = "are they numbers of objects? Then read them with --format instance-pngs; else list the classes"
        issues.error("too-many-classes", message, file=root, value=_histogram(found), hint=hint)
        return None
    rows: dict[int, int | None] = dict.fromkeys(ignored)
    rows |= {value: name for name, value in enumerate(classes)}
    names = [f"class {value}" for value in classes]
    return labels_of(names), LabelCoding("numbers", tuple(rows.items()), "numbers found; no table of classes"), ""


def _is_smoothed(found: Mapping[int, int]) -> bool:
    """Whether most pixels are 0 or 255 and the rest lies between, as where an edge was smoothed."""
    between = [value for value in found if 0 < value < 255]
    ends = found.get(0, 0) + found.get(255, 0)
    return 255 in found and len(between) >= _SMOOTH and max(found) == 255 and ends > _ENDS * sum(found.values())


def _are_of_one_map(pictures: Sequence[LabelledPicture], counts: Mapping[int, int]) -> bool:
    """Whether most of the colours are in one map only, of several that have colours."""
    maps = [picture.content.pixels or {} for picture in pictures if picture.content.coloured]
    shared = Counter(code for pixels in maps for code in pixels)
    return len(maps) > 1 and 2 * sum(times == 1 for times in shared.values()) >= len(counts)


def _by_colours(
    root: Path, pictures: Sequence[LabelledPicture], table: ClassTable | None, issues: IssueLog
) -> Recognised | None:
    if table is not None and table.coloured:
        return table.labels(), table.colours(), ""
    counts: dict[int, int] = {}
    for picture in pictures:
        content = picture.content
        if content.coloured or content.equal:
            for value, count in (content.pixels or {}).items():
                code = value if content.coloured else value * GREY
                counts[code] = counts.get(code, 0) + count
    total = sum(counts.values())
    found = sorted(counts, key=lambda code: -counts[code])
    colours = [(code >> 16, code >> 8 & 255, code & 255) for code in found]
    rows = "".join(f"\n    class {row},{r},{g},{b}" for row, (r, g, b) in enumerate(colours[:_LISTED], 1))
    listed = ", ".join(f"#{code:06x} {counts[code] / total:.2%}" for code in found[:_LISTED])
    more = ", ..." if len(found) > _LISTED else ""
    message = f"the label maps hold {len(found):,} colours, and no table says what they stand for: {listed}{more}"
    hint = f"write {root / 'classes.csv'}, each class with its name:\n    name,red,green,blue{rows}"
    if len(found) > _MOST_GUESSED:
        rare = sum(counts[code] for code in found[_LISTED:]) / total
        hint = (
            f"all but {_LISTED} colours fill {rare:.2%} of the pixels: edges were smoothed, or the maps were saved as "
            "JPEG. Export them without antialiasing, and list the colours in classes.csv"
        )
    if _are_of_one_map(pictures, counts):
        hint = (
            "most colours are in one map only, as numbers of segments are: if these are panoptic maps, put their JSON "
            f"with segments_info beside their folder. If they are classes, {hint}"
        )
    issues.error("colours-unknown", message, file=table.file if table else root, hint=hint)
    if issues.policy == "strict" or len(found) > _MOST_GUESSED:
        return None
    labels = Labels(tuple(f"#{code:06x}" for code in found), tuple(colours))
    rows_found = tuple((code, name) for name, code in enumerate(found))
    return labels, LabelCoding("colours", rows_found, "colours found; no table of classes"), ""


def _histogram(found: Mapping[int, int]) -> str:
    listed = [f"{value}: {count:,}" for value, count in sorted(found.items())]
    return ", ".join(listed[:_LISTED]) + (", ..." if len(listed) > _LISTED else "")
