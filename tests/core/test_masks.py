"""Compact masks do what dense masks do."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest
from pycocotools import mask as reference

from everymask.core.forms.rle import runs_from_string
from everymask.core.masks import Masks
from everymask.errors import DataError

DENSE = [
    pytest.param(np.zeros((3, 5, 7), bool), id="nothing in three masks"),
    pytest.param(np.ones((1, 1, 1), bool), id="1x1 full"),
    pytest.param(np.zeros((1, 1, 1), bool), id="1x1 empty"),
    pytest.param(np.ones((2, 4, 9), bool), id="full"),
    pytest.param(np.zeros((0, 4, 9), bool), id="no masks"),
]
for _seed in range(25):
    _rng = np.random.default_rng(_seed)
    _size = _rng.integers(1, 30, 2)
    _dense = _rng.random((4, *_size)) < _rng.choice([0.02, 0.5, 0.9], (4, 1, 1))
    _dense[0, : _size[0] // 2] = False
    _dense[1, :, _size[1] // 2 :] = False
    DENSE.append(pytest.param(_dense, id=f"random {_seed}"))

every_semantic = pytest.mark.parametrize("dense", DENSE)


def assert_same(masks: Masks, dense: np.ndarray) -> None:
    """Equal pixels, and the one canonical way to hold them."""
    assert masks.size == dense.shape[1:] and len(masks) == len(dense)
    for index, expected in enumerate(dense):
        assert np.array_equal(masks.to_dense(index), expected)
        ys, xs = np.nonzero(expected)
        window = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(ys) else [0, 0, 0, 0]
        assert masks.windows[index].tolist() == window
    sides = masks.windows[:, 2:] - masks.windows[:, :2]
    assert masks.starts.tolist() == np.cumsum([0, *sides.prod(axis=1)]).tolist()
    assert (masks.windows.dtype, masks.bits.dtype, masks.starts.dtype) == (np.int32, np.bool_, np.int64)


def coco(dense: np.ndarray) -> list[dict[str, object]]:
    return [reference.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in dense]


@every_semantic
def test_dense_and_back(dense: np.ndarray) -> None:
    assert_same(Masks.from_dense(dense), dense)
    assert_same(pickle.loads(pickle.dumps(Masks.from_dense(dense))), dense)


@every_semantic
def test_run_lengths_areas_boxes_are_pycocotools(dense: np.ndarray) -> None:
    masks, expected = Masks.from_dense(dense), coco(dense)
    assert masks.to_rle() == [rle["counts"] for rle in expected]
    assert_same(Masks.from_rle(masks.to_rle(), masks.size), dense)
    assert_same(Masks.from_rle([text.decode() for text in masks.to_rle()], masks.size), dense)
    assert_same(Masks.from_rle([runs_from_string(text).tolist() for text in masks.to_rle()], masks.size), dense)
    if len(dense):
        assert masks.areas().tolist() == reference.area(expected).tolist()
        boxes = reference.toBbox(expected)
        boxes[:, 2:] += boxes[:, :2]
        assert masks.boxes().tolist() == boxes.tolist()
    assert masks.boxes().dtype == np.float32 and masks.areas().dtype == np.int64


def test_run_lengths_of_several_kinds_at_once() -> None:
    dense = np.random.default_rng(5).random((4, 9, 8)) < 0.3
    masks = Masks.from_dense(dense)
    first, second, third, fourth = masks.to_rle()
    mixed = [first, second.decode(), runs_from_string(third).tolist(), runs_from_string(fourth).astype(np.uint64)]
    assert_same(Masks.from_rle(mixed, masks.size), dense)
    assert_same(Masks.from_rle(iter([third, fourth]), masks.size), dense[2:])
    assert_same(Masks.from_rle([], masks.size), dense[:0])


@every_semantic
def test_iou_is_pycocotools(dense: np.ndarray) -> None:
    masks, other = Masks.from_dense(dense), Masks.from_dense(dense[::-1, ::-1])
    found = masks.iou(other)
    assert found.shape == (len(dense), len(dense))
    if len(dense):
        assert found == pytest.approx(
            np.nan_to_num(reference.iou(coco(dense), coco(dense[::-1, ::-1]), [0] * len(dense)))
        )


@every_semantic
@pytest.mark.parametrize(("horizontal", "vertical"), [(True, False), (False, True), (True, True), (False, False)])
def test_flip(dense: np.ndarray, horizontal: bool, vertical: bool) -> None:
    expected = dense[:, :: -1 if vertical else 1, :: -1 if horizontal else 1]
    assert_same(Masks.from_dense(dense).flip(horizontal=horizontal, vertical=vertical), expected)


@every_semantic
@pytest.mark.parametrize("window", [(0, 0, 3, 2), (-4, -3, 5, 6), (2, 1, 40, 50), (-9, -9, -1, -1), (60, 3, 70, 9)])
def test_cut(dense: np.ndarray, window: tuple[int, int, int, int]) -> None:
    x1, y1, x2, y2 = window
    around = np.pad(dense, ((0, 0), (100, 100), (100, 100)))
    assert_same(Masks.from_dense(dense).cut(window), around[:, y1 + 100 : y2 + 100, x1 + 100 : x2 + 100])


@every_semantic
@pytest.mark.parametrize("size", [(1, 1), (7, 40), (20, 3), (64, 64), (13, 17)])
def test_resize_is_bilinear_scaling_of_the_dense_mask(dense: np.ndarray, size: tuple[int, int]) -> None:
    scaled = Masks.from_dense(dense).resize(size)
    assert scaled.size == size and len(scaled) == len(dense)
    for index, mask in enumerate(dense):
        expected = cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
        wrong = scaled.to_dense(index) != (expected >= 0.5)
        assert (np.abs(expected[wrong] - 0.5) < 1e-5).all()


def test_resize_by_a_whole_factor_is_exact() -> None:
    dense = np.zeros((1, 6, 6), bool)
    dense[0, 2:4, 0:3] = True
    doubled = Masks.from_dense(dense).resize((12, 12))
    assert doubled.boxes().tolist() == [[0, 4, 6, 8]]
    assert_same(doubled.resize((6, 6)), dense)
    assert_same(Masks.from_dense(dense).resize((6, 6)), dense)


@every_semantic
def test_polygons_and_back(dense: np.ndarray) -> None:
    masks = Masks.from_dense(dense)
    assert_same(Masks.from_parts([masks.to_polygons(index) for index in range(len(masks))], masks.size), dense)


def test_rows_are_chosen_like_an_array() -> None:
    dense = np.random.default_rng(0).random((5, 9, 8)) < 0.3
    masks = Masks.from_dense(dense)
    for which in (
        slice(1, 4),
        slice(None, None, -2),
        np.array([4, 0, 0]),
        [2],
        dense.any(axis=(1, 2)),
        np.zeros(5, bool),
    ):
        assert_same(masks[which], dense[which])
    assert_same(masks[-1], dense[-1:])
    assert np.array_equal(masks.to_dense(-1), dense[-1])
    with pytest.raises(IndexError):
        masks[5]


def test_crops_are_made_tight() -> None:
    crop = np.zeros((6, 6), bool)
    crop[2, 3:5] = True
    masks = Masks.from_crops([crop, np.zeros((2, 2), bool)], np.array([[10, 20], [99, 99]]), (50, 60))
    assert masks.windows.tolist() == [[13, 22, 15, 23], [0, 0, 0, 0]]
    assert masks.bits.tolist() == [True, True]


def test_a_mask_per_id() -> None:
    rng = np.random.default_rng(1)
    for dtype in (np.uint8, np.uint16, np.int64):
        ids = rng.integers(0, 7, (12, 15)).astype(dtype)
        wanted = np.array([4, 1, 99, 4, 0])
        assert_same(Masks.from_ids(ids, wanted), np.stack([ids == value for value in wanted]))
        assert_same(Masks.from_ids(ids, np.zeros(0, np.int64)), np.zeros((0, 12, 15), bool))


def test_concatenate() -> None:
    dense = np.random.default_rng(2).random((4, 6, 7)) < 0.4
    masks = Masks.from_dense(dense)
    assert_same(Masks.concatenate([masks[:1], Masks.empty((6, 7)), masks[1:]]), dense)


def test_the_picture_costs_nothing() -> None:
    """Masks of a picture of 10^10 pixels: any array of its size would not fit."""
    masks = Masks.from_crops([np.ones((3, 4), bool)] * 2, np.array([[99_990, 5], [7, 99_990]]), (100_000, 100_000))
    again = Masks.from_rle(masks.to_rle(), masks.size)
    assert again.windows.tolist() == masks.windows.tolist() and again.areas().tolist() == [12, 12]
    assert again.flip(horizontal=True).cut((0, 0, 50, 50)).areas().tolist() == [12, 0]
    assert again.resize((50_000, 50_000)).boxes()[1].tolist() == [3, 49_995, 6, 49_997]
    square = np.array([[99_000, 10], [99_010, 10], [99_010, 20], [99_000, 20]])
    assert Masks.from_polygons([[square]], masks.size).areas().tolist() == [100]


def _bad(make: object, found: str, **kwargs: object) -> object:
    return pytest.param(make, found, **kwargs)


CROP = np.ones((2, 2), bool)


@pytest.mark.parametrize(
    ("make", "found"),
    [
        _bad(lambda: Masks.from_dense(np.ones((2, 3, 3), np.uint8)), "uint8", id="not boolean"),
        _bad(lambda: Masks.from_dense(np.ones((3, 3), bool)), r"\[3, 3\]", id="one mask without its axis"),
        _bad(lambda: Masks.from_dense(np.ones((1, 0, 3), bool)), r"\(0, 3\)", id="no pixels"),
        _bad(lambda: Masks.empty((3, -1)), r"\(3, -1\)", id="negative size"),
        _bad(lambda: Masks.from_crops([CROP], np.array([[4, 0]]), (5, 5)), r"\[4, 0, 6, 2\]", id="reaches outside"),
        _bad(lambda: Masks.from_crops([CROP], np.array([[-1, 0]]), (5, 5)), r"\[-1, 0, 1, 2\]", id="starts outside"),
        _bad(lambda: Masks.from_crops([CROP], np.zeros((2, 2)), (5, 5)), "1 crops, but got 2", id="corner too many"),
        _bad(lambda: Masks.from_rle([[3, 2]], (3, 4)), "3 x 4 = 12 pixels, but got 5", id="C19 rle size"),
        _bad(lambda: Masks.from_rle([b"~~"], (3, 4)), "'~' at position 0", id="C22 string garbage"),
        _bad(lambda: Masks.from_rle([[0]], (0, 0)), "0 x 0", id="C23 rle size 0, 0"),
        _bad(lambda: Masks.from_ids(np.zeros((3, 3)), np.array([1])), "float64", id="id map of floats"),
        _bad(lambda: Masks.from_ids(np.zeros((3, 3, 3), int), np.array([1])), r"\[3, 3, 3\]", id="id map in colour"),
        _bad(lambda: Masks.concatenate([Masks.empty((1, 2)), Masks.empty((2, 1))]), r"\(2, 1\)", id="two sizes"),
        _bad(lambda: Masks.empty((1, 2)).iou(Masks.empty((2, 1))), r"\(2, 1\)", id="iou of two sizes"),
        _bad(lambda: Masks.empty((9, 9)).cut((3, 3, 3, 5)), r"\(3, 3, 3, 5\)", id="empty window"),
        _bad(lambda: Masks.empty((9, 9)).resize((0, 5)), r"\(0, 5\)", id="resize to nothing"),
    ],
)
def test_wrong_shapes_types_and_values_are_refused(make: object, found: str) -> None:
    with pytest.raises(DataError, match=found):
        make()


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="windows must be"):
        Masks((4, 4), np.zeros((2, 4), np.int32), np.zeros(0, bool), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="bits must be"):
        Masks((4, 4), np.zeros((1, 4), np.int32), np.zeros(3, bool), np.array([0, 2]))
