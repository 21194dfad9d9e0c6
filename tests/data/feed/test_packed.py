"""Packed records are the records they were made from."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from everymask.core.geometry import Warp
from everymask.core.labels import labels_of
from everymask.core.segmentation import Segment
from everymask.data.dataset import Dataset
from everymask.data.feed.packed import PackedRecords, packed
from everymask.data.feed.scenes import open_scene
from everymask.data.formats.coco.instances import read_coco
from everymask.data.records import (
    Annotation,
    BoxOnly,
    LabelMapFile,
    MaskFile,
    NotAnnotated,
    Objects,
    PanopticFile,
    Polygons,
    Record,
    Rle,
)

RING = np.array([[1.25, 1.5], [9.0, 1.0], [1.0, 7.1]])
RECORDS = (
    Record(
        "a",
        Path("a.jpg"),
        (8, 12),
        Objects((Annotation(1, Polygons((RING, RING + 1)), (1.0, 2.0, 3.5, 4.0), True, 9),)),
    ),
    Record("b", Path("sub/\udcff\u00e4.jpg"), (9, 10), Objects(), "val"),
    Record(
        "\u00fc",
        Path("/c.png"),
        (3, 4),
        Objects(
            (
                Annotation(0, Rle(b"04L4")),
                Annotation(2, MaskFile(Path("m/1.png"))),
                Annotation(2, MaskFile(Path("m/2.png"), 700), id=0),
                Annotation(1, Polygons((RING,)), id=2**62, area=2.5),
            )
        ),
        "train",
    ),
    Record("d", Path("d.jpg"), (5, 5), Objects((Annotation(0, BoxOnly(), (0.1, 0.2, 3.0, 4.0)),)), "train"),
    Record("e", Path("e.jpg"), (5, 5), Objects((Annotation(0, Polygons(()), None),), (Polygons((RING,)), Rle(b"0")))),
    Record("f", Path("f.jpg"), (5, 5), Objects((), (MaskFile(Path("m/3.png"), 2),))),
)
OTHERS = (
    Record("g", Path("g.jpg"), (5, 5), LabelMapFile(Path("m/\udcff.png"), (7, 0, 2**40)), "val"),
    Record("h", Path("h.jpg"), (5, 5), LabelMapFile(Path("m/h.png"))),
    Record(
        "i", Path("i.jpg"), (5, 5), PanopticFile(Path("p/i.png"), (Segment(70_000, 1, 0.5), Segment(3, 0, crowd=True)))
    ),
    Record("j", Path("j.jpg"), (5, 5), PanopticFile(Path("p/j.png"), ()), "train"),
    Record("k", Path("k.jpg"), (5, 5), NotAnnotated(), "test"),
)


def plain(record):
    """Arrays as lists, so that `==` compares."""
    shapes = [*(a.shape for a in record.objects.annotations), *record.objects.ignored]
    drawn = [[ring.tolist() for ring in s.rings] if isinstance(s, Polygons) else s for s in shapes]
    rest = [
        len(record.objects.ignored),
        *((a.class_id, a.box, a.crowd, a.id, a.area) for a in record.objects.annotations),
    ]
    return (record.id, record.image, record.size, record.split, drawn, rest)


@pytest.mark.parametrize("copy", [lambda made: made, lambda made: pickle.loads(pickle.dumps(made))])
def test_every_record_comes_back(copy):
    made = copy(PackedRecords(RECORDS))
    assert len(made) == len(RECORDS)
    assert [plain(record) for record in made] == [plain(record) for record in RECORDS]
    assert [plain(record) for record in made[1:4:2]] == [plain(record) for record in RECORDS[1:4:2]]
    assert plain(made[-1]) == plain(RECORDS[-1])
    with pytest.raises(IndexError):
        made[len(RECORDS)]


def test_every_kind_of_truth_comes_back_among_others():
    mixed = [record for pair in zip(RECORDS, OTHERS, strict=False) for record in pair]
    made = PackedRecords(mixed)
    assert [made[row] for row in range(1, len(mixed), 2)] == list(OTHERS)
    assert [plain(made[row]) for row in range(0, len(mixed), 2)] == [plain(record) for record in RECORDS[:5]]
    assert made.bare(1) == OTHERS[0]


def test_no_records():
    assert list(PackedRecords(())) == []


def test_a_packed_data_set_behaves_as_it_did():
    made = Dataset(labels_of(["x", "y", "z"]), RECORDS, "fake", Path())
    assert packed(made).splits() == made.splits()
    assert [record.id for record in packed(made).split("train").records] == ["\u00fc", "d"]
    assert [record.id for record in packed(packed(made)).subset([3, 0]).records] == ["d", "a"]


def test_outlines_are_the_same_with_and_without_packing(shared):
    made = read_coco(shared / "coco128_seg")
    arrays = packed(made)
    for index in range(len(made)):
        ours, theirs = open_scene(arrays, index), open_scene(made, index)
        assert (ours.id, ours.file, ours.size, ours.picture) == (theirs.id, theirs.file, theirs.size, theirs.picture)
        warp = Warp.crop((10, 5, 300, 250))
        first, second = ours.truth(ours.size, warp), theirs.truth(theirs.size, warp)
        assert first.masks.to_rle() == second.masks.to_rle()
        for name in ("boxes", "class_ids", "ids", "crowd"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
