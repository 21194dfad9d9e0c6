"""The doctor's page: bounded, whole, and nothing in it is markup of the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from everymask.core.randomness import rng
from everymask.errors import Issue
from everymask.viz.check_page import Alike, CheckContent, DefectKind, Shot, write_check_page
from everymask.viz.marked import draw_marked


def noise(side: int = 480) -> np.ndarray:
    return rng(0, "noise").integers(0, 255, (side, side, 3)).astype(np.uint8)


def test_the_page_stays_below_five_megabytes_whatever_it_is_given(tmp_path: Path) -> None:
    issues = [Issue("bad", f"something <i>bad</i> {k}", file=f"{k}.png", hint="mend it") for k in range(1000)]
    shots = [Shot(f"picture {k}", noise()) for k in range(30)]
    kinds = [DefectKind("bad", "error", 5000, "refused", "left out", issues, shots)]
    write_check_page(tmp_path / "a.html", CheckContent("a", kinds=kinds, alike=[Alike("2 pictures", shots)]))
    text = (tmp_path / "a.html").read_text("utf-8")
    assert 3_000_000 < len(text) < 5_000_000
    assert "<i>" not in text.partition("<main>")[2].replace("<i></i>", "")
    assert "picture 29" in text and "that are not listed" in text and "195 more" in text


def test_what_is_empty_is_left_out(tmp_path: Path) -> None:
    write_check_page(tmp_path / "a.html", CheckContent("a"))
    assert "<section" not in (tmp_path / "a.html").read_text("utf-8")


def test_a_place_is_framed_where_it_is() -> None:
    black = np.zeros((100, 200, 3), np.uint8)
    shown = draw_marked(black, (40.0, 20.0, 160.0, 80.0), side=200)
    assert shown.shape == (100, 200, 3)
    assert shown[20, 100].any() and shown[50, 40].any() and not shown[50, 100].any() and not shown[5, 5].any()
    assert not draw_marked(black, None, side=50).any()


def test_a_small_place_is_shown_large_and_one_outside_on_a_margin() -> None:
    picture = np.zeros((1000, 1000), np.uint8)
    picture[500:510, 500:510] = 255
    near = draw_marked(picture, (500.0, 500.0, 510.0, 510.0), side=100)
    assert (near.min(axis=2) == 255).mean() > 0.01  # ten of a thousand pixels would be one
    outside = draw_marked(picture, (900.0, 900.0, 1400.0, 950.0), side=100)
    assert (outside[:5, -5:] == 96).all() and (outside[:30, :30] == 0).all()
    assert draw_marked(picture, (1e9, -1e9, 1e9, 1e9), side=100).shape[2] == 3
