"""Run folders that an earlier version wrote load, predict the same, and go on.

`runs.zip` holds two: `objects`, a small Mask R-CNN, and `maps`, a small U-Net, each trained to its end on the data set
that `shapes` draws, with `state/`. `expected.json` is what that version predicted for the first picture.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from everymask.api import load
from everymask.data.formats.table import read_dataset
from everymask.data.shapes import write_shapes
from everymask.evaluate import evaluate
from everymask.settings.config import config_from_json
from everymask.train.folder.logs import read_log
from everymask.train.run import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("old")
    with zipfile.ZipFile(Path(__file__).with_name("runs.zip")) as archive:
        archive.extractall(root)
    write_shapes(root / "shapes", train=8, val=4, size=64)
    return root


def expected(run: Path) -> dict[str, object]:
    return json.loads((run / "expected.json").read_text("utf-8"))


def test_an_old_detector_finds_what_it_found(folder: Path) -> None:
    wanted = expected(folder / "objects")
    image = read_dataset(folder / "shapes")[0].image
    found = load(folder / "objects", device="cpu", precision="exact").predict(image).instances
    assert found.class_ids.tolist() == wanted["class_ids"]
    np.testing.assert_allclose(found.scores, wanted["scores"], atol=2e-4)
    np.testing.assert_allclose(found.boxes, wanted["boxes"], atol=0.02)
    np.testing.assert_allclose(found.masks.areas(), wanted["areas"], atol=1)


def test_an_old_semantic_network_says_what_it_said(folder: Path) -> None:
    wanted = expected(folder / "maps")
    dataset = read_dataset(folder / "shapes")
    model = load(folder / "maps", device="cpu", precision="exact")
    pixels = np.bincount(model.predict(dataset[0].image).semantic.ids.ravel(), minlength=4)
    np.testing.assert_allclose(pixels, wanted["pixels"], atol=2)
    numbers = evaluate(model, dataset, split="train").numbers()
    assert numbers == pytest.approx(wanted["numbers"], abs=1e-3)


@pytest.mark.parametrize("name", ["objects", "maps"])
def test_an_old_run_goes_on(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    stored = config_from_json(json.loads((folder / name / "config.json").read_text("utf-8")))
    before = len(read_log(folder / name / "log.jsonl"))
    longer = replace(stored, epochs=(stored.epochs or 0) + 1, validate_every=None, resume=True)
    run = train(longer, console=Console(quiet=True))
    entries = read_log(run.folder / "log.jsonl")
    assert len(entries) > before
    assert max(entry.get("step", 0) for entry in entries) == 4 * longer.epochs
