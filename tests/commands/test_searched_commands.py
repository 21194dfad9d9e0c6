"""R-CNN and Fast R-CNN on the command line: trained, judged, predicted, looked into, and not exported."""

from __future__ import annotations

from pathlib import Path

import pytest

from everymask.cli import run

pytest.importorskip("skimage")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["fast-rcnn-small", "r-cnn"])
def test_from_data_to_objects(
    model: str, shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data, picture = str(shapes), str(min((shapes / "images" / "val").iterdir()))
    small = ["--encoder", "mobilenetv3_small_100", "--epochs", "1", "--workers", "0", "--weights", "none"]
    assert run(["train", data, "--model", model, "--out", "run", *small]) == 0
    assert "boxes are searched once in each" in capsys.readouterr().err
    assert run(["evaluate", "run", data, "--split", "val", "--json"]) == 0
    assert run(["predict", "run", picture, "--out", "found"]) == 0
    assert run(["inspect", "run", picture]) == 0
    page = (tmp_path / "inspect.html").read_text("utf-8")
    assert "Regions and what became of them" in page or "No region was sure enough" in page
    assert "No network has made them" in page and "Anchors" not in page
    capsys.readouterr()
    assert run(["export", "run", "--out", "model.emz"]) == 2
    assert "Traceback" not in capsys.readouterr().err
