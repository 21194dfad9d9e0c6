"""Every verb on pictures of two dates of which it is known what became of what."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from everymask.cli import run
from tests.data.change_kinds import SIZE, write_kinds

TRAIN = (
    "--model", "unet", "--encoder", "mobilenetv3_small_100", "--fusion", "difference",
    "--weights", "none", "--epochs", "1", "--batch", "2", "--size", "32", "--device",
    "cpu", "--workers", "0",
)  # fmt: skip


def call(*arguments: object) -> int:
    try:
        return run([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.mark.slow
def test_from_check_to_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, folder, out = tmp_path / "data", tmp_path / "run", tmp_path / "out"
    write_kinds(data, 8)
    assert call("check", data, "--json") == 0
    assert json.loads(capsys.readouterr().out)["task"] == "change"
    assert call("train", data, "--out", folder, *TRAIN) == 0
    assert "Score" in capsys.readouterr().out
    assert json.loads((folder / "config.json").read_text("utf-8"))["model"]["head"] == "from-to"
    assert "building" in (folder / "report.html").read_text("utf-8")
    assert call("train", data, "--out", folder, *TRAIN, "--epochs", "2", "--resume") == 0
    assert call("predict", folder, data / "im1", data / "im2", "--out", out) == 0
    assert call("predict", folder, data / "im1", data / "im2", "--out", tmp_path / "tiled", "--tile", "64") == 0
    maps = [np.array(Image.open(out / name / "k0.png")) for name in ("maps", "maps_before")]
    assert all(plane.shape == SIZE for plane in maps) and ((maps[0] == 0) == (maps[1] == 0)).all()
    with (out / "changes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["pixels"]) for row in rows if row["file"] == "k0.png") == (maps[0] > 0).sum()
    capsys.readouterr()
    told = []
    for source in (folder, out):
        assert call("evaluate", source, data, "--json", *(("--calibration",) if source is folder else ())) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0]["confusion"] == told[1]["confusion"] and told[0]["score"] == told[1]["score"]
    assert call("compare", folder, out, data) == 0
    assert "Score" in capsys.readouterr().out


@pytest.mark.slow
def test_what_does_not_go_together_is_refused_with_a_cure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_kinds(tmp_path / "kinds")
    assert call("train", tmp_path / "kinds", "--model", "tinycd", "--out", tmp_path / "run") == 2
    assert "--masks label2" in capsys.readouterr().err
    asked = ("--masks", "label2", "--head", "from-to", "--epochs", "1")
    assert call("train", tmp_path / "kinds", *asked, "--out", tmp_path / "run") == 2
    assert "what became of what" in capsys.readouterr().err
