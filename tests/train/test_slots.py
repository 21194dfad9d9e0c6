"""Batches come out of shared memory as they went in, and a block is used again only when its batch is gone."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
import torch

from everymask.core.segmentation import InstanceSet
from everymask.data.feed.augment import Augment
from everymask.data.feed.pipelines import InstancePipeline, Prepared
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.shapes import ShapesConfig, draw_shapes
from everymask.models.base import Batch, collate
from everymask.train.loader import Order, read_batches
from everymask.train.slots import Parcel, Slots

SAMPLES = [draw_shapes(ShapesConfig(7, (40, 48)), index) for index in range(7)]
PIPELINE = InstancePipeline(SAMPLES, Preprocess(resize=Resize(48, 48)), Augment(), 3, (32, 36))


def picture(epoch: int, index: int) -> Prepared:
    return PIPELINE(epoch, index)


def pack(slots: Slots, epoch: int = 0) -> Parcel:
    slot = slots.take()
    assert slot is not None
    parcel = slots.pack(slot, collate([picture(epoch, 0), picture(epoch, 1)], 8, slots.images(slot)))
    assert parcel is not None
    return pickle.loads(pickle.dumps(parcel))


def same(first: Batch, second: Batch) -> None:
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.windows, second.windows)
    assert (first.ids, first.files) == (second.ids, second.files)
    for ours, theirs in zip(first.truths, second.truths, strict=True):
        assert isinstance(ours, InstanceSet)
        assert isinstance(theirs, InstanceSet)
        assert ours.masks is not None
        assert theirs.masks is not None
        np.testing.assert_array_equal(ours.boxes, theirs.boxes)
        np.testing.assert_array_equal(ours.class_ids, theirs.class_ids)
        assert ours.masks.to_rle() == theirs.masks.to_rle()


def test_a_batch_comes_back_whole() -> None:
    slots = Slots(1, 2**22)
    same(slots.unpack(pack(slots)), collate([picture(0, 0), picture(0, 1)], 8))


def test_a_block_is_free_when_nothing_of_its_batch_is_left() -> None:
    slots = Slots(1, 2**22)
    batch = slots.unpack(pack(slots))
    assert slots.take() is None
    view, truths = batch.images[0, 0, :2], batch.truths
    del batch
    assert slots.take() is None
    del view
    assert slots.take() is None
    del truths
    assert slots.take() == 0


def test_what_finds_no_room_is_not_packed() -> None:
    whole = collate([picture(0, 0), picture(0, 1)], 8)
    tight = Slots(1, whole.images.nbytes)
    assert tight.pack(0, collate([picture(0, 0), picture(0, 1)], 8, tight.images(0))) is None
    small = Slots(1, 64)
    batch = collate([picture(0, 0), picture(0, 1)], 8, small.images(0))
    assert torch.equal(batch.images, whole.images)
    assert batch.images.data_ptr() != small.images(0).data_ptr()


def test_memory_that_was_used_before_leaves_no_trace() -> None:
    memory = torch.full((10**6,), 7.0)
    sides = [picture(0, 0), picture(0, 1)]
    assert torch.equal(collate(sides, 64, memory).images, collate(sides, 64).images)


def test_batches_that_are_kept_are_never_written_over() -> None:
    order = Order(7, 2, seed=3)
    alone = list(read_batches(picture, order, first=0, last=16, workers=0, divisor=8))
    kept = list(read_batches(picture, order, first=0, last=16, workers=2, divisor=8))
    passing = read_batches(picture, order, first=0, last=16, workers=2, divisor=8)
    for expected, held, fleeting in zip(alone, kept, passing, strict=True):
        same(held, expected)
        same(fleeting, expected)


def test_blocks_that_are_too_small_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["everymask.train.loader"], "_SLOT", 4096)
    order = Order(7, 2, seed=3)
    alone = read_batches(picture, order, first=0, last=9, workers=0, divisor=8)
    for expected, found in zip(alone, read_batches(picture, order, first=0, last=9, workers=1, divisor=8), strict=True):
        same(found, expected)
