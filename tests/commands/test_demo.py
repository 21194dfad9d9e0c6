"""The demo goes the whole way; a small one here, and whether it learns is measured in docs/results.md."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from everymask.cli import run
from everymask.commands import demo
from everymask.data.pictures.read import read_image
from everymask.settings import recipes


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few pictures and one epoch."""
    full = recipes.demo_recipe
    monkeypatch.setattr(demo, "TRAINING", 8)
    monkeypatch.setattr(demo, "HELD_OUT", 4)
    monkeypatch.setattr(
        recipes,
        "demo_recipe",
        lambda data, out, seed: replace(full(data, out, seed=seed), epochs=1, batch=4, size=64, warmup_steps=1),
    )


@pytest.mark.usefixtures("small")
def test_the_demo_writes_a_report_and_says_what_to_type_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["demo", "--out", str(tmp_path / "demo")]) == 0
    told = capsys.readouterr().out
    assert "mask AP50" in told
    assert "everymask train    DATA --model mask-rcnn --out runs/a" in told
    assert (tmp_path / "demo" / "run" / "report.html").stat().st_size > 10_000
    height, width, channels = read_image(tmp_path / "demo" / "demo.png").shape
    assert height > 3 * 2 * 128
    assert width > 2 * 2 * 128
    assert channels == 3


def test_the_demo_draws_over_nobodys_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "data" / "annotations" / "instances_train.json"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert run(["demo", "--out", str(tmp_path)]) == 2
    assert "choose another --out" in capsys.readouterr().err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]
    assert mine.read_text() == "mine"


def test_the_demo_evaluates_on_at_least_a_hundred_pictures() -> None:
    assert demo.HELD_OUT >= 100
