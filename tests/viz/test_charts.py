"""Charts: ticks are round, curves thin, nothing breaks on odd numbers."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from everymask.viz.charts import Line, bar_chart, escaped, heat_table, line_chart, number_text, thin, ticks


@pytest.mark.parametrize(
    ("low", "high", "outside", "expected"),
    [
        (0, 1, True, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0, 3.7, True, [0, 1, 2, 3, 4]),
        (1, 4996, False, [1000, 2000, 3000, 4000]),
        (-1, 1, True, [-1, -0.5, 0, 0.5, 1]),
        (5, 5, True, [5, 6, 7, 8, 9, 10]),
        (5, 5, False, [5]),
        (math.inf, -math.inf, True, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
    ],
)
def test_ticks_are_round(low: float, high: float, outside: bool, expected: list[float]) -> None:
    assert ticks(low, high, outside=outside) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.51234, "0.512"), (25328, "25\u202f328"), (5.8312, "5.83"), (41.26, "41.3"), (0.0, "0"),
        (math.nan, "–"), (math.inf, "–"), (1.2e-7, "1.20e-07"), (-0.25, "-0.250"), (99_999.5, "100000"),
    ],
)  # fmt: skip
def test_numbers_are_written_for_people(value: float, text: str) -> None:
    assert number_text(value) == text


def test_small_ticks_are_told_apart() -> None:
    chart = line_chart([Line("lr", [1, 2], [0, 2.4e-4])], title="t", x_label="step", y_label="lr")
    assert re.findall(r'text-anchor="end">([^<]*)<', chart) == ["0", "5e-5", "1e-4", "1.5e-4", "2e-4", "2.5e-4"]


def test_long_curves_are_averaged_and_gaps_bridged_by_their_neighbours() -> None:
    x, y = np.arange(10_000), np.full(10_000, 3.0)
    y[::7] = np.nan
    across, upward = thin(x, y)
    assert len(across) == len(upward) == 240
    np.testing.assert_allclose(upward, 3.0)
    assert across[0] < 42
    assert across[-1] > 9_957
    assert (np.diff(across) > 0).all()


def test_a_curve_is_interrupted_where_it_is_not_finite() -> None:
    chart = line_chart(
        [Line("loss", [1, 2, 3, 4, 5], [1, 2, math.nan, 2, math.inf])], title="t", x_label="x", y_label="y"
    )
    path = re.search(r'<path d="(M[^"]*)"', chart)
    assert path is not None
    assert (path[1].count("M"), path[1].count("L")) == (2, 1)
    assert "nan" not in chart
    assert "inf" not in chart


def test_higher_values_are_drawn_higher() -> None:
    chart = line_chart([Line("ap", [1, 2], [0.25, 0.75])], title="t", x_label="x", y_label="y", y_range=(0, 1))
    heights = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', chart)]
    assert heights[0] > heights[1]
    assert sum(heights) == pytest.approx(32 + 270 - 46, abs=0.2)


@pytest.mark.parametrize("lines", [[], [Line("a", [], [])], [Line("a", [3], [math.nan])], [Line("a", [3], [0.0])]])
def test_hardly_any_data_still_makes_a_chart(lines: list[Line]) -> None:
    chart = line_chart(lines, title="t", x_label="x", y_label="y")
    assert "<svg" in chart
    assert "nan" not in chart


def test_bars_are_sorted_and_bounded() -> None:
    chart = bar_chart([(f"class {k}", k) for k in range(30)], title="objects", limit=10)
    shown, folded = chart.split("<details>")
    assert re.findall(r'name">(class \d+)<', shown)[:2] == ["class 29", "class 28"]
    assert shown.count("<li>") == 10
    assert folded.count("<li>") == 20
    assert "width:100.0%" in shown


def test_a_heat_table_shows_shares_of_rows() -> None:
    table = heat_table(np.array([[8, 2], [0, 0]]), ["a", "b"], row_title="truth", column_title="found")
    assert re.findall(r'class="(\w+(?: strong)?)" style="--share:(\d+)%">(\d+)', table) == [
        ("right strong", "80", "8"), ("wrong", "20", "2"), ("wrong", "0", "0"), ("right", "0", "0"),
    ]  # fmt: skip


def test_text_becomes_harmless() -> None:
    assert escaped('<b a="1">&\n\x1b\udcff') == "&lt;b a=&quot;1&quot;&gt;&amp;\\n\\x1b\\udcff"
