"""`--merge`: two models as a panoptic one, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from everymask.cli import run
from everymask.core.labels import Labels
from everymask.data.formats.table import write_dataset
from everymask.data.panoptic import read_numbers
from everymask.models.specs.semantic import PLAIN_ENCODER, UNet
from tests.commands.test_tiled_things import NETWORKS, write_model
from tests.data.panoptic_files import make_panoptic

MAPS = UNet(encoder=PLAIN_ENCODER, decoder_channels=(8,), upsampling="bilinear")


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*map(str, arguments), "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def error(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert run([*map(str, arguments)]) == 2
    return capsys.readouterr().err


@pytest.mark.slow
def test_two_models_are_a_panoptic_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(tmp_path / "data", make_panoptic(tmp_path / "made", splits=False), "coco-panoptic")
    cars = write_model(tmp_path, NETWORKS["mask-rcnn"], Labels(("car", "Öl", "bus")))
    stuff, photos = write_model(tmp_path / "stuff", MAPS, Labels(("car", "sky"))), tmp_path / "data" / "images"
    asked = "--merge", stuff, "--device", "cpu"
    found = answer(capsys, "predict", cars, photos, "--out", tmp_path / "out", "--min-score", 0, *asked)
    document = json.loads((tmp_path / "out/predictions.json").read_text("utf-8"))
    kinds = [(entry["name"], entry["isthing"]) for entry in document["categories"]]
    assert kinds == [("car", 1), ("Öl", 1), ("bus", 1), ("sky", 0)] and found["pictures"] == 4
    for one in document["annotations"]:
        ids = read_numbers(tmp_path / "out/panoptic" / one["file_name"])
        assert set(np.unique(ids).tolist()) - {0} == {segment["id"] for segment in one["segments_info"]}
    scores = answer(capsys, "evaluate", cars, tmp_path / "data", *asked)
    assert scores["num_pictures"] == 4 and scores["stuff"]["num_classes"] == 1
    tiles = answer(capsys, "predict", cars, photos, "--out", tmp_path / "tiled", "--tile", 64, *asked)
    assert tiles["pictures"] == 4
    swapped = error(capsys, "predict", stuff, photos, "--out", tmp_path / "no", "--merge", cars)
    assert "stands first" in swapped and f"{cars} ... --merge {stuff}" in swapped
    assert "there is no stuff" in error(
        capsys,
        "evaluate",
        cars,
        tmp_path / "data",
        "--merge",
        write_model(tmp_path / "things", MAPS, Labels(("car", "bus"))),
    )
    stored = error(capsys, "evaluate", tmp_path / "out", tmp_path / "data", "--merge", stuff)
    assert "holds predictions" in stored
    assert "picture by picture" in error(
        capsys, "predict", cars, photos, "--out", tmp_path / "no", "--merge", stuff, "--engine", "local"
    )
    assert not (tmp_path / "no").exists()
