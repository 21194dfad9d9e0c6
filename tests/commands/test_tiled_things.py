"""`everymask predict --tile` with networks that find things: what is written, and what it equals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from everymask.cli import run
from everymask.core.labels import Labels
from everymask.data.feed.preprocess import Preprocess, Resize
from everymask.data.panoptic import read_numbers
from everymask.data.pictures.read import read_header
from everymask.models.card import Card
from everymask.models.checkpoint import save_model
from everymask.models.specs.any_spec import ModelSpec
from everymask.results import thinned
from tests.models.networks import ONE_STAGE, PANOPTIC, QUERIES, REGIONS, SEMANTIC, shared_network

LABELS = Labels(("car", "sky", "bus"))
UNSURE: dict[str, Any] = {"min_score": 0.0}
GUESSING: dict[str, Any] = {"score_threshold": 0.0, "max_detections": 7}
NETWORKS: dict[str, ModelSpec] = {
    "panoptic-fpn": replace(PANOPTIC["panoptic-fpn"], **UNSURE),
    "mask2former": replace(QUERIES["mask2former"], **UNSURE, overlap=0.0),
    "mask2former-instance": replace(QUERIES["mask2former-instance"], max_detections=7),
    "mask-rcnn": replace(REGIONS["mask-rcnn"], **GUESSING),
    "yolox": replace(ONE_STAGE["yolox"], **GUESSING),
}


def write_model(folder: Path, spec: ModelSpec, labels: Labels = LABELS) -> Path:
    """A network that has learned nothing, for pictures of any size."""
    things = frozenset(getattr(spec, "things", ()))
    preprocess = Preprocess(resize=Resize(rule="none"), divisor=32)
    folder.mkdir(exist_ok=True)
    card = Card(spec, replace(labels, things=things), preprocess)
    save_model(folder / "model.safetensors", shared_network(spec, len(labels)), card)
    return folder / "model.safetensors"


def predicted(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["predict", *map(str, arguments), "--device", "cpu", "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_tile_that_covers_the_picture_writes_the_same(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, picture = write_model(tmp_path, NETWORKS[name]), tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 110, 3), np.uint8)).save(picture)
    asked = "--min-score", 0, "--precision", "exact"
    once = predicted(capsys, model, picture, "--out", tmp_path / "once", *asked)
    tiled = predicted(capsys, model, picture, "--out", tmp_path / "tiled", "--tile", 128, *asked)
    for found in (once, tiled):
        assert found.get("segments") or found["objects"]
    assert tiled | {"out": ""} == once | {"out": ""}
    for file in (tmp_path / "once").rglob("*.*"):
        assert (tmp_path / "tiled" / file.relative_to(tmp_path / "once")).read_bytes() == file.read_bytes()
    monkeypatch.setattr(thinned, "_DRAWN_SIDE", 60)
    several = predicted(capsys, model, picture, "--out", tmp_path / "several", "--tile", 64, *asked)
    assert several["failed"] == [] and (several.get("segments") or several["objects"])
    assert read_header(tmp_path / "several/overlays/a.png").size[0] >= 45
    for file in (tmp_path / "several").glob("panoptic/*.png"):
        [annotation] = json.loads((tmp_path / "several/predictions.json").read_text("utf-8"))["annotations"]
        ids = read_numbers(file)
        assert {one["id"]: one["area"] for one in annotation["segments_info"]} == {
            number: int((ids == number).sum()) for number in np.unique(ids[ids > 0]).tolist()
        }


def test_tiles_go_with_what_they_can_be_joined_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, picture = write_model(tmp_path, NETWORKS["panoptic-fpn"]), tmp_path / "a.png"
    Image.fromarray(np.zeros((100, 100, 3), np.uint8)).save(picture)
    for more, message in {
        ("--tile", "64", "--tile-overlap", "0"): "nothing in common",
        ("--tile", "64", "--batch", "2"): "batch",
        ("--no-whole",): "add --tile 1024",
        ("--tile", "64", "--outline", "mobile-sam"): "leave out everything, points, boxes, engine and tile",
    }.items():
        assert run(["predict", str(model), str(picture), "--out", str(tmp_path / "out"), *more]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_label_maps_have_no_look_at_the_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, picture = write_model(tmp_path, SEMANTIC["unet"]), tmp_path / "a.png"
    Image.fromarray(np.zeros((100, 100, 3), np.uint8)).save(picture)
    asked = "--tile", "64", "--no-whole"
    assert run(["predict", str(model), str(picture), "--out", str(tmp_path / "out"), *asked]) == 2
    assert "leave out no-whole" in capsys.readouterr().err
