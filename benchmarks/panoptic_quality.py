"""Panoptic quality of many pictures, beside panopticapi."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import cv2
import numpy as np

from benchmarks.compare import Bar, Disagreement, compare
from benchmarks.page import Section, Unavailable
from everymask.core.arrays import ByteArray, IntArray
from everymask.core.randomness import rng
from everymask.core.sample import Sample
from everymask.core.segmentation import PanopticMap, Segment, expected
from everymask.data.formats.coco.panoptic_writing import categories_of, segment_entries, write_segments
from everymask.data.panoptic import colours_of, numbers_of, read_numbers
from everymask.data.scenery import LABELS, draw_scene
from everymask.data.shapes import ShapesConfig
from everymask.metrics.panoptic.metric import PanopticMetric

SIZE = (480, 640)
PICTURES = 40
MOST_OBJECTS = 12
SETTING = f"""{PICTURES} made-up pictures of 640 × 480 pixels: up to {MOST_OBJECTS} shapes before sky, ground and water
(`everymask.data.scenery`), and for each a prediction that is bent by some pixels, with some segments of another class
and some missing. Both sides end with PQ, SQ and RQ of all classes, things and stuff; everymask also with those of each
class and picture, the confusion of pixels and a bootstrap interval of 1,000 draws. The peer is panopticapi's own
`pq_compute_single_core` and `pq_average` (`pip install --no-deps panopticapi-lite`), in one process. Of decoded colours
both start from arrays [H, W, 3] in memory, which its `Image.open` gives; of files from PNGs, which everymask wrote and
which both must decode. The tables of segments are in memory."""


Means: TypeAlias = dict[str, tuple[float, float, float]]
"""PQ, SQ and RQ of all classes, things and stuff."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture's truth and what was predicted for it."""

    id: str
    truth: PanopticMap
    found: PanopticMap


def made_up(count: int = PICTURES) -> list[Picture]:
    """Pictures with truth and prediction; the same at every call."""
    config = ShapesConfig(count, SIZE, MOST_OBJECTS)
    pictures = []
    for index in range(count):
        truth = expected(PanopticMap, draw_scene(config, index).truth, "scene")
        pictures.append(Picture(f"{index:04}", truth, _bent(truth, index)))
    return pictures


def _bent(truth: PanopticMap, index: int) -> PanopticMap:
    draw = rng(index, "panoptic benchmark")
    height, width = truth.size
    shifts = [cv2.resize(draw.normal(0, 4, (8, 10)).astype(np.float32), (width, height)) for _ in range(2)]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    kept = [one for one in truth.segments if draw.random() < 0.9]
    classes = [int(draw.integers(len(LABELS))) if draw.random() < 0.1 else one.class_id for one in kept]
    ids = replace(truth, segments=tuple(kept)).looked_up([one.id for one in kept], 0).astype(np.float32)
    bent = cv2.remap(ids, x + shifts[0], y + shifts[1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    table = [Segment(one.id, class_id, 0.9) for one, class_id in zip(kept, classes, strict=True)]
    numbers = bent.astype(np.int32)
    there = set(np.unique(numbers).tolist())
    return PanopticMap(numbers, tuple(one for one in table if one.id in there))


def by_everymask(pictures: Sequence[Picture], open_map: Callable[[str], IntArray]) -> Means:
    """The qualities of maps that `open_map` opens by their names."""
    metric = PanopticMetric(LABELS)
    blank = np.broadcast_to(np.uint8(0), (*SIZE, 1))
    for one in pictures:
        found, truth = (
            replace(side, ids=open_map(f"{name}/{one.id}.png"))
            for name, side in (("found", one.found), ("truth", one.truth))
        )
        metric.update(found, truth, Sample(blank, id=one.id))
    scores = metric.compute()
    means = {"all": scores.every, "things": scores.things, "stuff": scores.stuff}
    return {name: (mean.pq, mean.sq, mean.rq) for name, mean in means.items()}


def by_panopticapi(entries: Sequence[tuple[dict[str, Any], dict[str, Any]]], root: Path) -> Means:
    """The same by panopticapi, of the maps in `truth/` and `found/`."""
    from panopticapi.evaluation import pq_compute_single_core

    categories = {entry["id"]: entry for entry in categories_of(LABELS)}
    with redirect_stdout(io.StringIO()):
        stat = pq_compute_single_core(0, entries, str(root / "truth"), str(root / "found"), categories)
    kinds = {"all": None, "things": True, "stuff": False}
    means = {name: stat.pq_average(categories, isthing=kind)[0] for name, kind in kinds.items()}
    return {name: (mean["pq"], mean["sq"], mean["rq"]) for name, mean in means.items()}


@contextmanager
def _opened_from(colours: dict[str, ByteArray]) -> Iterator[None]:
    """Let panopticapi take what it opens from memory."""
    from panopticapi import evaluation

    def open_array(path: str) -> ByteArray:
        return colours["/".join(Path(path).parts[-2:])]

    kept, evaluation.Image = evaluation.Image, SimpleNamespace(open=open_array)
    try:
        yield
    finally:
        evaluation.Image = kept


def _same(mine: Means, theirs: Means) -> str:
    farthest = max(abs(a - b) for name in mine for a, b in zip(mine[name], theirs[name], strict=True))
    if farthest > 1e-9:
        raise Disagreement(f"{mine} and {theirs}")
    return f"PQ {mine['all'][0]:.3f} on both sides, no number farther apart than {max(farthest, 1e-16):.0e}"


def _entry(one: Picture, found: PanopticMap) -> dict[str, Any]:
    return {"image_id": one.id, "file_name": f"{one.id}.png", "segments_info": segment_entries(found)}


def run() -> Section:
    """Panoptic quality, beside panopticapi."""
    try:
        import panopticapi  # noqa: F401
    except ImportError:
        raise Unavailable("panopticapi is not installed: pip install --no-deps panopticapi-lite") from None
    pictures = made_up()
    entries = [(_entry(one, one.truth), _entry(one, one.found)) for one in pictures]
    sides = [(f"{name}/{one.id}.png", getattr(one, name)) for one in pictures for name in ("truth", "found")]
    colours = {name: colours_of(side.ids) for name, side in sides}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, side in sides:
            write_segments(root / name, side, name)
        peer = partial(by_panopticapi, entries, root)
        with _opened_from(colours):
            decoded = compare(
                f"PQ of {PICTURES} pictures, of decoded colours",
                partial(by_everymask, pictures, lambda name: numbers_of(colours[name])),
                peer,
                peer="panopticapi",
                same=_same,
                count=PICTURES,
            )
        files = compare(
            f"PQ of {PICTURES} pictures, of files",
            partial(by_everymask, pictures, lambda name: read_numbers(root / name)),
            peer,
            peer="panopticapi",
            same=_same,
            count=PICTURES,
        )
    bars = tuple(
        Bar(f"faster than panopticapi, {what}", row.ratio, 10.0)
        for what, row in (("of decoded colours", decoded), ("of files", files))
    )
    packages = ("panopticapi-lite", "pillow", "opencv-python-headless")
    return Section("Panoptic quality", SETTING, packages, "1 on both sides", times=(decoded, files), bars=bars)
