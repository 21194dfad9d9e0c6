"""What `everymask predict` says of what it did not write."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from everymask.data.pictures.read import write_image
from tests.test_cli import call


def test_a_limit_that_may_have_cut_objects_is_no_secret(
    tiny: Path, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    pictures, out = shapes / "images" / "val", tmp_path / "few"
    few = ["predict", tiny, pictures, "--out", out, "--max-detections", 2, "--json", "--min-score"]
    assert call(*few, 0) == 0
    assert json.loads(capsys.readouterr().out)["cut"] == 2
    assert "2 of 2 pictures may show more objects" in caplog.text
    assert "--max-detections 20" in caplog.text
    images = json.loads((out / "predictions.json").read_text("utf-8"))["images"]
    assert [image["cut"] for image in images] == [True, True]
    lines = (out / "predictions.csv").read_text("utf-8").splitlines()
    assert {line.rpartition(",")[2] for line in lines[1:]} == {"yes"}

    caplog.clear()
    assert call(*few, 1, "--overwrite") == 0
    assert json.loads(capsys.readouterr().out)["cut"] == 0
    assert "may show more" not in caplog.text


def test_what_is_passed_over_is_counted(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    photos = tmp_path / "photos"
    write_image(photos / "a.png", np.zeros((8, 8, 3), np.uint8))
    for name in ("a.txt", "b.json", ".DS_Store"):
        (photos / name).write_text("")
    assert call("predict", tiny, photos, "--out", tmp_path / "m", "--json", "--min-score", 1) == 0
    expected = {"hidden": 1, "not pictures by their endings": 2}
    answer = json.loads(capsys.readouterr().out)
    assert (answer["passed_over"], answer["objects"]) == (expected, 0)
    surest = re.search(r"the surest of \d+ has the score (0\.\d+), so that --min-score (0\.\d+) shows it", caplog.text)
    assert surest

    again = ["--overwrite", "--min-score", surest[2]]
    assert call("predict", tiny, photos, "--out", tmp_path / "m", *again) == 0
    told = capsys.readouterr().out
    assert not told.startswith("0 objects")
    assert told.endswith("passed over: 1 hidden, 2 not pictures by their endings\n")


def test_a_folder_that_must_not_be_written_is_told_before_the_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "photos" / "a.png", np.zeros((8, 8, 3), np.uint8))
    write_image(tmp_path / "out" / "b.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "broken.safetensors").write_bytes(b"no model")
    assert call("predict", tmp_path / "broken.safetensors", tmp_path / "photos", "--out", tmp_path / "out") == 2
    assert "is not empty" in capsys.readouterr().err
    assert call("predict", tmp_path / "broken.safetensors", tmp_path / "photos", "--out", tmp_path / "new") == 5
