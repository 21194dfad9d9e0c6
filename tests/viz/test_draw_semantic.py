"""Label maps drawn on pictures: tinted by class, bordered, with a legend beside them."""

from __future__ import annotations

import numpy as np
import pytest

from everymask.core.labels import Labels
from everymask.core.segmentation import SemanticMap
from everymask.errors import DataError
from everymask.viz import semantic
from everymask.viz.semantic import draw_semantic

LABELS = Labels(("Background", "road", "sky"), ((9, 9, 9), (200, 0, 0), (0, 0, 200)))
GREY = np.full((40, 60, 3), 100, np.uint8)


def halves() -> SemanticMap:
    """Background, road from column 20 on, sky from 40 on; the last row is void."""
    ids = np.zeros((40, 60), np.int64)
    ids[:, 20:40], ids[:, 40:], ids[-1] = 1, 2, 255
    return SemanticMap(ids)


def test_classes_are_tinted_and_bordered_in_their_colours() -> None:
    drawn = draw_semantic(GREY, halves(), LABELS, alpha=0.5, legend=False)
    assert drawn[10, 30].tolist() == [150, 50, 50]
    assert drawn[10, 50].tolist() == [50, 50, 150]
    for column, colour in ((20, (200, 0, 0)), (39, (200, 0, 0)), (40, (0, 0, 200))):
        assert tuple(drawn[10, column]) == colour
    assert drawn[38, 30].tolist() == [200, 0, 0], "it ends where void begins"


def test_background_and_void_stay_as_they_are() -> None:
    drawn = draw_semantic(GREY, halves(), LABELS, legend=False)
    assert (drawn[:, :20] == 100).all()
    assert (drawn[-1] == 100).all()
    assert (GREY == 100).all()


def test_the_legend_stands_beside_the_picture() -> None:
    plain, drawn = (draw_semantic(GREY, halves(), LABELS, legend=legend) for legend in (False, True))
    np.testing.assert_array_equal(drawn[:40, :60], plain)
    beside = drawn[:, 60:].reshape(-1, 3).tolist()
    assert [200, 0, 0] in beside and [0, 0, 200] in beside and [9, 9, 9] in beside
    only = draw_semantic(GREY, SemanticMap(np.ones((40, 60), int)), LABELS)[:, 60:].reshape(-1, 3).tolist()
    assert [200, 0, 0] in only and [0, 0, 200] not in only, "only what the map shows"


def test_many_classes_stand_in_columns() -> None:
    labels = Labels(tuple(f"class {k}" for k in range(60)))
    ids = np.arange(60).repeat(40).reshape(60, 40).T
    drawn = draw_semantic(GREY, SemanticMap(ids), labels)
    assert drawn.shape[0] == 40
    colours = set(map(tuple, drawn[:, 60:].reshape(-1, 3).tolist()))
    assert set(labels.colours) <= colours


@pytest.mark.parametrize("rows", [1, 7, 256])
def test_strips_leave_no_trace(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    ids = SemanticMap(np.random.default_rng(0).integers(0, 3, (40, 60)))
    whole = draw_semantic(GREY, ids, LABELS)
    monkeypatch.setattr(semantic, "_ROWS", rows)
    np.testing.assert_array_equal(draw_semantic(GREY, ids, LABELS), whole)


@pytest.mark.parametrize("shape", [(1, 1), (3, 200, 1), (5, 5, 13)])
def test_any_picture_can_be_drawn_on(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 60_000, shape).astype(np.uint16)
    drawn = draw_semantic(image, SemanticMap(np.ones(shape[:2], int)), LABELS)
    assert drawn.dtype == np.uint8 and drawn.shape[0] >= shape[0] and drawn.shape[1] > shape[1]


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(DataError, match=r"\(3, 3\).*\(40, 60\)"):
        draw_semantic(GREY, SemanticMap(np.zeros((3, 3), int)), LABELS)
