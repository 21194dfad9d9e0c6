"""What holds for every mask, every run length and every warp, on examples that hypothesis looks for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from everymask.core.forms.rle import check_runs, runs_from_string, string_from_runs
from everymask.core.geometry import Warp, moved
from everymask.core.masks import Masks
from everymask.core.segmentation import InstanceSet, PanopticMap, Segment, SemanticMap, expected
from everymask.errors import DataError, EverymaskError

# The same examples each time: what fails once must fail again.
settings.register_profile("everymask", derandomize=True, deadline=None, max_examples=60, database=None)
settings.load_profile("everymask")

SIDES = st.integers(1, 17)
SIZES = st.tuples(SIDES, SIDES)


@st.composite
def dense_masks(draw, most=4):
    """Some masks [N, H, W] of one size, the empty and the full one among them."""
    size = draw(SIZES)
    count = draw(st.integers(0, most))
    kinds = st.one_of(arrays.arrays(bool, size), st.just(np.zeros(size, bool)), st.just(np.ones(size, bool)))
    return np.stack([draw(kinds) for _ in range(count)]) if count else np.zeros((0, *size), bool)


def dense(masks):
    return (
        np.stack([masks.to_dense(row) for row in range(len(masks))]) if len(masks) else np.zeros((0, *masks.size), bool)
    )


@given(dense_masks())
def test_masks_keep_every_pixel_in_every_form(pixels):
    masks = Masks.from_dense(pixels)
    forms = {
        "itself": masks,
        "run lengths": Masks.from_rle(masks.to_rle(), masks.size),
        "polygons": Masks.from_parts([masks.to_polygons(row) for row in range(len(masks))], masks.size),
        "halves": Masks.concatenate([masks[: len(masks) // 2], masks[len(masks) // 2 :]]),
    }
    for name, form in forms.items():
        assert np.array_equal(dense(form), pixels), name
        assert form.areas().tolist() == pixels.sum(axis=(1, 2)).tolist(), name


@given(dense_masks())
def test_run_lengths_are_cocos(pixels):
    theirs = [coco_mask.encode(np.asfortranarray(mask, np.uint8))["counts"] for mask in pixels]
    assert Masks.from_dense(pixels).to_rle() == theirs


@given(dense_masks())
def test_overlap_is_that_of_the_pixels(pixels):
    found = Masks.from_dense(pixels).iou(Masks.from_dense(pixels[::-1]))
    for row, first in enumerate(pixels):
        for column, second in enumerate(pixels[::-1]):
            union = (first | second).sum()
            assert found[row, column] == pytest.approx((first & second).sum() / union if union else 0.0)


@given(dense_masks(most=3), st.tuples(*[st.integers(0, 17)] * 4))
def test_a_cut_is_a_slice(pixels, corners):
    height, width = pixels.shape[1:]
    x1, x2 = sorted((min(corners[0], width), min(corners[1], width)))
    y1, y2 = sorted((min(corners[2], height), min(corners[3], height)))
    if x1 == x2 or y1 == y2:
        return
    assert np.array_equal(dense(Masks.from_dense(pixels).cut((x1, y1, x2, y2))), pixels[:, y1:y2, x1:x2])


@given(st.lists(st.integers(0, 2**35), min_size=1, max_size=30))
def test_any_run_lengths_survive_their_text(runs):
    # COCO's text subtracts, so any whole numbers pass through it; whether they fill a picture is another question.
    assert runs_from_string(string_from_runs(np.array(runs))).tolist() == runs


@given(st.one_of(st.binary(max_size=40), st.text(max_size=40)), SIZES)
def test_garbage_instead_of_run_lengths_is_an_error_that_says_so(text, size):
    try:
        masks = Masks.from_rle([text], size)
    except EverymaskError:
        return
    runs = runs_from_string(text)
    check_runs(runs, size)
    assert masks.areas()[0] == runs[1::2].sum()


@st.composite
def exact_warps(draw, size):
    kind = draw(st.sampled_from(("flip", "turn", "crop", "identity")))
    if kind == "flip":
        return Warp.flip(size, horizontal=draw(st.booleans()), vertical=draw(st.booleans()))
    if kind == "turn":
        return Warp.turn(size, draw(st.integers(-4, 4)))
    x1, y1 = (draw(st.integers(-5, side + 3)) for side in size[::-1])
    window = (x1, y1, x1 + draw(SIDES), y1 + draw(SIDES))
    return Warp.crop(window) if kind == "crop" else Warp.identity(size)


@st.composite
def id_maps_and_warps(draw):
    """A map of 0 to 3 and two exact warps, the second of what the first gives."""
    ids = draw(arrays.arrays(np.uint8, SIZES.map(tuple), elements=st.integers(0, 3)))
    first = draw(exact_warps(ids.shape))
    return ids, first, draw(exact_warps(first.size))


@given(id_maps_and_warps())
def test_pictures_and_every_kind_of_truth_are_warped_alike(case):
    ids, first, second = case
    both = first.then(second)
    assert both.is_exact
    picture = moved(moved(ids[..., None], first), second)[..., 0]
    # Cutting twice loses what the first cut off, so one after the other may show less, never something else.
    assert np.isin(picture, [0, *np.unique(ids)]).all()
    masks = Masks.from_ids(ids, np.arange(1, 4))
    objects = InstanceSet(masks.boxes(), np.arange(3), masks=masks)
    panoptic = PanopticMap(ids.astype(np.int32), tuple(Segment(one, one - 1) for one in (1, 2, 3)))
    semantic = SemanticMap(ids, ignore=0)
    assert np.array_equal(semantic.warped(first).warped(second).ids, picture)
    assert np.array_equal(panoptic.warped(first).warped(second).ids, picture)
    found = objects.warped(first).warped(second).masks
    assert np.array_equal(dense(found), np.stack([picture == one for one in (1, 2, 3)]))
    once = moved(ids[..., None], both)[..., 0]
    assert ((once == picture) | (picture == 0)).all()


@given(
    SIZES.flatmap(lambda size: st.tuples(st.just(size), exact_warps(size))),
    st.lists(st.floats(-30, 30), min_size=2, max_size=2),
)
def test_the_way_back_leads_back(case, point):
    size, warp = case
    there = warp.points(np.array([point]))
    assert warp.inverse(size).points(there)[0] == pytest.approx(point, abs=1e-9)


@given(arrays.arrays(np.uint8, SIZES, elements=st.integers(0, 5)))
def test_pixels_of_classes_add_up(ids):
    semantic = SemanticMap(np.where(ids < 4, ids, 255).astype(np.uint8))
    assert semantic.class_pixels(4).tolist() == [(ids == one).sum() for one in range(4)]
    panoptic = PanopticMap(ids.astype(np.int32), tuple(Segment(one, one % 2, crowd=one == 3) for one in range(1, 6)))
    assert panoptic.class_pixels(2).tolist() == [sum((ids == one).sum() for one in of) for of in ((2, 4), (1, 3, 5))]
    seen = [(ids == one).sum() for one in (1, 2, 4, 5)]
    assert panoptic.object_sizes() == pytest.approx(np.sqrt([area for area in seen if area]))


def test_a_truth_of_another_kind_is_named():
    boxes = InstanceSet(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    assert expected(InstanceSet, boxes, "a.png") is boxes
    with pytest.raises(DataError, match=r"a.png: expected label maps as truth, but got annotated objects"):
        expected(SemanticMap, boxes, "a.png")
    with pytest.raises(DataError, match=r"a.png: expected panoptic maps as truth, but got nothing"):
        expected(PanopticMap, None, "a.png")
