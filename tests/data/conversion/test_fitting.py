"""What a format's writer refuses is taken away, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from everymask.data.conversion.fitting import fitted
from everymask.data.conversion.losses import compare
from everymask.data.formats.instance_pngs import check_paintable
from everymask.data.records import Annotation, Objects, Polygons
from everymask.errors import DataError
from tests.contracts.test_formats import make_fake
from tests.data.conversion.test_lost_objects import SQUARE, dataset, mask

FLAT = frozenset({"overlaps", "crowds"})


def test_smaller_objects_keep_their_pixels_and_hidden_ones_go(tmp_path):
    small = mask((2, 2, 6, 6))
    made = dataset(
        tmp_path,
        Annotation(0, SQUARE, box=(0.0, 0.0, 10.0, 10.0), area=100.0),
        Annotation(1, small),
        Annotation(0, small),
        Annotation(0, mask((0, 0, 30, 30)), crowd=True),
        Annotation(1, mask((20, 20, 25, 25)), area=7.0),
    )
    with pytest.raises(DataError):
        check_paintable(made)
    flat = fitted(made, FLAT)
    check_paintable(flat)
    kept = flat.records[0].objects.annotations
    assert [(item.class_id, item.area, item.box) for item in kept] == [(0, None, None), (0, None, None), (1, 7.0, None)]
    assert flat.objects(0).masks.areas().tolist() == [100 - 16, 16, 25]
    found = compare(made, flat)
    assert {loss.what: (loss.reason, loss.iou) for loss in found.lost} == {
        "object 1 (a)": ("what smaller objects cover is taken away", 0.84),
        "object 2 (b)": ("objects under smaller ones are hidden", 0),
        "object 4 (a)": ("crowds are left out", 0),
    }


def test_crowds_alone_are_left_out(tmp_path):
    made = make_fake(tmp_path, overlap=True, crowd=True)
    kept = fitted(made, frozenset({"crowds"}))
    assert sum(len(record.objects.annotations) for record in kept.records) == 8
    for record, before in zip(kept.records, made.records, strict=True):
        single = [item for item in before.objects.annotations if not item.crowd]
        assert all(ours is theirs for ours, theirs in zip(record.objects.annotations, single, strict=True))


def test_what_needs_nothing_stays_as_it_is(tmp_path):
    made = make_fake(tmp_path)
    assert fitted(made, frozenset()) is made
    assert fitted(made.semantic(), FLAT).records is made.records
    assert fitted(made, FLAT).records == made.records
    ring = np.array([[0.0, 0.0], [8.0, 0.0], [8.0, 8.0]])
    ignored = Objects((Annotation(0, Polygons((ring,)), crowd=True),), (SQUARE,))
    record = replace(made.records[0], truth=ignored)
    assert fitted(replace(made, records=(record,)), FLAT).records[0].truth == Objects((), (SQUARE,))
