"""Outlines: where they run, whose they are where they meet, and that none is lost."""

from __future__ import annotations

import numpy as np
import pytest

from everymask.viz.outline import Outlines

WHITE = np.full((1, 3), 255, np.uint8)
SIZE = (40, 50)


def drawn(*masks: tuple[np.ndarray, tuple[int, int]], width: int = 1, smooth: int = 1) -> np.ndarray:
    """The lines around masks (crop, corner) on black, each of its own grey: 255, 254 ..."""
    outlines = Outlines(SIZE, len(masks), width=width, smooth=smooth)
    for row, (crop, corner) in enumerate(masks):
        outlines.add(row, crop, corner)
    canvas = np.zeros((*SIZE, 3), np.uint8)
    outlines.lay_lines(canvas, (255 - np.arange(len(masks)))[:, None].repeat(3, axis=1).astype(np.uint8))
    assert (canvas == canvas[..., :1]).all()
    return canvas[..., 0]


def square(side: int) -> np.ndarray:
    return np.ones((side, side), bool)


def edge_of(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask that have a neighbour outside of it, on the picture's border too."""
    padded = np.pad(mask, 1)
    around = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~around


@pytest.mark.parametrize("smooth", [1, 4])
@pytest.mark.parametrize("width", [1, 2, 3, 6])
@pytest.mark.parametrize("side", [1, 5, 12])
def test_every_mask_has_a_line(side: int, width: int, smooth: int) -> None:
    line = drawn((square(side), (20, 20)), width=width, smooth=smooth)
    rows, columns = np.nonzero(line >= 128)
    assert rows.size, "also where rounding would leave nothing"
    reach = 0 if width == 1 else (width + 1) // 2
    for places in (rows, columns):
        assert 20 - reach <= places.min() and places.max() <= 19 + side + reach


def test_a_thin_line_runs_along_the_pixels_at_the_edge_and_around_holes() -> None:
    draw = np.random.default_rng(0)
    mask = np.zeros(SIZE, bool)
    for _ in range(6):
        y, x, h, w = draw.integers((0, 0, 4, 4), (30, 40, 12, 12))
        mask[y : y + h, x : x + w] ^= True
    line = drawn((mask, (0, 0)))
    edge = edge_of(mask)
    assert (line[edge] > 60).all()
    around = np.pad(edge, 1)
    beside = around[:-2, 1:-1] | around[2:, 1:-1] | around[1:-1, :-2] | around[1:-1, 2:]
    assert not line[~edge & ~beside].any()


def test_where_lines_meet_the_last_one_is_seen() -> None:
    line = drawn((square(10), (10, 10)), (square(10), (10, 15)))
    assert (line[15:20, 10] == 254).all() and (line[10:14, 10] == 255).all()
    assert (line[15, 11:19] == 254).all(), "not interrupted"


def test_each_of_many_masks_has_its_own_colour() -> None:
    outlines = Outlines((20, 700), 300, width=1, smooth=1)
    for row in range(300):
        outlines.add(row, square(1), (2 * row, 5))
    canvas = np.zeros((20, 700, 3), np.uint8)
    colours = np.stack([np.arange(300) % 256, np.arange(300) // 256, np.full(300, 7)], axis=1).astype(np.uint8)
    outlines.lay_lines(canvas, colours)
    np.testing.assert_array_equal(canvas[5, :600:2], colours)


def test_a_seam_darkens_what_is_around_a_mask_and_not_itself() -> None:
    outlines = Outlines(SIZE, 2, width=1, smooth=1)
    for row, corner in enumerate(((10, 10), (25, 0))):
        outlines.add(row, square(8), corner)
    canvas = np.full((*SIZE, 3), 200, np.uint8)
    outlines.lay_seams(canvas)
    assert (canvas[10:18, 10:18] == 200).all() and (canvas[:8, 25:33] == 200).all()
    assert (canvas[[8, 9, 18, 19], 14] == 110).all(), "two pixels of 45 %"
    assert (canvas[:7, :22] == 200).all() and (canvas[21:] == 200).all()
