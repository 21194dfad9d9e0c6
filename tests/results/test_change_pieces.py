"""Pieces of change, their outlines, and the folder that has them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from everymask.core.labels import labels_of
from everymask.core.masks import Masks
from everymask.core.sample import Sample
from everymask.core.segmentation import ChangeMap
from everymask.results import writing_change
from everymask.results.change_pieces import change_pieces
from everymask.results.writing_change import ChangeFolder

LABELS = labels_of(["unchanged", "water", "house"])


def found() -> ChangeMap:
    """A ring, a square that touches it at a corner, and what became of what there."""
    now, was = np.zeros((2, 20, 30), np.uint8)
    now[2:9, 3:11], was[2:9, 3:11] = 2, 1
    now[4:6, 5:8] = was[4:6, 5:8] = 0
    now[9:12, 11:14], was[9:12, 11:14] = 2, 1
    now[15:18, 20:25], was[15:18, 20:25] = 1, 2
    now[0], was[0] = 255, 255
    return ChangeMap(now, was=was)


def sample(name: str = "a") -> Sample:
    return Sample(np.zeros((20, 30, 3), np.uint8), id=name, before=np.zeros((20, 30, 3), np.uint8))


def test_pixels_that_touch_and_changed_alike_are_a_piece() -> None:
    change = found()
    pieces = list(change_pieces(change.ids, change.was, 3))
    assert [(piece.was, piece.now, piece.pixels, piece.box) for piece in pieces] == [
        (1, 2, 59, (3, 2, 14, 12)), (2, 1, 15, (20, 15, 25, 18)),
    ]  # fmt: skip
    many = list(change_pieces(change.ids, change.was, 20))
    assert [(piece.was, piece.now, piece.pixels) for piece in many] == [(1, 2, 59), (2, 1, 15)]
    plain = list(change_pieces(change.ids, None, 3))
    assert [(piece.was, piece.now) for piece in plain] == [(None, 1), (None, 2)]


def test_the_folder_has_a_line_and_an_outline_for_each(tmp_path: Path) -> None:
    with ChangeFolder(tmp_path / "out", LABELS) as folder:
        folder.add(sample(), found())
        folder.add(sample("b"), ChangeMap(np.zeros((20, 30), np.uint8), was=np.zeros((20, 30), np.uint8)))
    with (tmp_path / "out" / "changes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [tuple(row.values()) for row in rows] == [
        ("a", "1", "water", "house", "59", f"{59 / 600:.6f}", "3", "2", "14", "12"),
        ("a", "2", "house", "water", "15", f"{15 / 600:.6f}", "20", "15", "25", "18"),
    ]
    told = json.loads((tmp_path / "out" / "vectors" / "a.geojson").read_text("utf-8"))
    masks = []
    for feature in told["features"]:
        shape = feature["geometry"]["coordinates"]
        parts = [shape] if feature["geometry"]["type"] == "Polygon" else shape
        assert all(ring[0] == ring[-1] for part in parts for ring in part)
        masks.append(
            Masks.from_parts([[[np.array(ring[:-1]) for ring in part] for part in parts]], (20, 30)).to_dense(0)
        )
    np.testing.assert_array_equal(masks[0] | masks[1], (found().ids > 0) & (found().ids < 255))
    assert [feature["properties"]["class"] for feature in told["features"]] == ["house", "water"]
    assert json.loads((tmp_path / "out" / "vectors" / "b.geojson").read_text("utf-8"))["features"] == []
    assert (tmp_path / "out" / "maps_before" / "a.png").is_file()


def test_too_large_pictures_have_maps_and_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writing_change, "_MOST_PIXELS", 500)
    with ChangeFolder(tmp_path / "out", LABELS) as folder:
        folder.add(sample(), found())
    assert "a: too large for changes.csv and vectors" in caplog.text
    assert (tmp_path / "out" / "maps" / "a.png").is_file() and not (tmp_path / "out" / "vectors").exists()
