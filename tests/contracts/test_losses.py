"""What each format cannot hold: measured by writing and reading again, as docs/data.md says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.core.randomness import rng
from everymask.data.dataset import Dataset
from everymask.data.formats.table import FORMATS, Format, write_dataset
from everymask.data.records import Annotation, BoxOnly, Objects, Polygons, Record, Rle
from everymask.errors import EverymaskError

DOCS = Path(__file__).resolve().parents[2] / "docs" / "data.md"
INSTANCE = [known for known in FORMATS if known.task == "instance"]
SIZE = (40, 60)
RING = np.array([[30.25, 5.5], [50.75, 7.125], [44.5, 30.0]])


def rle(mask: np.ndarray) -> Rle:
    return Rle(Masks.from_dense(mask[None]).to_rle()[0])


def hollow() -> np.ndarray:
    """Two parts, one of which has a hole."""
    mask = np.zeros(SIZE, np.bool_)
    mask[4:20, 4:20] = True
    mask[8:12, 8:14] = False
    mask[30:36, 4:9] = True
    return mask


def holding(folder: Path, *annotations: Annotation, ignored: tuple[Polygons, ...] = (), boxes: bool = False) -> Dataset:
    """A data set of two pictures that show the same."""
    records = []
    for name in ("a", "b"):
        file = folder / f"{name}.png"
        Image.fromarray(rng(ord(name), "losses").integers(0, 256, (*SIZE, 3), np.uint8)).save(file)
        records.append(Record(name, file, SIZE, Objects(annotations, ignored)))
    return Dataset(labels_of(["cell"]), tuple(records), "fake", folder, boxes_only=boxes)


def again(known: Format, made: Dataset, folder: Path) -> Dataset | None:
    """The data set, written and read; None where it is refused."""
    try:
        write_dataset(folder, made, known.name)
    except EverymaskError:
        return None
    return known.read(folder)


def masks(known: Format, folder: Path) -> str:
    """The least IoU of an object with parts and holes, and of one that it overlaps or not."""
    made = holding(folder, Annotation(0, rle(hollow())), Annotation(0, Polygons((RING,))))
    return least_iou(again(known, made, folder / "out"), made)


def overlap(known: Format, folder: Path) -> str:
    beside = np.zeros(SIZE, np.bool_)
    beside[15:28, 10:30] = True
    made = holding(folder, Annotation(0, rle(hollow())), Annotation(0, rle(beside)))
    return least_iou(again(known, made, folder / "out"), made)


def least_iou(found: Dataset | None, made: Dataset) -> str:
    if found is None:
        return "refused"
    ours, theirs = (dataset.truth(0).masks for dataset in (found, made))
    assert len(ours) == len(theirs)
    return f"{ours.iou(theirs).max(axis=0).min():.3g}"


def outlines(known: Format, folder: Path) -> str:
    found = again(known, holding(folder, Annotation(0, Polygons((RING,)))), folder / "out")
    shape = found.records[0].objects.annotations[0].shape
    if not isinstance(shape, Polygons):
        return "as pixels"
    same = len(shape.rings) == 1 and shape.rings[0].shape == RING.shape
    return "kept" if same and np.allclose(shape.rings[0], RING, atol=1e-3) else "as pixels"


def crowds(known: Format, folder: Path) -> str:
    made = holding(folder, Annotation(0, rle(hollow())), Annotation(0, rle(np.roll(hollow(), 30, 1)), crowd=True))
    found = again(known, made, folder / "out")
    if found is None:
        return "refused"
    marks = [annotation.crowd for annotation in found.records[0].objects.annotations]
    return {(False, True): "kept", (True, False): "kept", (False,): "left out"}[tuple(marks)]


def boxes(known: Format, folder: Path) -> str:
    box = (3.25, 4.0, 20.5, 30.0)
    found = again(known, holding(folder, Annotation(0, BoxOnly(), box), boxes=True), folder / "out")
    if found is None:
        return "refused"
    same = found.boxes_only and np.allclose(found.truth(0).boxes[0], box, atol=1e-3)
    return "kept" if same else "whole pixels" if found.boxes_only else "as masks"


def ignored(known: Format, folder: Path) -> str:
    made = holding(folder, Annotation(0, rle(hollow())), ignored=(Polygons((RING,)),))
    found = again(known, made, folder / "out")
    return "refused" if found is None else "kept" if found.records[0].objects.ignored else "left out"


def areas(known: Format, folder: Path) -> str:
    """Half a pixel along its edge is allowed between an outline's area and that which is stated."""
    made = holding(folder, Annotation(0, Polygons((RING,)), area=250.0))
    found = again(known, made, folder / "out")
    return "kept" if found.records[0].objects.annotations[0].area == 250.0 else "measured anew"


MEASURED: dict[str, Callable[[Format, Path], str]] = {
    "parts and holes": masks,
    "overlap": overlap,
    "outlines": outlines,
    "crowds": crowds,
    "boxes alone": boxes,
    "regions without truth": ignored,
    "stated areas": areas,
}


@pytest.mark.parametrize("known", INSTANCE, ids=lambda known: known.name)
def test_the_table_says_what_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture, known: Format) -> None:
    found = []
    for number, measure in enumerate(MEASURED.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        caplog.clear()
        found.append(measure(known, folder))
        assert ("left out" in caplog.text) == (found[-1] == "left out"), "what is left out is counted"
    row = f"| `{known.name}` | {' | '.join(found)} |"
    assert row in DOCS.read_text("utf-8").splitlines()


def test_the_table_has_these_columns() -> None:
    assert f"| format | {' | '.join(MEASURED)} |" in DOCS.read_text("utf-8").splitlines()
