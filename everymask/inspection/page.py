"""The steps of a network as one HTML page that needs nothing else."""

from __future__ import annotations

from pathlib import Path

from everymask.core.arrays import ByteArray
from everymask.core.files import write_text
from everymask.errors import ConfigError, printable
from everymask.inspection.detector_page import anchor_sections, region_sections, searched_section
from everymask.inspection.drawing import Canvas, fed_pictures
from everymask.inspection.inspecting import Inspection
from everymask.inspection.panels import maps_section, panel, panels
from everymask.inspection.pixel_page import pixel_section, query_section
from everymask.tasks.table import task_of
from everymask.tasks.task import Drawing
from everymask.viz.page import page
from everymask.viz.parts import PICTURE_SIDE

Section = tuple[str, str]
_SURE = 0.5


def write_inspection(path: str | Path, seen: Inspection, *, most: int = 20) -> None:
    """Write the page, whole or not at all; of proposals, objects, classes and queries the `most` surest are shown."""
    if most < 1:
        raise ConfigError(f"at least one object must be shown, but got {most}")
    steps, names = seen.steps, seen.result.labels.names
    searched = steps.regions if steps.anchors is None else None
    shown = fed_pictures(seen.fed, seen.preprocess)
    sections: list[Section] = [
        ("What the network sees", _fed(seen, shown)),
        ("Maps", maps_section(steps.maps)),
        *([] if steps.anchors is None else anchor_sections(steps.anchors, shown[-1], steps.regions, most)),
        *([] if searched is None else [searched_section(searched, shown[-1], most)]),
        *([] if steps.regions is None else region_sections(steps.regions, steps.maps, shown[-1], names, most)),
        *([] if steps.pixels is None else [pixel_section(steps.pixels, names, most)]),
        *([] if steps.queries is None else [query_section(steps.queries, shown[-1], names, most)]),
        ("Answer", _answer(seen)),
    ]
    name = printable(Path(seen.sample.file).name or seen.sample.id)
    write_text(path, page(f"Step by step: {name}", seen.about, [section for section in sections if section[1]]))


def _fed(seen: Inspection, shown: list[ByteArray]) -> str:
    height, width = seen.sample.size
    _, tall, wide = seen.fed.shape
    inside = seen.prepared.placement.resized
    padding = "" if inside == (tall, wide) else ", and filled up to sides that it can halve several times"
    sentence = (
        f"The picture of {width} x {height} pixels is brought to {inside[1]} x {inside[0]}{padding}: "
        f"{wide} x {tall} numbers in {seen.fed.shape[0]} channels."
    )
    titles = ["Picture"] if len(shown) == 1 else ["Earlier date", "Later date"]
    return panels(
        [panel(each, sentence, Canvas(one, dimmed=False).picture) for each, one in zip(titles, shown, strict=True)]
    )


def _answer(seen: Inspection) -> str:
    drawing = Drawing(before=seen.sample.before, side=PICTURE_SIDE)
    result, task = seen.result, task_of(seen.result.segmentation)
    sure = task.keep_sure(result.segmentation, _SURE)
    least = "" if sure is result.segmentation else f" with a score of at least {_SURE}"
    said = f"What the network finds{least}: {task.sentence(sure, result.labels)}."
    parts = [panel("Found", said, task.draw(seen.sample.image, sure, result.labels, drawing))]
    if seen.known is not None:
        truth = seen.known.truth
        own = task_of(truth)
        drawn = own.draw(seen.sample.image, truth, seen.known.labels, drawing)
        parts.append(panel("Truth", f"As annotated: {own.sentence(truth, seen.known.labels)}.", drawn))
    return panels(parts)
