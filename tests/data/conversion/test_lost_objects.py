"""What a conversion lost is found, counted and explained, whatever lost it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.data.conversion.losses import compare, hidden_by_painting
from everymask.data.conversion.writing import refuse_losses
from everymask.data.dataset import Dataset
from everymask.data.records import Annotation, Objects, Record, Rle
from everymask.errors import DataError
from tests.data.semantic_files import make_semantic

SIZE = (30, 40)


def mask(*boxes, holes=()):
    dense = np.zeros(SIZE, np.bool_)
    for x1, y1, x2, y2 in boxes:
        dense[y1:y2, x1:x2] = True
    for x1, y1, x2, y2 in holes:
        dense[y1:y2, x1:x2] = False
    return Rle(Masks.from_dense(dense[None]).to_rle()[0])


def dataset(folder, *annotations, names=("a", "b"), split="train", ignored=()):
    record = Record("p", folder / "p.png", SIZE, Objects(tuple(annotations), tuple(ignored)), split)
    return Dataset(labels_of(names), (record,), "fake", folder)


SQUARE = mask((0, 0, 10, 10))
HOLLOW = mask((0, 0, 10, 10), holes=((3, 3, 6, 6),))
TWO = mask((0, 0, 5, 10), (8, 0, 13, 10))


@pytest.mark.parametrize(
    ("before", "after", "iou", "reason"),
    [
        (HOLLOW, SQUARE, 0.91, "holes are filled"),
        (TWO, mask((0, 0, 13, 10)), 100 / 130, "parts are joined"),
        (TWO, mask((0, 0, 5, 10)), 0.5, "parts are lost"),
        (SQUARE, mask((0, 0, 10, 9)), 0.9, "outlines are rounded"),
        (mask(), mask(), 0, "objects without a pixel are left out"),
        (SQUARE, mask((20, 20, 25, 25)), 0, "objects are left out"),
    ],
)
def test_a_changed_object_is_explained(tmp_path, before, after, iou, reason):
    kept = Annotation(1, mask((30, 20, 39, 29)))
    ours = dataset(tmp_path, Annotation(0, before), kept)
    theirs = dataset(tmp_path, kept, *([] if after == mask() else [Annotation(0, after)]))
    found = compare(ours, theirs)
    assert (found.compared, found.exact) == (2, 1)
    assert dict(found.reasons) == {reason: 1}
    assert found.lowest.iou == pytest.approx(iou) and found.lowest.what == "object 1 (a)"
    assert not found.is_whole


def test_objects_are_paired_by_class_in_any_order_and_numbering(tmp_path):
    ours = dataset(tmp_path, Annotation(0, SQUARE), Annotation(1, SQUARE), Annotation(0, TWO), Annotation(0, TWO))
    theirs = dataset(
        tmp_path, Annotation(1, TWO), Annotation(0, SQUARE), Annotation(1, TWO), Annotation(1, SQUARE), names=("b", "a")
    )
    assert compare(ours, theirs).is_whole
    other = dataset(tmp_path, *(replace(item, class_id=0) for item in ours.records[0].objects.annotations))
    found = compare(ours, other)
    assert found.exact == 3 and dict(found.reasons) == {"objects are left out": 1}
    assert dict(found.others) == {"objects that were not there before": 1}


def test_marks_of_crowds_count(tmp_path):
    crowd = dataset(tmp_path, Annotation(0, SQUARE, crowd=True))
    found = compare(crowd, dataset(tmp_path, Annotation(0, SQUARE)))
    assert dict(found.reasons) == {"the mark of a crowd is lost": 1} and found.lowest.iou == 1
    assert "lowest IoU 1: p, object 1 (a)" in found.sentences()[0]


def test_what_is_not_of_single_objects_is_told_too(tmp_path):
    ours = dataset(tmp_path, Annotation(0, SQUARE), names=("a", "unused"), ignored=(TWO, HOLLOW))
    theirs = dataset(tmp_path, Annotation(0, SQUARE), names=("a",), split="val", ignored=(TWO,))
    found = compare(ours, theirs)
    assert found.exact == 1 and not found.is_whole
    assert dict(found.others) == {
        "classes are not there: unused": 1,
        "pictures of the split train are in val": 1,
        "regions without truth are left out": 1,
    }
    with pytest.raises(DataError, match="3 losses as voc"):
        refuse_losses(ours, "voc", [found])
    gone = compare(ours, replace(theirs, records=(), labels=ours.labels))
    assert gone.others["pictures are not there when the data set is read again"] == 1
    assert dict(gone.reasons) == {"objects are left out": 1}


def test_a_split_that_a_format_gives_is_no_loss(tmp_path):
    found = compare(dataset(tmp_path, split=None), dataset(tmp_path, split="train"))
    assert found.is_whole and "1 x pictures without a split are in train" in found.sentences()[1]
    refuse_losses(dataset(tmp_path), "camvid", [found])


def test_label_maps_are_compared_class_by_class(tmp_path):
    made = make_semantic(tmp_path, labels_of(["sky", "water", "land"]))
    names = labels_of(["land", "sky", "water"])
    assert compare(made, replace(made, labels=names)).exact < 16  # other names for the same numbers
    coding = replace(made.coding, table=((0, 0), (1, 1), (2, 1), (255, None)))
    found = compare(made, replace(made, coding=coding))
    assert (found.compared, found.exact) == (16, 8)
    ids = made.label_map(0).ids
    water, land = (ids == 1).sum(), (ids == 2).sum()
    first = {loss.what: loss.iou for loss in found.lost if loss.picture == "p0"}
    assert first == {"water": pytest.approx(water / (water + land)), "land": 0}


def test_painting_counts_what_smaller_objects_hide(tmp_path):
    made = dataset(
        tmp_path,
        Annotation(0, SQUARE),
        Annotation(1, mask((0, 0, 10, 2))),
        Annotation(0, mask((0, 0, 10, 2))),
        Annotation(1, mask((0, 5, 20, 20)), crowd=True),
    )
    found = hidden_by_painting(made.semantic())
    assert (found.compared, found.exact) == (3, 1)
    assert {loss.what: loss.iou for loss in found.lost} == {"object 1": 0.8, "object 2": 0}
    assert found.sentences()[0].startswith(
        "3 painted objects: 1 whole, 2 hidden in part (lowest IoU 0.000: p, object 2"
    )


def test_of_many_losses_the_first_are_kept_and_all_counted(tmp_path):
    made = dataset(tmp_path, *(Annotation(0, SQUARE) for _ in range(1200)))
    found = compare(made, dataset(tmp_path))
    assert len(found.lost) == 1000 and found.reasons.total() == 1200
    with pytest.raises(DataError) as caught:
        refuse_losses(made, "voc", [found])
    assert caught.value.total == 1200 and "... and 1180 more" in str(caught.value)
